// Package report holds the results other packages produce (changes made, checks made, progress while it happens, conformance runs) and
// the writers that show them as text, JSON or YAML, and conformance runs also as JUnit and HTML. It is a leaf: it knows nothing of
// hosts, plans or the API server.
package report

import "time"

// Action says what a step did, in the words of server-side apply tools.
type Action string

// The actions of a Change.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
	Deleted    Action = "deleted"
	Skipped    Action = "skipped" // not tried, because something it needs failed
	Failed     Action = "failed"
)

// Change is the result of one step.
type Change struct {
	Host     string        `json:"host,omitempty"` // empty for cluster steps
	Step     string        `json:"step"`           // the step's ID, "<host>/<name>" or "cluster/<name>"
	Kind     string        `json:"kind"`
	Action   Action        `json:"action"`
	Detail   string        `json:"detail,omitempty"` // one line for people
	Error    string        `json:"error,omitempty"`
	Hint     string        `json:"hint,omitempty"` // what the user can do about the error
	Duration time.Duration `json:"durationNanoseconds,omitempty"`
}

// Status is the outcome of a check.
type Status string

// The outcomes of a Check.
const (
	Pass    Status = "pass"
	Warn    Status = "warn"
	Fail    Status = "fail"
	Ignored Status = "ignored" // it failed, and the inventory says to go on
	Unknown Status = "unknown" // it could not be tried; whether it would pass is not known
)

// Check is the result of one named check on one host, or on the whole cluster when Host is empty.
type Check struct {
	Host    string `json:"host,omitempty"`
	Name    string `json:"name"`
	Status  Status `json:"status"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what the user can do
}

// EventKind tells the three moments of a step's life, and what is said beside it.
type EventKind string

// The kinds of Event.
const (
	Started  EventKind = "started"
	Progress EventKind = "progress" // bytes or a message; may come often
	Done     EventKind = "done"

	Note EventKind = "note" // a message that stays: nothing that follows takes its place
	Over EventKind = "over" // what Progress told of with Since; with a Message, that is what is left of it
)

// Event is one piece of progress. Secrets never appear in it.
type Event struct {
	Time    time.Time
	Kind    EventKind
	Host    string // empty for the cluster
	Step    string // short name: "connect", "facts", "os", "runtime", "images", "join" …
	Action  Action // with Done
	Message string
	Since   time.Time // with Progress of a step that did not start: it goes on since then, until Over; zero = a word in passing
	Bytes   int64     // with Progress: bytes sent so far
	Total   int64     // with Progress: bytes in all; 0 = not an upload
	Err     error     // with Done and Failed
}

// Sink takes events. Implementations are safe for concurrent use and never block for long.
type Sink interface {
	Event(Event)
}

// Discard is the Sink that forgets everything.
var Discard Sink = discard{}

type discard struct{}

func (discard) Event(Event) {}
