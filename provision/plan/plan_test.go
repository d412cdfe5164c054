package plan

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// text is a plan for people who review goldens: everything but the digests.
func planText(p Plan) []byte {
	var b bytes.Buffer
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%-10s %-22s after %v: %s\n", s.Action, s.ID, s.DependsOn, s.Reason)
		for _, d := range s.Details {
			fmt.Fprintf(&b, "             %s\n", d)
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.Bytes()
}

func testCluster() *inventory.Cluster {
	c := &inventory.Cluster{Metadata: inventory.Metadata{Name: "mixed"}}
	c.Spec.Kubernetes = inventory.Kubernetes{Version: "v1.36.3", Endpoint: "192.0.2.21:6443", PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/12", DNSDomain: "cluster.local"}
	c.Spec.CNI.Provider = inventory.CNIFlannel
	c.Spec.Hosts = []inventory.Host{
		{Name: "x86-1", Address: "192.0.2.11", NodeIP: "192.0.2.11", Role: inventory.Worker, Labels: map[string]string{"rack": "a1"}, Taints: []string{"dedicated=db:NoSchedule"}},
		{Name: "arm-1", Address: "192.0.2.21", NodeIP: "192.0.2.21", Role: inventory.ControlPlane},
	}
	return c
}

func testBundle() *bundle.Manifest {
	m := &bundle.Manifest{KubernetesVersion: "v1.36.3"}
	for _, arch := range platform.All() {
		for _, b := range []struct{ component, name string }{
			{bundle.Containerd, "containerd"}, {bundle.Runc, "runc"}, {bundle.CNIPlugins, "bridge"}, {bundle.Kubernetes, "kubelet"}, {bundle.Kubernetes, "kubeadm"},
		} {
			m.Binaries = append(m.Binaries, bundle.Binary{Component: b.component, Name: b.name, Version: "v1", Arch: arch, SHA256: Digest(b.name + string(arch))[7:], Size: 10e6})
		}
	}
	for _, name := range []string{"kube-apiserver:v1.36.3", "kube-controller-manager:v1.36.3", "kube-scheduler:v1.36.3", "kube-proxy:v1.36.3", "etcd:3.6.8-0", "coredns:v1.14.2", "pause:3.10.2", "flannel:v0.28.4", "flannel-cni-plugin:v1"} {
		component, _, _ := strings.Cut(name, ":")
		i := bundle.Image{Component: component, Ref: "registry.example/kube/" + name, Archs: platform.All(), Manifests: map[platform.Arch]string{}}
		for _, a := range platform.All() {
			i.Manifests[a] = Digest(name + string(a))
		}
		m.Images = append(m.Images, i)
	}
	return m
}

func fresh() Input {
	return Input{Cluster: testCluster(), Bundle: testBundle(), Hosts: []facts.Host{
		{Name: "x86-1", Arch: platform.AMD64, MachineID: "m1"},
		{Name: "arm-1", Arch: platform.ARM64, MachineID: "m2"},
	}}
}

func mustBuild(t *testing.T, in Input) Plan {
	t.Helper()
	p, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// finished is the input of a second run: every step left its marker, the API lists the nodes.
func finished(t *testing.T) Input {
	in := fresh()
	p := mustBuild(t, in)
	for i := range in.Hosts {
		h := &in.Hosts[i]
		h.Markers = map[string]facts.Marker{}
		h.Kubeadm.KubeletConf = true
		for _, s := range p.Steps {
			if s.Host == h.Name && s.Kind != Node {
				h.Markers[string(s.Kind)] = facts.Marker{Marker: host.Marker{Step: string(s.Kind), State: host.MarkerDone, Digest: s.Digest}}
			}
			if images, ok := s.Inputs.(ImagesInputs); ok && s.Host == h.Name {
				for _, image := range images.Images {
					h.Images = append(h.Images, image.Ref)
				}
			}
		}
	}
	in.API = facts.Cluster{Observed: true, CNI: facts.CNIState{InPlace: true}, NodeInPlace: map[string]bool{"x86-1": true, "arm-1": true},
		Nodes: []facts.Node{{Name: "x86-1", MachineID: "m1"}, {Name: "arm-1", MachineID: "m2"}}}
	return in
}

func TestBuild_FreshHosts(t *testing.T) {
	golden.Check(t, "fresh.txt", planText(mustBuild(t, fresh())))
}

func TestBuild_SecondRunChangesNothing(t *testing.T) {
	p := mustBuild(t, finished(t))
	if n := p.Changes(); n != 0 {
		t.Errorf("%d changes:\n%s", n, planText(p))
	}
	if len(p.Notes) != 0 {
		t.Errorf("notes: %q", p.Notes)
	}
}

func TestBuild_IsDeterministic(t *testing.T) {
	a, b := mustBuild(t, fresh()), mustBuild(t, fresh())
	if d := cmp.Diff(Digest(a), Digest(b)); d != "" {
		t.Error(d)
	}
}

func TestBuild_OrderRespectsDependsOn(t *testing.T) {
	seen := map[ID]bool{}
	for _, s := range mustBuild(t, fresh()).Steps {
		for _, d := range s.DependsOn {
			if !seen[d] {
				t.Errorf("%s stands before %s, which it needs", s.ID, d)
			}
		}
		seen[s.ID] = true
	}
}

func TestBuild_OneChange(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Input)
		want   string // "action id" of the only step that is not unchanged
	}{
		{"file edited", func(in *Input) { drift(in, "x86-1", Runtime, "/etc/containerd/config.toml was edited") }, "update x86-1/runtime"},
		{"kubelet stopped", func(in *Input) { drift(in, "x86-1", Join, "kubelet.service is inactive") }, "update x86-1/join"},
		{"module unloaded", func(in *Input) { drift(in, "arm-1", OS, "the module vxlan is not loaded") }, "update arm-1/os"},
		{"step interrupted", func(in *Input) { state(in, "x86-1", Join, host.MarkerStarted) }, "create x86-1/join"},
		{"image removed", func(in *Input) { in.Hosts[0].Images = in.Hosts[0].Images[1:] }, "update x86-1/images"},
		{"node deleted", func(in *Input) { in.API.Nodes = in.API.Nodes[1:]; delete(in.API.NodeInPlace, "x86-1") }, "create x86-1/join, create x86-1/node"},
		{"node relabelled", func(in *Input) { in.API.NodeInPlace["x86-1"] = false }, "update x86-1/node"},
		{"cni edited", func(in *Input) {
			in.API.CNI = facts.CNIState{Differs: []string{"DaemonSet/kube-flannel/kube-flannel-ds: differs"}}
		}, "update cluster/cni"},
		{"secret edited", func(in *Input) {
			withCeph(in)
			in.API.CSI = facts.CNIState{Differs: []string{"Secret/ceph-csi/ceph-csi-ceph-rbd: differs"}}
		}, "update cluster/csi"},
		{"storage is new", func(in *Input) {
			withCeph(in)
			in.API.CSI = facts.CNIState{Differs: []string{"Namespace/ceph-csi: missing"}}
		}, "create cluster/csi"},
		{"storage in place", func(in *Input) { withCeph(in); in.API.CSI.InPlace = true }, ""},
		{"cni never installed", func(in *Input) { in.API.CNI = facts.CNIState{Differs: []string{"Namespace/kube-flannel: missing"}} }, "create cluster/cni"},
		{"host reset by hand", func(in *Input) { in.Hosts[0].Kubeadm.KubeletConf = false }, "create x86-1/join"},
		{"marker lost, still a node", func(in *Input) { delete(in.Hosts[0].Markers, "join") }, ""},
		{"marker lost, other machine", func(in *Input) { delete(in.Hosts[0].Markers, "join"); in.Hosts[0].MachineID = "other" }, "create x86-1/join"},
		{"marker not readable", func(in *Input) { unreadable(in, 0, "runtime") }, "create x86-1/runtime, update x86-1/images"},
		{"marker not readable, still a node", func(in *Input) { unreadable(in, 0, "join") }, "update x86-1/join"},
		{"marker not readable, other machine", func(in *Input) { unreadable(in, 0, "join"); in.Hosts[0].MachineID = "other" }, "create x86-1/join"},
		{"new runtime in the bundle", func(in *Input) { in.Bundle.Binaries[0].SHA256 = "00" }, "update x86-1/runtime"},
		{"host not reached", func(in *Input) { in.Hosts[0] = facts.Host{Name: "x86-1", Err: errors.New("no route to host")} },
			"unknown x86-1/os, unknown x86-1/runtime, unknown x86-1/kubernetes, unknown x86-1/images, unknown x86-1/join"},
		{"api does not answer", func(in *Input) { in.API = facts.Cluster{Err: errors.New("connection refused")} }, "unknown cluster/cni, unknown arm-1/node, unknown x86-1/node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := finished(t)
			c.change(&in)
			var got []string
			for _, s := range mustBuild(t, in).Steps {
				if s.Action != Unchanged {
					got = append(got, string(s.Action)+" "+string(s.ID))
				}
			}
			if g := strings.Join(got, ", "); g != c.want {
				t.Errorf("got  %s\nwant %s", g, c.want)
			}
		})
	}
}

