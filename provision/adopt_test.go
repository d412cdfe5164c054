package provision

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// foreign is a fleet of n hosts whose first old ones are the nodes of a cluster that hybridctl did not make and was never told of.
func foreign(t *testing.T, n, old int) *sim {
	t.Helper()
	s := newSim(t, n, remotetest.Options{})
	no := false
	for i := range old {
		h := &s.c.Spec.Hosts[i]
		h.Managed = &no
		s.api.AddNode(h.Name)
		node := s.api.AllNodes[h.Name]
		node.InternalIPs, node.Arch, node.ControlPlane = []string{h.NodeIP}, "amd64", i == 0
		node.Runtime, node.KubeletVersion = "containerd://2.1.4", bundletest.Version
		s.api.AllNodes[h.Name] = node
		s.hosts[h.Name].member = true
	}
	s.c.Spec.CNI.Provider = inventory.CNINone
	s.api.Config = kube.ClusterConfiguration{ClusterName: "old", Endpoint: "192.0.2.1:6443", Shared: true, PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/12", DNSDomain: "cluster.local"}
	return s
}

// keep is the state directory as adopt leaves it.
func (s *sim) keep() {
	s.t.Helper()
	a := Adoption{Kubeconfig: []byte(fakeapi.Kubeconfig()), Cluster: inventory.Cluster{Metadata: s.c.Metadata}}
	if err := KeepAdopted(a, s.state); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sim) adopt(change func(*AdoptOptions)) (Adoption, error) {
	o := AdoptOptions{Options: s.options(), Kubeconfig: []byte(fakeapi.Kubeconfig()), Bundle: "./bundle", BundleDir: s.bundle.Dir}
	o.Cluster = &inventory.Cluster{}
	inventory.Default(o.Cluster)
	if change != nil {
		change(&o)
	}
	return Adopt(context.Background(), o)
}

func TestAdopt_TheInventorySaysWhatThereIs(t *testing.T) {
	s := foreign(t, 2, 2)
	s.api.Templates = []kube.PodTemplate{{Kind: "DaemonSet", Namespace: "kube-flannel", Name: "kube-flannel-ds", Daemon: true}}
	before := s.connections()
	a, err := s.adopt(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.wantAlone(before)
	text, err := inventory.Show(&a.Cluster, false)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	c, err := inventory.Parse(path, text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	k := c.Spec.Kubernetes
	if c.Metadata.Name != "old" || k.Version != bundletest.Version || k.Endpoint != "192.0.2.1:6443" || k.PodCIDR != "10.244.0.0/16" || !c.Adopted() || len(c.Managed()) != 0 {
		t.Errorf("%s", text)
	}
	if h, _ := c.Host("host-1"); h.Role != inventory.ControlPlane || h.Arch != "amd64" || h.Address != "192.0.2.1" {
		t.Errorf("host-1: %+v", h)
	}
	found := strings.Join(a.Found, "\n")
	for _, want := range []string{"node host-1: Kubernetes " + bundletest.Version + ", containerd://2.1.4, amd64", "pod network: flannel (DaemonSet kube-flannel/kube-flannel-ds)"} {
		if !strings.Contains(found, want) {
			t.Errorf("no %q in\n%s", want, found)
		}
	}
	if len(a.Notes) != 0 {
		t.Errorf("notes %q", a.Notes)
	}
	// without a bundle: a version that is fetched is the cluster's own
	s.api.ServerVersion = catalogue.Embedded().Versions()[1]
	if a, err = s.adopt(func(o *AdoptOptions) { o.Bundle, o.BundleDir = "", "" }); err != nil || len(a.Notes) != 0 || a.Cluster.Spec.Bundle != "" || a.Cluster.Spec.Kubernetes.Version != s.api.ServerVersion {
		t.Errorf("%v: notes %q, %+v", err, a.Notes, a.Cluster.Spec)
	}
}

func TestAdopt_SaysWhatStandsAgainstAddingHosts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*sim, *AdoptOptions)
		want   string
	}{
		"no bundle":         {func(_ *sim, o *AdoptOptions) { o.BundleDir = "/nonexistent" }, "make one of Kubernetes " + bundletest.Version},
		"bundle too new":    {func(s *sim, _ *AdoptOptions) { s.api.ServerVersion = "v1.30.1" }, "no host can join with it: a kubelet may be as new as its API server, and at most 3 minor versions older; make a bundle of v1.30.1"},
		"bundle is older":   {func(s *sim, _ *AdoptOptions) { s.api.ServerVersion = "v1.37.1" }, "new hosts will run Kubernetes " + bundletest.Version},
		"no bundle named":   {func(s *sim, o *AdoptOptions) { o.Bundle, s.api.ServerVersion = "", "v1.37.1" }, "new hosts will run Kubernetes " + catalogue.Embedded().Versions()[0] + ", as hybridctl's catalogue does not have v1.37.1"},
		"nothing to fetch":  {func(s *sim, o *AdoptOptions) { o.Bundle, s.api.ServerVersion = "", "v1.30.1" }, "make a bundle of v1.30.1 and name it as spec.bundle before hosts are added"},
		"endpoint of one":   {func(s *sim, _ *AdoptOptions) { s.api.Config.Shared = false }, "workers can be added, which find it at 192.0.2.1:6443; control planes cannot"},
		"name servers":      {func(s *sim, _ *AdoptOptions) { s.api.Config.ResolvConf = "/run/systemd/resolve/resolv.conf" }, "the name servers of /run/systemd/resolve/resolv.conf"},
		"etcd elsewhere":    {func(s *sim, _ *AdoptOptions) { s.api.Config.ExternalEtcd = true }, "etcd runs outside the cluster"},
		"other processor":   {func(s *sim, _ *AdoptOptions) { s.api.SetArch("host-2", "s390x") }, "host-2 has the architecture s390x"},
		"node is not Ready": {func(s *sim, _ *AdoptOptions) { s.api.SetReady("host-2", false) }, "host-2 is not Ready"},
	} {
		t.Run(name, func(t *testing.T) {
			s := foreign(t, 2, 2)
			a, err := s.adopt(func(o *AdoptOptions) { c.change(s, o) })
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(a.Notes, func(n string) bool { return strings.Contains(n, c.want) }) {
				t.Errorf("no %q in %q", c.want, a.Notes)
			}
		})
	}
}

