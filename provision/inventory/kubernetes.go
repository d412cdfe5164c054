package inventory

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldestMinor is the first Kubernetes minor version whose kubeadm reads v1beta4 configuration, which hybridctl writes.
const oldestMinor = 31

// What hybridctl or kubeadm sets itself, with the field that decides it. A second voice would be ignored or break the cluster.
var (
	ownedAPIServerArgs = map[string]string{
		"advertise-address":        "hosts[].nodeIP decides it",
		"etcd-servers":             "kubeadm sets it",
		"secure-port":              "it is 6443",
		"service-cluster-ip-range": "spec.kubernetes.serviceCIDR decides it",
	}
	ownedControllerManagerArgs = map[string]string{
		"allocate-node-cidrs":      "kubeadm sets it, because there is a podCIDR",
		"cluster-cidr":             "spec.kubernetes.podCIDR decides it",
		"cluster-name":             "metadata.name decides it",
		"service-cluster-ip-range": "spec.kubernetes.serviceCIDR decides it",
	}
	ownedKubeletArgs = map[string]string{
		"bootstrap-kubeconfig":       "kubeadm sets it",
		"cgroup-driver":              "it is systemd, for the kubelet and for containerd",
		"cluster-dns":                "spec.kubernetes.serviceCIDR decides it",
		"cluster-domain":             "spec.kubernetes.dnsDomain decides it",
		"config":                     "kubeadm sets it; kubelet settings belong to spec.kubernetes.kubelet",
		"container-runtime-endpoint": "hybridctl installs containerd",
		"hostname-override":          "the host's name decides it",
		"kubeconfig":                 "kubeadm sets it",
		"node-ip":                    "the host's nodeIP decides it",
		"node-labels":                "the host's labels decide it",
		"register-with-taints":       "the host's taints decide it",
		"root-dir":                   "it is /var/lib/kubelet, which remove and destroy clear; mount a disk there",
	}
	ownedKubelet = map[string]string{
		"apiVersion":               "hybridctl writes it",
		"kind":                     "hybridctl writes it",
		"cgroupDriver":             "it is systemd, for the kubelet and for containerd",
		"clusterDNS":               "spec.kubernetes.serviceCIDR decides it",
		"clusterDomain":            "spec.kubernetes.dnsDomain decides it",
		"containerRuntimeEndpoint": "hybridctl installs containerd",
		"podCIDR":                  "spec.kubernetes.podCIDR decides it",
		"registerWithTaints":       "hosts[].taints decide it",
		"staticPodPath":            "kubeadm sets it",
	}
	ownedKubeProxy = map[string]string{
		"apiVersion":       "hybridctl writes it",
		"kind":             "hybridctl writes it",
		"clientConnection": "kubeadm sets it",
		"clusterCIDR":      "spec.kubernetes.podCIDR decides it",
		"hostnameOverride": "the host's name decides it",
	}
)

func (v *validator) kubernetes() {
	k := v.c.Spec.Kubernetes
	v.version(k.Version)
	v.oneOf("spec.kubernetes.encryptionAlgorithm", k.EncryptionAlgorithm, "", encryptionAlgorithms...)

	v.component("spec.kubernetes.apiServer", k.APIServer, ownedAPIServerArgs)
	v.component("spec.kubernetes.controllerManager", k.ControllerManager, ownedControllerManagerArgs)
	v.component("spec.kubernetes.scheduler", k.Scheduler, nil)
	v.component("spec.kubernetes.etcd", k.Etcd, nil)
	if len(k.Etcd.ExtraVolumes) > 0 {
		v.fail("spec.kubernetes.etcd.extraVolumes", "a patch can give it some: spec.kubernetes.patches", "cannot be set here: kubeadm mounts nothing more for etcd")
	}
	v.files()
	if asked, given := k.Kubelet["serverTLSBootstrap"].(bool); given && !asked && k.ServerTLSBootstrap {
		v.fail("spec.kubernetes.kubelet.serverTLSBootstrap", "take it out", "says the opposite of spec.kubernetes.serverTLSBootstrap")
	}
	v.fragment("spec.kubernetes.kubelet", k.Kubelet, ownedKubelet)
	v.fragment("spec.kubernetes.kubeProxy", k.KubeProxy, ownedKubeProxy)
	if k.Patches != "" {
		v.exists("spec.kubernetes.patches", k.Patches, true)
	}
}

var (
	withoutV    = regexp.MustCompile(`^V?([0-9]+\.[0-9]+\.[0-9]+.*)$`)
	withoutLast = regexp.MustCompile(`^[vV]?([0-9]+\.[0-9]+)$`)
)

func (v *validator) version(version string) {
	const path = "spec.kubernetes.version"
	if version == "" {
		return
	}
	if !versionRule.ok(version) {
		hint := "for instance v1.36.3"
		if m := withoutV.FindStringSubmatch(version); m != nil && versionRule.ok("v"+m[1]) {
			hint = "write v" + m[1]
		} else if m := withoutLast.FindStringSubmatch(version); m != nil {
			hint = "name the patch release too, for instance v" + m[1] + ".3"
		}
		v.fail(path, hint, "%q is not a Kubernetes version", version)
		return
	}
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	switch {
	case err != nil || err2 != nil || major > 1:
		v.fail(path, "hybridctl knows Kubernetes v1 alone", "%s is not supported", version)
	case major < 1 || minor < oldestMinor:
		v.fail(path, fmt.Sprintf("v1.%d.0 is the oldest that is", oldestMinor), "%s is not supported", version)
	}
}

func (v *validator) component(path string, c Component, owned map[string]string) {
	v.args(field(path, "extraArgs"), c.ExtraArgs, owned)
	for i, env := range c.ExtraEnvs {
		if p := field(item(field(path, "extraEnvs"), i), "name"); !envRule.ok(env.Name) {
			v.fail(p, "letters, digits and _, not beginning with a digit", "%q is not the name of an environment variable", env.Name)
		}
	}
	v.volumes(field(path, "extraVolumes"), c.ExtraVolumes)
}

func (v *validator) args(path string, args []NameValue, owned map[string]string) {
	for i, arg := range args {
		p := field(item(path, i), "name")
		name, value, hasValue := strings.Cut(arg.Name, "=")
		bare := strings.TrimLeft(name, "-")
		switch {
		case hasValue && argRule.ok(bare):
			v.fail(p, fmt.Sprintf("write {name: %s, value: %q}", bare, value), "%q holds a value too", arg.Name)
		case bare != name && argRule.ok(bare):
			v.fail(p, "write "+bare, "%q begins with dashes", arg.Name)
		case !argRule.ok(arg.Name):
			v.fail(p, "a flag's name without its dashes", "%q is not the name of an argument", arg.Name)
		case owned[arg.Name] != "":
			v.fail(p, "", "%s cannot be set here: %s", arg.Name, owned[arg.Name])
		}
	}
}

// fragment checks a piece of a component's configuration for what is not the user's to set. Its other fields are the
// component's business.
func (v *validator) fragment(path string, fragment map[string]any, owned map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(fragment)) {
		if why := owned[name]; why != "" {
			v.fail(field(path, name), "take it out", "cannot be set here: %s", why)
		}
	}
}
