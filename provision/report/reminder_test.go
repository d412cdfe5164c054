package report

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// heard is a Sink that remembers.
type heard struct {
	mu     sync.Mutex
	events []Event
}

func (h *heard) Event(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// said returns what was said since the last call.
func (h *heard) said() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, e := range h.events {
		over := map[bool]string{true: "over "}[e.Kind == Over]
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s%s %s: %s", over, e.Host, e.Step, e.Message)))
	}
	h.events = nil
	return out
}

// reminding returns a reminder, the time so many seconds after it began, and what checks that this is heard by then and nothing else.
func reminding(t *testing.T, sink *heard) (r *Reminder, at func(int) time.Time, hears func(when int, want ...string)) {
	r = newReminder(sink)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at = func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	return r, at, func(when int, want ...string) {
		t.Helper()
		r.now = func() time.Time { return at(when) }
		r.look(at(when))
		if got := sink.said(); !slices.Equal(got, want) {
			t.Errorf("after %d s: %q, want %q", when, got, want)
		}
	}
}

func TestReminder(t *testing.T) {
	var sink heard
	r, at, hears := reminding(t, &sink)
	r.note(Event{Kind: Started, Host: "x86-1", Step: "init"}, at(0))
	r.note(Event{Kind: Progress, Host: "x86-1", Step: "evidence", Message: "in passing"}, at(0)) // nothing began
	hears(14)
	hears(15, "x86-1 init: still at it after 15s")
	hears(30)
	r.note(Event{Kind: Progress, Host: "x86-1", Step: "init", Message: "waiting for etcd"}, at(40))
	hears(54)
	hears(55, "x86-1 init: waiting for etcd; still at it after 55s")
	hears(84)
	hears(85, "x86-1 init: waiting for etcd; still at it after 1m25s")
	r.note(Event{Kind: Done, Host: "x86-1", Step: "init"}, at(86))
	hears(500)

	over := r.wait("the API server to answer", at(500), false)
	again := r.wait("the API server to answer", at(510), false)
	hears(520, "wait: waiting for the API server to answer, 20s so far")
	over()
	hears(530, "over  wait:", "wait: waiting for the API server to answer, 20s so far") // the other
	again()
	over() // twice does no harm
	hears(900, "over  wait:")

	for i := range 8 {
		r.note(Event{Kind: Started, Host: fmt.Sprintf("w-%d", i), Step: "facts"}, at(900+i))
	}
	hears(930, "facts: 8 hosts are still at it, the longest for 30s: w-0, w-1, w-2, w-3, w-4 and 3 more")
	hears(931)
	hears(5000, "facts: 8 hosts are still at it, the longest for 1h8m20s: w-0, w-1, w-2, w-3, w-4 and 3 more")
}

// What a run says itself is enough; only when it falls silent it is told what it waits for.
func TestReminder_Silence(t *testing.T) {
	var sink heard
	r := newReminder(&sink)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	over := r.wait("the registry to answer", at(0), true)
	r.look(at(14))
	r.note(Event{Kind: Progress, Host: "pause", Step: "push"}, at(14))
	r.look(at(28))
	if got := sink.said(); len(got) != 0 {
		t.Errorf("between events: %q", got)
	}
	r.look(at(29))
	if got := sink.said(); !slices.Equal(got, []string{"wait: waiting for the registry to answer, 29s so far"}) {
		t.Errorf("got %q", got)
	}
	r.note(Event{Kind: Progress, Host: "pause", Step: "push"}, at(30))
	over()
	r.look(at(500))
	if got := sink.said(); len(got) != 0 {
		t.Errorf("after its end: %q", got)
	}
}

// A wait that is for another thing again and again is not silent for longer than one for a single thing.
func TestReminder_WaitingForWhatChanges(t *testing.T) {
	var sink heard
	r, at, hears := reminding(t, &sink)
	what := "node a"
	r.now = func() time.Time { return at(0) }
	over := r.WaitingFor(func() string { return what })
	what = "node b"
	hears(14)
	what = "node c"
	hears(15, "wait: waiting for node c, 15s so far")
	hears(30)
	hears(45, "wait: waiting for node c, 45s so far")
	what = "node d"
	hears(59)
	hears(60, "wait: waiting for node d, 1m0s so far")
	hears(75)
	over()
	hears(500, "over  wait:")
}

// What was said of a silence stands on a terminal until it is told that it is over: at the next event, or with the wait.
func TestReminder_SaysThatAWaitIsOver(t *testing.T) {
	var sink heard
	r := newReminder(&sink)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	over := r.wait("the registry to answer", at(0), true)
	r.look(at(15))
	if got := sink.events[0]; got.Kind != Progress || !got.Since.Equal(begin) {
		t.Errorf("got %+v", got)
	}
	r.Event(Event{Kind: Progress, Host: "pause", Step: "push"})
	r.Event(Event{Kind: Progress, Host: "pause", Step: "push"})
	over()
	if got := sink.said(); !slices.Equal(got, []string{"wait: waiting for the registry to answer, 15s so far", "over  wait:", "pause push:", "pause push:"}) {
		t.Errorf("got %q", got)
	}
}

