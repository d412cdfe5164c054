package provision

import (
	"context"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
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

// surveyReplaced finds out what goes of nodes whose hosts were installed anew. A host that is still the machine that its node knows is not
// taken for another one, and no node goes whose host does not join again.
func surveyReplaced(r *run, seen survey.Seen, names, joining []string) ([]leaver, error) {
	if len(names) == 0 {
		return nil, nil
	}
	nodes := seen.Nodes
	for _, name := range names {
		if h, _ := r.Cluster.Host(name); !slices.Contains(joining, name) {
			return nil, fmt.Errorf("%w: --arch leaves out %s, which is to be replaced: it would lose its node and not join again", ErrRefused, archsOf(seen.Hosts, []inventory.Host{h}))
		}
	}
	leaving := leavers(r.Cluster, nodes, names)
	if err := controlPlaneStays(nodes, leaving); err != nil {
		return nil, err
	}
	for _, l := range leaving {
		f := seen.Hosts.Fact(l.host.Name)
		switch {
		case f.Err != nil:
			return nil, fmt.Errorf("%w: %s was not reached, and nothing was done: %w", ErrRefused, l.host.Name, f.Err)
		case l.node.Name == "":
			return nil, fmt.Errorf("%w: the cluster has no node %s: nothing is to be replaced; without --replace it joins", ErrRefused, l.host.Name)
		case f.MachineID == l.node.MachineID && f.Kubeadm.KubeletConf:
			return nil, fmt.Errorf("%w: %s is the machine that its node knows (machine-id %s), and was not installed anew; \"hybridctl remove %s\" takes it out", ErrRefused, l.host.Name, f.MachineID, l.host.Name)
		case l.node.Ready:
			return nil, fmt.Errorf("%w: the node %s is Ready, so that its machine (machine-id %s) is alive, or was until a moment ago: wait a minute and try again if it was only now installed anew; "+
				"else see to the host's address in the inventory (%s), and take the old machine out first", ErrRefused, l.host.Name, l.node.MachineID, l.host.Address)
		}
	}
	if err := findMembers(r, nodes, leaving); err != nil {
		return nil, err
	}
	return leaving, nil
}

// replacedNotes say before the user is asked what goes.
func replacedNotes(leaving []leaver) []string {
	var out []string
	for _, l := range leaving {
		note := fmt.Sprintf("%s: its old node is deleted (machine-id %s)", l.host.Name, l.node.MachineID)
		if l.member.ID != 0 {
			note += ", and its old etcd member removed"
		}
		out = append(out, note)
	}
	return out
}

// forgetReplaced deletes the nodes and etcd members of machines that are no more. Their pods are gone with them; the API server learns it so.
func forgetReplaced(ctx context.Context, r *run, leaving []leaver) (notes []string, err error) {
	for _, l := range leaving {
		if l.member.ID != 0 {
			if err := r.api.RemoveEtcdMember(ctx, l.ask, l.member.ID); err != nil {
				return notes, err
			}
		}
		if err := r.api.DeleteNode(ctx, l.host.Name); err != nil {
			return notes, err
		}
		r.event(report.Event{Kind: report.Done, Host: l.host.Name, Step: "replace", Action: report.Deleted})
		notes = append(notes, fmt.Sprintf("the old node %s was deleted (machine-id %s): its host was installed anew", l.host.Name, l.node.MachineID))
	}
	return notes, nil
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
