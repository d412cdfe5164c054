package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

var memberChecks = []check{
	{"ports", "the ports of the cluster's own processes are free on a host that is no node of it yet", checkPorts, onFacts},
	{otherCluster, "the host is no node of another cluster", checkOtherCluster, onFacts},
	{"version-change", "a host that is a node already runs the version that the inventory asks for", checkVersionChange, onFacts},
}

// otherCluster is the check that compares authorities.
const otherCluster = "other-cluster"

// port is one that a node's process listens on.
type port struct {
	number       int
	process      string
	controlPlane bool // there only
}

var ports = []port{
	{2379, "etcd", true}, {2380, "etcd", true}, {6443, "kube-apiserver", true},
	{10250, "kubelet", false}, {10256, "kube-proxy", false}, {10257, "kube-controller-manager", true}, {10259, "kube-scheduler", true},
}

func checkPorts(v view) verdict {
	if v.begun() {
		return pass("in use by this cluster")
	}
	var taken []string
	for _, p := range ports {
		if slices.Contains(v.facts.Ports, p.number) && (v.controlPlane() || !p.controlPlane) {
			taken = append(taken, fmt.Sprintf("%d (%s)", p.number, p.process))
		}
	}
	if len(taken) > 0 {
		return fail("in use, wanted free: %s", list(taken)).hinted("ss -ltnp shows the process; stop it, or move it to another port")
	}
	overlay := v.cluster.Spec.CNI.Overlay()
	if v.cluster.Spec.CNI.Provider == inventory.CNIFlannel && overlay.Backend == inventory.BackendWireGuard && slices.Contains(v.facts.UDPPorts, overlay.Port) {
		return fail("in use, wanted free: UDP %d (flannel's WireGuard)", overlay.Port).
			hinted("wg show tells whose it is; give that WireGuard another ListenPort, or take cni: {backend: %s}", inventory.BackendVXLAN)
	}
	return pass("free")
}

func checkOtherCluster(v view) verdict {
	k, mark := v.facts.Kubeadm, v.facts.Belongs
	clean := !k.KubeletConf && !k.AdminConf && !k.Etcd && k.CACertHash == ""
	boot := v.fleet.facts[v.cluster.Bootstrap().Name]
	own, whose := v.own, "this cluster's"
	if own == "" {
		own, whose = cmp.Or(boot.Kubeadm.CACertHash, boot.Belongs.CA), "that of the bootstrap host "+boot.Name
	}
	byForce := ""
	if _, some := clusterOf(v.facts); some { // else hybridctl did not set it up, and does not reset it
		byForce = fmt.Sprintf("where this cluster runs, hybridctl scale-out --force=%s does both, and joins it; ", v.host.Name)
	}
	reset := fmt.Sprintf("if that cluster is not needed: kubeadm reset on the host, and rm -f %s; %selse take the host out of the inventory: hybridctl inventory rm %s",
		host.ClusterMarkFile, byForce, v.host.Name)
	switch {
	case clean && !mark.Marked:
		return pass("no node of any cluster")
	case !clean && !v.begun():
		return fail("it has %s, and hybridctl did not put it there", remnant(v)).hinted("%s", reset)
	case v.own == "" && v.host.Name == boot.Name && !v.member() && k.KubeletConf && !k.AdminConf:
		return fail("it is a worker of another cluster (%s): it has a kubelet.conf, and no admin.conf, which kubeadm init makes first", cmp.Or(k.Server, "API server unknown")).hinted("%s", reset)
	case v.own == "" && v.host.Name == boot.Name:
		return pass("node of this cluster, %s", cmp.Or(k.CACertHash, mark.CA, "not finished"))
	case v.own == "" && boot.Err != nil:
		return unknown("node of ours; the bootstrap host %s was not there to compare with", boot.Name)
	case v.own == "" && v.member() && boot.Kubeadm.CACertHash == "":
		return fail("it is a node of a cluster (%s) that the bootstrap host %s does not know of: that one is not initialised", cmp.Or(k.Server, "API server unknown"), boot.Name).
			hinted("if %[1]s was reinstalled and other control planes go on, hybridctl scale-out --replace %[1]s joins it again; if none does, the cluster is gone, "+
				"and hybridctl destroy clears the other hosts; if another host is the cluster's first control plane, put it first in the inventory", boot.Name)
	case k.CACertHash != "" && own == "":
		return unknown("not judged: it began to join a cluster (%s) with the cluster CA %s, and the bootstrap host %s has none to compare with", cmp.Or(k.Server, "API server unknown"), k.CACertHash, boot.Name)
	case k.CACertHash != "" && k.CACertHash != own:
		return fail("it is a node of another cluster (%s): it trusts the cluster CA %s, %s is %s", cmp.Or(k.Server, "API server unknown"), k.CACertHash, whose, own).hinted("%s", reset)
	case k.CACertHash == "" && !mark.Marked && v.own != "" && v.member():
		return fail("it is a node, and has no cluster CA that can be read (%s): whose host it is is not known", host.CACert).hinted("%s", reset)
	case k.CACertHash != "" || !mark.Marked:
	case mark.CA == "":
		return fail("it has a mark that cannot be read (%s): whose host it is is not known", host.ClusterMarkFile).hinted("%s", reset)
	case mark.CA != own:
		return fail("it bears the mark of another cluster: %s, with the cluster CA %s, %s is %s", mark.Name, mark.CA, whose, cmp.Or(own, "not there")).hinted("%s", reset)
	}
	return pass("node of this cluster")
}

// remnant names what kubeadm left.
func remnant(v view) string {
	k := v.facts.Kubeadm
	switch {
	case k.Server != "":
		return "a kubelet.conf for " + k.Server
	case k.KubeletConf:
		return "a kubelet.conf"
	case k.AdminConf:
		return "an admin.conf"
	case k.CACertHash != "":
		return "the cluster CA " + k.CACertHash
	}
	return "files in /var/lib/etcd"
}

func checkVersionChange(v view) verdict {
	want := v.cluster.Spec.Kubernetes.Version
	if !v.member() {
		return pass("not a node yet")
	}
	runs := running(v)
	if len(runs) > 0 && !slices.Contains(runs, want) {
		return fail("the node runs Kubernetes %s, the inventory asks for %s, and hybridctl does not upgrade", list(runs), want).
			hinted("set spec.kubernetes.version back, or destroy the cluster and make it again")
	}
	if len(runs) == 0 {
		return unknown("not known: containerd names no image of kube-proxy, which would tell what the node runs").hinted("on %s: systemctl status containerd; ctr -n k8s.io images ls", v.host.Name)
	}
	return pass("the node runs %s", list(runs))
}

// running returns the versions that may run on a node: the API server's own, else those of kube-proxy's images, of which every
// node has the right one.
func running(v view) []string {
	if s := v.facts.Kubeadm.Version; s != "" {
		return []string{s}
	}
	var out []string
	for _, ref := range v.facts.Images {
		if name, tag, ok := cut(ref); ok && strings.HasSuffix("/"+name, "/"+bundle.KubeProxy) {
			out = append(out, tag)
		}
	}
	return out
}

// cut parts an image's name from its tag.
func cut(ref string) (name, tag string, ok bool) {
	colon := strings.LastIndex(ref, ":")
	if colon <= strings.LastIndex(ref, "/") {
		return ref, "", false
	}
	return ref[:colon], ref[colon+1:], true
}
