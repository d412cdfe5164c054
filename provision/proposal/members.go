package proposal

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// findMembers finds the hosts' members of etcd, also of those that inventory and node call workers, and refuses when etcd cannot do without
// them. Where etcd does not answer, workers leave that the user has named in force.
func (d *Desk) findMembers(ctx context.Context, seen survey.Seen, leaving []plan.Leaver, force []string) error {
	if config, err := survey.Configuration(ctx, d.API); err != nil || config.ExternalEtcd {
		return err
	}
	nodes := survey.NodeFacts(seen.Nodes)
	_, members, err := survey.Etcd(ctx, d.API, plan.Staying(nodes, leaving))
	if err != nil && !slices.ContainsFunc(leaving, plan.Leaver.IsControlPlane) {
		return mayBeMembers(err, names(plan.HostsOf(leaving)), force)
	}
	if err != nil {
		return err
	}
	return ending.Refused(plan.KeepsMembers(d.Cluster, steps.Members(members), nodes, leaving))
}

// mayBeMembers refuses workers of which it is not known, and why, whether etcd counts on them, unless the user has named each of them.
func mayBeMembers(why error, leaving, force []string) error {
	leaving = slices.DeleteFunc(leaving, func(name string) bool { return slices.Contains(force, name) })
	if len(leaving) == 0 {
		return nil
	}
	return hint.With(fmt.Errorf("%w: whether etcd has a member of %s, and would go on counting on it, is not known: %w", ending.ErrRefused, some(leaving), why),
		"run it again when etcd answers; --force=%s goes on without its answer", strings.Join(leaving, ","))
}
