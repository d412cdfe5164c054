// Package adopt is a running cluster, which kubeadm made, as an inventory. It reads the API server and writes nothing.
package adopt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/preflight"
)

// API is what is asked of the API server; *kube.Client is it.
type API interface {
	ClusterConfiguration(ctx context.Context) (kube.ClusterConfiguration, error)
	Version(ctx context.Context) (string, error)
	Nodes(ctx context.Context) ([]kube.Node, error)
	PodTemplates(ctx context.Context) ([]kube.PodTemplate, error)
}

// ErrUnfit: hybridctl cannot work with the cluster, or keep it there. The error says why.
var ErrUnfit = errors.New("the cluster cannot be adopted")

// Wanted is what the inventory is to say that the cluster does not.
type Wanted struct {
	Name      string // of the cluster; "" = its own
	SSH       inventory.SSH
	Bundle    string // the bundle that is to be used, which need not be there; as the inventory names it; "" = none
	BundleDir string // the same, as this process finds it

	// Versions are those of Kubernetes that are fetched without a bundle, the newest first.
	Versions []string
}

// Adoption is a running cluster as an inventory.
type Adoption struct {
	Cluster inventory.Cluster // name, CIDRs, endpoint, and hosts that are not managed
	Found   []string          // what was found, a sentence each: for people
	Notes   []string          // what stands against adding hosts, or has to be known before

	Kubeconfig []byte // a secret
	KnownHosts []byte // what was learnt of the keys of hosts, as known_hosts has it

	through through
}

// through is the control plane over which the cluster was reached; zero = none.
type through struct{ address, machineID string }

// AdminConf reads the kubeconfig of the control plane that was named, its only host, and notes which machine it is.
func (a *Adoption) AdminConf(ctx context.Context, f *fleet.Fleet) error {
	h := f.Cluster.Bootstrap()
	defer f.Waiting(h.Name + ", whose kubeconfig is read")()
	r, err := f.Connect(ctx, h)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	c := host.New(r)
	if a.Kubeconfig, err = c.ReadFile(ctx, host.AdminConf); err != nil {
		return fmt.Errorf("%s is no control plane that kubeadm made, or its kubeconfig may not be read: %w", h.Name, err)
	}
	id, err := c.ReadFile(ctx, "/etc/machine-id")
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	a.through = through{h.Address, strings.TrimSpace(string(id))}
	return nil
}

// Flatten says how a kubeconfig becomes one that can be used on its own.
func Flatten(err error) error {
	if errors.Is(err, kube.ErrKubeconfig) {
		return hint.With(err, `"kubectl config view --raw --flatten --minify" prints one that stands on its own`)
	}
	return err
}

