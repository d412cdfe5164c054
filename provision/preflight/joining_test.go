package preflight

import (
	"errors"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// joining is the fixture with x86-1 as the running cluster, seen through its API alone, and arm-1 on its way in.
func joining() (*fixture, Joining) {
	f := fit()
	f.hosts = []facts.Host{fitHost("arm-1", platform.ARM64, "10.99.0.21")}
	f.cluster.Spec.Kubernetes.Endpoint = "api.example:6443"
	return f, Joining{
		Hosts: []string{"arm-1"}, CACertHashes: []string{"sha256:a0", "sha256:aa"}, Version: "v1.36.1",
		API: facts.Cluster{Observed: true, Nodes: []facts.Node{{Name: "x86-1", MachineID: "id-of-x86-1", InternalIPs: []string{"10.99.0.11"}, ControlPlane: true}},
			Endpoint: "api.example:6443", SharedEndpoint: true, Etcd: []facts.EtcdMember{{Name: "x86-1", Well: true}}},
	}
}

func TestRunJoining(t *testing.T) {
	controlPlane := func(f *fixture) { f.declared("arm-1").Role = inventory.ControlPlane }
	for name, c := range map[string]struct {
		change      func(*fixture, *Joining)
		host, check string
		status      report.Status
		message     string
	}{
		"another cluster's node": {func(f *fixture, _ *Joining) {
			f.mark("arm-1", "join", "done")
			f.host("arm-1").Kubeadm = facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:bb", Server: "https://192.0.2.9:6443"}
		}, "arm-1", "other-cluster", report.Fail, "another cluster (https://192.0.2.9:6443): it trusts the cluster CA sha256:bb"},
		"another cluster's node that somebody else made": {func(f *fixture, _ *Joining) {
			f.host("arm-1").Kubeadm = facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:bb", Server: "https://192.0.2.9:6443"}
		}, "arm-1", "other-cluster", report.Fail, "https://192.0.2.9:6443"},
		"another cluster's node that somebody else made is reset by no force": {func(f *fixture, j *Joining) {
			f.host("arm-1").Kubeadm = facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:bb", Server: "https://192.0.2.9:6443"}
			j.Force = []string{"arm-1"}
		}, "arm-1", "other-cluster", report.Fail, "https://192.0.2.9:6443"},
		"another cluster's node, by force": {func(f *fixture, j *Joining) {
			f.mark("arm-1", "join", "done")
			f.host("arm-1").Kubeadm = facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:bb"}
			j.Force = []string{"arm-1"}
		}, "arm-1", "other-cluster", report.Warn, "--force resets the host first"},
		"its certificates, which end with it": {func(f *fixture, j *Joining) {
			f.mark("arm-1", "join", "done")
			h := f.host("arm-1")
			h.Time, h.Kubeadm = today, facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:bb", Certificates: []facts.Certificate{lasting("kubelet", -1, 365)}}
			j.Force = []string{"arm-1"}
		}, "arm-1", Certificates, report.Warn, "--force resets the host first"},
		"certificates of this cluster's node once": {func(f *fixture, _ *Joining) {
			f.mark("arm-1", "join", "done")
			h := f.host("arm-1")
			h.Time, h.Kubeadm = today, facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:aa", Certificates: []facts.Certificate{lasting("kubelet", -1, 365)}}
		}, "arm-1", Certificates, report.Warn, "no node any more"},
		"certificates of a node that is proven yet": {func(f *fixture, j *Joining) {
			f.mark("arm-1", "join", "done")
			h := f.host("arm-1")
			h.Time, h.Kubeadm = today, facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:aa", Certificates: []facts.Certificate{lasting("kubelet", -1, 365)}}
			j.API.Nodes = append(j.API.Nodes, facts.Node{Name: "arm-1", MachineID: "id-of-arm-1"})
		}, "arm-1", Certificates, report.Fail, "ended: kubelet"},
		"this cluster's node of another version is not reset by force": {func(f *fixture, j *Joining) {
			f.mark("arm-1", "join", "done")
			h := f.host("arm-1")
			h.Kubeadm, h.Images = facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:aa"}, []string{"registry.example/kube-proxy:v1.35.2"}
			j.Force = []string{"arm-1"}
		}, "arm-1", "version-change", report.Fail, "does not upgrade"},
		"this cluster's node once": {func(f *fixture, _ *Joining) {
			f.mark("arm-1", "join", "done")
			f.host("arm-1").Kubeadm = facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:aa"}
		}, "arm-1", "other-cluster", report.Pass, "node of this cluster"},
		"a node whose cluster cannot be told": {func(f *fixture, _ *Joining) {
			f.mark("arm-1", "join", "done")
			f.host("arm-1").Kubeadm = facts.Kubeadm{KubeletConf: true}
		}, "arm-1", "other-cluster", report.Fail, "no cluster CA that can be read (/etc/kubernetes/pki/ca.crt)"},
		"a node whose cluster cannot be told, by force": {func(f *fixture, j *Joining) {
			f.mark("arm-1", "join", "done")
			f.host("arm-1").Kubeadm = facts.Kubeadm{KubeletConf: true}
			j.Force = []string{"arm-1"}
		}, "arm-1", "other-cluster", report.Warn, "--force resets the host first"},
		"a clone of a node": {func(f *fixture, _ *Joining) { f.host("arm-1").MachineID = "id-of-x86-1" },
			"arm-1", "duplicate-machine-id", report.Fail, "x86-1"},
		"a node's address": {func(f *fixture, _ *Joining) { f.declared("arm-1").NodeIP = "10.99.0.11" },
			"arm-1", "duplicate-address", report.Fail, "x86-1"},
		"wrong architecture": {func(f *fixture, _ *Joining) { f.declared("arm-1").Arch = platform.AMD64 },
			"arm-1", "arch-declared", report.Fail, "the host is"},
		"newer than the API server": {func(_ *fixture, j *Joining) { j.Version = "v1.35.9" }, "", "version-skew", report.Fail, "v1.35.9"},
		"three minors older":        {func(_ *fixture, j *Joining) { j.Version = "v1.39.0" }, "", "version-skew", report.Warn, "allows"},
		"four minors older":         {func(_ *fixture, j *Joining) { j.Version = "v1.40.0" }, "", "version-skew", report.Fail, "at most 3"},
		"same minor":                {func(*fixture, *Joining) {}, "", "version-skew", report.Pass, "v1.36.1"},
		"a control plane of another patch": {func(f *fixture, _ *Joining) { controlPlane(f) },
			"", "version-skew", report.Fail, "arm-1 would be a control plane of Kubernetes v1.36.3, the cluster's run v1.36.1"},
		"a control plane of the same": {func(f *fixture, j *Joining) { controlPlane(f); j.Version = "v1.36.3" },
			"", "version-skew", report.Pass, "v1.36.3"},
		"a second control plane": {func(f *fixture, _ *Joining) { controlPlane(f) },
			"", "quorum", report.Warn, "2 members, of which 0 may be away"},
		"a third control plane": {func(f *fixture, j *Joining) {
			controlPlane(f)
			j.API.Etcd = append(j.API.Etcd, facts.EtcdMember{Name: "other", Well: true})
		}, "", "quorum", report.Pass, "3 members, of which 1 may be away"},
		"a third where etcd was not asked": {func(f *fixture, j *Joining) {
			controlPlane(f)
			j.API.Etcd = nil
			j.API.Nodes = append(j.API.Nodes, facts.Node{Name: "other", ControlPlane: true})
		}, "", "quorum", report.Pass, "3 members, of which 1 may be away"},
		"a control plane beside a member that is away": {func(f *fixture, j *Joining) {
			controlPlane(f)
			j.API.Etcd = append(j.API.Etcd, facts.EtcdMember{Name: "other"})
		}, "", "quorum", report.Fail, "member other is not well"},
		"a control plane where etcd does not answer": {func(f *fixture, j *Joining) {
			controlPlane(f)
			j.API.Etcd, j.API.EtcdErr = nil, errors.New("no etcd there")
		}, "", "quorum", report.Warn, "no etcd there"},
		"an endpoint that cannot move": {func(f *fixture, j *Joining) {
			controlPlane(f)
			j.API.Endpoint = "10.99.0.11:6443"
		}, "", "endpoint", report.Fail, "own address of x86-1"},
		"one that was changed in the inventory alone": {func(f *fixture, j *Joining) {
			controlPlane(f)
			f.cluster.Spec.Kubernetes.Endpoint = "lb.example:6443"
		}, "", "endpoint", report.Fail, "made with the endpoint api.example:6443, the inventory has lb.example:6443"},
		"one that nobody chose": {func(f *fixture, j *Joining) {
			controlPlane(f)
			j.API.SharedEndpoint = false
		}, "", "endpoint", report.Fail, "without an endpoint that control planes share"},
		"the inventory's, of a cluster that kubeadm did not make": {func(f *fixture, j *Joining) {
			controlPlane(f)
			j.API.Endpoint, f.cluster.Spec.Kubernetes.Endpoint = "", "10.99.0.11:6443"
		}, "", "endpoint", report.Fail, "own address of x86-1"},
		"name servers of systemd-resolved, where it is not": {func(_ *fixture, j *Joining) { j.API.ResolvConf = "/run/systemd/resolve/resolv.conf" },
			"arm-1", "resolv-conf", report.Fail, "names /run/systemd/resolve/resolv.conf for every node, and systemd-resolved.service is not active here"},
		"name servers of systemd-resolved, of which systemd did not say": {func(f *fixture, j *Joining) {
			delete(f.host("arm-1").Units, resolved)
			j.API.ResolvConf = "/run/systemd/resolve/resolv.conf"
		}, "arm-1", "resolv-conf", report.Unknown, "not known: the cluster's kubelet configuration names"},
		"where it is": {func(f *fixture, j *Joining) {
			f.host("arm-1").Units[resolved] = "active"
			j.API.ResolvConf = "/run/systemd/resolve/resolv.conf"
		}, "arm-1", "resolv-conf", report.Pass, ""},
		"where the host has a file of its own": {func(f *fixture, j *Joining) {
			f.declared("arm-1").KubeletExtraArgs = []inventory.NameValue{{Name: "resolv-conf", Value: "/etc/resolv.conf"}}
			j.API.ResolvConf = "/run/systemd/resolve/resolv.conf"
		}, "arm-1", "resolv-conf", report.Pass, "/etc/resolv.conf"},
		"such an endpoint, for workers": {func(f *fixture, _ *Joining) { f.cluster.Spec.Kubernetes.Endpoint = "10.99.0.11:6443" },
			"", "endpoint", report.Pass, "no control plane"},
	} {
		t.Run(name, func(t *testing.T) {
			f, j := joining()
			c.change(f, &j)
			found := false
			for _, r := range RunJoining(f.cluster, f.hosts, f.bundle, j) {
				if r.Host == "x86-1" {
					t.Errorf("the host that is a node already was judged: %+v", r)
				}
				if r.Host != c.host || r.Name != c.check {
					continue
				}
				found = true
				if r.Status != c.status || !strings.Contains(r.Message, c.message) {
					t.Errorf("%+v, want %s with %q", r, c.status, c.message)
				}
			}
			if !found {
				t.Errorf("check %s was not run", c.check)
			}
		})
	}
}