// A worker that has joined just so and was never a node: its node is waited for. Nothing else is left alone like that.
func TestBuild_WorkerThatHasJoinedAndNeverHadANode(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Input)
		want   bool
	}{
		"just so":              {func(*Input) {}, true},
		"it had pods":          {func(in *Input) { in.Hosts[0].Kubeadm.Pods = true }, false},
		"it was reset":         {func(in *Input) { in.Hosts[0].Kubeadm.KubeletConf = false }, false},
		"it did not finish":    {func(in *Input) { state(in, "x86-1", Join, "started") }, false},
		"other settings":       {func(in *Input) { in.Cluster.Spec.Hosts[0].Taints = []string{"a=b:NoSchedule"} }, false},
		"the API is not there": {func(in *Input) { in.API = facts.Cluster{Err: errors.New("down")} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := finished(t)
			without(&in, "x86-1")
			c.change(&in)
			for _, s := range mustBuild(t, in).Steps {
				if s.ID != "x86-1/join" {
					continue
				}
				got := s.Inputs.(JoinInputs).Registers
				if said := strings.Contains(s.Reason, "not registered") && strings.Contains(strings.Join(s.Details, ""), "wait for the node"); got != c.want || said != c.want {
					t.Errorf("registers yet: %v, want %v; %s: %q", got, c.want, s.Reason, s.Details)
				}
			}
		})
	}
}

