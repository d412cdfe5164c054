package preflight

import (
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
)

var softwareChecks = []check{
	{"systemd", "systemd runs the host", checkSystemd, onFacts},
	{"tools", "the programs that kubeadm, the kubelet, the pod network and hybridctl's own steps call are there", checkTools, onFacts},
	{"existing-runtime", "no container runtime or kubelet is there that hybridctl did not bring", checkRuntime, onFacts},
	{"firewall", "firewalld does not close the cluster's ports", checkFirewall, onFacts},
}

func checkSystemd(v view) verdict {
	if !v.facts.Systemd {
		return fail("something else than systemd runs the host").hinted("hybridctl needs a distribution with systemd")
	}
	return pass("systemd runs the host")
}

// tool is a program with the packages that bring it.
type tool struct{ name, debian, rhel string }

// tools are what is called on a host. kubeadm itself wants cp, losetup and mount; the kubelet umount as well; the pod network's
// plugins iptables; the rest is for hybridctl's own scripts.
var tools = []tool{
	{"awk", "mawk", "gawk"},
	{"base64", "coreutils", "coreutils"},
	{"cp", "coreutils", "coreutils"},
	{"grep", "grep", "grep"},
	{"ip", "iproute2", "iproute"},
	{"iptables", "iptables", "iptables-nft"},
	{"losetup", "mount", "util-linux"},
	{"modprobe", "kmod", "kmod"},
	{"mount", "mount", "util-linux"},
	{"sed", "sed", "sed"},
	{"sha256sum", "coreutils", "coreutils"},
	{"stat", "coreutils", "coreutils"},
	{"systemctl", "systemd", "systemd"},
	{"tar", "tar", "tar"},
	{"timeout", "coreutils", "coreutils"},
	{"umount", "mount", "util-linux"},
}

func checkTools(v view) verdict {
	var missing, packages []string
	for _, t := range tools {
		if v.facts.Tools[t.name] != "" {
			continue
		}
		missing = append(missing, t.name)
		if name := t.in(v.facts.OS); !slices.Contains(packages, name) {
			packages = append(packages, name)
		}
	}
	if len(missing) > 0 {
		return fail("missing: %s", strings.Join(missing, ", ")).hinted("%s %s", install(v.facts.OS), strings.Join(packages, " "))
	}
	return pass("all %d there", len(tools))
}

func (t tool) in(os facts.OS) string {
	if family(os) == rhel {
		return t.rhel
	}
	return t.debian
}

// The families of distributions whose package names we know.
const (
	debian = "debian"
	rhel   = "rhel"
)

func family(os facts.OS) string {
	for _, id := range append([]string{os.ID}, os.IDLike...) {
		switch id {
		case "debian", "ubuntu", "raspbian":
			return debian
		case "rhel", "fedora", "centos":
			return rhel
		}
	}
	return ""
}

func install(os facts.OS) string {
	switch family(os) {
	case debian:
		return "apt-get install"
	case rhel:
		return "dnf install"
	}
	return "install what Debian calls"
}

// foreigners are units that bring a container runtime, or a whole Kubernetes.
var foreigners = []string{"docker.service", "crio.service", "k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service",
	"snap.microk8s.daemon-kubelite.service"}

const firewalld = "firewalld.service"

func foreignUnits() []string { return append(slices.Clone(foreigners), firewalld) }

func checkRuntime(v view) verdict {
	var found []string
	if c := v.facts.Containerd; c.Path != "" && !c.Ours {
		found = append(found, c.Path)
	}
	if k := v.facts.Kubelet; k.Path != "" && !k.Ours {
		found = append(found, k.Path)
	}
	for _, u := range foreigners {
		if v.facts.Units[u] == "active" {
			found = append(found, u)
		}
	}
	if len(found) > 0 {
		return fail("not brought by hybridctl: %s", list(found)).
			hinted("remove what it belongs to (for instance apt-get purge containerd.io docker-ce kubelet); two runtimes on one host take each other's pods and packet filter rules away")
	}
	return pass("none but ours")
}

func checkFirewall(v view) verdict {
	if v.facts.Units[firewalld] == "active" {
		return warn("%s is active", firewalld).
			hinted("let the hosts reach each other on every port, or stop it: systemctl disable --now firewalld")
	}
	return pass("%s is not active", firewalld)
}
