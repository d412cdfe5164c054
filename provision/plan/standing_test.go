package plan

import (
	"errors"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

func without(in *Input, name string) {
	for i, n := range in.API.Nodes {
		if n.Name == name {
			in.API.Nodes = append(in.API.Nodes[:i:i], in.API.Nodes[i+1:]...)
		}
	}
}

// unreadable spoils the marker of a host's step.
func unreadable(in *Input, host int, step string) {
	delete(in.Hosts[host].Markers, step)
	in.Hosts[host].BadMarkers = []string{step}
}

// begunWith leaves a worker's join without an end, and its node as it is told.
func begunWith(in *Input, ready bool, machineID string) {
	in.Hosts[0].Markers["join"] = facts.Marker{Marker: host.Marker{State: host.MarkerStarted}}
	in.API.Nodes[0].Ready, in.API.Nodes[0].MachineID = ready, machineID
}

func TestBuild_StandingHosts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Input)
		refuse string        // "" = it plans
		want   map[ID]Action // of some steps
	}{
		"the only control plane's node was deleted": {change: func(in *Input) { without(in, "arm-1") },
			refuse: "arm-1: host and cluster disagree: the cluster has no node of that name, although the host runs a control plane, with etcd's data"},
		"a further control plane's node was deleted": {change: func(in *Input) {
			in.Cluster.Spec.Hosts[0].Role = inventory.ControlPlane
			without(in, "x86-1")
		}, refuse: "x86-1: host and cluster disagree: the cluster has no node of that name, although the host runs a control plane"},
		"the first control plane's node was deleted, others go on": {change: func(in *Input) {
			in.API.Nodes[0].ControlPlane = true
			without(in, "arm-1")
		}, refuse: "arm-1: host and cluster disagree: the cluster has no node of that name, although the host runs a control plane"},
		"a worker's node was deleted": {change: func(in *Input) { without(in, "x86-1") },
			want: map[ID]Action{"x86-1/join": Create, "arm-1/init": Unchanged}},
		"a control plane's node was deleted, and it is to be a worker": {change: func(in *Input) {
			without(in, "x86-1")
			in.Hosts[0].Kubeadm.Etcd, in.Hosts[0].Kubeadm.AdminConf = true, true
		}, refuse: "x86-1: host and cluster disagree: it is a worker in the inventory"},
		"renamed in the inventory": {change: func(in *Input) { in.API.Nodes[0].Name = "x86-old" },
			refuse: `x86-1: host and cluster disagree: the cluster has no node of that name, and knows this machine as x86-old (machine-id m1) "hybridctl inventory rename x86-1 x86-old"`},
		"a node of the inventory with the same machine-id": {change: func(in *Input) {
			without(in, "x86-1")
			in.API.Nodes[0].MachineID = "m1"
		}, want: map[ID]Action{"x86-1/join": Create}},
		"and with its address: one machine under two names": {change: func(in *Input) {
			without(in, "x86-1")
			in.API.Nodes[0].MachineID, in.API.Nodes[0].InternalIPs = "m1", []string{"192.0.2.7"}
			in.Hosts[0].Addresses = []string{"192.0.2.7", "2001:db8::7"}
		}, refuse: `x86-1: host and cluster disagree: the host that answers for it is the machine of the node arm-1 (machine-id m1), which would be reset`},
		"hosts that changed their addresses": {change: func(in *Input) {
			in.API.Nodes[1].InternalIPs = []string{"192.0.2.7"}
			in.Hosts[0].MachineID, in.Hosts[0].Addresses = "m2", []string{"192.0.2.7"}
		}, refuse: `x86-1: host and cluster disagree: the host that answers for it is the machine of the node arm-1 (machine-id m2), which would be reset, or be given what is meant for x86-1`},
		"machines that were cloned, behind one address each": {change: func(in *Input) {
			for i := range in.Hosts {
				in.Hosts[i].MachineID, in.Hosts[i].Addresses = "m1", []string{"10.0.2.15"}
				in.API.Nodes[i].MachineID, in.API.Nodes[i].InternalIPs = "m1", []string{"10.0.2.15"}
			}
		}, want: map[ID]Action{"x86-1/join": Unchanged}},
		"reset by hand": {change: func(in *Input) { without(in, "arm-1"); in.Hosts[1].Kubeadm.KubeletConf = false },
			want: map[ID]Action{"arm-1/init": Create}},
		"reset by hand, others go on": {change: func(in *Input) {
			in.API.Nodes[0].ControlPlane = true
			without(in, "arm-1")
			in.Hosts[1].Kubeadm.KubeletConf = false
		}, want: map[ID]Action{"arm-1/join": Create}},
		"the API server did not answer": {change: func(in *Input) { in.API = facts.Cluster{Err: errors.New("down")} },
			want: map[ID]Action{"arm-1/init": Unchanged, "x86-1/join": Unchanged}},
		"a control plane lost its kubelet.conf": {change: func(in *Input) { in.Hosts[1].Kubeadm.KubeletConf, in.Hosts[1].Kubeadm.Etcd = false, true },
			refuse: "arm-1: host and cluster disagree: it is a control plane whose /etc/kubernetes/kubelet.conf is gone"},
		"it did, and the API server does not answer": {change: func(in *Input) {
			in.Hosts[1].Kubeadm.KubeletConf, in.Hosts[1].Kubeadm.Etcd = false, true
			in.API = facts.Cluster{Err: errors.New("down")}
		}, refuse: "kubeadm init phase kubeconfig kubelet"},
		"a control plane was reset by hand, its node is there": {change: func(in *Input) { in.Hosts[1].Kubeadm.KubeletConf = false },
			refuse: `"hybridctl scale-out --replace arm-1"`},
		"a control plane was reinstalled": {change: func(in *Input) {
			in.Hosts[1] = facts.Host{Name: "arm-1", Arch: in.Hosts[1].Arch, MachineID: "m9"}
		}, refuse: "(its machine-id is m9, the node's m2)"},
		"a control plane's join did not end": {change: func(in *Input) {
			in.Cluster.Spec.Hosts[0].Role = inventory.ControlPlane
			in.Hosts[0].Kubeadm = facts.Kubeadm{Etcd: true}
			in.Hosts[0].Markers["join"] = facts.Marker{Marker: host.Marker{State: "started"}}
		}, want: map[ID]Action{"x86-1/join": Create}},
		"a worker's join did not end, and its node is Ready": {change: func(in *Input) { begunWith(in, true, "m1") },
			want: map[ID]Action{"x86-1/join": Update}},
		"a worker's join did not end, and its node is not Ready": {change: func(in *Input) { begunWith(in, false, "m1") },
			want: map[ID]Action{"x86-1/join": Create}},
		"a worker's join did not end, and its node is another machine": {change: func(in *Input) { begunWith(in, true, "m7") },
			want: map[ID]Action{"x86-1/join": Create}},
		"a marker that cannot be read": {change: func(in *Input) { unreadable(in, 1, "init"); unreadable(in, 0, "join") },
			want: map[ID]Action{"arm-1/init": Update, "x86-1/join": Update}},
		"it cannot, and a control plane's node was deleted": {change: func(in *Input) { unreadable(in, 1, "init"); without(in, "arm-1") },
			refuse: "arm-1: host and cluster disagree: the cluster has no node of that name, although the host runs a control plane"},
		"it cannot, and a worker's node was deleted": {change: func(in *Input) { unreadable(in, 0, "join"); without(in, "x86-1") },
			want: map[ID]Action{"x86-1/join": Create}},
		"it cannot, and the control plane lost its kubelet.conf": {change: func(in *Input) {
			unreadable(in, 1, "init")
			in.Hosts[1].Kubeadm.KubeletConf, in.Hosts[1].Kubeadm.Etcd = false, true
		}, refuse: "arm-1: host and cluster disagree: it is a control plane whose /etc/kubernetes/kubelet.conf is gone"},
		"not asked for": {change: func(in *Input) { without(in, "arm-1"); in.Only = []string{"x86-1"} },
			want: map[ID]Action{"x86-1/join": Unchanged}},
	} {
		t.Run(name, func(t *testing.T) {
			in := finished(t)
			c.change(&in)
			p, err := Build(in)
			if c.refuse != "" {
				if !errors.Is(err, ErrStanding) || !strings.Contains(err.Error()+" "+hint.Text(err), c.refuse) {
					t.Errorf("got %v, want %q", err, c.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for id, want := range c.want {
				if s, ok := p.Step(id); !ok || s.Action != want {
					t.Errorf("%s: %v %q, want %s", id, ok, s.Action, want)
				}
			}
		})
	}
}