// What ends a silence may be the end of a step as well.
func TestReminder_SaysThatAWaitIsOverAlsoWithAnEnd(t *testing.T) {
	var sink heard
	r := newReminder(&sink)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	defer r.wait("the registry to answer", begin, true)()
	r.look(begin.Add(15 * time.Second))
	r.Event(Event{Kind: Done, Host: "pause", Step: "push"})
	if got := sink.said(); !slices.Equal(got, []string{"wait: waiting for the registry to answer, 15s so far", "over  wait:", "pause push:"}) {
		t.Errorf("got %q", got)
	}
}

// A wait that was told of with another is as much told of as that one: it keeps its own pauses, and of two for the same the longer is said.
func TestReminder_EachWaitKeepsItsTime(t *testing.T) {
	var sink heard
	r, at, hears := reminding(t, &sink)
	a, b := r.wait("a", at(0), false), r.wait("b", at(3), false)
	hears(15, "wait: waiting for a, 15s so far; for b, 12s so far")
	hears(29)
	hears(30, "wait: waiting for a, 30s so far; for b, 27s so far")
	a()
	b()
	sink.said()

	first := r.wait("c", at(100), false)
	r.wait("c", at(105), false)
	first()
	r.wait("c", at(109), false) // which has the first one's place
	hears(120, "wait: waiting for c, 15s so far")
}

// A view shows one word about waits at a time, and of two that come soon after one another the first: so each names them all.
func TestReminder_TellsOfAllWaitsTogether(t *testing.T) {
	var sink heard
	r, at, hears := reminding(t, &sink)
	first := r.wait("the API server", at(0), false)
	second := r.wait("what registries say", at(3), false)
	hears(14)
	hears(15, "wait: waiting for the API server, 15s so far; for what registries say, 12s so far")
	hears(20)
	first()
	hears(21, "over  wait: waiting for what registries say, 17s so far")
	second()
	hears(22, "over  wait:")

	r.wait("a", at(100), false)
	hears(115, "wait: waiting for a, 15s so far")
	for _, what := range []string{"b", "c", "d", "e"} {
		r.wait(what, at(110), false)
	}
	hears(124)
	hears(125, "wait: waiting for a, 25s so far; for b, 15s so far; for c, 15s so far; and 2 more")
}

// Several may wait for the same: each is silent for itself, whichever ends first.
func TestReminder_SilenceOfSeveral(t *testing.T) {
	var sink heard
	r := newReminder(&sink)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	first := r.wait("the registry to answer", at(0), true)
	second := r.wait("the registry to answer", at(0), true)
	r.note(Event{Kind: Progress, Host: "pause", Step: "push"}, at(14))
	r.look(at(28))
	first()
	r.note(Event{Kind: Progress, Host: "pause", Step: "push"}, at(28))
	r.look(at(42))
	if got := sink.said(); len(got) != 0 {
		t.Errorf("between events: %q", got)
	}
	over := r.wait("the registry to answer", at(43), false) // of a run that says nothing
	r.note(Event{Kind: Progress, Host: "pause", Step: "push"}, at(57))
	r.look(at(58))
	if got := sink.said(); !slices.Equal(got, []string{"wait: waiting for the registry to answer, 15s so far"}) {
		t.Errorf("got %q", got)
	}
	second()
	over()
	if len(r.open) != 0 {
		t.Errorf("open: %v", r.open)
	}
}

// Pauses grow, but not without end.
func TestReminder_IsNeverSilentForLong(t *testing.T) {
	var sink heard
	r := newReminder(&sink)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r.note(Event{Kind: Started, Host: "a", Step: "join"}, now)
	reminders, last := 0, now
	for range 3600 {
		now = now.Add(time.Second)
		r.look(now)
		if n := len(sink.said()); n > 0 {
			reminders += n
			last = now
		}
		if now.Sub(last) > longestSilence {
			t.Fatalf("silent for %v", now.Sub(last))
		}
	}
	if reminders > 40 {
		t.Errorf("%d reminders in an hour", reminders)
	}
}

func TestRemind_PassesEventsOnAndEnds(t *testing.T) {
	var sink heard
	r := Remind(&sink)
	r.Event(Event{Kind: Started, Host: "a", Step: "os", Message: "hello"})
	r.Close()
	r.Close()
	r.Event(Event{Kind: Done, Host: "a", Step: "os", Message: "bye"})
	if got := sink.said(); !slices.Equal(got, []string{"a os: hello", "a os: bye"}) {
		t.Errorf("got %q", got)
	}
	r.Waiting("something")()
	if len(r.open) != 0 {
		t.Errorf("open: %v", r.open)
	}
}
