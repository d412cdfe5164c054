package preflight

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

var kernelChecks = []check{
	{"kernel-modules", "the kernel has overlay and br_netfilter, and vxlan or wireguard when the pod network is flannel", checkModules, onFacts},
	{"cgroup", "control groups are version 2 with the controllers cpu, cpuset, memory and pids", checkCgroup, onFacts},
	{"swap", "swap is off, unless the kubelet's failSwapOn is false in the inventory", checkSwap, onFacts},
}

func modules(c *inventory.Cluster) []string {
	m := []string{"overlay", "br_netfilter"}
	if c.Spec.CNI.Provider == inventory.CNIFlannel {
		m = append(m, c.Spec.CNI.Overlay().Module)
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
	case family(f) == rhel:
		return "dnf install kernel-modules kernel-modules-extra"
	case family(f) == debian && strings.Contains(f.Kernel, "cloud"):
		return "the cloud kernel leaves modules out: apt-get install linux-image-" + f.Arch.String() // Debian spells it as we do
	}
	return "install the package with this kernel's further modules, or boot the distribution's full kernel"
}

func checkCgroup(v view) verdict {
	if v.facts.CgroupVersion != 2 {
		return fail("control groups are version %d, wanted 2", v.facts.CgroupVersion).
			hinted("%s", bootWith(v.facts, "systemd.unified_cgroup_hierarchy=1"))
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

// cgroupHint: the kernels of Raspberry Pis leave the memory controller off until they are told otherwise, by what their firmware puts before the
// line in the boot file; some go on doing so (raspberrypi/linux#5933, #6980).
func cgroupHint(f facts.Host, missing []string) string {
	const on, off = "cgroup_enable=memory", "cgroup_disable=memory"
	has := func(word string) bool { return slices.Contains(f.Surroundings.Cmdline, word) }
	switch {
	case !slices.Contains(missing, "memory"):
		return "boot a kernel that has them, and see that no cgroup version 1 hierarchy holds them (cat /proc/cgroups)"
	case has(on) && isPi(f):
		return "the kernel's command line, from " + bootFile(f) + ", has " + on + " already, and this kernel heeds the firmware's " + off + " before it: bring kernel and firmware up to date, or boot the distribution's own kernel"
	case has(on):
		return "the kernel's command line has " + on + " already: boot a kernel that has the memory controller (CONFIG_MEMCG)"
	case isPi(f):
		return bootWith(f, "cgroup_memory=1 "+on)
	case has(off):
		return "take " + off + " off the kernel's command line, and reboot"
	}
	return bootWith(f, on) + "; " + off + " must not be there"
}

// isPi tells a Raspberry Pi by its board, or by the names of kernels that are made for it: 6.12.34+rpt-rpi-2712, 6.8.0-1010-raspi, 5.4.42-v7+,
// 6.1.74-v8-16k+.
func isPi(f facts.Host) bool {
	return strings.HasPrefix(f.Surroundings.Model, "Raspberry Pi") || piKernel.MatchString(f.Kernel)
}

var piKernel = regexp.MustCompile(`rpi|raspi|-v(6|7|7l|8)(-[0-9]+k)?\+?$`)

// bootFile is where a Pi's firmware reads the kernel's command line.
func bootFile(f facts.Host) string {
	for _, file := range f.Surroundings.BootFiles {
		if strings.HasSuffix(file, "/cmdline.txt") {
			return file
		}
	}
	if strings.HasPrefix(f.Kernel, "4.") || strings.HasPrefix(f.Kernel, "5.") { // of the time before it moved
		return "/boot/cmdline.txt"
	}
	return "/boot/firmware/cmdline.txt (on older systems /boot/cmdline.txt)"
}

// bootWith says how words get onto the kernel's command line of this host.
func bootWith(f facts.Host, words string) string {
	switch {
	case isPi(f):
		return fmt.Sprintf(`add "%s" to the line in %s and reboot`, words, bootFile(f))
	case slices.Contains(f.Surroundings.BootFiles, "/boot/armbianEnv.txt"):
		return fmt.Sprintf(`add "%s" to extraargs= in /boot/armbianEnv.txt and reboot`, words)
	case family(f) == rhel:
		return fmt.Sprintf(`grubby --update-kernel=ALL --args="%s", and reboot`, words)
	}
	return fmt.Sprintf(`add "%s" to the kernel's command line and reboot`, words)
}

func checkSwap(v view) verdict {
	swap := v.facts.SwapBytes
	switch allowed, set := v.cluster.Spec.Kubernetes.Kubelet["failSwapOn"].(bool); {
	case v.facts.MemoryBytes == 0: // which stands in the same file
		return unknown("not known: /proc/meminfo could not be read")
	case swap == 0:
		return pass("off")
	case set && !allowed:
		return pass("%s of swap, which the inventory allows (failSwapOn: false)", size(swap))
	}
	return fail("%s of swap is on, wanted none", size(swap)).
		hinted("swapoff -a, and take it out of /etc/fstab (systemctl mask dev-zram0.swap or dphys-swapfile where those make it); or set kubelet: {failSwapOn: false}")
}
