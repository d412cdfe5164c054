package stack

import (
	"context"
	"fmt"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// results gives the change of each step; the steps come in the order of execution.
func (r *run) results(inOrder []plan.Step) []report.Change {
	changes := r.settle(inOrder)
	for i, c := range changes {
		if c.Action == report.Skipped {
			r.event(inOrder[i], report.Event{Kind: report.Done, Action: c.Action, Message: c.Detail})
		}
	}
	return changes
}

// settle ends the listening to steps that still run, and finds what became of each.
func (r *run) settle(inOrder []plan.Step) []report.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	changes := make([]report.Change, 0, len(inOrder))
	causes := map[plan.ID]plan.ID{}
	for _, s := range inOrder {
		if cause := r.cause(s.ID, causes); cause != "" {
			causes[s.ID] = cause
		}
		c, tried := r.changes[s.ID]
		if !tried {
			c = r.untried(s, causes[s.ID])
		}
		r.changes[s.ID] = c
		changes = append(changes, c)
	}
	return changes
}

// cause finds the failed step that kept this one from being tried: directly, or through steps that were not tried either.
func (r *run) cause(id plan.ID, causes map[plan.ID]plan.ID) plan.ID {
	for _, need := range r.needs[id] {
		if r.changes[need].Action == report.Failed || r.missing[need] {
			return need
		}
		if causes[need] != "" {
			return causes[need]
		}
	}
	return ""
}

// untried is the change of a step that did not come to its end. One that still runs, because the run was abandoned, has failed.
func (r *run) untried(s plan.Step, cause plan.ID) report.Change {
	c := report.Change{Host: s.Host, Step: string(s.ID), Kind: string(s.Kind), Action: report.Skipped}
	switch {
	case r.running[s.ID]:
		c.Action, c.Error = report.Failed, "interrupted while it was running"
	case s.Action == plan.Unchanged && !r.undoing:
		c.Action, c.Detail = report.Unchanged, s.Reason
	case cause != "":
		c.Detail = fmt.Sprintf("needs %s, which failed", cause)
	default:
		c.Detail = "not started"
	}
	return c
}

// outcome is the error of the run, given the one of the engine and the store. It is called after results.
func (r *run) outcome(ctx context.Context, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	failed, skipped := 0, 0
	for _, c := range r.changes {
		switch c.Action {
		case report.Failed:
			failed++
		case report.Skipped:
			skipped++
		}
	}
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil && failed+skipped > 0:
		return fmt.Errorf("abandoned: %w", context.Cause(ctx))
	case r.refused:
		return fmt.Errorf("interrupted, %d steps are left: %w", failed+skipped, context.Canceled)
	case failed > 0, r.blocked:
		return fmt.Errorf("%w: %d of %d, and %d that need them were skipped", ErrFailed, failed, len(r.changes), skipped)
	}
	return nil
}

// explains reports whether steps that failed or were refused are reason enough for the engine's error.
func (r *run) explains(err error) bool {
	if err == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.changes {
		if c.Action == report.Failed {
			return true
		}
	}
	return r.refused || r.blocked
}
