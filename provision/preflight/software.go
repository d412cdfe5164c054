package preflight

import (
	"cmp"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
)

var softwareChecks = []check{
	{"systemd", "systemd runs the host", checkSystemd, onFacts},
	{"tools", "the programs that kubeadm, the kubelet, the pod network and hybridctl's own steps call are there", checkTools, onFacts},
	{"existing-runtime", "no container runtime or kubelet is there that hybridctl did not bring", checkRuntime, onFacts},
	{"firewall", "no firewall closes the cluster's ports: firewalld, ufw, or rules that drop what they do not name", checkFirewall, onFacts},
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
		if name := t.in(v.facts); !slices.Contains(packages, name) {
			packages = append(packages, name)
		}
	}
	if len(missing) > 0 {
		return fail("missing: %s", strings.Join(missing, ", ")).hinted("%s %s", install(v.facts), strings.Join(packages, " "))
	}
	return pass("all %d there", len(tools))
}

func (t tool) in(f facts.Host) string {
	if family(f) == rhel {
		return t.rhel
	}
	return t.debian
}

// The families of distributions whose package names we know.
const (
	debian = "debian"
	rhel   = "rhel"
)

// families are distributions that do not say, or not alone, whom they are like: the names of their packages are those of one family. Kylin and
// UOS have an edition of each family; see family.
var families = map[string]string{
	"debian": debian, "ubuntu": debian, "raspbian": debian, "linuxmint": debian, "armbian": debian, "deepin": debian,
	"rhel": rhel, "fedora": rhel, "centos": rhel, "rocky": rhel, "almalinux": rhel, "ol": rhel, "amzn": rhel, "anolis": rhel, "alinux": rhel,
	"openeuler": rhel, "opencloudos": rhel, "tencentos": rhel, "hce": rhel, "bclinux": rhel, "euleros": rhel,
}

func family(f facts.Host) string {
	for _, id := range append([]string{f.OS.ID}, f.OS.IDLike...) {
		if known := families[strings.ToLower(id)]; known != "" {
			return known
		}
	}
	switch f.Surroundings.PackageTool {
	case "apt-get":
		return debian
	case "dnf", "yum":
		return rhel
	}
	if strings.EqualFold(f.OS.ID, "kylin") { // the server; the desktop says ID_LIKE=debian
		return rhel
	}
	return ""
}

func install(f facts.Host) string {
	switch tool := f.Surroundings.PackageTool; {
	case family(f) == debian:
		return "apt-get install"
	case family(f) == rhel && tool == "yum":
		return "yum install"
	case family(f) == rhel:
		return "dnf install"
	}
	return "install what Debian calls"
}

// runtimes are units that bring a container runtime.
var runtimes = []string{"docker.service", "crio.service"}

// distributions are units that bring a whole Kubernetes of another kind: where one is installed, it starts with the host, if not before, and its
// pods go on without it.
var distributions = []string{"k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service", "k0scontroller.service", "k0sworker.service",
	"snap.microk8s.daemon-kubelite.service", "snap.microk8s.daemon-containerd.service", "snap.k8s.kubelet.service", "snap.k8s.containerd.service",
	"kubesolo.service", "microshift.service"}

// minikube is where minikube has its own files on a host that it runs on without a machine of its own.
const minikube = "/var/lib/minikube"

const firewalld = "firewalld.service"

func foreignUnits() []string {
	return append(slices.Concat(runtimes, distributions), firewalld, networkManager, resolved)
}

func checkRuntime(v view) verdict {
	var found []string
	if c := v.facts.Containerd; c.Path != "" && !c.Ours {
		found = append(found, c.Path)
	}
	if k := v.facts.Kubelet; k.Path != "" && !k.Ours {
		found = append(found, k.Path)
	}
	for _, u := range slices.Concat(runtimes, distributions) {
		switch installed := slices.Contains(v.facts.Surroundings.Installed, u); {
		case v.facts.Units[u] == "active":
			found = append(found, u)
		case installed && slices.Contains(distributions, u):
			found = append(found, u+" ("+cmp.Or(v.facts.Units[u], "state unknown")+")")
		}
	}
	if slices.Contains(v.facts.Surroundings.Installed, minikube) {
		found = append(found, minikube)
	}
	if len(found) > 0 {
		return fail("not brought by hybridctl: %s", list(found)).
			hinted("remove what it belongs to (for instance %s containerd.io docker-ce kubelet); two runtimes on one host take each other's pods and packet filter rules away", purge(v.facts))
	}
	if unasked := v.unasked(slices.Concat(runtimes, distributions)...); unasked != "" {
		return unknown("not known: systemd did not say whether %s is active", unasked)
	}
	return pass("none but ours")
}

// unasked is the first of these units of which systemd did not say what it does; "" = it told of all.
func (v view) unasked(units ...string) string {
	for _, u := range units {
		if _, told := v.facts.Units[u]; !told {
			return u
		}
	}
	return ""
}

func purge(f facts.Host) string {
	if family(f) == rhel {
		return "dnf remove"
	}
	return "apt-get purge"
}

func checkFirewall(v view) verdict {
	const open = "let the hosts reach each other on every port and forward what pods send, or "
	switch around := v.facts.Surroundings; {
	case v.facts.Units[firewalld] == "active":
		return warn("%s is active", firewalld).hinted(open + "stop it: systemctl disable --now firewalld")
	case around.UFW:
		return warn("ufw is on (ENABLED=yes in /etc/ufw/ufw.conf): it closes the ports between nodes and forwards nothing").hinted(open + "stop it: ufw disable")
	case len(around.Drops) > 0:
		return warn("rules drop what they do not name: the chains %s", list(around.Drops)).
			hinted(open+"see nft list ruleset and iptables -S; UDP %d and TCP 10250 between all hosts, 6443 to the control planes, and what is forwarded from and to pods", v.cluster.Spec.CNI.Overlay().Port)
	case v.unasked(firewalld) != "":
		return unknown("not known: systemd did not say whether %s is active", firewalld)
	case v.facts.Kubeadm.KubeletConf:
		return unknown("not asked: which chains drop what they do not name is looked at before a host is a node")
	case !around.RulesRead:
		return unknown("not known: which chains drop what they do not name, as rules were not read (%s)", cmp.Or(list(around.RulesUnread), "the host was not asked for them")).
			hinted("see nft list ruleset and iptables -S on %s; %s nftables, and hybridctl reads them", v.host.Name, install(v.facts))
	}
	return pass("neither firewalld nor ufw is active, and no chain drops what it does not name")
}