func drift(in *Input, name string, k Kind, sentence string) {
	edit(in, name, k, func(m *facts.Marker) { m.Drift = []string{sentence} })
}

func state(in *Input, name string, k Kind, s string) {
	edit(in, name, k, func(m *facts.Marker) { m.State = s })
}

func edit(in *Input, name string, k Kind, f func(*facts.Marker)) {
	for i := range in.Hosts {
		if in.Hosts[i].Name == name {
			m := in.Hosts[i].Markers[string(k)]
			f(&m)
			in.Hosts[i].Markers[string(k)] = m
		}
	}
}

func TestBuild_Notes(t *testing.T) {
	in := finished(t)
	in.API.Nodes = append(in.API.Nodes, facts.Node{Name: "stranger"})
	in.Cluster.Spec.Kubernetes.APIServer.ExtraArgs = []inventory.NameValue{{Name: "profiling", Value: "false"}}
	p := mustBuild(t, in)
	if p.Changes() != 0 {
		t.Errorf("changes:\n%s", planText(p))
	}
	golden.Check(t, "notes.txt", planText(p))
}

func TestBuild_BundleLacksAnImage(t *testing.T) {
	in := fresh()
	in.Bundle.Images = in.Bundle.Images[1:]
	if _, err := Build(in); err == nil || !strings.Contains(err.Error(), "kube-apiserver") {
		t.Errorf("error %v", err)
	}
}

func TestBuild_CrictlIsInstalledWhereTheBundleHasIt(t *testing.T) {
	in := fresh()
	in.Bundle.Binaries = append(in.Bundle.Binaries, bundle.Binary{Component: bundle.Crictl, Name: "crictl", Version: "v1", Arch: platform.AMD64, SHA256: Digest("crictl")[7:], Size: 10e6})
	var has []string
	for _, s := range mustBuild(t, in).Steps {
		if s.Kind != Runtime {
			continue
		}
		for _, b := range s.Inputs.(FilesInputs).Binaries {
			if b.Source.Component == bundle.Crictl {
				has = append(has, string(s.ID)+" "+b.Path)
			}
		}
	}
	if len(has) != 1 || has[0] != "x86-1/runtime /usr/local/bin/crictl" {
		t.Errorf("installed: %q", has)
	}
}

func TestBuild_WorkerGetsNoControlPlaneImages(t *testing.T) {
	for _, s := range mustBuild(t, fresh()).Steps {
		if s.ID != "x86-1/images" {
			continue
		}
		for _, i := range s.Inputs.(ImagesInputs).Images {
			if strings.Contains(i.Ref, "etcd") || strings.Contains(i.Ref, "apiserver") {
				t.Errorf("a worker is to have %s", i.Ref)
			}
		}
	}
}

func TestBuild_ControlPlanesJoinOneAfterAnother(t *testing.T) {
	in := fresh()
	for i := range 3 {
		h := inventory.Host{Name: fmt.Sprintf("cp-%d", i), Address: fmt.Sprintf("192.0.2.3%d", i), Role: inventory.ControlPlane}
		in.Cluster.Spec.Hosts = append(in.Cluster.Spec.Hosts, h)
		in.Hosts = append(in.Hosts, facts.Host{Name: h.Name, Arch: platform.AMD64})
	}
	s, _ := mustBuild(t, in).Step("cp-1/join")
	if d := cmp.Diff([]ID{"cp-1/kubernetes", "cp-1/images", "cp-0/join"}, s.DependsOn); d != "" {
		t.Error(d)
	}
	in.Only = []string{"cp-0", "cp-2"} // cp-1 is a node already
	s, _ = mustBuild(t, in).Step("cp-2/join")
	if d := cmp.Diff([]ID{"cp-2/kubernetes", "cp-2/images", "cp-0/join"}, s.DependsOn); d != "" {
		t.Error(d)
	}
}

func TestRemoval(t *testing.T) {
	in := finished(t)
	delete(in.Hosts[0].Markers, "join")
	in.Cluster.Spec.Hosts = append(in.Cluster.Spec.Hosts, inventory.Host{Name: "gone", Role: inventory.Worker}, inventory.Host{Name: "never", Role: inventory.Worker})
	in.Hosts = append(in.Hosts, facts.Host{Name: "gone", Err: errors.New("no route to host")}, facts.Host{Name: "never"})
	golden.Check(t, "removal.txt", planText(Removal(in.Cluster, in.Hosts)))
}
