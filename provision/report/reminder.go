package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Patience is how long a run may wait for something without a word.
const Patience = 15 * time.Second

// longestSilence is the pause between two reminders of the same wait, which grows up to that.
const longestSilence = 2 * time.Minute

// together is how far apart reminders of one kind are at least: what is due so soon after another is told with it. A view of lines
// leaves out the second of two that come closer.
const together = 5 * time.Second

// Reminder is a Sink in front of another that lets no wait be silent: what has begun and says nothing for Patience is told of, with
// how long it has taken and what it last said; then again, more and more rarely. It tells nothing of its own otherwise.
type Reminder struct {
	next Sink
	now  func() time.Time

	telling sync.Mutex // held while waits are told of: that one is over must not overtake that it goes on
	mu      sync.Mutex
	open    map[activity]*state
	closed  chan struct{}
	once    sync.Once
}

// activity is a step of a host, or something that is waited for.
type activity struct {
	host, step, what string // what is "" for a step
	id               int    // of two waits for the same
}

type state struct {
	name        func() string // what is waited for by now; nil = the activity's what
	named       string        // what it was when it was last told of
	begun, told time.Time     // told: the last word about it, of anybody
	pause       time.Duration
	said        string // by itself
	quiet       bool   // told of only while nothing else is said either
	shown       bool   // a wait that the last word about waits names
}

// Remind puts a Reminder in front of next until Close.
func Remind(next Sink) *Reminder {
	r := newReminder(next)
	go func() { // ends with Close
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-r.closed:
				return
			case now := <-tick.C:
				r.look(now)
			}
		}
	}()
	return r
}

func newReminder(next Sink) *Reminder {
	return &Reminder{next: next, now: time.Now, open: map[activity]*state{}, closed: make(chan struct{})}
}

// Close ends the reminders; events still pass.
func (r *Reminder) Close() { r.once.Do(func() { close(r.closed) }) }

// Event notes what begins and ends, and passes the event on.
func (r *Reminder) Event(e Event) {
	if r.note(e, r.now()) {
		r.tellLeft()
	}
	r.next.Event(e)
}

// note reports whether a silence that was told of is over.
func (r *Reminder) note(e Event, now time.Time) (over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.open {
		if s.quiet {
			over = over || s.shown
			s.told, s.pause, s.shown = now, Patience, false
		}
	}
	a := activity{host: e.Host, step: e.Step}
	if e.Kind == Done {
		delete(r.open, a)
		return over
	}
	s := r.open[a]
	if s == nil {
		if e.Kind != Started {
			return over // a word in passing
		}
		s = &state{begun: now}
		r.open[a] = s
	}
	s.told, s.pause, s.said = now, Patience, cmp.Or(e.Message, s.said)
	return over
}

// Waiting notes that something is waited for, until the returned function is called. It says nothing unless that takes long.
func (r *Reminder) Waiting(what string) (over func()) { return r.wait(what, r.now(), false) }

// WaitingFor is Waiting for what may be another thing by and by: it is asked what that is when it is told of, and tells of another after Patience.
// what must not block, nor call the Reminder.
func (r *Reminder) WaitingFor(what func() string) (over func()) {
	return r.waitFor(what(), what, r.now(), false)
}

// Silence is Waiting for a run that says what it does: it is told of only when no event comes either.
func (r *Reminder) Silence(what string) (over func()) { return r.wait(what, r.now(), true) }

func (r *Reminder) wait(what string, now time.Time, quiet bool) (over func()) {
	return r.waitFor(what, nil, now, quiet)
}

func (r *Reminder) waitFor(what string, name func() string, now time.Time, quiet bool) (over func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := activity{what: what}
	for r.open[a] != nil {
		a.id++
	}
	s := &state{name: name, begun: now, told: now, pause: Patience, quiet: quiet}
	r.open[a] = s
	return func() {
		if r.end(a, s) {
			r.tellLeft()
		}
	}
}

// end reports whether the wait was told of.
func (r *Reminder) end(a activity, s *state) (told bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[a] != s {
		return false
	}
	delete(r.open, a)
	return s.shown
}

