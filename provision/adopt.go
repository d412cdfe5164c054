package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/stack"
)

// AdoptOptions are Adopt's own. Options.Cluster names how SSH is spoken, and holds the control plane to connect to as its only host; without
// a host, Kubeconfig has to be given.
type AdoptOptions struct {
	Options
	Kubeconfig []byte // an administrator's; nil = the control plane's own is read over SSH
	Bundle     string // directory of the bundle that is to be used, which need not be there; as the inventory names it
	BundleDir  string // the same, as this process finds it
}

// Adoption is a running cluster as an inventory.
type Adoption struct {
	Cluster inventory.Cluster // name, CIDRs, endpoint, and hosts that are not managed
	Found   []string          // what was found, a sentence each: for people
	Notes   []string          // what stands against adding hosts, or has to be known before

	Kubeconfig []byte // a secret
	KnownHosts []byte // what was learnt of the keys of hosts, as known_hosts has it

	through way
}

// way is the control plane through which the cluster was reached; zero = none.
type way struct{ address, machineID string }

// Adopt looks at a running cluster that kubeadm made and writes nothing anywhere.
// Errors: kube.ErrNotKubeadm and ErrRefused when hybridctl cannot work with the cluster; others for the user.
func Adopt(ctx context.Context, o AdoptOptions) (Adoption, error) {
	scratch, err := os.MkdirTemp("", "hybridctl-adopt-")
	if err != nil {
		return Adoption{}, err
	}
	defer os.RemoveAll(scratch)
	o.StateDir = scratch // the cluster's own is known when its name is
	o.Options = o.withDefaults()
	s, err := open(o.Options)
	if err != nil {
		return Adoption{}, err
	}
	defer s.close()
	ctx, cancel := o.stoppable(ctx)
	defer cancel()

	a := Adoption{Kubeconfig: o.Kubeconfig}
	if a.Kubeconfig == nil {
		if a.Kubeconfig, a.through, err = s.readAdminConf(ctx); err != nil {
			return a, err
		}
	}
	if s.api, err = s.newAPI(a.Kubeconfig, s.kubeOptions()); err != nil {
		return a, flatten(err)
	}
	if err := a.read(ctx, s.api, o); err != nil {
		return a, err
	}
	if a.KnownHosts, err = os.ReadFile(filepath.Join(scratch, knownHostsFile)); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return a, err
}

// readAdminConf reads the kubeconfig of the control plane that was named, and which machine it is.
func (s *session) readAdminConf(ctx context.Context) ([]byte, way, error) {
	h := s.Cluster.Bootstrap()
	c, err := s.way(ctx, h)
	if err != nil {
		return nil, way{}, fmt.Errorf("%s: %w", h.Name, err)
	}
	b, err := c.ReadFile(ctx, host.AdminConf)
	if err != nil {
		return nil, way{}, fmt.Errorf("%s is no control plane that kubeadm made, or its kubeconfig may not be read: %w", h.Name, err)
	}
	id, err := c.ReadFile(ctx, "/etc/machine-id")
	if err != nil {
		return nil, way{}, fmt.Errorf("%s: %w", h.Name, err)
	}
	return b, way{h.Address, strings.TrimSpace(string(id))}, nil
}

// flatten tells how a kubeconfig becomes one that can be used on its own.
func flatten(err error) error {
	if errors.Is(err, kube.ErrKubeconfig) {
		return fmt.Errorf("%w; \"kubectl config view --raw --flatten --minify\" prints one that stands on its own", err)
	}
	return err
}

// read asks the API server what the cluster is.
func (a *Adoption) read(ctx context.Context, c api, o AdoptOptions) error {
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
		return fmt.Errorf("%w: the cluster has addresses of both families (pods %s, services %s), which hybridctl does not support yet", ErrRefused, config.PodCIDR, config.ServiceCIDR)
	}
	name := o.Cluster.Metadata.Name
	if name == "" {
		name = config.ClusterName
	}
	a.Cluster = inventory.Cluster{APIVersion: inventory.APIVersion, Kind: inventory.Kind, Metadata: inventory.Metadata{Name: name}}
	spec := &a.Cluster.Spec
	spec.Bundle = o.Bundle
	spec.Kubernetes = inventory.Kubernetes{Version: version, Endpoint: config.Endpoint, PodCIDR: config.PodCIDR, ServiceCIDR: config.ServiceCIDR, DNSDomain: config.DNSDomain}
	spec.CNI = inventory.CNI{Provider: inventory.CNINone}
	spec.SSH = loginOf(o.Cluster.Spec.SSH)
	for _, n := range nodes {
		spec.Hosts = append(spec.Hosts, a.adoptedHost(n))
		a.Found = append(a.Found, fmt.Sprintf("node %s: Kubernetes %s, %s, %s", n.Name, n.KubeletVersion, n.Runtime, n.Arch))
		a.judgeNode(n)
	}
	if a.Cluster.Bootstrap().Name == "" {
		return fmt.Errorf("%w: none of the %d nodes is a control plane (label %s): its control plane is somebody else's, and hosts cannot be joined with kubeadm", ErrRefused, len(nodes), kube.ControlPlaneKey)
	}
	a.Found = append(a.Found, podNetwork(templates))
	a.judge(config, version, o.BundleDir)
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
func (a *Adoption) judge(config kube.ClusterConfiguration, version, dir string) {
	if !config.Shared {
		a.Notes = append(a.Notes, fmt.Sprintf("the cluster has no endpoint of its own (controlPlaneEndpoint): workers can be added, which find it at %s; control planes cannot", config.Endpoint))
	}
	if config.ExternalEtcd {
		a.Notes = append(a.Notes, "etcd runs outside the cluster: workers can be added; control planes are for kubeadm by hand")
	}
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

// Keep puts the cluster's kubeconfig, and the key of the host that was asked, into its state directory. ErrRefused: that is another cluster's.
func (a Adoption) Keep(dir string) error {
	named, err := kube.RenameContext(a.Kubeconfig, a.Cluster.Metadata.Name)
	if err != nil {
		return err
	}
	store, err := stack.OpenStore(dir)
	if err != nil {
		return err
	}
	defer store.Close()
	path := filepath.Join(dir, kubeconfigFile)
	if old, err := os.ReadFile(path); err == nil && !sameCluster(old, named) {
		return fmt.Errorf("%w: %s is of another cluster of the same name: choose a name, or another state directory", ErrRefused, path)
	}
	if err := kube.WriteKubeconfig(path, named); err != nil {
		return err
	}
	return addLines(filepath.Join(dir, knownHostsFile), a.KnownHosts)
}

func sameCluster(a, b []byte) bool {
	x, errX := kube.CAHashes(a)
	y, errY := kube.CAHashes(b)
	return errX == nil && errY == nil && slices.Equal(x, y)
}

// addLines adds the lines that a file does not have yet.
func addLines(path string, lines []byte) error {
	there, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var missing []byte
	for line := range bytes.Lines(lines) {
		if !bytes.Contains(there, line) {
			missing = append(missing, line...)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(missing)
	return errors.Join(err, f.Close())
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
		return nil, fmt.Errorf("%q: write [USER@]ADDRESS[:PORT]", where)
	}
	if user != "" {
		ssh.User = user
	}
	c := &inventory.Cluster{Spec: inventory.Spec{SSH: ssh, Hosts: []inventory.Host{h}}}
	inventory.Default(c)
	return c, nil
}
