package provision

import (
	"context"
	"errors"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// UpOptions are Up's own.
type UpOptions struct {
	Options
	MergeKubeconfig string          // path of a kubeconfig to merge into; "" = do not
	Conformance     ConformanceMode // how a run that changed something ends; "" = it proves nothing
	Proof           ProofOptions
}

// Up makes the cluster what the inventory says.
// Errors: ErrPreflight, ErrPartial, ErrDeclined, ErrLocked, ErrBundle, ErrConformance, context.Canceled, or others for the user.
func Up(ctx context.Context, o UpOptions) (Result, error) {
	o.Options = o.withDefaults()
	result := Result{Cluster: o.Cluster.Metadata.Name}
	r, err := begin(ctx, o.Options)
	if err != nil {
		return result, err
	}
	defer r.end()

	r.markEarly(r.reading)
	seen, p, checks, err := r.surveyAll()
	result.Plan, result.Checks = p, checks
	if err != nil {
		return result, err
	}
	if after, asked, err := r.askKernels(&seen, p, func() []report.Check { return r.problems(seen) }); asked || err != nil {
		if asked {
			result.Checks = after
		}
		if err != nil {
			return result, err
		}
	}
	proves := o.Conformance.on() && p.Changes() > 0
	dir, err := o.Proof.open(o.Options, proves)
	if err != nil {
		return result, err
	}
	if p.Changes() > 0 {
		if err := r.confirm(p); err != nil {
			return result, err
		}
	}
	changes, failed, err := apply(ctx, r, seen, p)
	result.Changes, result.Hosts = changes, r.hostResults(seen.Hosts, changes, "up")
	if err != nil {
		return result, err
	}
	if r.api != nil {
		if result.Kubeconfig, err = r.keepKubeconfig(); err != nil {
			return result, err
		}
		notes, err := r.approveServing(seen)
		if result.Notes = append(result.Notes, notes...); err != nil {
			return result, err
		}
		late, notReady := r.waitReady(seen, p, changes)
		result.Changes, failed = append(result.Changes, late...), errors.Join(failed, notReady)
		if err := merge(r, o.MergeKubeconfig); err != nil {
			return result, err
		}
	}
	if err := partial(failed, result.Hosts); err != nil {
		return result, err
	}
	if !proves {
		return result, nil
	}
	proof, err := r.prove(o.Proof.wish(o.Conformance), seen, nil, dir)
	result.add(proof)
	return result, err
}

// apply carries the plan out under the lock. A plan that changes nothing, and that the state knows, needs neither; marks of nodes that are
// missing are written all the same, and a lock on a host that an earlier run from here has left is given back.
func apply(ctx context.Context, r *run, seen survey.Seen, p plan.Plan) (changes []report.Change, failed, err error) {
	inSync := p.Changes() == 0 && r.store.InSync(p)
	if inSync && len(r.unmarked(seen.Hosts)) == 0 && !r.leftLock() {
		return unchanged(p), nil, nil
	}
	failed, err = r.underLock(ctx, seen.Hosts, func(l *lock.Lock) (err error) {
		if !inSync {
			changes, err = r.carryOut(ctx, seen, p, nil, l.Stop())
		}
		return errors.Join(err, r.markNodes(ctx, seen, l.Stop()))
	})
	if inSync {
		changes = unchanged(p)
		if errors.Is(err, ErrLocked) { // there was nothing else to do: the next run writes the marks
			err = nil
		}
	}
	return changes, failed, err
}

// unchanged is the result of a run that had nothing to do.
func unchanged(p plan.Plan) []report.Change {
	out := make([]report.Change, len(p.Steps))
	for i, st := range p.Steps {
		out[i] = report.Change{Host: st.Host, Step: string(st.ID), Kind: string(st.Kind), Action: report.Unchanged}
	}
	return out
}

// merge adds the cluster to the user's kubeconfig.
func merge(r *run, path string) error {
	if path == "" {
		return nil
	}
	if r.config == nil {
		return errors.New("there is no kubeconfig to merge")
	}
	return kube.MergeKubeconfig(path, r.config, r.Cluster.Metadata.Name)
}
