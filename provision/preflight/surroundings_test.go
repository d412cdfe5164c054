package preflight

import (
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// around changes what is around arm-1.
func around(change func(s *facts.Surroundings)) func(*fixture) {
	return func(f *fixture) { change(&f.host("arm-1").Surroundings) }
}

// noMemory takes the memory controller off arm-1, on a host that is otherwise as change says.
func noMemory(change func(h *facts.Host)) func(*fixture) {
	return func(f *fixture) {
		h := f.host("arm-1")
		h.CgroupControllers = []string{"cpuset", "cpu", "io", "pids"}
		change(h)
	}
}

var surroundingCases = []one{
	{name: "/usr read only (Flatcar)", change: around(func(s *facts.Surroundings) { s.Mounts, s.ReadOnly = []string{"/", "/usr"}, []string{"/usr"} }),
		host: "arm-1", check: "writable", status: report.Fail, message: "/usr/local/bin, /usr/local/sbin", hint: "mount something"},
	{name: "/usr read only, and something else at /usr/local", change: around(func(s *facts.Surroundings) {
		s.Mounts, s.ReadOnly = []string{"/", "/usr", "/usr/local"}, []string{"/usr"}
	}),
		host: "arm-1", check: "writable", status: report.Pass},
	{name: "/usr/local leads elsewhere (Fedora CoreOS)", change: around(func(s *facts.Surroundings) {
		s.Mounts, s.ReadOnly, s.Links = []string{"/", "/usr"}, []string{"/usr"}, []string{"/usr/local"}
	}), host: "arm-1", check: "writable", status: report.Pass},
	{name: "all read only", change: around(func(s *facts.Surroundings) { s.Mounts, s.ReadOnly = []string{"/"}, []string{"/"} }),
		host: "arm-1", check: "writable", status: report.Fail, message: "/usr/local/bin, /usr/local/sbin, /etc/systemd/system and 5 more"},

	{name: "enforcing", change: func(f *fixture) {
		h := f.host("arm-1")
		h.OS, h.Surroundings.SELinux = facts.OS{ID: "rocky", IDLike: []string{"rhel", "centos", "fedora"}}, true
	}, host: "arm-1", check: "selinux", status: report.Warn, message: "enforcing", hint: "dnf install container-selinux"},

	{name: "dnsmasq", change: around(func(s *facts.Surroundings) { s.Nameservers = []string{"127.0.0.1", "192.0.2.53"} }),
		host: "arm-1", check: "resolv-conf", status: report.Warn, message: "names the host itself, 127.0.0.1, and systemd-resolved.service is not active", hint: "resolvConf"},
	{name: "dnsmasq, IPv6", change: around(func(s *facts.Surroundings) { s.Nameservers = []string{"::1"} }),
		host: "arm-1", check: "resolv-conf", status: report.Warn, message: "::1"},
	{name: "dnsmasq, and another file is given", change: func(f *fixture) {
		f.host("arm-1").Surroundings.Nameservers = []string{"127.0.0.1"}
		f.cluster.Spec.Kubernetes.Kubelet = map[string]any{"resolvConf": "/etc/resolv.pods"}
	}, host: "arm-1", check: "resolv-conf", status: report.Pass, message: "/etc/resolv.pods"},
	{name: "systemd-resolved", change: func(f *fixture) {
		h := f.host("arm-1")
		h.Surroundings.Nameservers, h.Surroundings.Upstreams, h.Units[resolved] = []string{"127.0.0.53"}, []string{"192.0.2.53"}, "active"
	}, host: "arm-1", check: "resolv-conf", status: report.Pass, message: "names 192.0.2.53"},
	{name: "systemd-resolved that asks dnsmasq", change: func(f *fixture) {
		h := f.host("arm-1")
		h.Surroundings.Nameservers, h.Surroundings.Upstreams, h.Units[resolved] = []string{"127.0.0.53"}, []string{"127.0.0.1"}, "active"
	}, host: "arm-1", check: "resolv-conf", status: report.Warn, message: "systemd-resolved itself asks the host, 127.0.0.1", hint: "DNS="},

	{name: "before flannel's", change: around(func(s *facts.Surroundings) {
		s.CNIConfigs = []string{"10-containerd-net.conflist", "87-podman-bridge.conflist"}
	}),
		host: "arm-1", check: "network-config", status: report.Fail, message: "/etc/cni/net.d/10-containerd-net.conflist; behind it: /etc/cni/net.d/87-podman-bridge.conflist", hint: "move"},
	{name: "behind flannel's", change: around(func(s *facts.Surroundings) {
		s.CNIConfigs = []string{"10-flannel.conflist", "87-podman-bridge.conflist"}
	}),
		host: "arm-1", check: "network-config", status: report.Warn, message: "get its addresses: /etc/cni/net.d/87-podman-bridge.conflist", hint: "move"},
	{name: "another pod network", change: func(f *fixture) {
		f.cluster.Spec.CNI.Provider = inventory.CNIManifest
		f.host("arm-1").Surroundings.CNIConfigs = []string{"05-cilium.conflist"}
	}, host: "arm-1", check: "network-config", status: report.Warn, message: "05-cilium.conflist"},
	{name: "a node", running: true, change: around(func(s *facts.Surroundings) { s.CNIConfigs = []string{"10-calico.conflist"} }),
		host: "arm-1", check: "network-config", status: report.Pass},

	{name: "active", change: func(f *fixture) { f.host("arm-1").Units[networkManager] = "active" },
		host: "arm-1", check: "network-manager", status: report.Warn, message: "cni0 and flannel.1", hint: "unmanaged-devices="},
	{name: "active, and told", change: func(f *fixture) {
		h := f.host("arm-1")
		h.Units[networkManager], h.Surroundings.UnmanagedLinks = "active", unmanaged
	}, host: "arm-1", check: "network-manager", status: report.Pass, message: "leaves"},

	{name: "ufw", change: around(func(s *facts.Surroundings) { s.UFW = true }), host: "arm-1", check: "firewall", status: report.Warn, message: "ufw is on", hint: "ufw disable"},
	{name: "rules of a host that is no node, and is marked", change: func(f *fixture) {
		f.mark("arm-1", "join", "started")
		f.host("arm-1").Surroundings.Drops = []string{"iptables INPUT"}
	}, host: "arm-1", check: "firewall", status: report.Warn, message: "the chains iptables INPUT"},
	{name: "no nft", change: around(func(s *facts.Surroundings) { s.RulesRead, s.RulesUnread = false, []string{"nft is not there"} }),
		host: "arm-1", check: "firewall", status: report.Unknown, message: "not known: which chains drop what they do not name, as rules were not read (nft is not there)", hint: "apt-get install nftables"},
	{name: "no nft, and a chain of iptables drops", change: around(func(s *facts.Surroundings) {
		s.RulesRead, s.RulesUnread, s.Drops = false, []string{"nft is not there"}, []string{"iptables INPUT"}
	}), host: "arm-1", check: "firewall", status: report.Warn, message: "iptables INPUT"},
	{name: "a node", running: true, change: func(*fixture) {}, host: "arm-1", check: "firewall", status: report.Unknown, message: "not asked: "},
	{name: "plain nftables", change: around(func(s *facts.Surroundings) { s.Drops = []string{"inet filter input", "inet filter forward"} }),
		host: "arm-1", check: "firewall", status: report.Warn, message: "the chains inet filter input, inet filter forward", hint: "nft list ruleset"},
	{name: "systemd did not say", change: func(f *fixture) { f.host("arm-1").Units = map[string]string{} },
		host: "arm-1", check: "firewall", status: report.Unknown, message: "did not say"},
	{name: "systemd did not say", change: func(f *fixture) { delete(f.host("arm-1").Units, networkManager) },
		host: "arm-1", check: "network-manager", status: report.Unknown, message: "not known: systemd did not say whether NetworkManager.service is active"},
	{name: "dnsmasq or systemd-resolved", change: func(f *fixture) {
		delete(f.host("arm-1").Units, resolved)
		f.host("arm-1").Surroundings.Nameservers = []string{"127.0.0.53"}
	}, host: "arm-1", check: "resolv-conf", status: report.Unknown, message: "not known: /etc/resolv.conf names the host itself, 127.0.0.53, and systemd did not say"},
	{name: "mounts not read", change: around(func(s *facts.Surroundings) { s.Mounts = nil }), host: "arm-1", check: "writable", status: report.Unknown, message: "not known: what is mounted"},

	{name: "not known", change: func(f *fixture) { f.host("arm-1").PageSize = 0 }, host: "arm-1", check: "page-size", status: report.Unknown, message: "could not be read", hint: "getconf"},
	{name: "16K on a Pi", change: func(f *fixture) {
		h := f.host("arm-1")
		h.PageSize, h.Kernel, h.Surroundings.BootFiles = 16<<10, "6.12.34+rpt-rpi-2712", []string{"/boot/firmware/cmdline.txt"}
	}, host: "arm-1", check: "page-size", status: report.Warn, message: "16 KiB", hint: "kernel=kernel8.img in /boot/firmware/config.txt"},

	{name: "a login that prints", change: func(f *fixture) { f.host("arm-1").LoginPrints = "Welcome\x1b[2J" },
		host: "arm-1", check: "access", status: report.Fail, message: `the login prints "Welcome\x1b[2J" before what a command answers`, hint: "[ -t 1 ]"},

	{name: "a Pi that was told already", change: noMemory(func(h *facts.Host) {
		h.Kernel, h.Surroundings.Cmdline = "6.12.34+rpt-rpi-2712", []string{"cgroup_disable=memory", "cgroup_memory=1", "cgroup_enable=memory"}
	}), host: "arm-1", check: "cgroup", status: report.Fail, message: "memory are missing", hint: "has cgroup_enable=memory already, and this kernel heeds the firmware's"},
	{name: "an older Pi that was told already", change: noMemory(func(h *facts.Host) {
		h.Kernel, h.Surroundings.BootFiles = "6.1.21-v8+", []string{"/boot/cmdline.txt"}
		h.Surroundings.Cmdline = []string{"cgroup_disable=memory", "cgroup_enable=memory"}
	}), host: "arm-1", check: "cgroup", status: report.Fail, hint: "from /boot/cmdline.txt, has cgroup_enable=memory already"},
	{name: "an older Pi", change: noMemory(func(h *facts.Host) {
		h.Kernel, h.Surroundings.Cmdline, h.Surroundings.BootFiles = "5.4.42-v7+", []string{"cgroup_disable=memory"}, []string{"/boot/cmdline.txt"}
	}), host: "arm-1", check: "cgroup", status: report.Fail, hint: `add "cgroup_memory=1 cgroup_enable=memory" to the line in /boot/cmdline.txt and reboot`},
	{name: "a Pi with a kernel of its own", change: noMemory(func(h *facts.Host) { h.Kernel = "6.1.74-v8-16k+" }),
		host: "arm-1", check: "cgroup", status: report.Fail, hint: "/boot/firmware/cmdline.txt (on older systems /boot/cmdline.txt)"},
	{name: "a Pi by its board", change: noMemory(func(h *facts.Host) { h.Surroundings.Model = "Raspberry Pi 4 Model B Rev 1.4" }),
		host: "arm-1", check: "cgroup", status: report.Fail, hint: "/boot/firmware/cmdline.txt"},
	{name: "switched off elsewhere", change: noMemory(func(h *facts.Host) { h.Surroundings.Cmdline = []string{"cgroup_disable=memory"} }),
		host: "arm-1", check: "cgroup", status: report.Fail, hint: "take cgroup_disable=memory off"},
	{name: "switched on elsewhere, and not there", change: noMemory(func(h *facts.Host) { h.Surroundings.Cmdline = []string{"cgroup_enable=memory"} }),
		host: "arm-1", check: "cgroup", status: report.Fail, hint: "CONFIG_MEMCG"},
	{name: "Armbian", change: noMemory(func(h *facts.Host) { h.Surroundings.BootFiles = []string{"/boot/armbianEnv.txt"} }),
		host: "arm-1", check: "cgroup", status: report.Fail, hint: `add "cgroup_enable=memory" to extraargs= in /boot/armbianEnv.txt`},
	{name: "openEuler, version 1", change: func(f *fixture) {
		h := f.host("arm-1")
		h.OS, h.CgroupVersion = facts.OS{ID: "openEuler"}, 1
	}, host: "arm-1", check: "cgroup", status: report.Fail, hint: `grubby --update-kernel=ALL --args="systemd.unified_cgroup_hierarchy=1"`},
}

func TestRun_Surroundings(t *testing.T) {
	for _, c := range surroundingCases {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			f := fit()
			if c.running {
				f.up()
			}
			c.change(f)
			c.wantIn(t, f)
		})
	}
}

