package steps

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
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
	endpoint []string // addresses of the API server
	unfound  string   // why they are not known
}

// May says why a request of a kubelet must not be approved; nil = it is for nothing but what is the node's alone.
func (o *Owners) May(q kube.ServingRequest) error {
	h, ok := o.Cluster.Host(q.Node)
	switch {
	case !ok || !h.IsManaged():
		return errors.New("it comes from no host that the inventory has hybridctl make a node of")
	case h.Role != inventory.ControlPlane && o.namesAnother(h):
		return fmt.Errorf("%s is a name of something else than the node too", h.Name)
	}
	err := q.Fits(h.Name, o.Of(h.Name))
	if unsure := o.unsure(h); err != nil && h.NodeIP == "" && unsure != "" {
		return fmt.Errorf("%w: %s; nodeIP in the inventory says what is %[3]s's", err, unsure, h.Name)
	}
	return err
}

// Of are the addresses for which a host's kubelet may have a serving certificate: its nodeIP, which is all that a kubelet asks for that is given
// one. Without it, what the inventory says of the host, and what the host has itself and no one else: addresses of others, of services and of
// pods are none of its own. Where it is not known what others have, the host's word is not enough.
func (o *Owners) Of(name string) (out []string) {
	h, _ := o.Cluster.Host(name)
	if h.NodeIP != "" {
		return []string{h.NodeIP}
	}
	others, texts := o.others(h), []string{h.Address}
	if o.unsure(h) == "" {
		texts = append(texts, o.Hosts[name].Addresses...)
	}
	for _, text := range texts {
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
		addresses, _ := o.endpointAddresses()
		texts = append(texts, addresses...)
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

// endpointAddresses are the API server's. unfound says why they are not known: its name is not found from here.
func (o *Owners) endpointAddresses() (addresses []string, unfound string) {
	o.once.Do(func() {
		host := o.endpointHost()
		o.endpoint = []string{host}
		own := func(h inventory.Host) bool { return h.Address == host || h.NodeIP == host }
		if _, literal := address(host); literal || host == "" || slices.ContainsFunc(o.Cluster.ControlPlanes(), own) {
			return // that of a control plane is known as the control plane's
		}
		lookup := o.Lookup
		if lookup == nil {
			lookup = net.DefaultResolver.LookupHost
		}
		ctx, cancel := context.WithTimeout(context.Background(), lookupPatience)
		defer cancel()
		var err error
		if o.endpoint, err = lookup(ctx, host); err != nil || len(o.endpoint) == 0 {
			o.unfound = fmt.Sprintf("the API server's name %s is not found from here, and any address may be its", host)
		}
	})
	return o.endpoint, o.unfound
}

// endpointHost is the name or address of the API server; "" = the inventory gives none.
func (o *Owners) endpointHost() string {
	endpoint := o.Cluster.Spec.Kubernetes.Endpoint
	if host, _, err := net.SplitHostPort(endpoint); err == nil {
		return host
	}
	return endpoint
}

// unsure says whose addresses are not known: a worker that says that one is its own may have taken it. "" = those of every one that serves the API
// are.
func (o *Owners) unsure(h inventory.Host) string {
	if h.Role == inventory.ControlPlane {
		return ""
	}
	if _, unfound := o.endpointAddresses(); unfound != "" {
		return unfound
	}
	for _, plane := range o.Cluster.ControlPlanes() {
		_, literal := address(plane.Address)
		node := slices.ContainsFunc(o.Nodes, func(n kube.Node) bool { return n.Name == plane.Name && len(n.InternalIPs) > 0 })
		if !literal && !node && plane.NodeIP == "" && len(o.Hosts[plane.Name].Addresses) == 0 {
			return fmt.Sprintf("the addresses of the control plane %s are not known, and any may be its", plane.Name)
		}
	}
	return ""
}

// namesAnother reports whether the name of a host is also one of the API server, or of another host.
func (o *Owners) namesAnother(h inventory.Host) bool {
	service := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + o.Cluster.Spec.Kubernetes.DNSDomain, "localhost"}
	is := func(name string) bool { return strings.EqualFold(strings.TrimSuffix(name, "."), h.Name) }
	another := func(other inventory.Host) bool { return other.Name != h.Name && is(other.Address) }
	return is(o.endpointHost()) || slices.ContainsFunc(service, is) || slices.ContainsFunc(o.Cluster.Spec.Hosts, another)
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
		if why := o.May(q); why != nil {
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
