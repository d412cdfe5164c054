package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// ErrStanding: host and API server disagree about a member. To join it again means to reset it first, and that takes away what the user may
// still want. The error says what to do.
var ErrStanding = errors.New("host and cluster disagree")

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
			errs = append(errs, hint.With(fmt.Errorf("%s: %w, and a further control plane needs the certificates that etcd gives its clients, which hybridctl does not hand on",
				h.Name, ErrExternalEtcd), "join %s with kubeadm by hand, or give it the role worker", h.Name))
		}
	}
	return errors.Join(errs...)
}

// standing looks for such hosts: one that joined under another name, and control planes, whose reset takes etcd's data with it, or a member
// that etcd counts on, unless the user named the host to be reset. A worker that was reset, or whose node was deleted, has nothing to lose: it joins again.
func (b *builder) standing() error {
	var errs []error
	for _, h := range b.in.Cluster.Spec.Hosts {
		if f := b.facts[h.Name]; f.Err == nil && b.planned(h) {
			errs = append(errs, b.stands(h, f))
		}
	}
	return errors.Join(errs...)
}

func (b *builder) stands(h inventory.Host, f facts.Host) error {
	node, listed := b.nodes[h.Name]
	unlisted := b.in.API.Observed && !listed
	called, another := CalledNow(b.in.Cluster, b.in.API.Nodes, f.MachineID), ""
	if f.Kubeadm.KubeletConf && machineOf([]facts.Node{node}, "", f) == "" {
		another = machineOf(b.in.API.Nodes, h.Name, f)
	}
	controlPlane := (h.Role == inventory.ControlPlane || node.ControlPlane) && !b.forced(h)
	switch {
	case unlisted && isMember(f) && called != "":
		return hint.With(fmt.Errorf("%s: %w: the cluster has no node of that name, and knows this machine as %s (machine-id %s)", h.Name, ErrStanding, called, f.MachineID),
			`"hybridctl inventory rename %s %s" gives it its name back; for another name, remove it under the old one, and join it again`, h.Name, called)
	case another != "":
		return hint.With(fmt.Errorf("%s: %w: the host that answers for it is the machine of the node %s (machine-id %s), which would be reset, or be given what is meant for %[1]s",
			h.Name, ErrStanding, another, f.MachineID), "see to the address of %s in the inventory (%s)", h.Name, h.Address)
	case unlisted && isMember(f) && controlPlane:
		return hint.With(fmt.Errorf("%s: %w: the cluster has no node of that name, although the host runs a control plane, with etcd's data: it is not reset for that", h.Name, ErrStanding),
			`to have its node back, run on it "systemctl restart kubelet; kubeadm init phase mark-control-plane --node-name %[1]s"; to give it up where other control planes go on, `+
				`run "hybridctl remove %[1]s"`, h.Name)
	case unlisted && isMember(f) && runsEtcd(f) && !b.forced(h):
		return hint.With(fmt.Errorf("%s: %w: it is a worker in the inventory, the cluster has no node of that name, and the host runs a control plane, with a member that etcd may count on: "+
			"it is not reset for that", h.Name, ErrStanding), demote, h.Name)
	case controlPlane && !f.Kubeadm.KubeletConf && f.Kubeadm.Etcd && wasFinished(f):
		return hint.With(fmt.Errorf("%s: %w: it is a control plane whose /etc/kubernetes/kubelet.conf is gone, while etcd's data is there: it is not reset for that", h.Name, ErrStanding),
			`put the file back ("kubeadm init phase kubeconfig kubelet" on %[1]s writes it); to give the data up, run "kubeadm reset" there`, h.Name)
	case controlPlane && listed && !f.Kubeadm.KubeletConf && !begun(f):
		return hint.With(fmt.Errorf("%s: %w: the cluster has a control plane of that name, and the host is set up as none (its machine-id is %s, the node's %s): "+
			"it was reinstalled or reset, and etcd may count on it", h.Name, ErrStanding, f.MachineID, node.MachineID),
			`"hybridctl scale-out --replace %s" takes the old node and its member out, and joins it again`, h.Name)
	}
	return nil
}

// demote is how a control plane that is a worker in the inventory leaves etcd before it is reset.
const demote = `write role: control-plane for it in the inventory, and "hybridctl remove %[1]s" takes its member out of etcd; then it may join as a worker`

// runsEtcd reports whether a host is a control plane with a member of etcd, whatever the inventory says.
func runsEtcd(f facts.Host) bool {
	return f.Kubeadm.Etcd && (f.Kubeadm.AdminConf || f.Kubeadm.Version != "")
}

// ServesAPI reports whether a host runs an API server, or its kubelet starts one.
func ServesAPI(f facts.Host) bool {
	return f.Kubeadm.Version != "" || slices.Contains(f.Ports, apiPort)
}

// isMember reports whether the host was joined, and was not reset since.
func isMember(f facts.Host) bool { return f.Kubeadm.KubeletConf && wasFinished(f) }

// wasFinished reports whether kubeadm ended well on the host once. Where the marker cannot be read, it may have.
func wasFinished(f facts.Host) bool {
	return slices.ContainsFunc([]Kind{Init, Join}, func(k Kind) bool {
		return f.Markers[string(k)].State == host.MarkerDone || f.BadMarker(string(k))
	})
}

// begun reports whether kubeadm was begun on the host, and did not end well: the step goes on with what is there.
func begun(f facts.Host) bool {
	for _, k := range []Kind{Init, Join} {
		if m, marked := f.Markers[string(k)]; marked && m.State != host.MarkerDone {
			return true
		}
	}
	return false
}

// CalledNow is the name of the node that has the machine-id, when no host of the inventory has that name; "" = none.
func CalledNow(c *inventory.Cluster, nodes []facts.Node, machineID string) string {
	for _, n := range nodes {
		if machineID == "" || n.MachineID != machineID {
			continue // which is asked first: it is asked of every node for every host
		}
		if _, another := c.Host(n.Name); !another {
			return n.Name
		}
	}
	return ""
}
