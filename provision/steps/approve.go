package steps

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
)

// Owners is what is known of whose an address is. Who has a host can give it any address, and the API server's certificate is of the same
// authority as those that kubelets serve with.
type Owners struct {
	Cluster *inventory.Cluster
	Hosts   map[string]facts.Host // what hosts say of themselves
	Nodes   []kube.Node
	Lookup  func(ctx context.Context, host string) ([]string, error) // finds the addresses of a name; nil = as this machine does

	once     sync.Once
	endpoint []string
}

// Of are the addresses for which a host's kubelet may have a serving certificate: its nodeIP, which is all that a kubelet asks for that is given
// one. Without it, what the inventory says of the host, and what the host has itself and no one else: addresses of others, of services and of
// pods are none of its own.
func (o *Owners) Of(name string) (out []string) {
	h, _ := o.Cluster.Host(name)
	if h.NodeIP != "" {
		return []string{h.NodeIP}
	}
	others := o.others(h)
	for _, text := range append([]string{h.Address}, o.Hosts[name].Addresses...) {
		if a, ok := address(text); ok && !others[a] && !o.inside(a) {
			out = append(out, text)
		}
	}
	return out
}

// inside reports whether an address is a service's or a pod's.
func (o *Owners) inside(a netip.Addr) bool {
	k := o.Cluster.Spec.Kubernetes
	return slices.ContainsFunc([]string{k.PodCIDR, k.ServiceCIDR}, func(text string) bool {
		p, err := netip.ParsePrefix(text)
		return err == nil && p.Contains(a)
	})
}

// others are the addresses that are known to be of something else than the host: of the API server or another host, by the inventory, by what
// that host says, or by its node. A worker's word counts against other workers alone: it must not keep a control plane from a certificate, and
// a control plane, which has the authority's key, gains nothing by taking an address.
func (o *Owners) others(h inventory.Host) map[netip.Addr]bool {
	var texts []string
	plane := h.Role == inventory.ControlPlane
	if !plane {
		texts = append(texts, o.endpointAddresses()...)
	}
	for _, other := range o.Cluster.Spec.Hosts {
		if other.Name == h.Name {
			continue
		}
		texts = append(texts, other.Address, other.NodeIP)
		if !plane || other.Role == inventory.ControlPlane {
			texts = append(texts, o.Hosts[other.Name].Addresses...)
		}
	}
	for _, n := range o.Nodes {
		if n.Name != h.Name && (!plane || n.ControlPlane) {
			texts = append(texts, n.InternalIPs...)
		}
	}
	of := map[netip.Addr]bool{}
	for _, text := range texts {
		if a, ok := address(text); ok {
			of[a] = true
		}
	}
	return of
}

// lookupPatience is how long a name may take to be found.
const lookupPatience = 5 * time.Second

// endpointAddresses are the API server's. Those of a name that is not found from here are not known.
func (o *Owners) endpointAddresses() []string {
	o.once.Do(func() {
		host, _, err := net.SplitHostPort(o.Cluster.Spec.Kubernetes.Endpoint)
		if err != nil {
			return
		}
		o.endpoint = []string{host}
		if _, literal := address(host); literal {
			return
		}
		lookup := o.Lookup
		if lookup == nil {
			lookup = net.DefaultResolver.LookupHost
		}
		ctx, cancel := context.WithTimeout(context.Background(), lookupPatience)
		defer cancel()
		if found, err := lookup(ctx, host); err == nil {
			o.endpoint = found
		}
	})
	return o.endpoint
}

func address(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a.Unmap().WithZone(""), err == nil
}

// ServingAPI is what ApproveServing asks of the API server; *kube.Client is it.
type ServingAPI interface {
	ServingRequests(ctx context.Context) ([]kube.ServingRequest, error)
	ApproveServing(ctx context.Context, r kube.ServingRequest) error
}

// ApproveServing approves the serving certificates that kubelets of the inventory's hosts ask for, as they do again before one ends; only where
// the inventory says that kubelets ask. The notes tell what was approved, and which requests it leaves to others. An error is the API server's.
func ApproveServing(ctx context.Context, api ServingAPI, o *Owners) (notes []string, err error) {
	if !o.Cluster.Spec.Kubernetes.ServerTLSBootstrap {
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
		if why := mayServe(o, q); why != nil {
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
func mayServe(o *Owners, q kube.ServingRequest) error {
	if h, ok := o.Cluster.Host(q.Node); !ok || !h.IsManaged() {
		return errors.New("it comes from no host that the inventory has hybridctl make a node of")
	}
	return q.Fits(q.Node, o.Of(q.Node))
}
