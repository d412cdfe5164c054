package preflight

import (
	"cmp"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

var surroundingChecks = []check{
	{"writable", "hybridctl can write where its programs and settings are put", checkWritable, onFacts},
	{"selinux", "SELinux lets the programs run that hybridctl puts on the host", checkSELinux, onFacts},
	{"resolv-conf", "the name servers that pods get are not the host itself", checkResolvConf, onFacts},
	{"network-config", "no other pod network's configuration is on a host that is no node yet", checkNetworkConfig, onFacts},
	{"network-manager", "NetworkManager leaves the pod network's links alone", checkNetworkManager, onFacts},
}

const (
	networkManager = "NetworkManager.service"
	resolved       = "systemd-resolved.service"
	resolvedFile   = "/run/systemd/resolve/resolv.conf" // that systemd-resolved writes
)

// written are directories that files of ours are put into.
var written = []string{"/usr/local/bin", "/usr/local/sbin", "/etc/systemd/system", "/etc/kubernetes", "/opt/cni/bin", "/var/lib/hybridctl", "/var/lib/kubelet", "/var/lib/containerd"}

// checkWritable looks at the file systems' own word: what is mounted nearest above a directory decides.
func checkWritable(v view) verdict {
	if len(v.facts.Surroundings.Mounts) == 0 { // there is one at /
		return unknown("not known: what is mounted could not be read")
	}
	var closed []string
	for _, dir := range written {
		if at, known := v.mountOf(dir); known && slices.Contains(v.facts.Surroundings.ReadOnly, at) {
			closed = append(closed, dir)
		}
	}
	if len(closed) > 0 {
		return fail("on a file system that is mounted to be read only: %s", list(closed)).
			hinted("hybridctl has no other places for its programs and settings: mount something that can be written to there, or take the host out of the inventory")
	}
	return pass("%s and the others can be written to", written[0])
}

// mountOf is where the file system of a directory is mounted; what lies behind a link is not known.
func (v view) mountOf(dir string) (at string, known bool) {
	for ; dir != "/"; dir = path.Dir(dir) {
		if slices.Contains(v.facts.Surroundings.Links, dir) {
			return "", false
		}
		if slices.Contains(v.facts.Surroundings.Mounts, dir) {
			break
		}
	}
	return dir, true
}

func checkSELinux(v view) verdict {
	if v.facts.Surroundings.SELinux {
		return warn("SELinux is enforcing, under which hybridctl was not tried: services may end with 203/EXEC, and pods without rights to their files").
			hinted("%s container-selinux gives what hybridctl brings its labels (restorecon is run where it is there); or setenforce 0, and SELINUX=permissive in /etc/selinux/config", install(v.facts))
	}
	return pass("not enforcing")
}

// checkResolvConf: CoreDNS ends with "Loop detected" when it is given the host's own address for loopback, which in its pod is itself. kubeadm puts
// it right where systemd-resolved is at work, and nowhere else.
func checkResolvConf(v view) verdict {
	around := v.facts.Surroundings
	given, _ := v.cluster.Spec.Kubernetes.Kubelet["resolvConf"].(string)
	if i := slices.IndexFunc(v.host.KubeletExtraArgs, func(a inventory.NameValue) bool { return a.Name == "resolv-conf" }); i >= 0 {
		return pass("the inventory names another file: %s", v.host.KubeletExtraArgs[i].Value)
	}
	silent := v.unasked(resolved) != ""
	if v.resolv == resolvedFile && v.facts.Units[resolved] != "active" && !v.member() {
		if silent {
			return unknown("not known: the cluster's kubelet configuration names %s for every node, and systemd did not say whether %s is active here", resolvedFile, resolved)
		}
		return fail("the cluster's kubelet configuration names %s for every node, and %s is not active here: no pod would start", resolvedFile, resolved).
			hinted("give the host a file of its own: kubeletExtraArgs: [{name: resolv-conf, value: /etc/resolv.conf}]; or take resolvConf out of the ConfigMap kube-system/kubelet-config")
	}
	switch itself := slices.DeleteFunc(slices.Clone(around.Nameservers), func(a string) bool { return !loopback(a) }); {
	case given != "":
		return pass("the inventory names another file: %s", given)
	case len(itself) == 0:
		return pass("/etc/resolv.conf names %s", cmp.Or(list(around.Nameservers), "no server"))
	case silent:
		return unknown("not known: /etc/resolv.conf names the host itself, %s, and systemd did not say whether %s is active", list(itself), resolved)
	case v.facts.Units[resolved] != "active":
		return warn("/etc/resolv.conf names the host itself, %s, and %s is not active: CoreDNS would ask itself, and end", list(itself), resolved).
			hinted("name the servers behind it in a separate file on every host, and give it in the inventory: kubelet: {resolvConf: FILE}")
	case len(around.Upstreams) > 0 && !slices.ContainsFunc(around.Upstreams, func(a string) bool { return !loopback(a) }):
		return warn("systemd-resolved itself asks the host, %s: CoreDNS would ask itself, and end", list(around.Upstreams)).
			hinted("give systemd-resolved the servers behind it: DNS= in /etc/systemd/resolved.conf")
	}
	return pass("systemd-resolved names %s", cmp.Or(list(around.Upstreams), "no server"))
}

func loopback(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && a.IsLoopback()
}

// ourConfig is the file that flannel writes; of those in the directory the runtime takes the first by name.
const ourConfig = "10-flannel.conflist"

func checkNetworkConfig(v view) verdict {
	if v.begun() {
		return pass("a node of this cluster")
	}
	flannel := v.cluster.Spec.CNI.Provider == inventory.CNIFlannel
	var before, behind []string
	for _, name := range v.facts.Surroundings.CNIConfigs {
		switch {
		case flannel && name == ourConfig:
		case flannel && name < ourConfig:
			before = append(before, "/etc/cni/net.d/"+name)
		default:
			behind = append(behind, "/etc/cni/net.d/"+name)
		}
	}
	const away = "move what is not needed out of /etc/cni/net.d, with the package that it belongs to"
	switch {
	case len(before) > 0:
		also := ""
		if len(behind) > 0 {
			also = "; behind it: " + list(behind)
		}
		return fail("another network's configuration comes before flannel's, and all pods of this host would be in it: %s%s", list(before), also).hinted(away)
	case len(behind) > 0:
		return warn("another network's configuration is there, and pods that start before the pod network is there get its addresses: %s", list(behind)).hinted(away)
	}
	return pass("none")
}

// unmanaged is what NetworkManager is to leave alone.
const unmanaged = "interface-name:cni*;interface-name:flannel*;interface-name:veth*"

func checkNetworkManager(v view) verdict {
	state := v.facts.Units[networkManager]
	switch devices := v.facts.Surroundings.UnmanagedLinks; {
	case v.unasked(networkManager) != "":
		return unknown("not known: systemd did not say whether %s is active", networkManager)
	case state != "active":
		return pass("%s is not active", networkManager)
	case v.cluster.Spec.CNI.Provider != inventory.CNIFlannel:
		return pass("%s is active; which links are the pod network's is for its own documents to say", networkManager)
	case strings.Contains(devices, "flannel") && strings.Contains(devices, "cni"):
		return pass("it leaves cni and flannel links alone")
	}
	return warn("%s is active, and may take addresses off cni0 and flannel.1", networkManager).
		hinted(`write /etc/NetworkManager/conf.d/hybridctl.conf with "[keyfile]" and "unmanaged-devices=` + unmanaged + `", then: systemctl reload NetworkManager`)
}
