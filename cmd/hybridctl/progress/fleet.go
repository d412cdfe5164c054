package progress

import (
	"fmt"
	"slices"
	"time"

	"github.com/hybridctl/hybridctl/provision/report"
)

// fleet is what the live view knows: what every host is doing. It is not safe for concurrent use; its owner locks.
type fleet struct {
	hosts  []*hostState // the inventory's first, in its order
	byName map[string]*hostState
	start  time.Time
	single bool // the inventory named no hosts: one thing is at work, and needs no summary
}

// hostState is one host, or the cluster.
type hostState struct {
	name    string
	running []activity // in the order they began
	last    string     // what the step that finished last did: "images created"
	failed  string     // name of the first step that failed
}

// activity is one step under way.
type activity struct {
	step        string
	message     string
	sent, total int64
	since       time.Time
	passing     bool      // nothing says when it ends
	heard       time.Time // the last word of it
}

// passingFor is how long a word in passing is shown.
const passingFor = 30 * time.Second

func newFleet(hosts []string, start time.Time) *fleet {
	f := &fleet{byName: map[string]*hostState{}, start: start, single: len(hosts) == 0}
	for _, name := range hosts {
		f.host(name)
	}
	return f
}

func (f *fleet) host(name string) *hostState {
	name = report.OneLine(report.HostName(name))
	h := f.byName[name]
	if h == nil {
		h = &hostState{name: name}
		f.byName[name] = h
		f.hosts = append(f.hosts, h)
	}
	return h
}

// apply takes one event in.
func (f *fleet) apply(e report.Event) {
	h := f.host(e.Host)
	step := report.OneLine(e.Step)
	i := slices.IndexFunc(h.running, func(a activity) bool { return a.step == step })
	if e.Kind == report.Over {
		switch {
		case i >= 0 && e.Message == "":
			h.running = slices.Delete(h.running, i, i+1)
		case i >= 0:
			h.running[i].message, h.running[i].since = report.OneLine(e.Message), e.Since
		}
		return
	}
	if e.Kind == report.Done {
		if i >= 0 {
			h.running = slices.Delete(h.running, i, i+1)
		}
		h.last = step + " " + string(e.Action)
		if e.Action == report.Failed && h.failed == "" {
			h.failed = step
		}
		return
	}
	if i < 0 {
		h.running = append(h.running, activity{step: step, since: e.Time, passing: e.Kind == report.Progress && e.Since.IsZero()})
		i = len(h.running) - 1
	}
	a := &h.running[i]
	if !e.Since.IsZero() {
		a.since = e.Since
	}
	a.message = report.OneLine(e.Message)
	a.sent, a.total, a.heard = e.Bytes, e.Total, e.Time
}

// forget takes words in passing away that were said a while ago.
func (f *fleet) forget(now time.Time) {
	for _, h := range f.hosts {
		h.running = slices.DeleteFunc(h.running, func(a activity) bool { return a.passing && a.total == 0 && now.Sub(a.heard) > passingFor })
	}
}

// line is what a row of the live view says.
type line struct {
	name    string
	step    string // under way; empty = none
	text    string
	percent float64 // of an upload; negative = none
	style   report.Style
}

// rows chooses what is shown in at most n rows: every host when they fit, otherwise those at work first.
func (f *fleet) rows(n int, now time.Time) []line {
	f.forget(now)
	shown := f.hosts
	if len(shown) > n {
		shown = nil
		for _, working := range []bool{true, false} {
			for _, h := range f.hosts {
				if (len(h.running) > 0) == working && len(shown) < n {
					shown = append(shown, h)
				}
			}
		}
	}
	out := make([]line, 0, len(shown))
	for _, h := range shown {
		out = append(out, h.line(now))
	}
	return out
}

// line says what the host does; of several steps it names all and shows the upload, or else the one that began last.
func (h *hostState) line(now time.Time) line {
	l := line{name: h.name, percent: -1}
	switch {
	case len(h.running) > 0:
		a := h.front()
		l.step, l.text = a.step, a.state(now)
		if a.total > 0 {
			l.percent = min(1, float64(a.sent)/float64(a.total))
		}
		if more := len(h.running) - 1; more > 0 {
			l.text += fmt.Sprintf("  (+%d)", more)
		}
	case h.failed != "":
		l.text, l.style = h.failed+" failed", report.Bad
	case h.last != "":
		l.text, l.style = h.last, report.Faint
	default:
		l.text, l.style = "waiting", report.Faint
	}
	return l
}

func (h *hostState) front() activity {
	for _, a := range h.running {
		if a.total > 0 {
			return a
		}
	}
	return h.running[len(h.running)-1]
}

func (a activity) state(now time.Time) string {
	text := a.message
	if a.total > 0 {
		text = report.Bytes(a.sent) + " of " + report.Bytes(a.total)
	}
	if text != "" {
		text += "  "
	}
	return text + report.Elapsed(now.Sub(a.since))
}

// summary is the last row: "500 hosts: 12 at work, 487 quiet, 1 failed  1m05s".
func (f *fleet) summary(now time.Time) string {
	if f.single {
		return ""
	}
	hosts, working, failed := 0, 0, 0
	for _, h := range f.hosts {
		switch {
		case h.name == report.HostName(""):
			continue
		case h.failed != "":
			failed++
		case len(h.running) > 0:
			working++
		}
		hosts++
	}
	text := fmt.Sprintf("%s: %d at work, %d quiet", report.Count(hosts, "host"), working, hosts-working-failed)
	if failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	return text + "  " + report.Elapsed(now.Sub(f.start))
}

// nameWidth is the width of the column of names.
func (f *fleet) nameWidth() int {
	width := len(report.HostName(""))
	for _, h := range f.hosts {
		width = max(width, len([]rune(h.name)))
	}
	return min(width, 24)
}
