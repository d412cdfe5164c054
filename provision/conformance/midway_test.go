package conformance

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestRun_Interrupted(t *testing.T) {
	for name, when := range map[string]func(c *fake, o *Options, cancel func()){
		"while setting up": func(c *fake, _ *Options, cancel func()) {
			c.onApply = func(kind, _ string) {
				if kind == "Pod" {
					cancel()
				}
			}
		},
		"while pods start": func(c *fake, o *Options, cancel func()) { c.node("arm-1").stuck = true; o.Event = onDone("N1", cancel) },
		"while cells are tried": func(c *fake, _ *Options, cancel func()) {
			c.onExec = func(string, string) error { cancel(); return nil }
		},
		"when most is done": func(_ *fake, o *Options, cancel func()) { o.Event = onDone("S8", cancel) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			when(c, &o, func() { cancel(errors.New("SIGINT")) })
			o.KeepOnFailure = true // an interruption is no failure
			var planned []Cell
			o.Planned = func(cells []Cell) { planned = cells }
			d, err := Run(ctx, o)
			wantComplete(t, d, planned)
			if err == nil || !strings.Contains(err.Error(), "SIGINT") || !strings.Contains(d.Error, "interrupted") || errors.Is(err, ErrSetup) || d.Verdict() != report.Failing {
				t.Errorf("got %v, %q", err, d.Error)
			}
			for _, cell := range d.Cells {
				if cell.Verdict == report.Failing || cell.Verdict == report.Flaky {
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
			c.wantNothingLeft(t)
		})
	}
}

// onDone acts at the end of the first cell of a check.
func onDone(check string, act func()) func(report.Event) {
	var once sync.Once
	return func(e report.Event) {
		if e.Kind == report.Done && e.Step == check {
			once.Do(act)
		}
	}
}

// A node that goes away takes its own cells with it, and no others; the run ends, and says so.
func TestRun_ANodeGoesAway(t *testing.T) {
	c := newFake(t, amd64, arm64, arm64)
	o := c.options()
	o.pace.rulesLag, o.pace.start, o.pace.answer = 100*time.Millisecond, time.Second, time.Second
	o.pace.attempt, o.pace.stream = time.Second, 2*time.Second
	o.Patience = time.Second
	c.onExec = func(pod, _ string) error {
		if pod == "a-0" {
			c.goAway("arm-1") // it hears nothing of what it is asked
		}
		return nil
	}
	d, err := fullRun(t, o)
	if err == nil || !strings.Contains(d.Error, "arm-1: ") || !strings.Contains(d.Error, "the connection was lost") {
		t.Errorf("that its host could not be cleaned is not said: %v", err)
	}
	passed := 0
	for _, cell := range d.Cells {
		concerned := cell.Class == "arm64" || cell.Dst != nil && cell.Dst.Node == "arm-1" || cell.Src != nil && (cell.Src.Node == "arm-1" || strings.HasSuffix(cell.Src.Where, "arm-1"))
		switch {
		case cell.Verdict == report.Passed:
			passed++
		case !concerned && !always(cell) && cell.Name != "dns/each-server":
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
	if passed == 0 || d.Verdict() != report.Failing {
		t.Errorf("%d cells passed; the run's verdict is %s", passed, d.Verdict())
	}
	c.wantNothingLeft(t)
}

// A client that cannot be asked any more has not seen that nothing answers.
func TestRun_SilenceOfTheClientIsNotSilenceOfTheService(t *testing.T) {
	c := newFake(t, amd64, arm64)
	o := c.options()
	o.pace.attempt, o.pace.rulesLag, o.pace.answer, o.pace.start = 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond, time.Second
	o.Checks = []string{"S6"}
	c.onApply = func(kind, name string) {
		c.mu.Lock()
		again := c.svcs["stay-0"] != nil // the second time its endpoint is taken away
		c.mu.Unlock()
		if kind == "Service" && name == "stay-0" && again {
			c.goAway("arm-1")
		}
	}
	d, err := fullRun(t, o)
	if err == nil {
		t.Error("the lost host is not said")
	}
	for _, cell := range d.Cells {
		if cell.Name == "endpoint-removed" && cell.Dst.Node == "arm-1" && cell.Verdict == report.Passed {
			t.Errorf("%s passed", cell.ID())
		}
	}
}

// One lost packet is not yet a closed port.
func TestRun_OneSilenceIsNotTheEnd(t *testing.T) {
	c := newFake(t, arm64)
	c.lingers = "stay-0"
	var mu sync.Mutex
	silences := 0
	c.intercept = func(from, to *fakePod, network string) error {
		mu.Lock()
		defer mu.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		if s := c.svcs["stay-0"]; s != nil && s.selector[slotLabel] == "none" && silences == 0 {
			silences++
			return unanswered(network)
		}
		return nil
	}
	o := c.options()
	o.pace.rulesLag = 200 * time.Millisecond
	o.Checks = []string{"S6"}
	d, err := fullRun(t, o)
	if err != nil {
		t.Error(err)
	}
	for _, cell := range d.Cells {
		if cell.Name == "endpoint-removed" && (cell.Verdict != report.Failing || silences == 0) {
			t.Errorf("%s: %s %s; %d silences", cell.ID(), cell.Verdict, cell.Reason, silences)
		}
	}
}

// A node that joins while the run is on its way is none of those it knows.
func TestRun_ANodeJoins(t *testing.T) {
	c := newFake(t, amd64, arm64)
	late := *c.node("arm-1")
	late.name, late.place, late.address, late.dir = "arm-0", 5, c.ip("200.6"), filepath.Join(c.dir, "late")
	o := c.options()
	o.Checks = []string{"D"}
	o.Planned = func([]Cell) { c.nodes = append([]*fakeNode{&late}, c.nodes...) }
	d, err := Run(t.Context(), o)
	if err != nil {
		t.Error(err)
	}
	for _, cell := range d.Cells {
		if cell.Class == "arm64" && (cell.Verdict != report.Failing || !strings.Contains(cell.Reason, "the pod is on arm-0, which was not there when the run began")) || cell.Class != "arm64" && cell.Verdict != report.Passed {
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
}

func TestRun_Keep(t *testing.T) {
	for _, k := range []struct {
		name                string
		keep, onFail, fails bool
		kept                bool
	}{
		{"keep", true, false, false, true},
		{"keep on failure, and it fails", false, true, true, true},
		{"keep on failure, and it passes", false, true, false, false},
		{"it fails", false, false, true, false},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			o.Checks, o.Keep, o.KeepOnFailure = []string{"S4", "S8"}, k.keep, k.onFail
			var said []string
			var mu sync.Mutex
			o.Event = func(e report.Event) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, e.Message)
			}
			if k.fails {
				c.lie = func(w *probe.Who) { w.Node = "elsewhere" }
			}
			d, err := fullRun(t, o)
			if err != nil || (d.Verdict() == report.Failing) != k.fails {
				t.Errorf("%s, %v", d.Verdict(), err)
			}
			if !k.kept {
				c.wantNothingLeft(t)
				return
			}
			if !c.spaces["hybridctl-conformance-"+testRun] || len(c.pods) == 0 {
				t.Error("nothing is kept")
			}
			if !slices.ContainsFunc(said, func(s string) bool {
				return strings.Contains(s, "hybridctl-conformance-"+testRun+" is kept") && strings.Contains(s, "hybridctl conformance clean")
			}) {
				t.Errorf("it is not said: %v", said)
			}
			if err := Clean(t.Context(), c, o.Machines, testRun); err != nil {
				t.Error(err)
			}
			c.wantNothingLeft(t)
		})
	}
}

// Evidence is gathered where a cell failed, before anything is taken away, and holds no secret.
func TestRun_Evidence(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.node("arm-1").emulates = true
	o := c.options()
	o.Checks = []string{"N2"}
	var mu sync.Mutex
	files := map[string]string{}
	o.Evidence = func(name string, body []byte) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		files[name] = string(body)
		return "evidence/" + name, nil
	}
	d, err := fullRun(t, o)
	if err != nil {
		t.Error(err)
	}
	for _, cell := range d.Cells {
		want := []string(nil)
		if cell.Verdict == report.Failing {
			want = []string{"evidence/arm-1-cluster.txt", "evidence/arm-1-host.txt"}
			if !strings.Contains(cell.Cause, "binfmt") || cell.Hint == "" {
				t.Errorf("cause %q, hint %q", cell.Cause, cell.Hint)
			}
		}
		if !slices.Equal(cell.Evidence, want) {
			t.Errorf("%s: %v", cell.ID(), cell.Evidence)
		}
	}
	if len(files) != 2 || !strings.Contains(files["arm-1-cluster.txt"], "pod foreign-0") || !strings.Contains(files["arm-1-host.txt"], "journal of arm-1: password=<withheld>") {
		t.Errorf("%v", files)
	}
}

