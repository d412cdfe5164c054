package plan

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/render"
)

// Where things go on a host. They are upstream's own places.
const (
	binDir     = "/usr/local/bin"
	sbinDir    = "/usr/local/sbin"
	cniDir     = "/opt/cni/bin"
	unitDir    = "/etc/systemd/system"
	PatchesDir = "/var/lib/hybridctl/patches" // kubeadm patches
)

// Sysctls are the kernel settings of every host: forwarding between pods, and bridged packets through the packet filter, which
// kube-proxy needs. A kernel without IPv6 lacks the last.
var Sysctls = []Sysctl{
	{Name: "net.ipv4.ip_forward", Value: "1"},
	{Name: "net.bridge.bridge-nf-call-iptables", Value: "1"},
	{Name: "net.bridge.bridge-nf-call-ip6tables", Value: "1", Optional: true},
}

// protected are what a kubelet with protectKernelDefaults wants of the kernel before it starts.
var protected = []Sysctl{
	{Name: "vm.overcommit_memory", Value: "1"}, {Name: "vm.panic_on_oom", Value: "0"}, {Name: "kernel.panic", Value: "10"}, {Name: "kernel.panic_on_oops", Value: "1"},
	{Name: "kernel.keys.root_maxkeys", Value: "1000000"}, {Name: "kernel.keys.root_maxbytes", Value: "25000000"},
}

// sysctls are the kernel settings of a cluster's hosts.
func sysctls(c *inventory.Cluster) []Sysctl {
	if protects, _ := c.Spec.Kubernetes.Kubelet["protectKernelDefaults"].(bool); protects {
		return slices.Concat(Sysctls, protected)
	}
	return Sysctls
}

// Modules returns the kernel modules that the cluster's hosts need, in the order to load them.
func Modules(c *inventory.Cluster) []string {
	m := []string{"overlay", "br_netfilter"}
	if c.Spec.CNI.Provider == inventory.CNIFlannel {
		m = append(m, c.Spec.CNI.Overlay().Module)
	}
	return m
}

func (b *builder) filesFor(k Kind, arch platform.Arch) FilesInputs {
	switch k {
	case OS:
		return b.osFiles()
	case Runtime:
		return b.runtimeFiles(arch)
	case Kubernetes:
		return b.kubernetesFiles(arch)
	}
	panic("plan: no files for " + string(k))
}

func (b *builder) osFiles() FilesInputs {
	modules := Modules(b.in.Cluster)
	wanted := sysctls(b.in.Cluster)
	settings := make([]render.Setting, len(wanted))
	for i, s := range wanted {
		settings[i] = render.Setting{Name: s.Name, Value: s.Value}
		if s.Optional {
			settings[i].Name = "-" + s.Name // systemd-sysctl and procps pass over what does not exist
		}
	}
	return FilesInputs{
		Texts: []Text{
			text("/etc/modules-load.d/hybridctl.conf", render.ModulesConf(modules)),
			text("/etc/sysctl.d/90-hybridctl.conf", render.SysctlConf(settings)),
		},
		Modules: modules,
		Sysctls: wanted,
	}
}

func (b *builder) runtimeFiles(arch platform.Arch) FilesInputs {
	pause, _ := imageOf(b.in.Bundle, "pause")
	imports := ""
	if b.hasLogins() {
		imports = loginsImport
	}
	in := FilesInputs{
		Texts: []Text{
			text("/etc/containerd/config.toml", render.ContainerdConfig(pause.Ref, imports)),
			text(unitDir+"/containerd.service", render.ContainerdUnit()),
		},
		Units: []string{containerdUnit},
	}
	in.Binaries = append(in.Binaries, b.binaries(arch, bundle.Containerd, binDir)...)
	in.Binaries = append(in.Binaries, b.binaries(arch, bundle.Runc, sbinDir)...)
	in.Binaries = append(in.Binaries, b.binaries(arch, bundle.CNIPlugins, cniDir)...)
	in.Binaries = append(in.Binaries, b.binaries(arch, bundle.Crictl, binDir)...)
	in.Version = b.version(arch, bundle.Containerd)
	return in
}

func (b *builder) kubernetesFiles(arch platform.Arch) FilesInputs {
	in := FilesInputs{
		Version:  b.version(arch, bundle.Kubernetes),
		Binaries: b.binaries(arch, bundle.Kubernetes, binDir),
		Texts: []Text{
			private(text(unitDir+"/kubelet.service", render.KubeletUnit())),
			private(text(unitDir+"/kubelet.service.d/10-kubeadm.conf", render.KubeletDropIn())),
		},
		Enable: []string{"kubelet.service"},
	}
	names := make([]string, 0, len(b.in.Patches))
	for n := range b.in.Patches {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		in.Texts = append(in.Texts, text(path.Join(PatchesDir, n), b.in.Patches[n]))
	}
	return in
}

func (b *builder) binaries(arch platform.Arch, component, dir string) []Binary {
	var out []Binary
	for _, x := range b.in.Bundle.Binaries {
		if x.Arch == arch && x.Component == component {
			out = append(out, Binary{Path: path.Join(dir, x.Name), SHA256: x.SHA256, Source: x})
		}
	}
	return out
}

func (b *builder) version(arch platform.Arch, component string) string {
	for _, x := range b.in.Bundle.Binaries {
		if x.Arch == arch && x.Component == component {
			return x.Version
		}
	}
	return ""
}

// fileDetails tells people what a files step puts where.
func fileDetails(in FilesInputs) []string {
	var out []string
	if len(in.Binaries) > 0 {
		var bytes int64
		seen := map[string]bool{}
		for _, x := range in.Binaries {
			if !seen[x.SHA256] {
				bytes += x.Source.Size
			}
			seen[x.SHA256] = true
		}
		line := fmt.Sprintf("%d binaries", len(in.Binaries))
		if bytes > 0 { // else they are not here yet
			line += fmt.Sprintf(", %d MB at most to send", bytes/1e6)
		}
		out = append(out, line)
	}
	for _, t := range in.Texts {
		out = append(out, "file "+t.Path)
	}
	if len(in.Modules) > 0 {
		out = append(out, "kernel modules "+strings.Join(in.Modules, ", "))
	}
	for _, u := range append(append([]string(nil), in.Units...), in.Enable...) {
		out = append(out, "unit "+u)
	}
	return out
}
