package conformance

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// view is the run's namespace as it is at the moment: one watch, which every cell that waits for a pod shares.
type view struct {
	clock    func() time.Time
	patience time.Duration // how long pods have to start

	mu      sync.Mutex
	asked   map[string]object // the pods that are made, by name
	altered map[string]error  // what became of those that are not as they were asked for
	pods    map[string]kube.Pod
	since   map[string]time.Time // by UID: when a pod was first seen Ready
	events  []kube.Event
	ended   error         // why there is nothing new any more
	changed chan struct{} // closed at the next change
}

func newView(clock func() time.Time, patience time.Duration) *view {
	return &view{
		clock: clock, patience: patience, asked: map[string]object{}, altered: map[string]error{}, pods: map[string]kube.Pod{}, since: map[string]time.Time{},
		changed: make(chan struct{}),
	}
}

// follow watches until the context ends.
func (v *view) follow(ctx context.Context, api API, namespace string) {
	err := api.WaitPods(ctx, namespace, func(pods []kube.Pod, events []kube.Event) []kube.Missing {
		v.mu.Lock()
		defer v.mu.Unlock()
		clear(v.pods)
		for _, p := range pods {
			v.pods[p.Name] = p
			v.compare(p)
			if _, seen := v.since[p.UID]; p.Ready && !seen {
				v.since[p.UID] = v.clock()
			}
		}
		v.events = events
		close(v.changed)
		v.changed = make(chan struct{})
		return []kube.Missing{{Object: "the run", Reason: "goes on"}} // never enough: the watch ends with the run
	}, kube.WaitOptions{Progress: func([]kube.Missing) {}}) // it is no wait to be told of
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = err
	close(v.changed)
	v.changed = make(chan struct{})
}

// claim is something that will be true of a namespace. reason is what it still waits for, "" when it is true; one that gives up says so.
type claim func(pods map[string]kube.Pod, events []kube.Event) (reason string, givesUp bool)

// until waits for a claim to be true. The error is its reason when the context ends first, or when it gives up.
func (v *view) until(ctx context.Context, claim claim) error {
	for {
		v.mu.Lock()
		reason, givesUp := claim(v.pods, v.events)
		ended, changed := v.ended, v.changed
		v.mu.Unlock()
		switch {
		case reason == "":
			return nil
		case givesUp:
			return fmt.Errorf("%s", reason)
		case ended != nil && ctx.Err() == nil:
			return fmt.Errorf("%s; the API server cannot be watched any more: %w", reason, ended)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s", reason)
		}
	}
}

// shows waits for a claim to be true, as long as pods have to start.
func (v *view) shows(ctx context.Context, claim claim) outcome {
	ctx, cancel := context.WithTimeout(ctx, v.patience)
	defer cancel()
	if err := v.until(ctx, claim); err != nil {
		return failed("%v", err)
	}
	return passed()
}

// readySince is when a pod was first seen Ready.
func (v *view) readySince(name string) time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.since[v.pods[name].UID]
}

// uid is that of a pod; empty when it is not there.
func (v *view) uid(name string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pods[name].UID
}

// warning is the newest warning about an object, as one sentence; empty when there is none.
func (v *view) warning(object string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return lastWarning(v.events, object)
}

// ready waits for a pod to be Ready, as it was asked for.
func (v *view) ready(ctx context.Context, name string) (kube.Pod, error) {
	var pod kube.Pod
	err := v.until(ctx, func(pods map[string]kube.Pod, events []kube.Event) (string, bool) {
		p, ok := pods[name]
		if !ok {
			return "pod " + name + " does not exist yet", false
		}
		pod = p
		if v.altered[name] != nil || p.Ready && p.IP != "" {
			return "", false
		}
		return problemOf(p, events), p.Ended
	})
	return pod, cmp.Or(v.alteration(name), err)
}

// problemOf is why a pod is not Ready.
func problemOf(p kube.Pod, events []kube.Event) string {
	reason := "pod " + p.Name + ": " + p.Problem
	if last := lastWarning(events, "Pod/"+p.Name); last != "" {
		reason += " (" + last + ")"
	}
	return reason
}

// problems are why pods are not Ready that may still be, by their names.
func (v *view) problems() (out []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(v.pods)) {
		if p := v.pods[name]; !p.Ready && !p.Ended {
			out = append(out, report.OneLine(problemOf(p, v.events)))
		}
	}
	return out
}

// now is a pod that is Ready at this moment. Cells have waited for it before: one that is not any more does not come back.
func (v *view) now(name string) (kube.Pod, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return v.ready(ctx, name)
}

// lastWarning is the newest warning about an object, as one sentence.
func lastWarning(events []kube.Event, object string) string {
	var last kube.Event
	for _, e := range events {
		if e.Object == object && e.Type == "Warning" && (last.Reason == "" || e.Last.After(last.Last)) {
			last = e
		}
	}
	if last.Reason == "" {
		return ""
	}
	return last.Reason + ": " + last.Message
}

// warnings are what was said about an object, as one text, but for some reasons.
func warnings(events []kube.Event, object string, but ...string) string {
	var text string
	for _, e := range events {
		if e.Object == object && e.Type == "Warning" && !slices.Contains(but, e.Reason) {
			text += e.Reason + ": " + e.Message + "\n"
		}
	}
	return text
}

// saidOf reports whether a reason was given for an object, with words that it is about.
func saidOf(events []kube.Event, object, reason, words string) bool {
	return slices.ContainsFunc(events, func(e kube.Event) bool {
		return e.Object == object && e.Reason == reason && strings.Contains(e.Message, words)
	})
}