// A dead node says nothing. What waits for it ends, long before pods may no longer start.
func TestRun_NobodyWaitsForADeadNode(t *testing.T) {
	c := newFake(t, amd64, arm64)
	o := c.options()
	o.pace.nodes, o.pace.away = 20*time.Millisecond, 200*time.Millisecond
	o.pace.start, o.pace.answer, o.pace.attempt, o.pace.stream = 300*time.Millisecond, 300*time.Millisecond, time.Second, 2*time.Second
	o.Patience, o.Checks = time.Hour, []string{"N1", "S4", "S5"}
	o.Window = time.Millisecond
	var once sync.Once
	c.onExec = func(pod, _ string) error {
		if pod == "a-0" {
			once.Do(func() { c.goAway("arm-1") })
		}
		return nil
	}
	d, err := fullRun(t, o)
	if err == nil {
		t.Error("that its host could not be cleaned is not said")
	}
	said := 0
	for _, cell := range d.Cells {
		if strings.Contains(cell.Reason, "node arm-1 went away during the run: it has not been Ready for ") {
			said++
		}
	}
	if said == 0 || d.Verdict() != report.Failing {
		for _, cell := range d.Cells {
			t.Logf("%s %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
		t.Errorf("%d cells say that the node went away; verdict %s", said, d.Verdict())
	}
}

func TestAttendance(t *testing.T) {
	a := newAttendance([]Node{{RunNode: report.RunNode{Name: "x"}}, {RunNode: report.RunNode{Name: "y"}}})
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	both, done := a.while(context.Background(), "x", "y")
	defer done()
	other, doneOther := a.while(context.Background(), "y", "", "unknown")
	defer doneOther()
	for _, s := range []struct {
		after time.Duration
		ready bool
		away  bool
	}{{0, false, false}, {time.Minute, false, false}, {90 * time.Second, true, false}, {2 * time.Minute, false, false}, {3 * time.Minute, false, false}, {4 * time.Minute, false, true}} {
		a.see("x", s.ready, begin.Add(s.after), 2*time.Minute)
		if s.away {
			<-both.Done()
		}
		if (both.Err() != nil) != s.away || other.Err() != nil {
			t.Errorf("after %s: %v, %v", s.after, context.Cause(both), other.Err())
		}
	}
	if want := "node x went away during the run: it has not been Ready for 2m0s"; context.Cause(both).Error() != want {
		t.Errorf("%v", context.Cause(both))
	}
	a.see("x", true, begin.Add(5*time.Minute), 2*time.Minute)
	again, doneAgain := a.while(context.Background(), "x")
	defer doneAgain()
	if again.Err() != nil {
		t.Error("it is back, and is still away")
	}
}

// Pods start a few at a time on each node: to start one costs a small machine more than to run it.
func TestStartPods_AFewAtATime(t *testing.T) {
	c := newFake(t, amd64)
	life, end := context.WithCancel(t.Context())
	defer end()
	o, nodes := c.options(), roster{{RunNode: report.RunNode{Name: "x86-1"}}}
	m := &maker{
		api: o.API, event: o.Event, now: time.Now, policies: newPolicies(), hosts: newHosts(nil), view: newView(time.Now, o.Patience), life: life,
		launch: 300 * time.Millisecond, starting: placesToStart(nodes),
	}
	c.spaces["n"], c.accounts["n"] = true, true
	var pods []object
	for i := range startsAtOnce + 1 {
		pods = append(pods, (objects{namespace: "n", runID: testRun}).pod(podSpec{name: slot("p", i), node: "x86-1"}))
	}
	var made []time.Time
	c.onApply = func(string, string) { made = append(made, time.Now()) }
	if err := m.startPods(t.Context(), "x86-1", pods); err != nil {
		t.Fatal(err)
	}
	last := len(made) - 1
	if last != startsAtOnce || made[last].Sub(made[0]) < m.launch { // no one told that one of the others is Ready
		t.Errorf("%d pods within %s", last+1, made[last].Sub(made[0]))
	}
	c.pods = map[string]*fakePod{}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.startPods(ended, "x86-1", pods); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// What passes although its node went away meanwhile is no proof of it.
func TestTryOne_PassesWhileItsNodeGoesAway(t *testing.T) {
	const passes kind = "passes"
	var r *run
	kinds[passes] = traits{load: loadsNothing, needs: nodesAsTheyAre, try: func(_ *triers, ctx context.Context, c Cell) outcome {
		r.here.see(c.Dst, false, time.Now(), 0)
		<-ctx.Done()
		return passed()
	}}
	t.Cleanup(func() { delete(kinds, passes) })
	c := newFake(t, arm64)
	cell := Cell{Check: "S4", Name: "passes", Dst: "arm-1", kind: passes}
	r = &run{Options: c.options(), nodes: roster{planNode("arm-1", "arm64")}, matrix: Matrix{Cells: []Cell{cell}}, results: make([]report.CellResult, 1)}
	r.equip(t.Context())
	r.vigil.begin(1)
	r.tryOne(t.Context(), 0, cell, newPlaces(r.nodes))
	if got := r.results[0]; got.Verdict != report.Failing || !strings.Contains(got.Reason, "node arm-1 "+wentAway) {
		t.Errorf("%s: %s", got.Verdict, got.Reason)
	}
}
