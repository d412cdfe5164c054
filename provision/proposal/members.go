package proposal

import (
	"context"
	"slices"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// findMembers finds the hosts' members of etcd, and refuses when etcd cannot do without them.
func (d *Desk) findMembers(ctx context.Context, seen survey.Seen, leaving []plan.Leaver) error {
	if !slices.ContainsFunc(leaving, plan.Leaver.IsControlPlane) {
		return nil
	}
	if config, err := survey.Configuration(ctx, d.API); err != nil || config.ExternalEtcd {
		return err
	}
	nodes := survey.NodeFacts(seen.Nodes)
	_, members, err := survey.Etcd(ctx, d.API, plan.Staying(nodes, leaving))
	if err != nil {
		return err
	}
	return ending.Refused(plan.KeepsMembers(d.Cluster, steps.Members(members), nodes, leaving))
}
