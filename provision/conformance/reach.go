package conformance

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// reachPatience bounds the question whether a node can be reached at an address.
const reachPatience = 4 * time.Second

// kubeletPort is where every kubelet listens.
const kubeletPort = 10250

// vantages are the places outside the cluster, and where each reaches the nodes.
type vantages struct {
	roster  roster
	all     []Vantage
	reached map[[2]string]string // by vantage point and node: the address
}

// lookFrom finds out at which of its addresses each vantage point reaches each node that it is to dial: at the one that Kubernetes knows, or
// else at the one that SSH goes to. A vantage point that reaches a node at no address has its cells blocked.
func (v *vantages) lookFrom(ctx context.Context, scenario Scenario) {
	v.reached = map[[2]string]string{}
	var open sync.WaitGroup
	var mu sync.Mutex
	v.all = slices.Clone(v.all)
	for i := range v.all {
		from := &v.all[i]
		if from.Problem != "" || from.Dial == nil {
			continue
		}
		if where := v.within(from); where != "" {
			from.Problem = from.Name + " is " + where + ": a connection from there is not from outside"
			continue
		}
		from.Unreached = map[string]string{}
		for _, n := range v.roster {
			if scenario == ScaleOut && !n.New {
				continue // the others are left alone
			}
			open.Go(func() {
				address, err := from.reaches(ctx, n)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					from.Unreached[n.Name] = report.OneLine(err.Error())
					return
				}
				v.reached[[2]string{from.Name, n.Name}] = address
			})
		}
	}
	open.Wait()
}

// within is which node a vantage point is, or in whose pod network; empty when neither. A host's bridges may have the addresses of another
// cluster's pods, so that only this machine is looked for there.
func (v *vantages) within(from *Vantage) string {
	if from.Addresses == nil {
		return ""
	}
	for _, n := range v.roster {
		for _, own := range from.Addresses(n.Address) {
			ip, err := netip.ParseAddr(own)
			if err != nil || ip.IsLoopback() {
				continue
			}
			if slices.Contains(n.Addresses, own) {
				return "node " + n.Name
			}
			if pods, err := netip.ParsePrefix(n.PodCIDR); err == nil && pods.Contains(ip) && !from.TCPOnly {
				return "in the pod network of node " + n.Name
			}
		}
	}
	return ""
}

func (v *vantages) index(name string) int {
	return slices.IndexFunc(v.all, func(v Vantage) bool { return v.Name == name })
}

func (v *vantages) named(name string) Vantage { return v.all[v.index(name)] }

// addressOf is where a vantage point dials a node.
func (v *vantages) addressOf(vantage, node string) string {
	return cmp.Or(v.reached[[2]string{vantage, node}], v.roster.node(node).Address)
}

// reaches is the first of a node's addresses at which something answers, if only that nothing listens.
func (v *Vantage) reaches(ctx context.Context, n Node) (string, error) {
	var tried []string
	for _, address := range n.Addresses {
		for _, port := range []int{n.SSHPort, kubeletPort} {
			err := v.knock(ctx, at(address, port))
			if err == nil {
				return address, v.takesAll(ctx, n, address)
			}
			tried = append(tried, at(address, port)+": "+err.Error())
		}
	}
	if len(tried) == 0 {
		return "", fmt.Errorf("%s does not reach %s: its address is not known", v.Name, n.Name)
	}
	return "", fmt.Errorf("%s does not reach %s directly (%s)", v.Name, n.Name, strings.Join(tried, "; "))
}

// unusedPorts are where nothing listens on a node.
var unusedPorts = []int{1, 47}

// takesAll is of something between a vantage point and a node, as a transparent proxy, that takes every connection: neither that it is taken nor
// that it is ended says anything of the node then.
func (v *Vantage) takesAll(ctx context.Context, n Node, address string) error {
	for _, port := range unusedPorts {
		if took, err := v.dials(ctx, at(address, port)); !took || err != nil {
			return nil
		}
	}
	return fmt.Errorf("something between %s and %s takes every connection, also to ports %d and %d of %s", v.Name, n.Name, unusedPorts[0], unusedPorts[1], address)
}

func (v *Vantage) knock(ctx context.Context, addr string) error {
	if _, err := v.dials(ctx, addr); !probe.IsRefused(err) {
		return err
	}
	return nil
}

// dials reports whether a connection is taken.
func (v *Vantage) dials(ctx context.Context, addr string) (took bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	conn, err := v.Dial.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false, err
	}
	_ = conn.Close() // nothing was said
	return true, nil
}

// sawWhoAsked is a good outcome of a Service with the policy Local when its server saw who asked. An address that is neither the vantage
// point's nor the cluster's was translated on the way there: what the node does to it cannot be told then.
func (t *outsideTrier) sawWhoAsked(c Cell, attempts []probe.Attempt, o outcome) outcome {
	v := t.vantages.named(c.Vantage)
	var own []string
	if v.Addresses != nil {
		own = v.Addresses(t.vantages.addressOf(c.Vantage, c.Src))
	}
	if len(own) > 0 {
		o.wantIP = own[0]
	}
	if o.verdict != report.Passed {
		return o
	}
	for _, a := range attempts {
		seen := a.Reply.Client
		switch whose := t.whose(seen); {
		case slices.Contains(own, seen):
			o.wantIP = seen
			continue
		case whose != "":
			o.fail("the server saw the client as %s, which is %s's address: the policy Local does not keep who asks", seen, whose)
		case len(own) == 0:
			o.verdict, o.reason = report.Blocked, fmt.Sprintf("the server saw the client as %s, and which address %s has there is not known", seen, c.Vantage)
		default:
			o.verdict, o.reason = report.Blocked, fmt.Sprintf("the server saw the client as %s, while %s is %s: something between %s and the node translates addresses, so that what the node does cannot be told",
				seen, c.Vantage, strings.Join(own, ", "), c.Vantage)
		}
		return o
	}
	return o
}

// LocalAddress is the address from which this machine reaches a target; none when it does not.
func LocalAddress(target string) []string {
	c, err := net.Dial("udp", net.JoinHostPort(target, "9")) // nothing is sent
	if err != nil {
		return nil
	}
	defer c.Close()
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return []string{a.IP.String()}
	}
	return nil
}