// What a hint tells to install, by what /etc/os-release of real systems says (ID, ID_LIKE) and by the package tool that is there.
func TestInstall_ByDistribution(t *testing.T) {
	iptables := tool{"iptables", "iptables", "iptables-nft"}
	for _, c := range []struct {
		name, id, tool string
		like           []string
		want           string
	}{
		{"openEuler 22.03 and 24.03", "openEuler", "dnf", nil, "dnf install iptables-nft"},
		{"openEuler, the tool not known", "openEuler", "", nil, "dnf install iptables-nft"},
		{"Kylin V10 server", "kylin", "dnf", nil, "dnf install iptables-nft"},
		{"Kylin V10 server, the tool not known", "kylin", "", nil, "dnf install iptables-nft"},
		{"Kylin V10 desktop", "kylin", "apt-get", []string{"debian"}, "apt-get install iptables"},
		{"Kylin V10 desktop without ID_LIKE", "kylin", "apt-get", nil, "apt-get install iptables"},
		{"UOS server 20", "uos", "yum", nil, "yum install iptables-nft"},
		{"UOS desktop 20", "uos", "apt-get", nil, "apt-get install iptables"},
		{"UOS, the tool not known", "uos", "", nil, "install what Debian calls iptables"},
		{"Rocky 9", "rocky", "dnf", []string{"rhel", "centos", "fedora"}, "dnf install iptables-nft"},
		{"Raspberry Pi OS", "debian", "apt-get", nil, "apt-get install iptables"},
		{"Raspbian 12", "raspbian", "apt-get", []string{"debian"}, "apt-get install iptables"},
		{"Flatcar", "flatcar", "", []string{"coreos"}, "install what Debian calls iptables"},
		{"Alpine", "alpine", "apk", nil, "install what Debian calls iptables"},
		{"a child of Ubuntu", "pop", "apt-get", []string{"ubuntu", "debian"}, "apt-get install iptables"},
	} {
		f := facts.Host{OS: facts.OS{ID: c.id, IDLike: c.like}, Surroundings: facts.Surroundings{PackageTool: c.tool}}
		if got := install(f) + " " + iptables.in(f); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A host without the program that its facts are read with: what is known of it is judged, and everything else is not tried.
func TestRun_Lacking(t *testing.T) {
	f := fit()
	h := f.host("arm-1")
	seen := *h
	seen.Tools = map[string]string{}
	for _, tool := range tools {
		if tool.name != "awk" {
			seen.Tools[tool.name] = "/usr/bin/" + tool.name
		}
	}
	*h = facts.Host{Name: "arm-1", Err: &facts.Lacking{Tool: "awk", Host: seen}}
	got := map[string]report.Check{}
	for _, r := range f.run() {
		if r.Host == "arm-1" {
			got[r.Name] = r
		}
	}
	if r := got["tools"]; r.Status != report.Fail || r.Message != "missing: awk" || r.Hint != "apt-get install mawk" {
		t.Errorf("tools: %+v", r)
	}
	if r := got["access"]; r.Status != report.Pass {
		t.Errorf("access: %+v", r)
	}
	for _, name := range []string{"memory", "swap", "other-cluster", "ports", "firewall"} {
		if r := got[name]; r.Status != report.Unknown || r.Message != "not tried: the host has no working awk, and nothing more can be read of it without" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if b := Blocking(f.run()); len(b) != 1 || b[0].Name != "tools" {
		t.Errorf("blocking: %+v", b)
	}
}
