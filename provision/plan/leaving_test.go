package plan

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// crew are hosts with their nodes: "cp-…" are control planes, and what ends with "-" is not Ready.
func crew(words string) (c *inventory.Cluster, nodes []facts.Node) {
	c = &inventory.Cluster{Metadata: inventory.Metadata{Name: "lab"}, Path: "/lab.yaml"}
	for i, w := range strings.Fields(words) {
		name, away := strings.CutSuffix(w, "-")
		h := inventory.Host{Name: name, Address: "192.0.2." + string(rune('1'+i)), Role: inventory.Worker}
		n := facts.Node{Name: name, Ready: !away, MachineID: "id-of-" + name, InternalIPs: []string{h.Address}}
		if strings.HasPrefix(name, "cp") {
			h.Role, n.ControlPlane = inventory.ControlPlane, true
		}
		c.Spec.Hosts, nodes = append(c.Spec.Hosts, h), append(nodes, n)
	}
	return c, nodes
}

// etcdOf are members of these names; one that ends with "-" is not well.
func etcdOf(words string) (out []Member) {
	for i, w := range strings.Fields(words) {
		name, sick := strings.CutSuffix(w, "-")
		out = append(out, Member{ID: uint64(i + 1), Name: name, Peers: []string{"192.0.2." + string(rune('1'+i))}, Healthy: !sick})
	}
	return out
}

func namesOf(leaving []Leaver) (out []string) {
	for _, l := range leaving {
		out = append(out, l.Host.Name)
	}
	return out
}

func TestMember_HasTheFieldsOfKubes(t *testing.T) {
	// package steps converts one into the other; here it is enough that no one adds a field without a look at that.
	if n := reflect.TypeFor[Member]().NumField(); n != 5 {
		t.Errorf("%d fields", n)
	}
}

func TestLeavers_BehindOthersFirst(t *testing.T) {
	c, nodes := crew("cp-1 a b d")
	c.Spec.Hosts[2].Jump = "a"
	c.Spec.Hosts[3].Jump = "b"
	if got := namesOf(Leavers(c, nodes, []string{"a", "d", "b", "a"})); !slices.Equal(got, []string{"d", "b", "a"}) {
		t.Errorf("order %q", got)
	}
	if got := Leavers(c, nodes[:1], []string{"a"}); len(got) != 1 || got[0].Node.Name != "" {
		t.Errorf("a host without a node: %+v", got)
	}
}

func TestKeepsControlPlane(t *testing.T) {
	for _, c := range []struct {
		all, out string
		ok       bool
	}{
		{"cp-1 a", "a", true},
		{"cp-1 a", "cp-1", false},
		{"cp-1 cp-2 a", "cp-1", true},
		{"cp-1 cp-2- a", "cp-1", false},
		{"cp-1 cp-2", "cp-1 cp-2", false},
		{"cp-1- a", "a", true},
	} {
		cluster, nodes := crew(c.all)
		err := KeepsControlPlane(nodes, Leavers(cluster, nodes, strings.Fields(c.out)))
		if (err == nil) != c.ok || err != nil && len(hint.Of(err)) != 1 {
			t.Errorf("%s without %s: %v, hints %q", c.all, c.out, err, hint.Of(err))
		}
	}
	// the inventory's word counts where the node is gone
	cluster, nodes := crew("cp-1 a")
	if err := KeepsControlPlane(nodes[1:], Leavers(cluster, nodes[1:], []string{"cp-1"})); err == nil {
		t.Error("a control plane whose node is gone may leave although none is left")
	}
}