// tellLeft tells that a wait is over, and which of those that were told of with it go on.
func (r *Reminder) tellLeft() {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.next.Event(r.left(r.now()))
}

func (r *Reminder) left(now time.Time) Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []activity
	for a, s := range r.open {
		if s.shown {
			list = append(list, a)
		}
	}
	e := r.waits(list, now)
	e.Kind = Over
	return e
}

// look tells of everything that has been silent for too long: each step and all waits in one event, however many hosts are at it.
func (r *Reminder) look(now time.Time) {
	r.telling.Lock()
	defer r.telling.Unlock()
	for _, e := range r.due(now) {
		r.next.Event(e)
	}
}

func (r *Reminder) due(now time.Time) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	silent, late := map[activity][]activity{}, map[activity]bool{}
	for a, s := range r.open {
		if s.name != nil && s.name() != s.named {
			s.pause = Patience
		}
		since := now.Sub(s.told)
		if since <= s.pause-together && !s.shown {
			continue
		}
		kind := activity{step: a.step}
		silent[kind] = append(silent[kind], a)
		late[kind] = late[kind] || since >= s.pause
	}
	var out []Event
	for kind, list := range silent {
		if !late[kind] {
			continue
		}
		slices.SortFunc(list, func(a, b activity) int { return cmp.Or(strings.Compare(a.host, b.host), cmp.Compare(a.id, b.id)) })
		if list[0].what != "" {
			out = append(out, r.waits(list, now))
		} else {
			out = append(out, r.reminder(list, now))
		}
		for _, a := range list {
			s := r.open[a]
			if now.Sub(s.told) >= s.pause {
				s.pause = min(2*s.pause, longestSilence)
			}
			s.told, s.shown = now, a.what != ""
		}
	}
	slices.SortFunc(out, func(a, b Event) int {
		return cmp.Or(strings.Compare(a.Step, b.Step), strings.Compare(a.Host, b.Host), strings.Compare(a.Message, b.Message))
	})
	return out
}

// waits is one event about all that is waited for, what has lasted longest first.
func (r *Reminder) waits(list []activity, now time.Time) Event {
	const most = 3
	e := Event{Time: now, Kind: Progress, Step: "wait"}
	begun := map[string]time.Time{}
	for _, a := range list {
		name, s := a.what, r.open[a]
		if s.name != nil {
			name = s.name()
			s.named = name
		}
		if first, ok := begun[name]; !ok || s.begun.Before(first) {
			begun[name] = s.begun
		}
	}
	names := slices.SortedFunc(maps.Keys(begun), func(a, b string) int { return cmp.Or(begun[a].Compare(begun[b]), strings.Compare(a, b)) })
	for i, name := range names[:min(len(names), most)] {
		if i == 0 {
			e.Since, e.Message = begun[name], "waiting "
		} else {
			e.Message += "; "
		}
		e.Message += fmt.Sprintf("for %s, %s so far", name, now.Sub(begun[name]).Round(time.Second))
	}
	if more := len(names) - most; more > 0 {
		e.Message += fmt.Sprintf("; and %d more", more)
	}
	return e
}

// reminder is one event about the same step of hosts.
func (r *Reminder) reminder(list []activity, now time.Time) Event {
	first, longest := list[0], time.Duration(0)
	var hosts []string
	for _, a := range list {
		longest = max(longest, now.Sub(r.open[a].begun))
		hosts = append(hosts, a.host)
	}
	e := Event{Time: now, Kind: Progress, Host: first.host, Step: first.step}
	since := longest.Round(time.Second)
	switch said := r.open[first].said; {
	case len(list) > 1:
		e.Host, e.Message = "", fmt.Sprintf("%d hosts are still at it, the longest for %s: %s", len(list), since, someOf(hosts))
	case said != "":
		e.Message = fmt.Sprintf("%s; still at it after %s", said, since)
	default:
		e.Message = fmt.Sprintf("still at it after %s", since)
	}
	return e
}

// someOf names a few hosts and counts the others.
func someOf(hosts []string) string {
	const most = 5
	if len(hosts) <= most {
		return strings.Join(hosts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(hosts[:most], ", "), len(hosts)-most)
}