// Read asks the API server what the cluster is. Errors: ErrUnfit, kube.ErrNotKubeadm, or others for the user.
func (a *Adoption) Read(ctx context.Context, c API, as Wanted) error {
	config, err := c.ClusterConfiguration(ctx)
	if err != nil {
		return err
	}
	version, err := c.Version(ctx)
	if err != nil {
		return err
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	templates, err := c.PodTemplates(ctx)
	if err != nil {
		return err
	}
	if strings.Contains(config.PodCIDR+config.ServiceCIDR, ",") {
		return fmt.Errorf("%w: the cluster has addresses of both families (pods %s, services %s), which hybridctl does not support yet", ErrUnfit, config.PodCIDR, config.ServiceCIDR)
	}
	name := as.Name
	if name == "" {
		name = config.ClusterName
	}
	a.Cluster = inventory.Cluster{APIVersion: inventory.APIVersion, Kind: inventory.Kind, Metadata: inventory.Metadata{Name: name}}
	spec := &a.Cluster.Spec
	spec.Bundle = as.Bundle
	spec.Kubernetes = inventory.Kubernetes{Version: version, Endpoint: config.Endpoint, PodCIDR: config.PodCIDR, ServiceCIDR: config.ServiceCIDR, DNSDomain: config.DNSDomain}
	spec.CNI = inventory.CNI{Provider: inventory.CNINone}
	spec.SSH = loginOf(as.SSH)
	for _, n := range nodes {
		spec.Hosts = append(spec.Hosts, a.adoptedHost(n))
		a.Found = append(a.Found, fmt.Sprintf("node %s: Kubernetes %s, %s, %s", n.Name, n.KubeletVersion, n.Runtime, n.Arch))
		a.judgeNode(n)
	}
	if a.Cluster.Bootstrap().Name == "" {
		return fmt.Errorf("%w: none of the %d nodes is a control plane (label %s): someone else runs its control plane, and hosts cannot be joined with kubeadm", ErrUnfit, len(nodes), kube.ControlPlaneKey)
	}
	a.Found = append(a.Found, podNetwork(templates))
	a.judge(config)
	if as.Bundle == "" {
		a.chooseVersion(version, as.Versions)
	} else {
		a.judgeBundle(version, as.BundleDir)
	}
	return nil
}

// loginOf is how hosts are reached, without what every inventory has by default.
func loginOf(s inventory.SSH) inventory.SSH {
	return inventory.SSH{User: s.User, Port: s.Port, IdentityFiles: s.IdentityFiles, Jump: s.Jump}
}

// adoptedHost is a node as a host. The one through which the cluster was reached keeps the address that worked.
func (a *Adoption) adoptedHost(n kube.Node) inventory.Host {
	no := false
	h := inventory.Host{Name: n.Name, Address: n.Name, Role: inventory.Worker, Managed: &no}
	for _, address := range n.InternalIPs {
		if ip, err := netip.ParseAddr(address); err == nil && ip.Is4() {
			h.Address = address
			break
		}
	}
	if w := a.through; w.machineID != "" && w.machineID == n.MachineID && w.address != h.Address {
		h.Address, h.NodeIP = w.address, h.Address
	}
	if arch, err := platform.Parse(n.Arch); err == nil {
		h.Arch = arch
	}
	if n.ControlPlane {
		h.Role = inventory.ControlPlane
	}
	return h
}

func (a *Adoption) judgeNode(n kube.Node) {
	if _, err := platform.Parse(n.Arch); err != nil {
		a.Notes = append(a.Notes, fmt.Sprintf("%s has the architecture %s, which hybridctl does not know; it is left alone", n.Name, n.Arch))
	}
	if !n.Ready {
		a.Notes = append(a.Notes, fmt.Sprintf("%s is not Ready", n.Name))
	}
}

// podNetworks are DaemonSets by which pod networks are known.
var podNetworks = []struct{ daemon, name string }{
	{"flannel", "flannel"}, {"canal", "Canal"}, {"calico", "Calico"}, {"cilium", "Cilium"}, {"weave", "Weave Net"}, {"kube-router", "kube-router"},
	{"antrea", "Antrea"}, {"kube-ovn", "Kube-OVN"}, {"ovnkube", "OVN-Kubernetes"}, {"kindnet", "kindnet"},
}

func podNetwork(templates []kube.PodTemplate) string {
	for _, known := range podNetworks {
		for _, t := range templates {
			if t.Daemon && strings.Contains(t.Name, known.daemon) {
				return fmt.Sprintf("pod network: %s (DaemonSet %s/%s); it is left alone", known.name, t.Namespace, t.Name)
			}
		}
	}
	return "pod network: none that hybridctl knows; whatever there is, is left alone"
}

// judge says what stands against adding hosts.
func (a *Adoption) judge(config kube.ClusterConfiguration) {
	if !config.Shared {
		a.Notes = append(a.Notes, fmt.Sprintf("the cluster has no endpoint of its own (controlPlaneEndpoint): workers can be added, which find it at %s; control planes cannot", config.Endpoint))
	}
	if config.ExternalEtcd {
		a.Notes = append(a.Notes, "etcd runs outside the cluster: workers can be added; control planes are for kubeadm by hand")
	}
	if config.ResolvConf != "" {
		a.Notes = append(a.Notes, fmt.Sprintf("the kubelet of every new host is given the name servers of %s (ConfigMap kube-system/kubelet-config): where that is not there, write kubeletExtraArgs: [{name: resolv-conf, value: /etc/resolv.conf}] at the host", config.ResolvConf))
	}
}

// chooseVersion settles which Kubernetes new hosts run when there is no bundle: the cluster's, else the newest that can be fetched and may join.
func (a *Adoption) chooseVersion(version string, fetched []string) {
	if slices.Contains(fetched, version) {
		return
	}
	for _, v := range fetched {
		if preflight.SkewAllowed(version, v) {
			a.Cluster.Spec.Kubernetes.Version = v
			a.Notes = append(a.Notes, fmt.Sprintf("new hosts will run Kubernetes %s, as hybridctl's catalogue does not have %s, which the API server runs: %s", v, version, preflight.SkewPolicy()))
			return
		}
	}
	a.Notes = append(a.Notes, fmt.Sprintf("no host can join with a Kubernetes of hybridctl's catalogue (%s), as the API server runs %s: %s; make a bundle of %s and name it as spec.bundle before hosts are added",
		strings.Join(fetched, ", "), version, preflight.SkewPolicy(), version))
}

// judgeBundle says whether new hosts can join with what the bundle has.
func (a *Adoption) judgeBundle(version, dir string) {
	b, err := bundle.Open(dir)
	if err != nil {
		a.Notes = append(a.Notes, fmt.Sprintf("the bundle %s cannot be used yet (%v): make one of Kubernetes %s before hosts are added; %s", a.Cluster.Spec.Bundle, err, version, preflight.SkewPolicy()))
		return
	}
	has := b.Manifest.KubernetesVersion
	switch {
	case has == version:
	case preflight.SkewAllowed(version, has):
		a.Cluster.Spec.Kubernetes.Version = has
		a.Notes = append(a.Notes, fmt.Sprintf("new hosts will run Kubernetes %s of the bundle, the API server runs %s: %s", has, version, preflight.SkewPolicy()))
	default:
		a.Notes = append(a.Notes, fmt.Sprintf("the bundle %s is of Kubernetes %s, the API server runs %s, and no host can join with it: %s; make a bundle of %s", a.Cluster.Spec.Bundle, has, version, preflight.SkewPolicy(), version))
	}
}

// ControlPlaneAt is the cluster of which nothing is known but how one of its control planes is reached: [user@]address[:port].
func ControlPlaneAt(where string, ssh inventory.SSH) (*inventory.Cluster, error) {
	user, rest, hasUser := strings.Cut(where, "@")
	if !hasUser {
		user, rest = "", where
	}
	no := false
	h := inventory.Host{Name: rest, Address: rest, Role: inventory.ControlPlane, Managed: &no}
	if address, port, err := net.SplitHostPort(rest); err == nil {
		n, err := net.LookupPort("tcp", port)
		if err != nil {
			return nil, fmt.Errorf("%q: %q is no port", where, port)
		}
		h.Name, h.Address, ssh.Port = address, address, n
	}
	if h.Address == "" || hasUser && user == "" {
		return nil, hint.With(fmt.Errorf("%q is no address of a host", where), "write [USER@]ADDRESS[:PORT]")
	}
	if user != "" {
		ssh.User = user
	}
	c := &inventory.Cluster{Spec: inventory.Spec{SSH: ssh, Hosts: []inventory.Host{h}}}
	inventory.Default(c)
	return c, nil
}
