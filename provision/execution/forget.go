package execution

import (
	"context"
	"fmt"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// forgetReplaced deletes the nodes and etcd members of machines that are gone.
func (x *Executor) forgetReplaced(ctx context.Context, seen survey.Seen, leaving []plan.Leaver, stop <-chan struct{}) (notes []string, err error) {
	p := plan.ReplacingPlan(x.Cluster, leaving, plan.Staying(survey.NodeFacts(seen.Nodes), leaving))
	changes, err := stack.Remove(ctx, x.Store, p, steps.New(x.env(seen)), x.engine(stop))
	notes = plan.ForgottenNotes(leaving, changes)
	for _, c := range changes {
		if c.Error != "" {
			return notes, fmt.Errorf("%s: %s", c.Step, c.Error)
		}
	}
	return notes, err
}

// forgetWiped takes out of the state what it remembers of hosts that have nothing of it: steps that are no more must not be undone later.
func (x *Executor) forgetWiped(hosts []inventory.Host, seen survey.Hosts) error {
	for _, h := range hosts {
		if f := seen.Fact(h.Name); f.Err == nil && !f.AnyMarker() {
			if err := x.Store.Forget(x.Reading, x.Cluster.Metadata.Name, h.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
