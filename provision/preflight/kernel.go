package preflight

import (
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

var kernelChecks = []check{
	{"kernel-modules", "the kernel has overlay and br_netfilter, and vxlan when the pod network is flannel", checkModules, onFacts},
	{"cgroup", "control groups are version 2 with the controllers cpu, cpuset, memory and pids", checkCgroup, onFacts},
	{"swap", "swap is off, unless the kubelet's failSwapOn is false in the inventory", checkSwap, onFacts},
}

func modules(c *inventory.Cluster) []string {
	m := []string{"overlay", "br_netfilter"}
	if c.Spec.CNI.Provider == inventory.CNIFlannel {
		m = append(m, "vxlan")
	}
	return m
}

func checkModules(v view) verdict {
	wanted := modules(v.cluster)
	var missing []string
	for _, name := range wanted {
		switch v.facts.Modules[name] {
		case facts.ModuleLoaded, facts.ModuleBuiltin, facts.ModuleAvailable:
		default:
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fail("the kernel %s has no %s", v.facts.Kernel, list(missing)).hinted("%s", modulesHint(v.facts, len(missing) == len(wanted)))
	}
	return pass("the kernel has %s", strings.Join(wanted, ", "))
}

// modulesHint names the package that brings modules which distributions leave out of the plain kernel.
func modulesHint(f facts.Host, all bool) string {
	switch {
	case all:
		return "reboot if the kernel was updated since it was started: its modules may be gone; else install the package with this kernel's modules"
	case f.OS.ID == "ubuntu" && strings.HasSuffix(f.Kernel, "-raspi"):
		return "apt-get install linux-modules-extra-raspi"
	case f.OS.ID == "ubuntu":
		return "apt-get install linux-modules-extra-" + f.Kernel
	case family(f.OS) == rhel:
		return "dnf install kernel-modules kernel-modules-extra"
	case family(f.OS) == debian && strings.Contains(f.Kernel, "cloud"):
		return "the cloud kernel leaves modules out: apt-get install linux-image-" + f.Arch.String() // Debian spells it as we do
	}
	return "install the package with this kernel's further modules, or boot the distribution's full kernel"
}

func checkCgroup(v view) verdict {
	if v.facts.CgroupVersion != 2 {
		return fail("control groups are version %d, wanted 2", v.facts.CgroupVersion).
			hinted("boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line")
	}
	missing := lacking(v.facts.CgroupControllers, "cpu", "memory", "pids")
	if len(missing) > 0 {
		return fail("version 2, but the controllers %s are missing", list(missing)).hinted("%s", cgroupHint(v.facts, missing))
	}
	if missing = lacking(v.facts.CgroupControllers, "cpuset"); len(missing) > 0 {
		return v.unlessKubeadmIgnores("SystemVerification", fail("version 2, but the controller cpuset is missing, and kubeadm wants it").
			hinted("boot a kernel with CONFIG_CPUSETS, or put SystemVerification into ignorePreflightErrors"))
	}
	return pass("version 2 with cpu, cpuset, memory, pids")
}

func lacking(have []string, wanted ...string) []string {
	var out []string
	for _, w := range wanted {
		if !slices.Contains(have, w) {
			out = append(out, w)
		}
	}
	return out
}

// cgroupHint: the kernels of Raspberry Pis leave the memory controller off until they are told otherwise.
func cgroupHint(f facts.Host, missing []string) string {
	switch {
	case slices.Contains(missing, "memory") && (strings.Contains(f.Kernel, "rpi") || strings.Contains(f.Kernel, "raspi")):
		return `add "cgroup_memory=1 cgroup_enable=memory" to the line in /boot/firmware/cmdline.txt and reboot`
	case slices.Contains(missing, "memory"):
		return `add "cgroup_enable=memory" to the kernel's command line, take "cgroup_disable=memory" off it, and reboot`
	}
	return "boot a kernel that has them, and see that no cgroup version 1 hierarchy holds them (cat /proc/cgroups)"
}

func checkSwap(v view) verdict {
	swap := v.facts.SwapBytes
	switch allowed, set := v.cluster.Spec.Kubernetes.Kubelet["failSwapOn"].(bool); {
	case swap == 0:
		return pass("off")
	case set && !allowed:
		return pass("%s of swap, which the inventory allows (failSwapOn: false)", size(swap))
	}
	return fail("%s of swap is on, wanted none", size(swap)).
		hinted("swapoff -a, and take it out of /etc/fstab (systemctl mask dev-zram0.swap or dphys-swapfile where those make it); or set kubelet: {failSwapOn: false}")
}
