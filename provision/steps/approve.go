package steps

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
)

// ServingAddresses are those for which a host's kubelet may have a serving certificate: its nodeIP, which is all that a kubelet asks for that is
// given one. Without it, what the inventory says of the host, and what the host has itself. Who has a host can give it any address, and the API
// server's certificate is of the same authority: addresses of others, of services and of pods are none of its own.
func ServingAddresses(c *inventory.Cluster, f facts.Host, name string) (out []string) {
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

// ServingAPI is what ApproveServing asks of the API server; *kube.Client is it.
type ServingAPI interface {
	ServingRequests(ctx context.Context) ([]kube.ServingRequest, error)
	ApproveServing(ctx context.Context, r kube.ServingRequest) error
}

// ApproveServing approves the serving certificates that kubelets of the inventory's hosts ask for, as they do again before one ends; only where
// the inventory says that kubelets ask. The notes tell what was approved, and which requests it leaves to others. An error is the API server's.
func ApproveServing(ctx context.Context, api ServingAPI, c *inventory.Cluster, hosts map[string]facts.Host) (notes []string, err error) {
	if !c.Spec.Kubernetes.ServerTLSBootstrap {
		return nil, nil
	}
	requests, err := api.ServingRequests(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range requests {
		if q.Decided {
			continue
		}
		if why := mayServe(c, hosts, q); why != nil {
			notes = append(notes, fmt.Sprintf("the request %s for a serving certificate is not approved: %v; \"kubectl certificate approve %[1]s\" does so anyway", q.Name, why))
			continue
		}
		switch err := api.ApproveServing(ctx, q); {
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
func mayServe(c *inventory.Cluster, hosts map[string]facts.Host, q kube.ServingRequest) error {
	if h, ok := c.Host(q.Node); !ok || !h.IsManaged() {
		return errors.New("it comes from no host that the inventory has hybridctl make a node of")
	}
	return q.Fits(q.Node, ServingAddresses(c, hosts[q.Node], q.Node))
}
