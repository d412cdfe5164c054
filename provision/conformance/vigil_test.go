package conformance

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestVigil_SaysWhatIsWaitedFor(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := begin
	var said []string
	view := newView(nil, 0)
	event := func(e report.Event) {
		if (e.Kind == report.Over) != e.Since.IsZero() {
			t.Errorf("%s since %v", e.Kind, e.Since)
		}
		said = append(said, map[bool]string{true: "over "}[e.Kind == report.Over]+e.Step+": "+e.Message)
	}
	v := &vigil{event: event, clock: func() time.Time { return now }, silence: 15 * time.Second, view: view}
	hears := func(after int, want ...string) {
		t.Helper()
		now = begin.Add(time.Duration(after) * time.Second)
		v.look()
		if !slices.Equal(said, want) {
			t.Errorf("after %d s: %q, want %q", after, said, want)
		}
		said = nil
	}
	v.begin(6)
	v.tries(1, "S1/b")
	view.pods = map[string]kube.Pod{
		"a": {Name: "a", Ready: true}, "b": {Name: "b", Problem: "ContainerCreating"}, "c": {Name: "c", Ended: true, Problem: "it is to fail"},
	}
	view.events = []kube.Event{{Object: "Pod/b", Type: "Warning", Reason: "FailedMount", Message: "no\nsuch volume"}}
	hears(14)
	hears(15, "checks: no cell has ended for 15s; tried: S1/b; 5 cells wait for pods, or for others to end; pod b: ContainerCreating (FailedMount: no; such volume)")
	hears(44)
	clear(view.pods)
	hears(45, "checks: no cell has ended for 45s; tried: S1/b; 5 cells wait for pods, or for others to end")
	v.end(1)
	hears(59, "over checks: ")
	for i, id := range []string{"S1/d", "S1/a", "S1/c", "S1/e"} {
		v.tries(2+i, id)
	}
	hears(60, "checks: no cell has ended for 15s; tried: S1/a, S1/c, S1/d and 1 more; 1 cell waits for pods, or for others to end")
	for i := range 5 {
		v.end(i)
	}
	hears(500, "over checks: ")
}

// A run that waits says for what, and a run in which cells end is not talked about.
func TestRun_IsNotSilent(t *testing.T) {
	for name, stuck := range map[string]bool{"a pod does not start": true, "all is well": false} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			c.node("arm-1").stuck = stuck
			o := c.options()
			o.Checks = []string{"S4"}
			if stuck {
				o.Patience, o.pace.silence = time.Second, 50*time.Millisecond
			}
			var mu sync.Mutex
			var said []string
			o.Event = func(e report.Event) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, string(e.Kind)+" "+e.Step+" "+e.Message)
			}
			d, err := fullRun(t, o)
			if err != nil || stuck != (d.Verdict() == report.Failing) {
				t.Errorf("%s, %v", d.Verdict(), err)
			}
			waits := slices.ContainsFunc(said, func(s string) bool {
				return strings.HasPrefix(s, "progress checks no cell has ended for ") && strings.Contains(s, "; pod ")
			})
			if waits != stuck {
				t.Errorf("it is told of: %t, want %t: %q", waits, stuck, said)
			}
			for _, want := range []string{"started clean up ", "done clean up "} {
				if !slices.Contains(said, want) {
					t.Errorf("no %q in %q", want, said)
				}
			}
			if slices.Contains(said, "done evidence ") != stuck {
				t.Errorf("evidence: %q", said)
			}
		})
	}
}
