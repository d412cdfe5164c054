package provision

import (
	"context"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
)

// replaceable refuses hosts that hybridctl cannot join again.
func (s *session) replaceable(names []string) error {
	for _, name := range names {
		if h, _ := s.Cluster.Host(name); !h.IsManaged() {
			return fmt.Errorf("%w: hybridctl does not manage %s (managed: false), and cannot join it again", ErrRefused, name)
		}
	}
	return nil
}

// surveyReplaced finds out what goes of nodes whose hosts were installed anew. A host that is still the machine that its node knows is not
// taken for another one, and no node goes whose host does not join again.
func (s *session) surveyReplaced(ctx context.Context, nodes []kube.Node, names, joining []string) error {
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		if h, _ := s.Cluster.Host(name); !slices.Contains(joining, name) {
			return fmt.Errorf("%w: --arch leaves out %s, which is to be replaced: it would lose its node and not join again", ErrRefused, s.archsOf([]inventory.Host{h}))
		}
	}
	leaving := s.leavers(nodes, names)
	if err := controlPlaneStays(nodes, leaving); err != nil {
		return err
	}
	for _, l := range leaving {
		f := s.facts[l.host.Name]
		switch {
		case f.Err != nil:
			return fmt.Errorf("%w: %s was not reached, and nothing was done: %w", ErrRefused, l.host.Name, f.Err)
		case l.node.Name == "":
			return fmt.Errorf("%w: the cluster has no node %s: nothing is to be replaced; without --replace it joins", ErrRefused, l.host.Name)
		case f.MachineID == l.node.MachineID && f.Kubeadm.KubeletConf:
			return fmt.Errorf("%w: %s is the machine that its node knows (machine-id %s), and was not installed anew; \"hybridctl remove %s\" takes it out", ErrRefused, l.host.Name, f.MachineID, l.host.Name)
		case l.node.Ready:
			return fmt.Errorf("%w: the node %s is Ready, so that its machine (machine-id %s) is alive, or was until a moment ago: wait a minute and try again if it was only now installed anew; "+
				"else see to the host's address in the inventory (%s), and take the old machine out first", ErrRefused, l.host.Name, l.node.MachineID, l.host.Address)
		}
	}
	if err := s.findMembers(ctx, nodes, leaving); err != nil {
		return err
	}
	s.joining.leaves = leaving
	return nil
}

// replacedNotes say before the user is asked what goes.
func (s *session) replacedNotes() []string {
	var out []string
	for _, l := range s.joining.leaves {
		note := fmt.Sprintf("%s: its old node is deleted (machine-id %s)", l.host.Name, l.node.MachineID)
		if l.member.ID != 0 {
			note += ", and its old etcd member removed"
		}
		out = append(out, note)
	}
	return out
}

// forgetReplaced deletes the nodes and etcd members of machines that are no more. Their pods are gone with them; the API server learns it so.
func (s *session) forgetReplaced(ctx context.Context, r *Result) error {
	for _, l := range s.joining.leaves {
		if l.member.ID != 0 {
			if err := s.api.RemoveEtcdMember(ctx, l.ask, l.member.ID); err != nil {
				return err
			}
		}
		if err := s.api.DeleteNode(ctx, l.host.Name); err != nil {
			return err
		}
		s.event(report.Event{Kind: report.Done, Host: l.host.Name, Step: "replace", Action: report.Deleted})
		r.Notes = append(r.Notes, fmt.Sprintf("the old node %s was deleted (machine-id %s): its host was installed anew", l.host.Name, l.node.MachineID))
	}
	return nil
}

// forgetWiped takes out of the state what it remembers of hosts that have nothing of it: steps that are no more must not be undone later.
func (s *session) forgetWiped(ctx context.Context, store *stack.Store, hosts []inventory.Host) error {
	for _, h := range hosts {
		if f := s.facts[h.Name]; f.Err == nil && len(f.Markers) == 0 {
			if err := store.Forget(ctx, s.Cluster.Metadata.Name, h.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
