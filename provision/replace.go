package provision

import (
	"context"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// refuseUnmanaged refuses hosts that hybridctl cannot join again.
func refuseUnmanaged(c *inventory.Cluster, names []string) error {
	for _, name := range names {
		if h, _ := c.Host(name); !h.IsManaged() {
			return fmt.Errorf("%w: hybridctl does not manage %s (managed: false), and cannot join it again", ErrRefused, name)
		}
	}
	return nil
}

// surveyReplaced finds out what is deleted of nodes whose hosts were reinstalled. A host that is still the machine that its node knows is
// not taken for another one, and no node is deleted whose host does not join again.
func surveyReplaced(r *run, seen survey.Seen, names, joining []string) ([]plan.Leaver, error) {
	if len(names) == 0 {
		return nil, nil
	}
	for _, name := range names {
		if h, _ := r.Cluster.Host(name); !slices.Contains(joining, name) {
			return nil, hint.With(fmt.Errorf("%w: --arch leaves out %s, which is to be replaced: it would lose its node and not join again", ErrRefused, archsOf(seen.Hosts, []inventory.Host{h})),
				"leave --arch out, or name hosts of that architecture alone")
		}
	}
	nodes := survey.NodeFacts(seen.Nodes)
	leaving := plan.Leavers(r.Cluster, nodes, names)
	if err := plan.KeepsControlPlane(nodes, leaving); err != nil {
		return nil, refused(err)
	}
	for i := range leaving {
		leaving[i].Facts = seen.Hosts.Fact(leaving[i].Host.Name)
		if err := plan.MayReplace(leaving[i]); err != nil {
			return nil, refused(err)
		}
	}
	return leaving, findMembers(r, seen, leaving)
}

// replacedNotes say before the user is asked what is deleted.
func replacedNotes(leaving []plan.Leaver) []string {
	var out []string
	for _, l := range leaving {
		note := fmt.Sprintf("%s: its old node is deleted (machine-id %s)", l.Host.Name, l.Node.MachineID)
		if l.Member.ID != 0 {
			note += ", and its old etcd member removed"
		}
		out = append(out, note)
	}
	return out
}

// forgetReplaced deletes the nodes and etcd members of machines that are gone.
func forgetReplaced(ctx context.Context, r *run, seen survey.Seen, leaving []plan.Leaver, stop <-chan struct{}) (notes []string, err error) {
	p := plan.ReplacingPlan(r.Cluster, leaving, plan.Staying(survey.NodeFacts(seen.Nodes), leaving))
	changes, err := stack.Remove(ctx, r.store, p, r.steps(seen, nil), r.engine(stop))
	for _, l := range leaving {
		if slices.ContainsFunc(changes, func(c report.Change) bool {
			return c.Step == string(plan.HostID(l.Host.Name, plan.Node)) && c.Action == report.Deleted
		}) {
			notes = append(notes, fmt.Sprintf("the old node %s was deleted (machine-id %s): its host was reinstalled", l.Host.Name, l.Node.MachineID))
		}
	}
	for _, c := range changes {
		if c.Error != "" {
			return notes, fmt.Errorf("%s: %s", c.Step, c.Error)
		}
	}
	return notes, err
}

// forgetWiped takes out of the state what it remembers of hosts that have nothing of it: steps that are no more must not be undone later.
func forgetWiped(ctx context.Context, r *run, hosts []inventory.Host, seen survey.Hosts) error {
	for _, h := range hosts {
		if f := seen.Fact(h.Name); f.Err == nil && len(f.Markers) == 0 {
			if err := r.store.Forget(ctx, r.Cluster.Metadata.Name, h.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// archsOf lists hosts with the architectures that they have.
func archsOf(seen survey.Hosts, hosts []inventory.Host) string {
	var out []string
	for _, h := range hosts {
		is := seen[h.Name].Arch.String()
		if seen[h.Name].Err != nil {
			is = "not reached"
		}
		out = append(out, fmt.Sprintf("%s (%s)", h.Name, is))
	}
	return some(out)
}
