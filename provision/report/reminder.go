package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Patience is how long a run may wait for something without a word.
const Patience = 15 * time.Second

// longestSilence is the pause between two reminders of the same wait, which grows up to that.
const longestSilence = 2 * time.Minute

// Reminder is a Sink in front of another that lets no wait be silent: what has begun and says nothing for Patience is told of, with
// how long it has taken and what it last said; then again, more and more rarely. It tells nothing of its own otherwise.
type Reminder struct {
	next Sink

	mu     sync.Mutex
	open   map[activity]*state
	closed chan struct{}
	once   sync.Once
}

// activity is a step of a host, or something that is waited for.
type activity struct {
	host, step, what string // what is "" for a step
	id               int    // of two waits for the same
}

type state struct {
	begun, told time.Time // told: the last word about it, of anybody
	pause       time.Duration
	said        string // by itself
	quiet       bool   // told of only while nothing else is said either
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
	return &Reminder{next: next, open: map[activity]*state{}, closed: make(chan struct{})}
}

// Close ends the reminders; events still pass.
func (r *Reminder) Close() { r.once.Do(func() { close(r.closed) }) }

// Event notes what begins and ends, and passes the event on.
func (r *Reminder) Event(e Event) {
	r.note(e, time.Now())
	r.next.Event(e)
}

func (r *Reminder) note(e Event, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.open {
		if s.quiet {
			s.told, s.pause = now, Patience
		}
	}
	a := activity{host: e.Host, step: e.Step}
	if e.Kind == Done {
		delete(r.open, a)
		return
	}
	s := r.open[a]
	if s == nil {
		if e.Kind != Started {
			return // a word in passing
		}
		s = &state{begun: now}
		r.open[a] = s
	}
	s.told, s.pause, s.said = now, Patience, cmp.Or(e.Message, s.said)
}

// Waiting notes that something is waited for, until the returned function is called. It says nothing unless that takes long.
func (r *Reminder) Waiting(what string) (over func()) { return r.wait(what, time.Now(), false) }

// Silence is Waiting for a run that says what it does: it is told of only when no event comes either.
func (r *Reminder) Silence(what string) (over func()) { return r.wait(what, time.Now(), true) }

func (r *Reminder) wait(what string, now time.Time, quiet bool) (over func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := activity{what: what}
	for r.open[a] != nil {
		a.id++
	}
	r.open[a] = &state{begun: now, told: now, pause: Patience, quiet: quiet}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.open, a)
	}
}

// look tells of everything that has been silent for too long: each step and each wait in one event, however many hosts are at it.
func (r *Reminder) look(now time.Time) {
	for _, e := range r.due(now) {
		r.next.Event(e)
	}
}

func (r *Reminder) due(now time.Time) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	silent := map[activity][]activity{}
	for a, s := range r.open {
		if now.Sub(s.told) < s.pause {
			continue
		}
		kind := activity{step: a.step, what: a.what}
		silent[kind] = append(silent[kind], a)
	}
	var out []Event
	for _, list := range silent {
		slices.SortFunc(list, func(a, b activity) int { return cmp.Or(strings.Compare(a.host, b.host), cmp.Compare(a.id, b.id)) })
		out = append(out, r.reminder(list, now))
		for _, a := range list {
			s := r.open[a]
			s.told, s.pause = now, min(2*s.pause, longestSilence)
		}
	}
	slices.SortFunc(out, func(a, b Event) int {
		return cmp.Or(strings.Compare(a.Step, b.Step), strings.Compare(a.Host, b.Host), strings.Compare(a.Message, b.Message))
	})
	return out
}

// reminder is one event about activities of one kind.
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
	case first.what != "":
		e.Step, e.Message = "wait", fmt.Sprintf("waiting for %s, %s so far", first.what, since)
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
