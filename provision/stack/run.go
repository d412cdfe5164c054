package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// run is one Up or Destroy as the provider sees it: it hands steps to the executor and collects what came of them.
type run struct {
	ctx   context.Context // the engine calls the provider with a context that never ends; executors get this one
	plan  plan.Plan
	steps map[plan.ID]plan.Step
	ex    steps.Executor
	sink  report.Sink
	stop  <-chan struct{}
	lost  func() bool
	work  func(plan.Step) (report.Change, error) // apply or undo
	needs map[plan.ID][]plan.ID                  // the steps that must succeed before each step

	undoing bool
	missing map[plan.ID]bool // steps of an earlier part of the plan that were not done

	mu      sync.Mutex
	over    bool // results were taken: whoever still runs is not listened to
	halted  bool // no new steps: the journal cannot be written
	refused bool // a step was not started although nothing it needs had failed
	blocked bool // a step was not started as an earlier part of the plan had not done what it needs
	running map[plan.ID]bool
	changes map[plan.ID]report.Change
}

var errNotStarted = errors.New("the run is ending")

func newRun(ctx context.Context, p plan.Plan, ex steps.Executor, o Options) (*run, error) {
	byID, err := index(p)
	if err != nil {
		return nil, err
	}
	r := &run{
		ctx: ctx, plan: p, steps: byID, ex: ex, sink: o.Progress, stop: o.Stop, lost: o.Lost,
		running: map[plan.ID]bool{}, changes: make(map[plan.ID]report.Change, len(p.Steps)),
	}
	if r.sink == nil {
		r.sink = report.Discard
	}
	return r, nil
}

// step works on the step of that ID and records the change. The error is for the engine, which stops what needs the step.
func (r *run) step(id plan.ID) error {
	s, known := r.steps[id]
	if !known {
		return fmt.Errorf("step %s is not in the plan", id) // base keeps such steps from the engine
	}
	if r.lacks(s) || !r.begin(id) {
		return errNotStarted
	}
	start := time.Now()
	c, err := r.guarded(s)
	c.Host, c.Step, c.Kind = s.Host, string(s.ID), string(s.Kind)
	if c.Duration == 0 {
		c.Duration = time.Since(start)
	}
	if err == nil && c.Action == report.Failed {
		err = errors.New(c.Error)
	}
	if err != nil {
		c.Action, c.Error, c.Hint = report.Failed, err.Error(), hint.Text(err)
	}
	r.end(s, c, err)
	return err
}

// lacks reports whether the step needs one that an earlier part of the plan has not done.
func (r *run) lacks(s plan.Step) bool {
	if !slices.ContainsFunc(s.DependsOn, func(d plan.ID) bool { return r.missing[d] }) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked = true
	return true
}

// begin reports whether the step may start. Refusing here, rather than cancelling the engine, lets the engine come to its regular
// end: nothing that has begun is cut off, and everything done is recorded.
func (r *run) begin(id plan.ID) bool {
	stopped := r.ctx.Err() != nil || r.lost != nil && r.lost()
	select {
	case <-r.stop:
		stopped = true
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if stopped || r.halted || r.over {
		r.refused = true
		return false
	}
	r.running[id] = true
	return true
}

func (r *run) end(s plan.Step, c report.Change, err error) {
	r.mu.Lock()
	over := r.over
	if !over {
		delete(r.running, s.ID)
		r.changes[s.ID] = c
	}
	r.mu.Unlock()
	if !over && c.Action != report.Unchanged {
		r.event(s, report.Event{Kind: report.Done, Action: c.Action, Message: c.Detail, Err: err})
	}
}

// guarded does the work; a panic becomes an error of the step, so that the other hosts go on.
func (r *run) guarded(s plan.Step) (c report.Change, err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Debug("panic in a step", "step", s.ID, "panic", p, "stack", string(debug.Stack()))
			c, err = report.Change{}, fmt.Errorf("internal error, please report it: %v", p)
		}
	}()
	return r.work(s)
}

// apply makes the step true, unless the plan says that it is already: the state may have been lost, and the hosts are what counts.
func (r *run) apply(s plan.Step) (report.Change, error) {
	if s.Action == plan.Unchanged {
		return report.Change{Action: report.Unchanged, Detail: s.Reason}, nil
	}
	r.event(s, report.Event{Kind: report.Started})
	c, err := r.ex.Apply(r.ctx, s)
	switch {
	case c.Action != "":
	case s.Action == plan.Create:
		c.Action = report.Created
	default:
		c.Action = report.Configured
	}
	return c, err
}

// leave does a step of a removal: what is to be deleted is undone, the rest applied.
func (r *run) leave(s plan.Step) (report.Change, error) {
	if s.Action == plan.Delete {
		return r.undo(s)
	}
	return r.apply(s)
}

// adopt believes that the step is in place.
func (r *run) adopt(plan.Step) (report.Change, error) {
	return report.Change{Action: report.Unchanged}, nil
}

func (r *run) undo(s plan.Step) (report.Change, error) {
	r.event(s, report.Event{Kind: report.Started})
	c, err := r.ex.Undo(r.ctx, s)
	if c.Action == "" {
		c.Action = report.Deleted
	}
	return c, err
}

func (r *run) event(s plan.Step, e report.Event) {
	e.Time, e.Host, e.Step = time.Now(), s.Host, string(s.Kind)
	r.sink.Event(e)
}

// halt lets running steps finish and starts no new ones.
func (r *run) halt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halted = true
}