func TestKeepsEndpoint(t *testing.T) {
	c, nodes := crew("cp-1 cp-2 a")
	for endpoint, ok := range map[string]bool{
		"192.0.2.1:6443": false, "cp-1:6443": false, "[::ffff:192.0.2.1]:6443": false, "192.0.2.2:6443": true, "api.example:6443": true,
		"192.0.2.3:6443": true, // a worker's
	} {
		if err := KeepsEndpoint(endpoint, Leavers(c, nodes, []string{"cp-1", "a"})); (err == nil) != ok {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestKeepsMembers(t *testing.T) {
	for name, x := range map[string]struct {
		members []Member
		out     string
		order   string // of those that leave, with their members
		want    string // of the error
	}{
		"a worker":                      {etcdOf("cp-1 cp-2 cp-3"), "a", "a", ""},
		"one of three":                  {etcdOf("cp-1 cp-2 cp-3"), "cp-2", "cp-2=2", ""},
		"two of three":                  {etcdOf("cp-1 cp-2 cp-3"), "cp-2 cp-3", "cp-2=2 cp-3=3", ""},
		"the one that is not well last": {etcdOf("cp-1 cp-2 cp-3-"), "cp-2 cp-3", "cp-3=3 cp-2=2", ""}, // the other way round etcd has no quorum
		"a well one of three":           {etcdOf("cp-1 cp-2 cp-3-"), "cp-2", "", "lose its quorum"},
		"one that never started":        {append(etcdOf("cp-1 cp-2"), Member{ID: 9, Peers: []string{"192.0.2.3"}, Learner: true}), "cp-3", "cp-3=9", ""},
		"a member of no node":           {append(etcdOf("cp-1 cp-2"), Member{ID: 9, Name: "restored", Peers: []string{"192.0.2.99"}}), "cp-3", "", `no member named cp-3; members that match no node: "restored" (9 at 192.0.2.99)`},
		"out of etcd already":           {etcdOf("cp-1 cp-2"), "cp-3", "cp-3", ""},
		"a worker that is a member":     {append(etcdOf("cp-1 cp-2 cp-3"), Member{ID: 9, Name: "a", Healthy: true}), "a", "a=9", ""},
		"a worker that etcd needs":      {append(etcdOf("cp-1- cp-2"), Member{ID: 9, Name: "a", Healthy: true}), "a", "", "lose its quorum"},
		"a worker at the address of a member of no node": {append(etcdOf("cp-1 cp-2 cp-3"), Member{ID: 9, Name: "restored", Peers: []string{"192.0.2.4"}}), "a", "",
			`no member named a; members that match no node: "restored" (9 at 192.0.2.4)`},
		"a worker, and a member of no node": {append(etcdOf("cp-1 cp-2 cp-3"), Member{ID: 9, Name: "restored", Peers: []string{"192.0.2.99"}}), "a", "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, nodes := crew("cp-1 cp-2 cp-3 a")
			leaving := Leavers(c, nodes, strings.Fields(x.out))
			err := KeepsMembers(c, x.members, nodes, leaving)
			if x.want != "" {
				if err == nil || !strings.Contains(err.Error(), x.want) {
					t.Errorf("error %v, want %q", err, x.want)
				}
				return
			}
			var got []string
			for _, l := range leaving {
				word := l.Host.Name
				if l.Member.ID != 0 {
					word += "=" + string(rune('0'+l.Member.ID))
				}
				got = append(got, word)
			}
			if err != nil || strings.Join(got, " ") != x.order {
				t.Errorf("error %v, %q, want %q", err, got, x.order)
			}
		})
	}
}

func TestKeepsData(t *testing.T) {
	l := Leaver{Host: inventory.Host{Name: "a"}, Pods: []LeavingPod{{Name: "x/y"}}}
	if err := KeepsData([]Leaver{l}); err != nil {
		t.Error(err)
	}
	l.Pods = append(l.Pods, LeavingPod{Name: "x/z", Loses: "pod x/z has local data"})
	if err := KeepsData([]Leaver{l}); err == nil || err.Error() != "a: pod x/z has local data" || len(hint.Of(err)) != 1 {
		t.Errorf("%v, hints %q", err, hint.Of(err))
	}
}

// itself is a host that hybridctl joined, and that is the machine its node knows.
func itself(name string) facts.Host {
	f := facts.Host{Name: name, MachineID: "id-of-" + name, Markers: map[string]facts.Marker{}}
	f.Kubeadm.KubeletConf = true
	for _, k := range []Kind{OS, Runtime, Kubernetes, Images, Join} {
		f.Markers[string(k)] = facts.Marker{Marker: host.Marker{State: host.MarkerDone}}
	}
	return f
}

func TestMayReset(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*Leaver, []facts.Node)
		want   string
	}{
		"the machine that its node knows": {func(*Leaver, []facts.Node) {}, ""},
		"not reached":                     {func(l *Leaver, _ []facts.Node) { l.Facts = facts.Host{Err: errors.New("no route to host")} }, "was not reached, and nothing was done: no route to host"},
		"another machine":                 {func(l *Leaver, _ []facts.Node) { l.Facts.MachineID = "another" }, "it is another machine"},
		"not hybridctl's":                 {func(l *Leaver, _ []facts.Node) { l.Facts.Markers = nil }, "it would not be reset"},
		"reset by somebody":               {func(l *Leaver, _ []facts.Node) { l.Facts.Markers, l.Facts.Kubeadm.KubeletConf = nil, false }, ""},
		"renamed": {func(l *Leaver, nodes []facts.Node) {
			l.Node, nodes[1] = facts.Node{}, facts.Node{Name: "old", MachineID: "id-of-a"}
		},
			"has no node a and knows this machine as old"},
		"no node any more": {func(l *Leaver, nodes []facts.Node) { l.Node = facts.Node{} }, ""},
		"its address is that of another node's host": {func(l *Leaver, nodes []facts.Node) {
			l.Node = facts.Node{}
			nodes[0].InternalIPs, nodes[0].MachineID = []string{"192.0.2.7"}, "id-of-a"
			l.Facts.Addresses = []string{"10.0.0.1", "192.0.2.7"}
		}, "the host that answers for a is the machine of the node cp-1"},
		"a clone of another node": {func(l *Leaver, nodes []facts.Node) {
			nodes[0].InternalIPs, nodes[0].MachineID = []string{"192.0.2.7"}, "id-of-a"
			l.Facts.Addresses = []string{"192.0.2.8"}
		}, ""},
		"a control plane that lost its label, a worker in the inventory": {func(l *Leaver, nodes []facts.Node) {
			l.Facts.Kubeadm.Etcd, l.Facts.Kubeadm.Version = true, "v1.36.3"
		}, "the host runs one, with a member that etcd may count on"},
		"a worker with an etcd of somebody's": {func(l *Leaver, nodes []facts.Node) { l.Facts.Kubeadm.Etcd = true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, nodes := crew("cp-1 a")
			l := Leavers(c, nodes, []string{"a"})[0]
			l.Facts = itself("a")
			x.change(&l, nodes)
			err := MayReset(c, nodes, l)
			if (err == nil) != (x.want == "") || err != nil && (!strings.Contains(err.Error(), x.want) || len(hint.Of(err)) == 0) {
				t.Errorf("error %v, hints %q, want %q", err, hint.Of(err), x.want)
			}
		})
	}
}

