package progress

import (
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/hybridctl/hybridctl/provision/report"
)

// maxRows bounds the hosts shown at once, however tall the terminal.
const maxRows = 100

// The widths of an upload's bar and of the column of steps.
const (
	barWidth  = 24
	stepWidth = 10
)

// live is the view on a terminal: one row per host, redrawn in place, and a summary row beneath; failures and notes are lines above
// them. Rows are drawn by one bar of the library with a filler for each row; the rows above the last may write nothing, and then take no line.
type live struct {
	*pump
	color bool
	now   func() time.Time
	size  func() (width, height int)
	style mpb.BarFiller
	extra []mpb.ContainerOption // for tests

	mu    sync.Mutex // guards fleet
	fleet *fleet
	frame []line // of the drawing under way, with the width of its names; used by the library's drawing goroutine only
	names int

	terminal io.Writer
	bars     *mpb.Progress // guarded by pump.writing; nil while suspended
	bar      *mpb.Bar
}

func newLive(o Options, size func() (int, int), extra ...mpb.ContainerOption) *live {
	l := &live{
		color: o.Color, now: o.Now, size: size, extra: extra, terminal: o.Out,
		style: mpb.BarStyle().Build(),
		fleet: newFleet(o.Hosts, o.Now()),
	}
	l.pump = newPump(writerFunc(l.writeAbove))
	l.pump.Suspend(l.show)
	return l
}

// Event implements report.Sink.
func (l *live) Event(e report.Event) {
	if e.Time.IsZero() {
		e.Time = l.now()
	}
	if e.Kind != report.Note {
		l.mu.Lock()
		l.fleet.apply(e)
		l.mu.Unlock()
	}
	if e.Kind == report.Note || e.Kind == report.Done && e.Action == report.Failed {
		l.put([]byte(textLine(e, l.color) + "\n"))
	}
}

// Suspend implements View.
func (l *live) Suspend(fn func()) {
	l.pump.Suspend(func() {
		l.hide()
		defer l.show()
		fn()
	})
}

// Close implements View.
func (l *live) Close() {
	l.pump.Close()
	l.pump.Suspend(l.hide)
}

// show begins to draw. The caller holds pump.writing.
func (l *live) show() {
	on := mpb.WithConsoleWriter(&screen{out: l.terminal, size: l.size})
	l.bars = mpb.New(append([]mpb.ContainerOption{on}, l.extra...)...)
	fillers := make([]mpb.BarFiller, maxRows)
	for i := range fillers {
		row := i
		fillers[maxRows-1-i] = mpb.BarFillerFunc(func(w io.Writer, st decor.Statistics) error { return l.fillRow(w, row, st) })
	}
	// The total of zero keeps the bar until it is aborted.
	l.bar, _ = l.bars.Add(0, mpb.BarFillerFunc(l.fillSummary), mpb.BarTopExtender(fillers...), mpb.BarFillerTrim())
}

// hide ends the drawing and takes the rows off the terminal. The caller holds pump.writing.
func (l *live) hide() {
	l.bar.Abort(true)
	l.bars.Wait()
	l.bars, l.bar = nil, nil
}

// writeAbove writes lines above the rows, or straight to a terminal that cannot be drawn on any more.
func (l *live) writeAbove(b []byte) (int, error) {
	if l.bars != nil {
		if n, err := l.bars.Write(b); err == nil {
			return n, nil
		}
	}
	return l.terminal.Write(b)
}

// fillRow draws row i; the first row makes the frame for all.
func (l *live) fillRow(w io.Writer, i int, st decor.Statistics) error {
	if i == 0 {
		_, height := l.size()
		l.mu.Lock()
		l.frame = l.fleet.rows(min(maxRows, max(1, height-2)), l.now())
		l.names = l.fleet.nameWidth()
		l.mu.Unlock()
	}
	if i >= len(l.frame) {
		return nil
	}
	_, err := io.WriteString(w, l.draw(l.frame[i], st.AvailableWidth)+"\n")
	return err
}

func (l *live) fillSummary(w io.Writer, st decor.Statistics) error {
	l.mu.Lock()
	text := l.fleet.summary(l.now())
	l.mu.Unlock()
	_, err := io.WriteString(w, report.Paint(cut(text, st.AvailableWidth), report.Faint, l.color))
	return err
}

// draw writes one row: name, step, bar if there is one and room for it, text; never wider than width.
func (l *live) draw(row line, width int) string {
	head := pad(row.name, l.names) + "  "
	if row.step != "" {
		head += pad(row.step, stepWidth) + "  "
	}
	if row.percent >= 0 && width > l.names+stepWidth+2*barWidth {
		head += l.drawBar(row.percent) + "  "
	}
	room := width - utf8.RuneCountInString(head)
	if room <= 0 {
		return cut(head, width)
	}
	return head + report.Paint(cut(row.text, room), row.style, l.color)
}

func (l *live) drawBar(percent float64) string {
	const whole = 1000
	var b strings.Builder
	st := decor.Statistics{AvailableWidth: barWidth, RequestedWidth: barWidth, Total: whole, Current: int64(percent * whole)}
	if err := l.style.Fill(&b, st); err != nil {
		return ""
	}
	return b.String()
}

// cut shortens text to width.
func cut(text string, width int) string {
	r := []rune(text)
	if len(r) <= width {
		return text
	}
	if width <= 0 {
		return ""
	}
	return string(r[:width-1]) + "…"
}

// pad makes text exactly width wide.
func pad(text string, width int) string {
	text = cut(text, width)
	return text + strings.Repeat(" ", width-utf8.RuneCountInString(text))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
