package proof

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// vantages are the places outside the cluster from which nodes are dialled: this machine, and the inventory's own. Which nodes they reach,
// the run finds out.
func (o Options) vantages(ctx context.Context) []conformance.Vantage {
	all := []conformance.Vantage{o.operator()}
	for _, h := range o.Cluster.Spec.Conformance.Outside {
		all = append(all, o.outside(ctx, h))
	}
	return all
}

// outside is a host that is no node, as a place from which nodes are dialled.
func (o Options) outside(ctx context.Context, h inventory.OutsideHost) conformance.Vantage {
	v := conformance.Vantage{Name: h.Name, TCPOnly: true}
	r, err := o.Fleet.Connect(ctx, inventory.Host{Name: h.Name, Address: h.Address, Port: h.Port, User: h.User})
	if err != nil {
		v.Problem = report.OneLine(err.Error())
		return v
	}
	v.Dial = r
	own, err := fleet.AddressesOf(ctx, r)
	if err == nil { // else they are not known, and its cells say so
		v.Addresses = func(string) []string { return own }
	}
	return v
}

// operator is this machine as a place outside the cluster; it is none when it is one of the nodes, or when the nodes cannot be reached
// from here but through other hosts.
func (o Options) operator() conformance.Vantage {
	v := conformance.Vantage{Name: "operator", Dial: &net.Dialer{}, Addresses: conformance.LocalAddress}
	own, err := net.InterfaceAddrs()
	if err != nil {
		v.Problem = fmt.Sprintf("this machine's addresses are not known: %v", err)
		return v
	}
	for _, h := range o.Cluster.Spec.Hosts {
		if slices.ContainsFunc(own, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.IP.String() == h.Address && !n.IP.IsLoopback()
		}) {
			v.Problem = fmt.Sprintf("this machine is node %s: a connection from here is not from outside", h.Name)
		}
	}
	return v
}
