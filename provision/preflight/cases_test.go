package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/report"
)

// one is a change to a fit fixture, or to a running cluster, and what it makes of one check. Every other check must not mind,
// but for those named in also.
type one struct {
	name    string
	running bool // starts from a running cluster
	change  func(f *fixture)
	host    string
	check   string
	status  report.Status
	message string // a part of it
	hint    string // a part of it
	also    []string
}

var cases = []one{
	{name: "down", change: func(f *fixture) { f.host("arm-1").Err = errDown },
		host: "arm-1", check: "reachable", status: report.Fail, message: "no answer", hint: "run the same command again"},
	{name: "forgotten", change: func(f *fixture) { f.hosts = f.hosts[:1] },
		host: "arm-1", check: "reachable", status: report.Fail, message: "was not asked"},
	{name: "interrupted", change: func(f *fixture) { f.host("arm-1").Err = fmt.Errorf("arm-1: %w", context.Canceled) },
		host: "arm-1", check: "reachable", status: report.Unknown, message: "not tried: the run was interrupted", also: []string{"access"}},
	{name: "interrupted", change: func(f *fixture) { f.host("arm-1").Err = fmt.Errorf("arm-1: %w", context.Canceled) },
		host: "arm-1", check: "access", status: report.Unknown, message: "not tried: the run was interrupted", also: []string{"reachable"}},
	{name: "wrong sudo password", change: func(f *fixture) { f.host("arm-1").Err = errSudo },
		host: "arm-1", check: "access", status: report.Fail, message: "sudo wants another password", hint: "sudoPasswordFile"},
	{name: "another host key", change: func(f *fixture) { f.host("arm-1").Err = fmt.Errorf("arm-1: %w", remote.ErrHostKeyChanged) },
		host: "arm-1", check: "access", status: report.Fail, message: "host key changed", hint: "compare it with what the host itself says"},
	{name: "no key is taken", change: func(f *fixture) { f.host("arm-1").Err = fmt.Errorf("arm-1: %w", remote.ErrAuth) },
		host: "arm-1", check: "access", status: report.Fail, message: "authentication refused", hint: "see user and identityFiles in the inventory"},
	{name: "no root", change: func(f *fixture) { h := f.host("arm-1"); h.Root, h.LoginUser = false, "debian" },
		host: "arm-1", check: "root", status: report.Fail, message: "run as debian, wanted root", hint: "let debian use sudo"},

	{name: "32-bit Arm", change: func(f *fixture) { h := f.host("arm-1"); h.Arch, h.UnameMachine = "", "armv7l" },
		host: "arm-1", check: "arch-supported", status: report.Fail, message: "armv7l, wanted one of [amd64 arm64]", hint: "take the host out"},
	{name: "declared arm64, is amd64", change: func(f *fixture) { f.declared("x86-1").Arch = platform.ARM64 },
		host: "x86-1", check: "arch-declared", status: report.Fail, message: "says arm64, the host is amd64 (x86_64)", hint: "arch or address of x86-1"},
	{name: "32-bit userland", change: func(f *fixture) { f.host("arm-1").UserlandBits = 32 },
		host: "arm-1", check: "userland", status: report.Fail, message: "kernel is aarch64, but the system's programs have 32 bits, wanted 64", hint: "64-bit edition"},
	{name: "unknown userland", change: func(f *fixture) { f.host("arm-1").UserlandBits = 0 },
		host: "arm-1", check: "userland", status: report.Warn, message: "could not be read"},
	{name: "64K pages", change: func(f *fixture) { f.host("arm-1").PageSize = 64 << 10 },
		host: "arm-1", check: "page-size", status: report.Warn, message: "64 KiB", hint: "4 KiB"},
	{name: "16K pages", change: func(f *fixture) { f.host("arm-1").PageSize = 16 << 10 },
		host: "arm-1", check: "page-size", status: report.Pass, message: "16 KiB"},
	{name: "emulator", change: func(f *fixture) {
		f.host("x86-1").Binfmt = []facts.Binfmt{{Name: "qemu-aarch64", Enabled: true, ELFMachine: 183}}
	}, host: "x86-1", check: "foreign-binfmt", status: report.Warn, message: "qemu-aarch64 (arm64)", hint: "binfmt_misc"},
	{name: "emulator switched off, own architecture, other things", change: func(f *fixture) {
		f.host("x86-1").Binfmt = []facts.Binfmt{{Name: "qemu-aarch64", ELFMachine: 183}, {Name: "own", Enabled: true, ELFMachine: 62}, {Name: "python", Enabled: true}}
	}, host: "x86-1", check: "foreign-binfmt", status: report.Pass, message: "no handler"},

	{name: "images that were sent are pulled all the same", change: func(f *fixture) {
		f.cluster.Spec.Kubernetes.APIServer.ExtraArgs = []inventory.NameValue{{Name: "enable-admission-plugins", Value: "NodeRestriction,AlwaysPullImages"}}
	}, check: "admission", status: report.Warn, message: "enables AlwaysPullImages", hint: "leave AlwaysPullImages out"},
	{name: "another version in the bundle", change: func(f *fixture) { f.bundle.KubernetesVersion = "v1.35.0" },
		check: "bundle-version", status: report.Fail, message: "asks for Kubernetes v1.36.3, the bundle has v1.35.0", hint: "bundle create"},
	{name: "x86 only in the bundle", change: func(f *fixture) { f.bundle = fitBundle(platform.AMD64) },
		host: "arm-1", check: "bundle-arch", status: report.Fail, message: "for arm64 and 17 more", hint: "with arm64"},
	{name: "one image without arm64", change: func(f *fixture) { f.bundle.Images[7].Archs = []platform.Arch{platform.AMD64} },
		host: "arm-1", check: "bundle-arch", status: report.Fail, message: "the bundle lacks the image flannel for arm64"},
	{name: "no flannel wanted", change: func(f *fixture) {
		f.bundle.Images, f.cluster.Spec.CNI.Provider = f.bundle.Images[:7], inventory.CNIManifest
	}, host: "arm-1", check: "bundle-arch", status: report.Pass, message: "everything for arm64"},

	{name: "no vxlan on a Raspberry Pi", change: func(f *fixture) {
		h := f.host("arm-1")
		h.Modules["vxlan"], h.Kernel, h.OS.ID = facts.ModuleMissing, "6.8.0-1010-raspi", "ubuntu"
	}, host: "arm-1", check: "kernel-modules", status: report.Fail, message: "6.8.0-1010-raspi has no vxlan", hint: "linux-modules-extra-raspi"},
	{name: "no vxlan on Ubuntu", change: func(f *fixture) {
		h := f.host("x86-1")
		h.Modules["vxlan"], h.Kernel, h.OS.ID = facts.ModuleMissing, "6.8.0-31-generic", "ubuntu"
	}, host: "x86-1", check: "kernel-modules", status: report.Fail, message: "no vxlan", hint: "linux-modules-extra-6.8.0-31-generic"},
	{name: "no br_netfilter on Rocky", change: func(f *fixture) {
		h := f.host("x86-1")
		h.OS = facts.OS{ID: "rocky", IDLike: []string{"rhel", "centos", "fedora"}}
		delete(h.Modules, "br_netfilter")
	}, host: "x86-1", check: "kernel-modules", status: report.Fail, message: "no br_netfilter", hint: "dnf install kernel-modules"},
	{name: "cloud kernel", change: func(f *fixture) {
		h := f.host("arm-1")
		h.Modules["vxlan"], h.Kernel = facts.ModuleMissing, "6.12.0-cloud"
	}, host: "arm-1", check: "kernel-modules", status: report.Fail, message: "no vxlan", hint: "linux-image-arm64"},
	{name: "wireguard is not there", change: func(f *fixture) { f.cluster.Spec.CNI.Backend = inventory.BackendWireGuard },
		host: "arm-1", check: "kernel-modules", status: report.Fail, message: "has no wireguard", also: []string{"kernel-modules"}},
	{name: "wireguard's port is another's", change: func(f *fixture) {
		f.cluster.Spec.CNI.Backend = inventory.BackendWireGuard
		for _, name := range []string{"arm-1", "x86-1"} {
			f.host(name).Modules["wireguard"] = facts.ModuleAvailable
		}
		f.host("arm-1").UDPPorts = []int{68, 51820}
	}, host: "arm-1", check: "ports", status: report.Fail, message: "in use, wanted free: UDP 51820 (flannel's WireGuard)", hint: "wg show"},
	{name: "that port, with vxlan", change: func(f *fixture) { f.host("arm-1").UDPPorts = []int{51820} },
		host: "arm-1", check: "ports", status: report.Pass, message: "free"},
	{name: "kernel updated", change: func(f *fixture) { f.host("x86-1").Modules = nil },
		host: "x86-1", check: "kernel-modules", status: report.Fail, message: "no overlay, br_netfilter, vxlan", hint: "reboot"},
	{name: "vxlan not wanted", change: func(f *fixture) {
		f.cluster.Spec.CNI.Provider = inventory.CNIManifest
		f.host("x86-1").Modules["vxlan"] = facts.ModuleMissing
	}, host: "x86-1", check: "kernel-modules", status: report.Pass, message: "overlay, br_netfilter"},
	{name: "cgroup 1", change: func(f *fixture) { f.host("x86-1").CgroupVersion = 1 },
		host: "x86-1", check: "cgroup", status: report.Fail, message: "version 1, wanted 2", hint: "unified_cgroup_hierarchy"},
	{name: "no memory controller on a Raspberry Pi", change: func(f *fixture) {
		h := f.host("arm-1")
		h.Kernel, h.CgroupControllers = "6.12.0-rpi-v8", []string{"cpuset", "cpu", "pids"}
	}, host: "arm-1", check: "cgroup", status: report.Fail, message: "memory are missing", hint: "cmdline.txt"},
	{name: "no memory controller", change: func(f *fixture) { f.host("arm-1").CgroupControllers = []string{"cpuset", "cpu", "pids"} },
		host: "arm-1", check: "cgroup", status: report.Fail, message: "memory are missing", hint: "cgroup_enable=memory"},
	{name: "no pids and cpu controller", change: func(f *fixture) { f.host("arm-1").CgroupControllers = []string{"memory"} },
		host: "arm-1", check: "cgroup", status: report.Fail, message: "cpu, pids are missing", hint: "/proc/cgroups"},
	{name: "no cpuset controller", change: func(f *fixture) { f.host("x86-1").CgroupControllers = []string{"cpu", "memory", "pids"} },
		host: "x86-1", check: "cgroup", status: report.Fail, message: "cpuset is missing", hint: "SystemVerification"},
	{name: "no cpuset controller, and kubeadm is told", change: func(f *fixture) {
		f.host("x86-1").CgroupControllers = []string{"cpu", "memory", "pids"}
		f.declared("x86-1").IgnorePreflightErrors = []string{"SystemVerification"}
	}, host: "x86-1", check: "cgroup", status: report.Ignored, message: "cpuset is missing"},
	{name: "swap", change: func(f *fixture) { f.host("x86-1").SwapBytes = 2 << 30 },
		host: "x86-1", check: "swap", status: report.Fail, message: "2048 MiB of swap is on, wanted none", hint: "swapoff -a"},
	{name: "no /proc/meminfo", change: func(f *fixture) { f.host("arm-1").MemoryBytes = 0 },
		host: "arm-1", check: "swap", status: report.Unknown, message: "not known: /proc/meminfo", also: []string{"memory"}},
	{name: "swap allowed", change: func(f *fixture) {
		f.host("x86-1").SwapBytes, f.cluster.Spec.Kubernetes.Kubelet = 100<<20, map[string]any{"failSwapOn": false}
	}, host: "x86-1", check: "swap", status: report.Pass, message: "100 MiB of swap, which the inventory allows"},
	{name: "swap, and failSwapOn is true", change: func(f *fixture) {
		f.host("x86-1").SwapBytes, f.cluster.Spec.Kubernetes.Kubelet = 2<<30, map[string]any{"failSwapOn": true}
	}, host: "x86-1", check: "swap", status: report.Fail, message: "wanted none"},

	{name: "small control plane", change: func(f *fixture) { f.host("x86-1").MemoryBytes = 1600 << 20 },
		host: "x86-1", check: "memory", status: report.Fail, message: "1600 MiB, wanted 1740 MiB for a control-plane", hint: "more memory"},
	{name: "control plane just large enough", change: func(f *fixture) { f.host("x86-1").MemoryBytes = controlPlaneMemory },
		host: "x86-1", check: "memory", status: report.Pass, message: "1740 MiB"},
	{name: "small worker", change: func(f *fixture) { f.host("arm-1").MemoryBytes = 400 << 20 },
		host: "arm-1", check: "memory", status: report.Fail, message: "400 MiB, wanted 512 MiB for a worker"},
	{name: "1 GiB worker", change: func(f *fixture) { f.host("arm-1").MemoryBytes = 1 << 30 },
		host: "arm-1", check: "memory", status: report.Pass, message: "1024 MiB"},
	{name: "one processor", change: func(f *fixture) { f.host("x86-1").CPUs = 1 },
		host: "x86-1", check: "cpus", status: report.Fail, message: "processors: 1, wanted 2", hint: "NumCPU"},
	{name: "one processor, and kubeadm is told", change: func(f *fixture) {
		f.host("x86-1").CPUs, f.cluster.Spec.Kubernetes.IgnorePreflightErrors = 1, []string{"numcpu"}
	}, host: "x86-1", check: "cpus", status: report.Ignored, message: "processors: 1"},
	{name: "worker with one processor", change: func(f *fixture) { f.host("arm-1").CPUs = 1 },
		host: "arm-1", check: "cpus", status: report.Pass, message: "processors: 1"},
	{name: "full disk", change: func(f *fixture) { f.host("arm-1").DiskFree["/var/lib/containerd"] = 1 << 30 },
		host: "arm-1", check: "disk", status: report.Fail, message: "1024 MiB free in /var/lib/containerd, wanted 2048 MiB for images", hint: "make room"},
	{name: "disk of a node", running: true, change: func(f *fixture) { f.host("arm-1").DiskFree["/usr/local/bin"] = 50 << 20 },
		host: "arm-1", check: "disk", status: report.Fail, message: "50 MiB free in /usr/local/bin, wanted 102 MiB for binaries"},
	{name: "images are there, the join is not", change: func(f *fixture) {
		f.host("arm-1").DiskFree["/var/lib/containerd"] = 1 << 30
		f.mark("arm-1", "images", host.MarkerDone)
	}, host: "arm-1", check: "disk", status: report.Pass, message: "1024 MiB free"},
	{name: "one disk of many unknown", change: func(f *fixture) { delete(f.host("arm-1").DiskFree, "/var/lib/containerd") },
		host: "arm-1", check: "disk", status: report.Unknown, message: "not known: the free space in /var/lib/containerd could not be read"},
	{name: "one unknown, and one full", change: func(f *fixture) {
		delete(f.host("arm-1").DiskFree, "/var/lib/containerd")
		f.host("arm-1").DiskFree["/usr/local/bin"] = 50 << 20
	}, host: "arm-1", check: "disk", status: report.Fail, message: "50 MiB free in /usr/local/bin"},
	{name: "unknown disk", change: func(f *fixture) { f.host("arm-1").DiskFree = nil },
		host: "arm-1", check: "disk", status: report.Warn, message: "could not be read"},
	{name: "clock ahead", change: func(f *fixture) { f.host("arm-1").ClockOffset = 5100 * time.Millisecond },
		host: "arm-1", check: "clock-skew", status: report.Fail, message: "5.1s ahead of this machine's, wanted 5s at most", hint: "chrony"},
	{name: "clock behind", change: func(f *fixture) { f.host("arm-1").ClockOffset = -time.Hour },
		host: "arm-1", check: "clock-skew", status: report.Fail, message: "1h0m0s behind this machine's"},
	{name: "clock perhaps ahead, over a slow line", change: func(f *fixture) {
		h := f.host("arm-1")
		h.ClockOffset, h.RoundTrip = 6*time.Second, 2*time.Second
	}, host: "arm-1", check: "clock-skew", status: report.Pass, message: "6s ahead of this machine's, exact to 1s"},
	{name: "clocks apart", change: func(f *fixture) {
		f.host("arm-1").ClockOffset, f.host("x86-1").ClockOffset = -4*time.Second, 4*time.Second
	}, host: "arm-1", check: "clock-skew", status: report.Fail, message: "8s behind that of x86-1"},
	{name: "clocks apart, the bootstrap host is down", change: func(f *fixture) {
		f.host("arm-1").ClockOffset = -4 * time.Second
		*f.host("x86-1") = facts.Host{Name: "x86-1", Err: errDown, ClockOffset: 4 * time.Second}
	}, host: "arm-1", check: "clock-skew", status: report.Pass, message: "; that of x86-1 was not there to compare with", also: []string{"reachable"}},
	{name: "no clock", change: noClock("arm-1"), host: "arm-1", check: "clock-skew", status: report.Unknown, message: "not tried: the host does not say what time it is", hint: "date on arm-1"},
	{name: "the bootstrap host has none", change: noClock("x86-1"), host: "arm-1", check: "clock-skew", status: report.Pass, message: "that of x86-1 was not there"},
	{name: "no clock", change: noClock("arm-1"), host: "arm-1", check: "reachable", status: report.Pass, message: "answered"},

	{name: "cloned disk", change: func(f *fixture) { f.host("arm-1").MachineID = "id-of-x86-1" },
		host: "arm-1", check: "duplicate-machine-id", status: report.Fail, message: "id-of-x86-1 is also that of x86-1", hint: "systemd-machine-id-setup", also: []string{"duplicate-machine-id"}},
	{name: "no machine-id", change: func(f *fixture) { f.host("arm-1").MachineID = ""; f.host("x86-1").MachineID = "uninitialized" },
		host: "arm-1", check: "duplicate-machine-id", status: report.Warn, message: "no id", hint: "setup", also: []string{"duplicate-machine-id"}},
	{name: "same hostname", change: func(f *fixture) { f.host("arm-1").Hostname = "x86-1" },
		host: "x86-1", check: "duplicate-hostname", status: report.Fail, message: "x86-1 is also that of arm-1", hint: "set-hostname x86-1", also: []string{"duplicate-hostname", "hostname"}},
	{name: "one machine under two names", change: func(f *fixture) { f.host("arm-1").Addresses = []string{"10.99.0.11", "10.99.0.21"} },
		host: "x86-1", check: "duplicate-address", status: report.Fail, message: "10.99.0.11 is also an address of arm-1", hint: "two names"},
	{name: "another host has the nodeIP", change: func(f *fixture) {
		f.declared("x86-1").NodeIP = "2001:DB8::1"
		f.host("arm-1").Addresses = []string{"2001:db8::1"}
	}, host: "x86-1", check: "duplicate-address", status: report.Fail, message: "2001:DB8::1 is also an address of arm-1"},
	{name: "an address a service could get", change: func(f *fixture) { f.cluster.Spec.Kubernetes.ServiceCIDR = "10.99.0.0/27" },
		host: "arm-1", check: "service-network", status: report.Warn, message: "10.99.0.21 lies in the service network 10.99.0.0/27", hint: "serviceCIDR", also: []string{"service-network"}},
	{name: "a name for an address", change: func(f *fixture) { f.declared("arm-1").Address = "arm-1.example" },
		host: "arm-1", check: "service-network", status: report.Unknown, message: "not judged: arm-1.example is a name"},
	{name: "a name for an address, and a nodeIP", change: func(f *fixture) { h := f.declared("arm-1"); h.Address, h.NodeIP = "arm-1.example", "10.99.0.21" },
		host: "arm-1", check: "service-network", status: report.Pass, message: "not in 10.32.0.0/16"},
	{name: "no service network", change: func(f *fixture) { f.cluster.Spec.Kubernetes.ServiceCIDR = "" },
		host: "arm-1", check: "service-network", status: report.Unknown, message: "not judged"},
	{name: "no hostname", change: func(f *fixture) { f.host("arm-1").Hostname = "" },
		host: "arm-1", check: "hostname", status: report.Unknown, message: "not known: the hostname could not be read"},
	{name: "no hostname", change: func(f *fixture) { f.host("arm-1").Hostname, f.host("x86-1").Hostname = "", "" },
		host: "arm-1", check: "duplicate-hostname", status: report.Unknown, message: "not known: the hostname could not be read"},
	{name: "other hostname", change: func(f *fixture) { f.host("arm-1").Hostname = "raspberrypi" },
		host: "arm-1", check: "hostname", status: report.Warn, message: "raspberrypi, the node will be called arm-1", hint: "set-hostname"},
	{name: "hostname with domain", change: func(f *fixture) { f.host("arm-1").Hostname = "arm-1.example.com" },
		host: "arm-1", check: "hostname", status: report.Pass, message: "arm-1.example.com"},

	{name: "no systemd", change: func(f *fixture) { f.host("arm-1").Systemd = false },
		host: "arm-1", check: "systemd", status: report.Fail, message: "something else than systemd"},
	{name: "tools missing on Debian", change: func(f *fixture) {
		h := f.host("arm-1")
		delete(h.Tools, "iptables")
		delete(h.Tools, "mount")
		h.Tools["umount"] = ""
	}, host: "arm-1", check: "tools", status: report.Fail, message: "missing: iptables, mount, umount", hint: "apt-get install iptables mount"},
	{name: "tools missing on Fedora", change: func(f *fixture) {
		h := f.host("arm-1")
		h.OS = facts.OS{ID: "fedora"}
		delete(h.Tools, "ip")
		delete(h.Tools, "losetup")
	}, host: "arm-1", check: "tools", status: report.Fail, message: "missing: ip, losetup", hint: "dnf install iproute util-linux"},
	{name: "tools missing elsewhere", change: func(f *fixture) {
		h := f.host("arm-1")
		h.OS = facts.OS{ID: "arch"}
		delete(h.Tools, "tar")
	}, host: "arm-1", check: "tools", status: report.Fail, message: "missing: tar", hint: "what Debian calls tar"},
	{name: "containerd of the distribution", change: func(f *fixture) { f.host("x86-1").Containerd = facts.Installed{Path: "/usr/bin/containerd"} },
		host: "x86-1", check: "existing-runtime", status: report.Fail, message: "/usr/bin/containerd", hint: "apt-get purge"},
	{name: "kubelet of the distribution", change: func(f *fixture) { f.host("x86-1").Kubelet = facts.Installed{Path: "/usr/bin/kubelet"} },
		host: "x86-1", check: "existing-runtime", status: report.Fail, message: "/usr/bin/kubelet"},
	{name: "docker, where systemd did not say", change: func(f *fixture) { delete(f.host("x86-1").Units, "docker.service") },
		host: "x86-1", check: "existing-runtime", status: report.Unknown, message: "not known: systemd did not say whether docker.service is active"},
	{name: "k3s, and of docker systemd did not say", change: func(f *fixture) {
		delete(f.host("x86-1").Units, "docker.service")
		f.host("x86-1").Units["k3s.service"] = "active"
	}, host: "x86-1", check: "existing-runtime", status: report.Fail, message: "k3s.service"},
	{name: "k0s that does not run", change: func(f *fixture) {
		f.host("x86-1").Units["k0sworker.service"] = "failed"
		f.host("x86-1").Surroundings.Installed = []string{"docker.service", "k0scontroller.service", "k0sworker.service"}
	}, host: "x86-1", check: "existing-runtime", status: report.Fail, message: "not brought by hybridctl: k0scontroller.service (inactive), k0sworker.service (failed)"},
	{name: "a kubesolo that runs", change: func(f *fixture) { f.host("x86-1").Units["kubesolo.service"] = "active" },
		host: "x86-1", check: "existing-runtime", status: report.Fail, message: "not brought by hybridctl: kubesolo.service"},
	{name: "minikube", change: func(f *fixture) { f.host("x86-1").Surroundings.Installed = []string{"/var/lib/minikube"} },
		host: "x86-1", check: "existing-runtime", status: report.Fail, message: "not brought by hybridctl: /var/lib/minikube"},
	{name: "docker that does not run", change: func(f *fixture) { f.host("x86-1").Surroundings.Installed = []string{"docker.service"} },
		host: "x86-1", check: "existing-runtime", status: report.Pass, message: "none but ours"},
	{name: "docker", change: func(f *fixture) { f.host("x86-1").Units["docker.service"] = "active" },
		host: "x86-1", check: "existing-runtime", status: report.Fail, message: "docker.service"},
	{name: "firewalld", change: func(f *fixture) { f.host("x86-1").Units["firewalld.service"] = "active" },
		host: "x86-1", check: "firewall", status: report.Warn, message: "firewalld.service is active", hint: "firewalld"},

	{name: "ports of a control plane", change: func(f *fixture) { f.host("x86-1").Ports = []int{22, 2379, 6443} },
		host: "x86-1", check: "ports", status: report.Fail, message: "2379 (etcd), 6443 (kube-apiserver)", hint: "ss -ltnp"},
	{name: "port of a worker", change: func(f *fixture) { f.host("arm-1").Ports = []int{10250} },
		host: "arm-1", check: "ports", status: report.Fail, message: "10250 (kubelet)"},
	{name: "control plane's ports on a worker", change: func(f *fixture) { f.host("arm-1").Ports = []int{2379, 6443, 10259} },
		host: "arm-1", check: "ports", status: report.Pass, message: "free"},
	{name: "ports of an interrupted init", change: func(f *fixture) {
		f.mark("x86-1", "init", host.MarkerStarted)
		f.host("x86-1").Ports = []int{2379, 6443, 10250}
	}, host: "x86-1", check: "ports", status: report.Pass, message: "in use by this cluster"},

	{name: "ports of a node whose marker cannot be read", change: func(f *fixture) {
		f.host("arm-1").BadMarkers = []string{"join"}
		f.host("arm-1").Ports = []int{10250}
	}, host: "arm-1", check: "ports", status: report.Pass, message: "in use by this cluster"},
	{name: "version of a node whose marker cannot be read", running: true, change: func(f *fixture) {
		delete(f.host("x86-1").Markers, "init")
		f.host("x86-1").BadMarkers, f.host("x86-1").Kubeadm.Version = []string{"init"}, "v1.35.2"
	}, host: "x86-1", check: "version-change", status: report.Fail, message: "runs Kubernetes v1.35.2"},

	{name: "node of a stranger's cluster", change: func(f *fixture) {
		f.host("arm-1").Kubeadm = facts.Kubeadm{KubeletConf: true, Server: "https://10.1.1.1:6443", CACertHash: "sha256:bb"}
	}, host: "arm-1", check: "other-cluster", status: report.Fail, message: "a kubelet.conf for https://10.1.1.1:6443, and hybridctl did not", hint: "kubeadm reset"},
	{name: "broken kubelet.conf", change: func(f *fixture) { f.host("arm-1").Kubeadm.KubeletConf = true },
		host: "arm-1", check: "other-cluster", status: report.Fail, message: "a kubelet.conf, and"},
	{name: "admin.conf of a stranger", change: func(f *fixture) { f.host("x86-1").Kubeadm.AdminConf = true },
		host: "x86-1", check: "other-cluster", status: report.Fail, message: "an admin.conf"},
	{name: "CA of a stranger", change: func(f *fixture) { f.host("x86-1").Kubeadm.CACertHash = "sha256:cc" },
		host: "x86-1", check: "other-cluster", status: report.Fail, message: "the cluster CA sha256:cc"},
	{name: "etcd's data of a stranger", change: func(f *fixture) { f.host("x86-1").Kubeadm.Etcd = true },
		host: "x86-1", check: "other-cluster", status: report.Fail, message: "/var/lib/etcd"},
	{name: "worker of another cluster of ours", running: true, change: func(f *fixture) { f.host("arm-1").Kubeadm.CACertHash = "sha256:bb" },
		host: "arm-1", check: "other-cluster", status: report.Fail, message: "the cluster CA sha256:bb, that of the bootstrap host x86-1 is sha256:aa", hint: "kubeadm reset"},
	{name: "bootstrap host made anew", running: true, change: func(f *fixture) {
		*f.host("x86-1") = fitHost("x86-1", platform.AMD64, "10.99.0.11")
	}, host: "arm-1", check: "other-cluster", status: report.Fail, message: "x86-1 does not know of", hint: "destroy"},
	{name: "bootstrap host down", running: true, change: func(f *fixture) { *f.host("x86-1") = facts.Host{Name: "x86-1", Err: errDown} },
		host: "arm-1", check: "other-cluster", status: report.Unknown, message: "x86-1 was not there to compare with", also: []string{"reachable"}},
	{name: "interrupted join", change: func(f *fixture) {
		f.mark("arm-1", "join", host.MarkerStarted)
		f.host("arm-1").Kubeadm.KubeletConf = true
	}, host: "arm-1", check: "other-cluster", status: report.Pass, message: "node of this cluster"},

	{name: "a worker's mark is another cluster's", running: true, change: func(f *fixture) {
		f.host("arm-1").Kubeadm = facts.Kubeadm{}
		f.host("arm-1").Belongs = facts.Belonging{Marked: true, ClusterMark: host.ClusterMark{CA: "sha256:bb", Name: "b"}}
	}, host: "arm-1", check: "other-cluster", status: report.Fail, message: "the mark of another cluster: b, with the cluster CA sha256:bb, that of the bootstrap host x86-1 is sha256:aa", hint: "scale-out --force=arm-1", also: []string{"certificates"}},
	{name: "a worker's mark is ours", running: true, change: func(f *fixture) {
		f.host("arm-1").Kubeadm = facts.Kubeadm{}
		f.host("arm-1").Belongs = facts.Belonging{Marked: true, ClusterMark: host.ClusterMark{CA: "sha256:aa", Name: "b"}}
	}, host: "arm-1", check: "other-cluster", status: report.Pass},
	{name: "a new host's mark is another cluster's", running: true, change: func(f *fixture) {
		*f.host("arm-1") = fitHost("arm-1", platform.ARM64, "10.99.0.21")
		f.host("arm-1").Belongs = facts.Belonging{Marked: true}
	}, host: "arm-1", check: "other-cluster", status: report.Fail, message: "cannot be read"},
	{name: "a mark, and the bootstrap host is clean", change: func(f *fixture) {
		f.host("arm-1").Belongs = facts.Belonging{Marked: true, ClusterMark: host.ClusterMark{CA: "sha256:bb", Name: "b"}}
	}, host: "arm-1", check: "other-cluster", status: report.Fail, message: "that of the bootstrap host x86-1 is not there"},
	{name: "half joined, and the bootstrap host is clean", change: func(f *fixture) {
		f.mark("arm-1", "join", "started")
		f.host("arm-1").Kubeadm = facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:bb", Server: "https://192.0.2.9:6443"}
	}, host: "arm-1", check: "other-cluster", status: report.Unknown, message: "not judged: it began to join a cluster (https://192.0.2.9:6443)"},
	{name: "an init that did not end, and a worker of another cluster since", change: func(f *fixture) {
		f.mark("x86-1", "init", host.MarkerStarted)
		f.host("x86-1").Kubeadm = facts.Kubeadm{KubeletConf: true, CACertHash: "sha256:bb", Server: "https://192.0.2.9:6443"}
	}, host: "x86-1", check: "other-cluster", status: report.Fail, message: "it is a worker of another cluster (https://192.0.2.9:6443)", hint: "kubeadm reset"},
	{name: "an init that did not end", change: func(f *fixture) {
		f.mark("x86-1", "init", host.MarkerStarted)
		f.host("x86-1").Kubeadm = facts.Kubeadm{KubeletConf: true, AdminConf: true, CACertHash: "sha256:bb", Server: "https://10.99.0.11:6443"}
	}, host: "x86-1", check: "other-cluster", status: report.Pass, message: "node of this cluster, sha256:bb"},
	{name: "a certificate that ends soon", running: true, change: func(f *fixture) { f.host("arm-1").Kubeadm.Certificates[1] = lasting("kubelet", 10, 365) },
		host: "arm-1", check: Certificates, status: report.Warn, message: "kubelet on 2026-12-09", hint: "journalctl"},

	{name: "control plane of another version", running: true, change: func(f *fixture) { f.host("x86-1").Kubeadm.Version = "v1.35.2" },
		host: "x86-1", check: "version-change", status: report.Fail, message: "runs Kubernetes v1.35.2, the inventory asks for v1.36.3", hint: "set spec.kubernetes.version back"},
	{name: "worker of another version", running: true, change: func(f *fixture) {
		f.host("arm-1").Images = []string{"registry.example:5000/x/kube-proxy:v1.35.2", "registry.example/not-kube-proxy:v1.36.3", "kube-proxy"}
	}, host: "arm-1", check: "version-change", status: report.Fail, message: "runs Kubernetes v1.35.2,"},
	{name: "images of two versions", running: true, change: func(f *fixture) {
		f.host("arm-1").Images = append(f.host("arm-1").Images, "registry.example/kube-proxy:v1.35.2")
	}, host: "arm-1", check: "version-change", status: report.Pass, message: "v1.36.3"},
	{name: "containerd does not answer", running: true, change: func(f *fixture) { f.host("arm-1").Images = nil },
		host: "arm-1", check: "version-change", status: report.Unknown, message: "not known: containerd names no image of kube-proxy", hint: "systemctl status containerd"},
	{name: "left-over images on a host that is no node", change: func(f *fixture) {
		f.host("arm-1").Images = []string{"registry.example/kube-proxy:v1.35.2"}
	}, host: "arm-1", check: "version-change", status: report.Pass, message: "not a node yet"},
}

// noClock takes the clock off a host: its offset is not known then.
func noClock(host string) func(*fixture) {
	return func(f *fixture) {
		h := f.host(host)
		h.Time, h.ClockOffset, h.RoundTrip = time.Time{}, 0, 0
	}
}

// wantIn runs every check and wants the case's result, and no other complaint.
func (c one) wantIn(t *testing.T, f *fixture) {
	t.Helper()
	found := false
	for _, r := range f.run() {
		switch {
		case r.Host == c.host && r.Name == c.check:
			found = true
			if r.Status != c.status || !strings.Contains(r.Message, c.message) || !strings.Contains(r.Hint, c.hint) {
				t.Errorf("got %+v", r)
			}
			if r.Status == report.Fail && r.Hint == "" {
				t.Errorf("nothing to do: %+v", r)
			}
		case r.Status == report.Unknown && strings.HasPrefix(r.Message, "not "): // and says why; nothing was judged
		case r.Status != report.Pass && !slices.Contains(c.also, r.Name):
			t.Errorf("minds as well: %+v", r)
		}
	}
	if !found {
		t.Error("the check was not run")
	}
}
