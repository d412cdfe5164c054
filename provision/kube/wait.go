package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// WaitOptions tell a wait how. The zero value works.
type WaitOptions struct {
	Window   time.Duration   // how long everything must stay as it is wanted
	Progress func([]Missing) // called whenever what is missing has changed; must not block
	// DaemonSets are those that have to want every node, as patterns of "namespace/name" (path.Match); "*/*" is any. It is for WaitDaemonSets
	// alone, to which a DaemonSet that is not there, or that a taint keeps away, is otherwise none to wait for.
	DaemonSets []string
}

// Missing is one thing that a wait still waits for.
type Missing struct {
	Object string // "node arm-1", "daemonset kube-system/kube-proxy on arm-1"
	Node   string // the node it is on, or is
	Reason string // one line
}

// String is the object with its reason.
func (m Missing) String() string { return m.Object + ": " + m.Reason }

// NotReadyError is ErrNotReady with everything that was missing when the wait ended.
type NotReadyError struct {
	What    string // "nodes", "DaemonSet pods", …
	Missing []Missing
	Cause   error // the context's error, or why the API server could not be watched
}

// shown is how many missing things stand in an error's text.
const shown = 8

func (e *NotReadyError) Error() string {
	text := e.What + " not ready"
	for i, m := range e.Missing[:min(len(e.Missing), shown)] {
		text += []string{": ", "; "}[min(i, 1)] + m.String()
	}
	if more := len(e.Missing) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	if e.Cause != context.DeadlineExceeded { // that alone is what every wait ends with
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives ErrNotReady and the cause.
func (e *NotReadyError) Unwrap() []error { return []error{ErrNotReady, e.Cause} }

// check looks at a view and tells what is missing. settle is when something that only has to stay as it is will have done so
// long enough; zero when only a change can help.
type check func(now time.Time) (missing []Missing, settle time.Duration)

// await looks again at every change until nothing is missing, and never finishes on a picture that is not live.
func (v *view) await(ctx context.Context, what string, look check, progress func([]Missing)) error {
	var missing, told []Missing
	for {
		var settle time.Duration
		trouble, fatal := v.live()
		switch {
		case fatal:
			return &NotReadyError{what, missing, trouble}
		case trouble == nil:
			if missing, settle = look(time.Now()); len(missing) == 0 {
				return nil
			}
			slices.SortFunc(missing, func(a, b Missing) int { return strings.Compare(a.Object, b.Object) })
			if progress != nil && !slices.Equal(missing, told) {
				told = missing
				progress(slices.Clone(missing))
			}
		}
		if err := v.pause(ctx, settle); err != nil {
			if trouble != nil {
				err = ended(err, trouble)
			}
			return &NotReadyError{what, missing, err}
		}
	}
}

// pause returns at the next change, or after settle when that is not zero, or with the context's error.
func (v *view) pause(ctx context.Context, settle time.Duration) error {
	var timer <-chan time.Time
	if settle > 0 {
		t := time.NewTimer(settle)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-v.changed:
	case <-timer:
	}
	return nil
}

// await watches the sources for the length of one wait.
func (c *Client) await(ctx context.Context, what string, o WaitOptions, look func(stores []*viewStore) check, sources ...source) error {
	if o.Progress == nil && c.waiting != nil { // else what is missing is told as it changes
		var now atomic.Pointer[string]
		now.Store(&what)
		defer c.waiting(func() string { return *now.Load() })()
		o.Progress = func(missing []Missing) {
			text := what + ": " + summary(missing)
			now.Store(&text)
		}
	}
	watching, stop := context.WithCancel(ctx)
	v := c.watch(watching, sources...)
	err := v.await(ctx, what, look(v.stores), o.Progress)
	stop()
	v.done.Wait()
	return err
}

// summary is the first of what is missing, and how many others there are.
func summary(missing []Missing) string {
	text := missing[0].String()
	if more := len(missing) - 1; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// clockSkew is how far a host's clock may be off when its time stamps are compared with this machine's clock.
const clockSkew = 10 * time.Second

// settling remembers since when things have been in their present state.
type settling struct {
	window time.Duration
	seen   map[string]seen
}

type seen struct {
	state string
	since time.Time
}

func newSettling(window time.Duration) *settling {
	return &settling{window: window, seen: map[string]seen{}}
}

// left tells how long the thing still has to stay in that state. The time counts from when the state was first seen here;
// since, by the host's clock, only serves to see that it has lasted long enough already, whatever the clocks.
func (s *settling) left(key, state string, since, now time.Time) time.Duration {
	if was, ok := s.seen[key]; !ok || was.state != state {
		s.seen[key] = seen{state, now}
	}
	if now.Sub(since) >= s.window+clockSkew {
		return 0
	}
	return max(0, s.window-now.Sub(s.seen[key].since))
}

// lost forgets a thing that is not in the wanted state.
func (s *settling) lost(key string) { delete(s.seen, key) }

// unsettled is the reason for something that is fine, but not for long enough.
func (s *settling) unsettled(what string) string { return what + " for less than " + s.window.String() }

// sooner is the earlier of two moments to look again, where zero is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
