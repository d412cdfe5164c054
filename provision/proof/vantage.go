package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// vantages are the places outside the cluster from which nodes are dialled: this machine, and the inventory's own. Each knows which of
// the nodes it does not reach.
func (o Options) vantages(ctx context.Context, c conformance.Options) []conformance.Vantage {
	all := []conformance.Vantage{o.operator()}
	for _, h := range o.Cluster.Spec.Conformance.Outside {
		all = append(all, o.outside(ctx, h))
	}
	o.tryVantages(ctx, all, o.dialled(c))
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
	return v
}

// operator is this machine as a place outside the cluster; it is none when it is one of the nodes, or when the nodes cannot be reached
// from here but through other hosts.
func (o Options) operator() conformance.Vantage {
	v := conformance.Vantage{Name: "operator", Dial: &net.Dialer{}, Address: localAddress}
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

// vantagePatience bounds the question whether a node's address can be reached at all.
const vantagePatience = 4 * time.Second

// dialled are the hosts that the run's vantage points dial: the new ones after a scale-out, which leaves the others alone.
func (o Options) dialled(c conformance.Options) []inventory.Host {
	if c.Scenario != conformance.ScaleOut {
		return o.Cluster.Spec.Hosts
	}
	var out []inventory.Host
	for _, h := range o.Cluster.Spec.Hosts {
		if slices.Contains(c.NewNodes, h.Name) {
			out = append(out, h)
		}
	}
	return out
}

// tryVantages finds out which hosts each vantage point reaches: it asks for their SSH port. A port that is closed is reached.
func (o Options) tryVantages(ctx context.Context, vantages []conformance.Vantage, hosts []inventory.Host) {
	var open sync.WaitGroup
	var mu sync.Mutex
	for i := range vantages {
		v := &vantages[i]
		if v.Problem != "" {
			continue
		}
		v.Unreached = map[string]string{}
		for _, h := range hosts {
			open.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, vantagePatience)
				defer cancel()
				port := cmp.Or(o.Cluster.SSHFor(h).Port, 22)
				conn, err := v.Dial.DialContext(ctx, "tcp", net.JoinHostPort(h.Address, strconv.Itoa(port)))
				if err == nil {
					_ = conn.Close() // nothing was said
					return
				}
				if errors.Is(err, syscall.ECONNREFUSED) {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				v.Unreached[h.Name] = fmt.Sprintf("%s does not reach %s directly: %s", v.Name, h.Name, report.OneLine(err.Error()))
			})
		}
	}
	open.Wait()
}

// localAddress is the address from which this machine reaches a target; empty when it does not.
func localAddress(target string) string {
	c, err := net.Dial("udp", net.JoinHostPort(target, "9")) // nothing is sent
	if err != nil {
		return ""
	}
	defer c.Close()
	a, _ := c.LocalAddr().(*net.UDPAddr)
	return a.IP.String()
}
