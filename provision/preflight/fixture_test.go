package preflight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// fixture is an x86 control plane and an Arm worker, fit for everything and not touched yet.
type fixture struct {
	cluster *inventory.Cluster
	hosts   []facts.Host
	bundle  *bundle.Manifest
	ceph    CephSeen

	registries RegistriesSeen
	fetch      Fetch
}

func (f *fixture) run() []report.Check {
	return RunSeen(f.cluster, f.hosts, f.bundle, Seen{Ceph: f.ceph, Registries: f.registries, Fetch: f.fetch})
}

func fit() *fixture {
	return &fixture{
		cluster: &inventory.Cluster{Spec: inventory.Spec{
			Kubernetes: inventory.Kubernetes{Version: "v1.36.3", ServiceCIDR: "10.32.0.0/16"},
			CNI:        inventory.CNI{Provider: inventory.CNIFlannel},
			Hosts: []inventory.Host{
				{Name: "x86-1", Address: "10.99.0.11", Role: inventory.ControlPlane, Arch: platform.AMD64},
				{Name: "arm-1", Address: "10.99.0.21", Role: inventory.Worker},
			},
		}},
		hosts:  []facts.Host{fitHost("x86-1", platform.AMD64, "10.99.0.11"), fitHost("arm-1", platform.ARM64, "10.99.0.21")},
		bundle: fitBundle(platform.All()...),
	}
}

func fitHost(name string, arch platform.Arch, address string) facts.Host {
	h := facts.Host{
		Name: name, Hostname: name, MachineID: "id-of-" + name, BootID: "boot-of-" + name,
		OS:   facts.OS{ID: "debian", VersionID: "13"},
		Arch: arch, UnameMachine: platform.ProfileFor(arch).Spellings[1], UserlandBits: 64, Kernel: "6.12.0", PageSize: 4096, CPUs: 4,
		MemoryBytes: 4 << 30, CgroupVersion: 2, CgroupControllers: []string{"cpuset", "cpu", "io", "memory", "pids"},
		Modules:  map[string]facts.Module{"overlay": facts.ModuleLoaded, "br_netfilter": facts.ModuleAvailable, "vxlan": facts.ModuleBuiltin},
		DiskFree: map[string]int64{}, Tools: map[string]string{}, Units: map[string]string{}, Markers: map[string]facts.Marker{},
		Speed: facts.Speed{Process: 2 * time.Millisecond, Synced: []time.Duration{time.Millisecond, 3 * time.Millisecond}},
		Time:  today, ClockOffset: 40 * time.Millisecond, RoundTrip: 100 * time.Millisecond,
		Ports: []int{22}, Addresses: []string{address}, LoginUser: "root", Root: true, Systemd: true,
		Surroundings: facts.Surroundings{Mounts: []string{"/"}, RulesRead: true},
	}
	for _, d := range disks {
		h.DiskFree[d.path] = 20 << 30
	}
	for _, t := range tools {
		h.Tools[t.name] = "/usr/bin/" + t.name
	}
	for _, u := range foreignUnits() {
		h.Units[u] = "inactive"
	}
	return h
}

func fitBundle(archs ...platform.Arch) *bundle.Manifest {
	m := &bundle.Manifest{KubernetesVersion: "v1.36.3"}
	binaries := map[string][]string{
		bundle.Containerd: {"containerd", "containerd-shim-runc-v2", "ctr"}, bundle.Runc: {"runc"},
		bundle.CNIPlugins: {"bridge", "host-local", "loopback", "portmap"}, bundle.Kubernetes: {"kubeadm", "kubectl", "kubelet"},
	}
	for component, names := range binaries {
		for _, name := range names {
			for _, a := range archs {
				m.Binaries = append(m.Binaries, bundle.Binary{Component: component, Name: name, Arch: a})
			}
		}
	}
	for _, component := range []string{bundle.KubeAPIServer, bundle.KubeControllerManager, bundle.KubeScheduler, bundle.KubeProxy, bundle.Etcd,
		bundle.CoreDNS, bundle.Pause, bundle.Flannel, bundle.FlannelCNIPlugin} {
		m.Images = append(m.Images, bundle.Image{Component: component, Ref: "registry.example/" + component + ":1", Archs: archs})
	}
	return m
}

func (f *fixture) host(name string) *facts.Host {
	for i := range f.hosts {
		if f.hosts[i].Name == name {
			return &f.hosts[i]
		}
	}
	panic("no facts of " + name)
}

func (f *fixture) declared(name string) *inventory.Host {
	for i := range f.cluster.Spec.Hosts {
		if f.cluster.Spec.Hosts[i].Name == name {
			return &f.cluster.Spec.Hosts[i]
		}
	}
	panic("no host " + name)
}

// mark makes the host one where the step is done or started.
func (f *fixture) mark(name, step, state string) {
	f.host(name).Markers[step] = facts.Marker{Marker: host.Marker{Step: step, State: state}}
}

// up makes the fixture a running cluster.
func (f *fixture) up() *fixture {
	f.mark("x86-1", "init", host.MarkerDone)
	f.mark("arm-1", "join", host.MarkerDone)
	for i := range f.hosts {
		h := &f.hosts[i]
		h.Surroundings.RulesRead = false // they are not asked any more
		h.Kubeadm = facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:aa", Server: "https://10.99.0.11:6443",
			Certificates: []facts.Certificate{lasting("ca", 3000, 3650), lasting("kubelet", 200, 365)}}
		h.Containerd = facts.Installed{Path: "/usr/local/bin/containerd", Running: true, Ours: true}
		h.Kubelet = facts.Installed{Path: "/usr/local/bin/kubelet", Running: true, Ours: true}
		h.Images = []string{"registry.example/kube-proxy:v1.36.3", "registry.example/pause:3.10"}
		h.Ports = append(h.Ports, 10250, 10256)
		for _, d := range disks {
			h.DiskFree[d.path] = 500 << 20
		}
	}
	x86 := f.host("x86-1")
	x86.Kubeadm.AdminConf, x86.Kubeadm.Etcd, x86.Kubeadm.Version = true, true, "v1.36.3"
	x86.Ports = append(x86.Ports, 2379, 2380, 6443, 10257, 10259)
	return f
}

// errDown is the error of a host that does not answer.
var errDown = fmt.Errorf("10.99.0.21:22: no answer: %w", context.DeadlineExceeded)

var errSudo = errors.New("sudo wants another password than the one given")

// patience gives the inventory the timeouts of a slow machine.
func (f *fixture) patience() {
	ten, five := inventory.Duration(10*time.Minute), inventory.Duration(5*time.Minute)
	f.cluster.Spec.Kubernetes.Timeouts = inventory.KubeadmTimeouts{ControlPlaneComponentHealthCheck: ten, KubeletHealthCheck: ten,
		KubernetesAPICall: five, EtcdAPICall: five, TLSBootstrap: ten, Discovery: ten}
	f.cluster.Spec.Timeouts = inventory.Timeouts{Step: 3 * ten, Ready: 3 * five}
}

func (f *fixture) etcdArgs(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		f.cluster.Spec.Kubernetes.Etcd.ExtraArgs = append(f.cluster.Spec.Kubernetes.Etcd.ExtraArgs, inventory.NameValue{Name: pairs[i], Value: pairs[i+1]})
	}
}
