package stack

import (
	"context"
	"errors"
	"slices"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// Remove carries out a removal, whose plan stands in the order in which it is done: steps to delete are undone, the others applied, each
// after all that it depends on. The hosts go one after another, in the plan's order, so that at no moment two of them are on their way out;
// one that fails does not keep the next from leaving, unless that one's steps depend on it. When nothing is left to do for a host the state
// forgets it. What an interrupted run did is no longer in the plan of the next, which is made from what is still there.
// Changes and errors are as Up's.
func Remove(ctx context.Context, s *Store, p plan.Plan, ex steps.Executor, o Options) ([]report.Change, error) {
	if _, err := index(p); err != nil {
		return nil, err
	}
	var changes []report.Change
	var errs []error
	for _, host := range hostsOf(p) {
		part := stepsOf(p, host)
		done, err := s.remove(ctx, part, changes, ex, o)
		changes = append(changes, done...)
		if err == nil && host != "" {
			err = s.Forget(ctx, p.Cluster, host)
		}
		errs = append(errs, err)
	}
	return changes, gravest(ctx, errs)
}

// remove carries out the steps of one host. before are the changes of the hosts before it.
func (s *Store) remove(ctx context.Context, p plan.Plan, before []report.Change, ex steps.Executor, o Options) ([]report.Change, error) {
	r, err := newRun(ctx, p, ex, o)
	if err != nil {
		return nil, err
	}
	r.work, r.needs, r.undoing = r.leave, dependencies(p), true
	r.missing = map[plan.ID]bool{}
	for _, c := range before {
		r.missing[plan.ID(c.Step)] = c.Action == report.Failed || c.Action == report.Skipped
	}
	r.plan = plan.Reverse(p) // the engine deletes what is listed last first
	err = s.delete(ctx, r, o.Parallel)
	changes := r.results(p.Steps)
	return changes, r.outcome(ctx, err)
}

// hostsOf are the hosts of a plan, in its order.
func hostsOf(p plan.Plan) (hosts []string) {
	for _, s := range p.Steps {
		if !slices.Contains(hosts, s.Host) {
			hosts = append(hosts, s.Host)
		}
	}
	return hosts
}

// stepsOf is the part of a plan that is of one host.
func stepsOf(p plan.Plan, host string) plan.Plan {
	out := plan.Plan{Cluster: p.Cluster, Part: true}
	for _, s := range p.Steps {
		if s.Host == host {
			out.Steps = append(out.Steps, s)
		}
	}
	return out
}

// gravest joins the errors of several runs into the one that says how they ended: abandoned or interrupted, whatever failed before, else
// all that failed.
func gravest(ctx context.Context, errs []error) error {
	for _, err := range errs {
		if errors.Is(err, context.Canceled) || ctx.Err() != nil && err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}
