package plan

import (
	"errors"
	"fmt"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// ErrStanding: a host is set up as a member, and the cluster has no node of its name. To join it again means to reset it first, and that
// takes away what the user may still want. The error says what to do.
var ErrStanding = errors.New("the cluster has no node of that name")

// ErrExternalEtcd: a control plane is to join a cluster whose etcd runs outside it.
var ErrExternalEtcd = errors.New("etcd runs outside the cluster")

// external refuses control planes that would need what an etcd of its own gives its clients: kubeadm's shared certificates do not have it.
func (b *builder) external() error {
	if !b.in.API.ExternalEtcd {
		return nil
	}
	var errs []error
	for _, h := range b.in.Cluster.Spec.Hosts {
		if _, listed := b.nodes[h.Name]; !listed && h.Role == inventory.ControlPlane && b.planned(h) {
			errs = append(errs, fmt.Errorf("%s: %w, and a further control plane needs the certificates that etcd gives its clients, which hybridctl does not hand on: "+
				"join it with kubeadm by hand, or give it the role worker", h.Name, ErrExternalEtcd))
		}
	}
	return errors.Join(errs...)
}

// standing looks for such hosts: one that joined under another name, and control planes, whose reset takes etcd's data with it. A worker
// whose node somebody deleted has nothing to lose: it joins again.
func (b *builder) standing() error {
	if !b.in.API.Observed {
		return nil
	}
	var errs []error
	for _, h := range b.in.Cluster.Spec.Hosts {
		f := b.facts[h.Name]
		if _, listed := b.nodes[h.Name]; listed || f.Err != nil || !b.planned(h) || !isMember(f) {
			continue
		}
		if name := CalledNow(b.in.Cluster, b.in.API.Nodes, f.MachineID); name != "" {
			errs = append(errs, fmt.Errorf("%s: %w, which knows this machine as %s (machine-id %s): \"hybridctl inventory rename %[1]s %[3]s\" gives it its name back; "+
				"for another name, remove it under the old one, and join it again", h.Name, ErrStanding, name, f.MachineID))
			continue
		}
		if h.Role == inventory.ControlPlane {
			errs = append(errs, fmt.Errorf("%s: %w, and it runs a control plane all the same, with etcd's data: it is not reset for that; to have its node back, run on it: "+
				"systemctl restart kubelet; kubeadm init phase mark-control-plane --node-name %[1]s; to give it up where other control planes go on: hybridctl remove %[1]s", h.Name, ErrStanding))
		}
	}
	return errors.Join(errs...)
}

// isMember tells whether the host was joined, and was not reset since.
func isMember(f facts.Host) bool {
	return f.Kubeadm.KubeletConf && (f.Markers[string(Init)].State == host.MarkerDone || f.Markers[string(Join)].State == host.MarkerDone)
}

// CalledNow is the name of the node that has the machine-id, when no host of the inventory has that name; "" = none.
func CalledNow(c *inventory.Cluster, nodes []facts.Node, machineID string) string {
	for _, n := range nodes {
		if _, another := c.Host(n.Name); !another && machineID != "" && n.MachineID == machineID {
			return n.Name
		}
	}
	return ""
}
