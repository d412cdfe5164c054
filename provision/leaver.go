package provision

import (
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// refused is a refusal of the plan's.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}

// findMembers finds the hosts' members of etcd, and refuses when etcd cannot do without them.
func findMembers(r *run, seen survey.Seen, leaving []plan.Leaver) error {
	if !slices.ContainsFunc(leaving, plan.Leaver.IsControlPlane) {
		return nil
	}
	if config, err := survey.Configuration(r.reading, r.api); err != nil || config.ExternalEtcd {
		return err
	}
	nodes := survey.NodeFacts(seen.Nodes)
	_, members, err := survey.Etcd(r.reading, r.api, plan.Staying(nodes, leaving))
	if err != nil {
		return err
	}
	return refused(plan.KeepsMembers(r.Cluster, steps.Members(members), nodes, leaving))
}
