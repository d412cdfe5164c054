package inventory

import (
	"net"
	"net/netip"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// The defaults of fields that are not in the file.
const (
	DefaultPodCIDR     = "10.244.0.0/16" // what flannel's own manifest says
	DefaultServiceCIDR = "10.96.0.0/12"  // kubeadm's
	DefaultDNSDomain   = "cluster.local"
	DefaultAPIPort     = "6443"
)

// Default fills in what the user left out. It looks at nothing but the Cluster and gives the same result every time; user, port
// and host keys of SSH stay empty, because ~/.ssh/config has a say in them.
func Default(c *Cluster) {
	k := &c.Spec.Kubernetes
	setDefault(&k.PodCIDR, DefaultPodCIDR)
	setDefault(&k.ServiceCIDR, DefaultServiceCIDR)
	setDefault(&k.DNSDomain, DefaultDNSDomain)
	setDefault(&c.Spec.CNI.Provider, CNIFlannel)
	setDefault(&c.Spec.Images, ImagesSent)

	ssh := &c.Spec.SSH
	setDefault(&ssh.ConnectTimeout, seconds(15))
	setDefault(&ssh.CommandTimeout, seconds(2*60))
	setDefault(&ssh.KeepAlive, seconds(15))
	setDefault(&c.Spec.Timeouts.Step, seconds(15*60))
	setDefault(&c.Spec.Timeouts.Ready, seconds(10*60))

	defaultStorage(&c.Spec.Storage)
	defaultHosts(c.Spec.Hosts)
	// With several control-plane hosts no single address is the right one; validation asks for it.
	if planes := controlPlanes(c); len(planes) == 1 && planes[0].Address != "" {
		setDefault(&k.Endpoint, net.JoinHostPort(planes[0].Address, DefaultAPIPort))
	}
}

func defaultHosts(hosts []Host) {
	sharing := map[string]int{}
	for _, h := range hosts {
		sharing[h.Address]++
	}
	for i := range hosts {
		h := &hosts[i]
		setDefault(&h.Role, Worker)
		if arch, err := platform.Parse(string(h.Arch)); err == nil {
			h.Arch = arch
		}
		// Hosts that share an address differ by port, so the address is a gateway's and not theirs.
		if ip, err := netip.ParseAddr(h.Address); err == nil && ip.Is4() && !ip.IsUnspecified() && sharing[h.Address] == 1 {
			setDefault(&h.NodeIP, h.Address)
		}
	}
}

func controlPlanes(c *Cluster) []Host {
	var planes []Host
	for _, h := range c.Spec.Hosts {
		if h.Role == ControlPlane {
			planes = append(planes, h)
		}
	}
	return planes
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
