package provision

import (
	"context"
	"errors"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/steps"
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

	r.MarkEarly(r.reading)
	r.watcher.Begin(ctx) // a ^C lets running steps finish, and what they wait for is told until then
	seen, p, checks, err := r.desk.Whole(r.reading)
	result.Plan, result.Checks = p, checks
	if err != nil {
		return result, r.watcher.Explain(err)
	}
	seen, after, asked, err := r.desk.Kernels(r.reading, seen, p, r.desk.Problems)
	if asked {
		result.Checks = after
	}
	if err != nil {
		return result, r.watcher.Explain(err)
	}
	proves := o.Conformance.on() && p.Changes() > 0
	dir, err := o.Proof.open(o.Options, proof.Lacks(r.desk.Reader.Bundle), &p, proves)
	result.Plan = p // with what opening has noted
	if err != nil {
		return result, err
	}
	if p.Changes() > 0 {
		if err := r.confirm(p); err != nil {
			return result, err
		}
	}
	changes, failed, err := r.executor.Up(ctx, seen, p)
	result.Changes, result.Hosts = changes, r.resultsOf(r.Cluster.Managed(), seen.Hosts, changes, "up")
	if err != nil {
		return result, err
	}
	if r.API != nil {
		if result.Kubeconfig, err = r.KeepKubeconfig(); err != nil {
			return result, err
		}
		notes, err := steps.ApproveServing(r.reading, r.API, &steps.Owners{Cluster: r.Cluster, Hosts: seen.Hosts, Nodes: seen.Nodes})
		if result.Notes = append(result.Notes, notes...); err != nil {
			return result, r.watcher.Explain(err)
		}
		late, notReady := r.waitReady(seen, p, changes)
		result.Changes, failed = append(result.Changes, late...), errors.Join(failed, notReady)
		if err := r.Merge(o.MergeKubeconfig); err != nil {
			return result, err
		}
	}
	if err := ending.Partial(failed, result.Hosts); err != nil {
		return result, err
	}
	if !proves {
		return result, nil
	}
	proven, err := r.prove(o.Proof.wish(o.Conformance), seen, nil, dir)
	return result.With(proven), err
}
