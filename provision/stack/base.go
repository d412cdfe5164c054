package stack

import (
	"context"
	"slices"

	"github.com/pulumi/pulumi/pkg/v3/resource"
	"github.com/pulumi/pulumi/pkg/v3/resource/deploy"
	sdk "github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"

	"github.com/hybridctl/hybridctl/provision/plan"
)

// base is the state the engine starts from: what was saved, without everything the plan does not name. The engine would delete
// that, and a host that has left the inventory is not to be touched.
func (s *Store) base(ctx context.Context, p plan.Plan) (*deploy.Snapshot, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if snap.SecretsManager, err = s.keys.forWriting(snap.SecretsManager); err != nil {
		return nil, err
	}
	ours := names(p)
	kept := map[urn.URN]bool{}
	snap.Resources = slices.DeleteFunc(snap.Resources, func(r *resource.State) bool {
		keep := !r.Delete && string(r.URN.Stack()) == p.Cluster && string(r.URN.Project()) == pkg && ours(r)
		kept[r.URN] = kept[r.URN] || keep
		return !keep
	})
	for _, r := range snap.Resources {
		r.Dependencies = slices.DeleteFunc(r.Dependencies, func(d urn.URN) bool { return !kept[d] })
	}
	snap.PendingOperations = nil // Apply can be called again after any interruption
	return snap, nil
}

// named are the resources of the plan, "type name".
func named(p plan.Plan) map[string]bool {
	known := map[string]bool{}
	for _, s := range p.Steps {
		known[hostType+" "+s.Host] = true
		known[stepType+" "+string(s.ID)] = true
	}
	return known
}

// names tells which resources belong to the plan.
func names(p plan.Plan) func(*resource.State) bool {
	known := named(p)
	return func(r *resource.State) bool {
		switch r.Type {
		case sdk.RootStackType, "pulumi:providers:" + pkg:
			return true
		}
		return known[string(r.Type)+" "+r.URN.Name()]
	}
}