func TestAdopt_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*sim, *AdoptOptions)
		kind   error
	}{
		"not made by kubeadm":  {func(s *sim, _ *AdoptOptions) { s.api.Config = kube.ClusterConfiguration{} }, kube.ErrNotKubeadm},
		"both families":        {func(s *sim, _ *AdoptOptions) { s.api.Config.PodCIDR += ",fd00::/48" }, ErrRefused},
		"hidden control plane": {func(s *sim, _ *AdoptOptions) { delete(s.api.AllNodes, "host-1") }, ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			s := foreign(t, 2, 2)
			if _, err := s.adopt(func(o *AdoptOptions) { c.change(s, o) }); !errors.Is(err, c.kind) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAdopt_OverSSHReadsTheKubeconfigOfOneHost(t *testing.T) {
	s := foreign(t, 2, 2)
	before := s.connections()
	a, err := s.adopt(func(o *AdoptOptions) {
		h := s.fleet.Hosts[0]
		ssh := inventory.SSH{IdentityFiles: []string{s.fleet.KeyFile()}, Port: h.Port}
		c, err := ControlPlaneAt(h.Address, ssh)
		if err != nil {
			t.Fatal(err)
		}
		o.Cluster, o.Kubeconfig = c, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.wantAlone(before, "host-1")
	if h, _ := a.Cluster.Host("host-1"); h.Address != s.fleet.Hosts[0].Address || h.NodeIP != "192.0.2.1" {
		t.Errorf("the address that worked is lost: %+v", h)
	}
	if h, _ := a.Cluster.Host("host-2"); h.Address != "192.0.2.2" || h.NodeIP != "" {
		t.Errorf("%+v", h)
	}
	dir := filepath.Join(t.TempDir(), "state")
	if err := KeepAdopted(a, dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{fleet.KubeconfigFile: "current-context: old", fleet.KnownHostsFile: "ssh-ed25519"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v", name, err, info.Mode())
		}
	}
	if err := KeepAdopted(a, dir); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := s.adopt(func(o *AdoptOptions) {
		o.hooks.newAPI, o.Kubeconfig = nil, []byte(strings.ReplaceAll(fakeapi.Kubeconfig(), "certificate-authority-data: ", "certificate-authority: /"))
	}); !errors.Is(err, ErrRefused) || !strings.Contains(hint.Text(err), "--flatten") {
		t.Errorf("a kubeconfig that names files: %v, hint %q", err, hint.Text(err))
	}
}

func TestAdopted_PlanChangesNothingAndAsksNoHost(t *testing.T) {
	s := foreign(t, 2, 2)
	s.keep()
	before := s.connections()
	p, checks, err := Plan(context.Background(), s.options())
	if err != nil {
		t.Fatalf("%v %+v", err, checks)
	}
	if len(p.Steps) != 0 || len(p.Notes) != 0 {
		t.Errorf("%+v", p)
	}
	if r := mustUp(t, s); len(r.Changes) != 0 || len(r.Hosts) != 0 {
		t.Errorf("%+v", r)
	}
	status, err := Status(context.Background(), s.options())
	if err != nil || status.API != "answers" || status.Hosts[1].Node != "Ready" || status.Hosts[1].Host != "not managed" {
		t.Errorf("%v %+v", err, status)
	}
	s.wantAlone(before)
}

func TestAdopted_ScaleOutJoinsNewHostsAlone(t *testing.T) {
	s := foreign(t, 4, 2)
	s.keep()
	before := s.connections()
	r, err := s.scaleOut(nil)
	if err != nil {
		t.Fatalf("%v\n%+v %+v", err, r.Changes, r.Checks)
	}
	s.wantAlone(before, "host-3", "host-4")
	if len(s.api.AllNodes) != 4 || len(r.Hosts) != 2 || s.api.CNI {
		t.Errorf("%d nodes, results of %d hosts, pod network applied: %v", len(s.api.AllNodes), len(r.Hosts), s.api.CNI)
	}
	before = s.connections()
	if p, _, err := Plan(context.Background(), s.options()); err != nil || p.Changes() != 0 || len(p.Steps) != 2*6 {
		t.Errorf("%v, %d changes, %d steps", err, p.Changes(), len(p.Steps))
	}
	s.wantAlone(before, "host-3", "host-4")
}

func TestAdopted_WithoutStateTheKubeconfigComesFromTheControlPlane(t *testing.T) {
	s := foreign(t, 3, 2)
	before := s.connections()
	if p, _, err := Plan(context.Background(), s.options()); err != nil || p.Changes() == 0 {
		t.Errorf("%v, %d changes", err, p.Changes())
	}
	s.wantAlone(before, "host-1", "host-3")
}

func TestAdopted_WhatIsNotManagedIsLeftAlone(t *testing.T) {
	s := foreign(t, 3, 2)
	s.keep()
	before := s.connections()
	if _, err := Destroy(context.Background(), DestroyOptions{Options: s.options()}); !errors.Is(err, ErrRefused) || !strings.Contains(printed(err), "hybridctl remove") {
		t.Errorf("destroy: %v", err)
	}
	if _, err := s.remove("host-2", nil); !errors.Is(err, ErrRefused) || !strings.Contains(printed(err), "--offline") {
		t.Errorf("remove: %v", err)
	}
	if _, err := s.remove("host-2", func(o *RemoveOptions) { o.Offline = true }); err != nil || len(s.api.AllNodes) != 1 {
		t.Errorf("remove --offline: %v, %d nodes", err, len(s.api.AllNodes))
	}
	s.wantAlone(before)
}

func TestAdopted_RemoveTakesOutWhatJoined(t *testing.T) {
	s := foreign(t, 3, 2)
	s.keep()
	if _, err := s.scaleOut(nil); err != nil {
		t.Fatal(err)
	}
	before := s.connections()
	if _, err := s.remove("host-3", nil); err != nil {
		t.Fatal(err)
	}
	s.wantAlone(before, "host-3")
	if h := s.hosts["host-3"]; h.member || len(h.markers) != 0 || len(s.api.AllNodes) != 2 {
		t.Errorf("markers %v, %d nodes", h.markers, len(s.api.AllNodes))
	}
}

func TestPlan_ControlPlanesOfAnAdoptedClusterJoinOneAfterAnother(t *testing.T) {
	s := foreign(t, 4, 1)
	s.keep()
	s.c.Spec.Hosts[1].Role, s.c.Spec.Hosts[2].Role = inventory.ControlPlane, inventory.ControlPlane
	s.c.Spec.Kubernetes.Endpoint, s.api.Config.Endpoint = "api.example:6443", "api.example:6443"
	p, _, err := Plan(context.Background(), s.options())
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[plan.ID]plan.ID{"host-2/join": "", "host-3/join": "host-2/join", "host-4/join": ""} {
		st, ok := p.Step(id)
		if !ok || slices.ContainsFunc(st.DependsOn, func(d plan.ID) bool { return strings.HasSuffix(string(d), "/init") }) || want != "" && !slices.Contains(st.DependsOn, want) {
			t.Errorf("%s depends on %v", id, st.DependsOn)
		}
	}
}

func TestUp_AddsAControlPlaneToAnAdoptedCluster(t *testing.T) {
	s := foreign(t, 2, 1)
	s.keep()
	s.c.Spec.Hosts[1].Role = inventory.ControlPlane
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	before := s.connections()
	if r, err := s.up(); !errors.Is(err, ErrPreflight) || s.changed() != 0 { // it was made with another endpoint, the first host's own
		t.Errorf("%v %+v", err, r.Checks)
	}
	s.api.Config.Endpoint = "api.example:6443"
	if r, err := s.up(); err != nil {
		t.Fatalf("%v %+v", err, r.Hosts)
	}
	s.wantAlone(before, "host-1", "host-2")
	if s.hosts["host-2"].files["pki"] == 0 || len(s.hosts["host-1"].writes) > 0 {
		t.Errorf("certificates %d, written on the old host: %q", s.hosts["host-2"].files["pki"], s.hosts["host-1"].writes)
	}
}

// With a kubeconfig alone there is no host to go through: an API server that does not answer directly is an error, and no connection to nowhere.
func TestAdopt_WithoutAHostThereIsNoTunnel(t *testing.T) {
	s := foreign(t, 1, 1)
	_, err := s.adopt(func(o *AdoptOptions) {
		o.hooks.newAPI = func(_ []byte, k kube.Options) (access.API, error) {
			conn, err := k.Dial(context.Background(), "tcp", "192.0.2.1:6443")
			if conn != nil || err == nil {
				t.Errorf("connection %v, error %v", conn, err)
			}
			return nil, err
		}
	})
	if !errors.Is(err, fleet.ErrNoWay) {
		t.Errorf("error %v", err)
	}
}
