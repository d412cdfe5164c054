package stack

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestStop_FinishesRunningStepsAndStartsNoOther(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(3)
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Add(3)
	w.onApply = func(ctx context.Context, s plan.Step) { // the three os steps run when stop is closed
		running.Done()
		running.Wait()
		if s.ID == "host-0/os" {
			close(stop)
		}
		<-stop
		if ctx.Err() != nil {
			t.Error("the context of a running step was cancelled")
		}
	}
	changes, err := Up(context.Background(), s, p, w, Options{Stop: stop})
	is(t, err, context.Canceled)
	if errors.Is(err, ErrFailed) {
		t.Errorf("interruption is reported as failure: %v", err)
	}
	for i, c := range changes {
		want, detail := report.Skipped, "not started"
		if c.Kind == "os" {
			want, detail = report.Created, "did "+c.Step
		}
		if c.Action != want || c.Detail != detail {
			t.Errorf("change %d: %+v, want %s", i, c, want)
		}
	}
	if len(w.done()) != 3 || len(s.done) != 3 {
		t.Errorf("the state holds %v", s.done)
	}
	w.onApply = nil
	got, err := up(t, s, w, p)
	ok(t, err)
	if len(got) != len(p.Steps)-3 {
		t.Errorf("the next run did %v", got)
	}
}

// Stop may be late: what the cluster is held with is asked for before each step.
func TestStop_WhatWasLostStartsNoOther(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(1)
	var lost atomic.Bool
	w.onApply = func(_ context.Context, s plan.Step) { lost.Store(true) } // the machine sleeps while the first step runs
	changes, err := Up(context.Background(), s, p, w, Options{Stop: make(chan struct{}), Lost: lost.Load})
	is(t, err, context.Canceled)
	if did := w.done(); len(did) != 1 || changes[0].Action != report.Created || changes[len(changes)-1].Action != report.Skipped {
		t.Errorf("did %q, changes %+v", did, changes)
	}
}

func TestStop_BeforeTheStart(t *testing.T) {
	stop := make(chan struct{})
	close(stop)
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	changes, err := Up(context.Background(), s, p, w, Options{Stop: stop})
	is(t, err, context.Canceled)
	equal(t, "changes", summary(t, p, changes), each(report.Skipped, p))
	equal(t, "done", w.done(), nil)
}

func TestStop_TooLateToMatter(t *testing.T) {
	stop := make(chan struct{})
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(1)
	w.onApply = func(_ context.Context, s plan.Step) {
		if s.Host == "" {
			close(stop) // the last step runs
		}
	}
	_, err := Up(context.Background(), s, p, w, Options{Stop: stop})
	ok(t, err)
}

func TestStop_Destroy(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.done()
	stop := make(chan struct{})
	w.onUndo = func(_ context.Context, s plan.Step) {
		if s.ID == "host-1/join" {
			close(stop)
		}
	}
	_, err = Destroy(context.Background(), s, w.look(p), w, Options{Stop: stop, Parallel: 1})
	is(t, err, context.Canceled)
	if len(s.done) != len(w.there) || len(s.done) == 0 {
		t.Errorf("the state holds %v, the hosts %v", s.done, w.there)
	}
	w.onUndo = nil
	_, err = destroy(t, s, w, p)
	ok(t, err)
}

func TestContext_EndAbandonsTheRun(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(2)
	ctx, cancel := context.WithCancel(context.Background())
	deaf := make(chan struct{})
	defer close(deaf)
	told := make(chan struct{})
	w.onApply = func(ctx context.Context, s plan.Step) {
		switch s.ID {
		case "host-0/runtime":
			cancel()
			<-ctx.Done()
			close(told)
			<-deaf // this one does not end
		}
	}
	changes, err := Up(ctx, s, p, w, Options{Parallel: 1})
	is(t, err, context.Canceled)
	within(t, told, "the end of the executor's context")
	byID := map[string]report.Change{}
	for _, c := range changes {
		byID[c.Step] = c
	}
	if c := byID["host-0/runtime"]; c.Action != report.Failed || c.Error != "interrupted while it was running" {
		t.Errorf("got %+v", c)
	}
	if c := byID["host-0/join"]; c.Action != report.Skipped {
		t.Errorf("got %+v", c)
	}
	if s.done["host-0/os"].Digest == "" {
		t.Error("a finished step was not recorded")
	}
	ok(t, s.Close())

	// What still runs must not write into a directory that another process may hold by now.
	w2 := newWorld()
	w2.there["host-0/os"] = p.Steps[0].Digest
	_, err = up(t, open(t, dir), w2, p)
	ok(t, err)
}

// events records what the sink is told.
type events struct {
	mu  sync.Mutex
	got []string
}

func (e *events) Event(v report.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = append(e.got, fmt.Sprintf("%s %s %s %s %v", v.Kind, v.Host, v.Step, v.Action, v.Err))
}

func TestProgress(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(1)
	w.there["host-0/os"] = p.Steps[0].Digest
	w.errs["host-0/join"] = errors.New("no")
	var seen events
	_, err := Up(context.Background(), s, w.look(p), w, Options{Progress: &seen})
	is(t, err, ErrFailed)
	equal(t, "events", seen.got, []string{
		"started host-0 runtime  <nil>", "done host-0 runtime created <nil>",
		"started host-0 join  <nil>", "done host-0 join failed no",
		"done  cni skipped <nil>",
	})
}

func TestParallel_IsTheBound(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(8)
	var now, most atomic.Int64
	w.onApply = func(context.Context, plan.Step) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		runtime.Gosched()
		now.Add(-1)
	}
	_, err := Up(context.Background(), s, p, w, Options{Parallel: 3})
	ok(t, err)
	if most.Load() > 3 {
		t.Errorf("%d steps ran at once, want 3 at most", most.Load())
	}
}

func TestParallel_StepsOfDifferentHostsRunTogether(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(8)
	var all sync.WaitGroup
	all.Add(8)
	w.onApply = func(_ context.Context, s plan.Step) {
		if s.Kind == plan.OS {
			all.Done()
			all.Wait() // ends only when all eight run
		}
	}
	_, err := Up(context.Background(), s, p, w, Options{})
	ok(t, err)
}

// The engine itself leaves two goroutines per run behind, at v3.259.0: its loader server, and one that waits on a
// channel no one uses any more. That is little for a process that makes one run or two; this test keeps it from
// becoming more.
func TestRuns_LeaveFewGoroutines(t *testing.T) {
	const runs, perRun = 10, 2
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(5)
	_, err := up(t, s, w, p) // whatever the engine starts once per process
	ok(t, err)
	before := runtime.NumGoroutine()
	for range runs / 2 {
		clear(w.there)
		_, err := up(t, s, w, p)
		ok(t, err)
		_, err = destroy(t, s, w, p)
		ok(t, err)
	}
	most := before + runs*perRun
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > most; runtime.Gosched() { // servers take a moment to go
		if time.Now().After(end) {
			t.Fatalf("%d goroutines before, %d after %d runs", before, runtime.NumGoroutine(), runs)
		}
	}
}
