// Package stack carries a plan out through Pulumi's engine, in this process: one component resource per host, one custom
// resource per step, one provider that hands each step to a steps.Executor. It owns the state directory and keeps it whole
// through crashes. It decides nothing: what is to be done stands in the plan, how it is done is the executor's matter.
//
// The truth is on the hosts and the state is a cache of it. So the engine never asks the state whether something must be done:
// the provider's Diff answers from the plan, which was made from what the hosts are. No refresh is needed, a lost state costs nothing,
// and a state that claims too much is corrected.
//
// Only this package imports Pulumi.
package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pulumi/pulumi/pkg/v3/engine"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// ErrFailed: some steps failed, the others were carried out, and the state says which. The caller reports the changes, ends with
// the exit code of a run that stopped part-way, and tells the user to run the same command again.
var ErrFailed = errors.New("some steps failed")

// Options are the settings of one run. The zero value works.
type Options struct {
	Parallel int         // how many steps run at once; 0 = 256
	Progress report.Sink // told of the steps that are worked on, and of the skipped; nil = report.Discard
	// Stop is closed at the user's first request to end: steps that run are finished and recorded, no other is started.
	// The end of ctx is the second: the run is abandoned.
	Stop <-chan struct{}
	// Lost reports whether the run has lost what it holds the cluster with; nil = it cannot. It is asked before each step, as Stop may be late.
	Lost func() bool
}

// Up carries out the plan. It returns one change per step, in the plan's order, with an error too (unless the plan makes no sense).
// Steps the state knows and the plan does not are forgotten, unless the plan is a part; nothing is undone on any host.
// Errors: ErrFailed; context.Canceled after Stop, or ctx's cause after its end, when steps are left to do; others for the user.
func Up(ctx context.Context, s *Store, p plan.Plan, ex steps.Executor, o Options) ([]report.Change, error) {
	r, err := newRun(ctx, p, ex, o)
	if err != nil {
		return nil, err
	}
	r.work, r.needs = r.apply, dependencies(p)
	err = s.carryOut(ctx, engine.Update, r, o.Parallel)
	return r.results(p.Steps), r.outcome(ctx, err)
}

// Destroy undoes every step of the plan, each after all that depend on it, whether the state knows it or not. Steps that could
// not be undone stay in the state; when all are gone it is empty. Changes and errors are as Up's.
func Destroy(ctx context.Context, s *Store, p plan.Plan, ex steps.Executor, o Options) ([]report.Change, error) {
	r, err := newRun(ctx, p, ex, o)
	if err != nil {
		return nil, err
	}
	r.work, r.needs, r.undoing = r.undo, dependents(p), true
	err = s.delete(ctx, r, o.Parallel)
	backwards := slices.Clone(p.Steps)
	slices.Reverse(backwards)
	changes := r.results(backwards)
	slices.Reverse(changes)
	return changes, r.outcome(ctx, err)
}

// delete has the engine delete every step of the run's plan. It deletes only what its state holds, in the order that it holds it, so the
// steps are put into the state first.
func (s *Store) delete(ctx context.Context, r *run, parallel int) error {
	if !s.holds(r.plan) {
		a, err := newRun(ctx, r.plan, nil, Options{})
		if err != nil {
			return err
		}
		a.work, a.needs = a.adopt, dependencies(r.plan)
		err = s.carryOut(ctx, engine.Update, a, parallel)
		a.results(r.plan.Steps)
		if err = a.outcome(ctx, err); err != nil {
			return err
		}
	}
	return s.carryOut(ctx, engine.Destroy, r, parallel)
}

// dependencies tells for each step those that must succeed before it is applied.
func dependencies(p plan.Plan) map[plan.ID][]plan.ID {
	needs := make(map[plan.ID][]plan.ID, len(p.Steps))
	for _, s := range p.Steps {
		needs[s.ID] = slices.Concat(s.DependsOn, s.Behind)
	}
	return needs
}

// dependents tells for each step those that must be gone before it is undone.
func dependents(p plan.Plan) map[plan.ID][]plan.ID {
	needs := make(map[plan.ID][]plan.ID, len(p.Steps))
	for _, s := range p.Steps {
		for _, d := range s.DependsOn {
			needs[d] = append(needs[d], s.ID)
		}
	}
	return needs
}

// index returns the steps by ID. It refuses a plan whose order or IDs the engine could not follow.
func index(p plan.Plan) (map[plan.ID]plan.Step, error) {
	byID := make(map[plan.ID]plan.Step, len(p.Steps))
	all := make(map[plan.ID]bool, len(p.Steps))
	for _, s := range p.Steps {
		all[s.ID] = true
	}
	for _, s := range p.Steps {
		if _, twice := byID[s.ID]; twice {
			return nil, fmt.Errorf("the plan has step %s twice", s.ID)
		}
		for _, d := range slices.Concat(s.DependsOn, s.Behind) {
			if p.Part && !all[d] {
				continue // done, and not of this part
			}
			if _, known := byID[d]; !known {
				return nil, fmt.Errorf("the plan has step %s before %s, which it depends on", s.ID, d)
			}
		}
		byID[s.ID] = s
	}
	return byID, nil
}
