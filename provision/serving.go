package provision

import (
	"fmt"
	"net/netip"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// servingAddresses are those for which a host's kubelet may have a serving certificate: what the inventory says of it, and what the host has
// itself, but for addresses of pods.
func servingAddresses(c *inventory.Cluster, f facts.Host, name string) []string {
	h, _ := c.Host(name)
	out := []string{h.NodeIP, h.Address}
	pods, err := netip.ParsePrefix(c.Spec.Kubernetes.PodCIDR)
	for _, text := range f.Addresses {
		if a, bad := netip.ParseAddr(text); bad == nil && (err != nil || !pods.Contains(a)) {
			out = append(out, text)
		}
	}
	return out
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
		if err := r.api.ApproveServing(r.reading, q); err != nil {
			return notes, err
		}
		notes = append(notes, fmt.Sprintf("the serving certificate that the kubelet of %s asked for is approved", q.Node))
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
