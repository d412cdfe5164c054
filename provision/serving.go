package provision

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// servingAddresses are those for which a host's kubelet may have a serving certificate: its nodeIP, which is all that a kubelet asks for that is
// given one. Without it, what the inventory says of the host, and what the host has itself. Who has a host can give it any address, and the API
// server's certificate is of the same authority: addresses of others, of services and of pods are none of its own.
func servingAddresses(c *inventory.Cluster, f facts.Host, name string) (out []string) {
	h, _ := c.Host(name)
	if h.NodeIP != "" {
		return []string{h.NodeIP}
	}
	for _, text := range append([]string{h.Address}, f.Addresses...) {
		if a, err := netip.ParseAddr(text); err == nil && !ofOthers(c, name, a.Unmap()) {
			out = append(out, text)
		}
	}
	return out
}

// ofOthers reports whether an address is known to be of something else than the host: another host, the API server, a service or a pod.
func ofOthers(c *inventory.Cluster, name string, a netip.Addr) bool {
	k := c.Spec.Kubernetes
	for _, text := range []string{k.PodCIDR, k.ServiceCIDR} {
		if p, err := netip.ParsePrefix(text); err == nil && p.Contains(a) {
			return true
		}
	}
	endpoint, _, _ := net.SplitHostPort(k.Endpoint)
	others := []string{endpoint}
	for _, h := range c.Spec.Hosts {
		if h.Name != name {
			others = append(others, h.Address, h.NodeIP)
		}
	}
	return slices.ContainsFunc(others, func(text string) bool {
		b, err := netip.ParseAddr(text)
		return err == nil && b.Unmap() == a
	})
}

// approveServing approves the serving certificates that kubelets of the inventory's hosts ask for, as they do again before one ends. The notes
// tell what was approved, and which requests it leaves to others.
func (r *run) approveServing(seen survey.Seen) (notes []string, err error) {
	if !r.Cluster.Spec.Kubernetes.ServerTLSBootstrap {
		return nil, nil
	}
	requests, err := r.api.ServingRequests(r.reading)
	if err != nil {
		return nil, err
	}
	for _, q := range requests {
		if q.Decided {
			continue
		}
		if why := r.mayServe(seen, q); why != nil {
			notes = append(notes, fmt.Sprintf("the request %s for a serving certificate is not approved: %v; \"kubectl certificate approve %[1]s\" does so all the same", q.Name, why))
			continue
		}
		switch err := r.api.ApproveServing(r.reading, q); {
		case errors.Is(err, kube.ErrConflict), errors.Is(err, kube.ErrNotFound):
			notes = append(notes, fmt.Sprintf("the request %s for a serving certificate is not approved: another has changed or deleted it meanwhile; the next up looks again", q.Name))
		case err != nil:
			return notes, err
		default:
			notes = append(notes, fmt.Sprintf("the serving certificate that the kubelet of %s asked for is approved", q.Node))
		}
	}
	return notes, nil
}

// mayServe says why a request must not be approved.
func (r *run) mayServe(seen survey.Seen, q kube.ServingRequest) error {
	if h, ok := r.Cluster.Host(q.Node); !ok || !h.IsManaged() {
		return fmt.Errorf("it comes from no host that the inventory has hybridctl make a node of")
	}
	return q.Fits(q.Node, servingAddresses(r.Cluster, seen.Hosts[q.Node], q.Node))
}
