package progress

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/report"
)

// progressEvery is how often a host may write a line of each of its steps.
const progressEvery = 5 * time.Second

// lines is the view for files, pipes and dumb terminals: one line per event.
type lines struct {
	*pump
	format func(report.Event) []byte
	now    func() time.Time

	mu   sync.Mutex
	last map[[2]string]time.Time // of the last line of progress, by host and step
}

func newLines(o Options) *lines {
	format := func(e report.Event) []byte { return []byte(textLine(e, o.Color) + "\n") }
	if o.JSON {
		format = jsonLine
	}
	return &lines{pump: newPump(o.Out), format: format, now: o.Now, last: map[[2]string]time.Time{}}
}

// Event implements report.Sink.
func (l *lines) Event(e report.Event) {
	if e.Time.IsZero() {
		e.Time = l.now()
	}
	if e.Kind == report.Over || e.Kind == report.Progress && !l.due(e) {
		return
	}
	l.put(l.format(e))
}

// due reports whether the host may write a line of progress of that step again. An upload must not silence what is said beside it.
func (l *lines) due(e report.Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := [2]string{e.Host, e.Step}
	if last, ok := l.last[of]; ok && e.Time.Sub(last) < progressEvery {
		return false
	}
	l.last[of] = e.Time
	return true
}

// textLine writes an event for people: "15:04:05 arm-1 images  42 MB of 265 MB".
func textLine(e report.Event, color bool) string {
	head := e.Time.Format(time.TimeOnly) + " " + report.OneLine(report.HostName(e.Host)+" "+e.Step) + "  "
	return head + report.Paint(what(e), style(e), color)
}

func style(e report.Event) report.Style {
	switch e.Kind {
	case report.Done:
		return e.Action.Style()
	case report.Note:
		return report.Notice
	}
	return report.Normal
}

// what says what happened, without time and place.
func what(e report.Event) string {
	text := string(e.Kind)
	detail := e.Message
	switch {
	case e.Kind == report.Progress && e.Total > 0:
		text = report.Bytes(e.Bytes) + " of " + report.Bytes(e.Total)
	case e.Kind == report.Progress, e.Kind == report.Note:
		text = ""
	case e.Kind == report.Done:
		text = string(e.Action)
		if e.Err != nil {
			detail = e.Err.Error()
		}
	}
	detail = report.OneLine(detail)
	switch {
	case text == "":
		return detail
	case detail == "":
		return text
	}
	return text + ": " + detail
}

// jsonEvent is an event as one JSON document; the names are those of log records where they mean the same.
type jsonEvent struct {
	Time    time.Time        `json:"time"`
	Level   string           `json:"level"`
	Msg     string           `json:"msg"`
	Kind    report.EventKind `json:"kind"`
	Host    string           `json:"host,omitempty"`
	Step    string           `json:"step"`
	Action  report.Action    `json:"action,omitempty"`
	Message string           `json:"message,omitempty"`
	Bytes   int64            `json:"bytes,omitempty"`
	Total   int64            `json:"total,omitempty"`
	Error   string           `json:"error,omitempty"`
	Hint    string           `json:"hint,omitempty"`
}

func jsonLine(e report.Event) []byte {
	j := jsonEvent{
		Time: e.Time, Level: "INFO", Msg: "progress", Kind: e.Kind, Host: e.Host, Step: e.Step, Action: e.Action,
		Message: e.Message, Bytes: e.Bytes, Total: e.Total,
	}
	if e.Err != nil {
		j.Level, j.Error, j.Hint = "ERROR", e.Err.Error(), hint.Text(e.Err)
	}
	b, err := json.Marshal(j)
	if err != nil {
		return nil // only a year beyond 9999 could do that
	}
	return append(report.ShownJSON(b), '\n')
}