func TestMayReplace(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*Leaver)
		want   string
	}{
		"reinstalled": {func(*Leaver) {}, ""},
		"only reset":  {func(l *Leaver) { l.Facts.MachineID = l.Node.MachineID }, ""},
		"the same":    {func(l *Leaver) { l.Facts = itself("a") }, "was not reinstalled"},
		"alive":       {func(l *Leaver) { l.Node.Ready = true }, "is alive"},
		"no node":     {func(l *Leaver) { l.Node = facts.Node{} }, "no node a"},
		"not reached": {func(l *Leaver) { l.Facts.Err = errors.New("refused") }, "nothing was done"},
	} {
		t.Run(name, func(t *testing.T) {
			c, nodes := crew("cp-1 a-")
			l := Leavers(c, nodes, []string{"a"})[0]
			l.Facts = facts.Host{Name: "a", MachineID: "new"}
			x.change(&l)
			if err := MayReplace(l); (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
				t.Errorf("error %v, want %q", err, x.want)
			}
		})
	}
}

// leavingCrew is a control plane and a worker on their way out, the worker reached through the control plane.
func leavingCrew() (*inventory.Cluster, []Leaver) {
	c, nodes := crew("cp-1 cp-2 a gone")
	c.Spec.Hosts[2].Jump = "cp-2"
	leaving := Leavers(c, nodes[:3], []string{"cp-2", "a", "gone"})
	for i := range leaving {
		l := &leaving[i]
		l.Facts = itself(l.Host.Name)
		switch l.Host.Name {
		case "cp-2":
			l.Member = etcdOf("cp-1 cp-2")[1]
		case "a":
			l.Pods = []LeavingPod{{Name: "x/y"}, {Name: "x/z", Loses: "pod x/z has local data (emptyDir d)"}}
		case "gone": // an earlier run came this far
			l.Facts = facts.Host{Name: "gone"}
		}
	}
	return c, leaving
}

func TestLeavingPlan(t *testing.T) {
	c, leaving := leavingCrew()
	o := LeavingOptions{Timeout: time.Minute, Path: c.Path, Ask: []string{"cp-1"}}
	golden.Check(t, "leaving.txt", planText(LeavingPlan(c, leaving, o)))
	o.Offline, o.Path = true, ""
	leaving[0].Node.Ready = false
	golden.Check(t, "leaving-offline.txt", planText(LeavingPlan(c, leaving, o)))
	golden.Check(t, "replacing.txt", planText(ReplacingPlan(c, leaving[:2], o.Ask)))
}

// What is left of a reset that was interrupted is undone before the node goes, wherever it stopped.
func TestLeavingPlan_TheNodeGoesAfterAllOfTheHost(t *testing.T) {
	for left := range 6 {
		c, leaving := leavingCrew()
		l := leaving[:1]
		for _, k := range []Kind{Join, Images, Kubernetes, Runtime, OS}[:left%6] {
			delete(l[0].Facts.Markers, string(k))
		}
		p := LeavingPlan(c, l, LeavingOptions{Path: c.Path})
		before := map[ID]bool{}
		for _, s := range p.Steps {
			for _, d := range s.DependsOn {
				if !before[d] {
					t.Errorf("%s stands before %s, which it needs", s.ID, d)
				}
			}
			before[s.ID] = true
		}
		for _, s := range p.Steps { // everything but the end is needed by something
			needed := slices.ContainsFunc(p.Steps, func(o Step) bool { return slices.Contains(o.DependsOn, s.ID) })
			if needed == (s.Kind == Inventory) {
				t.Errorf("with %d steps undone: %s is needed: %v", left, s.ID, needed)
			}
		}
	}
}

func TestReverse(t *testing.T) {
	p := Plan{Cluster: "lab", Part: true, Steps: []Step{{ID: "a"}, {ID: "b", DependsOn: []ID{"a"}}, {ID: "c", DependsOn: []ID{"a", "elsewhere"}}}}
	want := Plan{Cluster: "lab", Part: true, Steps: []Step{{ID: "c"}, {ID: "b"}, {ID: "a", DependsOn: []ID{"b", "c"}}}}
	if got := Reverse(p); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if len(p.Steps[1].DependsOn) != 1 {
		t.Error("the plan itself was changed")
	}
}
