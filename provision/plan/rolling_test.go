package plan

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// running is a cluster of so many control planes and workers, with a host that is to join, after the inventory asked for another runtime and kubelet.
func running(t *testing.T, planes, workers int) Plan {
	t.Helper()
	in := fresh()
	in.Cluster.Spec.Hosts, in.Hosts = nil, nil
	add := func(name string, role inventory.Role) {
		in.Cluster.Spec.Hosts = append(in.Cluster.Spec.Hosts, inventory.Host{Name: name, Address: "192.0.2.1", Role: role})
		in.Hosts = append(in.Hosts, facts.Host{Name: name, Arch: platform.ARM64})
	}
	for i := range planes {
		add(fmt.Sprintf("cp-%d", i), inventory.ControlPlane)
	}
	for i := range workers {
		add(fmt.Sprintf("w-%d", i), inventory.Worker)
	}
	p := mustBuild(t, in)
	in.API.Observed = true
	for i := range in.Hosts {
		h := &in.Hosts[i]
		h.Kubeadm.KubeletConf, h.Markers = true, map[string]facts.Marker{}
		in.API.Nodes = append(in.API.Nodes, facts.Node{Name: h.Name, ControlPlane: i < planes})
		for _, s := range p.Steps {
			if s.Host == h.Name {
				m := facts.Marker{}
				m.State, m.Digest = "done", s.Digest
				if s.Kind == Runtime || s.Kind == Kubernetes {
					m.Digest = "another"
				}
				h.Markers[string(s.Kind)] = m
			}
		}
	}
	add("new", inventory.Worker)
	return mustBuild(t, in)
}

// atOnce runs the plan as the engine may, everything that is ready at the same time, and says how many hosts of a role restart something at once.
func atOnce(t *testing.T, p Plan, role string) (most int) {
	t.Helper()
	done := map[ID]bool{}
	for len(done) < len(p.Steps) {
		var now []Step
		for _, s := range p.Steps {
			ready := !done[s.ID]
			for _, d := range slices.Concat(s.DependsOn, s.Behind) {
				ready = ready && done[d]
			}
			if ready {
				now = append(now, s)
			}
		}
		if len(now) == 0 {
			t.Fatal("the plan goes in a circle")
		}
		hosts := map[string]bool{}
		for _, s := range now {
			done[s.ID] = true
			if (s.Kind == Runtime || s.Kind == Kubernetes) && s.Action == Update && s.Host[:1] == role {
				hosts[s.Host] = true
			}
		}
		most = max(most, len(hosts))
	}
	return most
}

// Nodes that are at work restart a bounded number at a time, control planes one by one; a host that is to join waits for none of them.
func TestBuild_RestartsOneAfterAnother(t *testing.T) {
	for _, c := range []struct{ planes, workers, most int }{{1, 1, 1}, {3, 3, 1}, {3, 14, 3}, {5, 200, 10}} {
		p := running(t, c.planes, c.workers)
		if n := atOnce(t, p, "c"); n != 1 {
			t.Errorf("%d control planes: %d restart at once", c.planes, n)
		}
		if n := atOnce(t, p, "w"); n != c.most {
			t.Errorf("%d workers: %d restart at once, want %d", c.workers, n, c.most)
		}
		at := map[ID]int{}
		for i, s := range p.Steps {
			at[s.ID] = i
			for _, d := range slices.Concat(s.DependsOn, s.Behind) {
				if before, ok := at[d]; !ok || before >= i {
					t.Errorf("%s depends on %s, which comes later", s.ID, d)
				}
				if s.Host == "new" && s.Kind != Join && d[:3] != "new" {
					t.Errorf("%s waits for %s", s.ID, d)
				}
			}
		}
	}
}
