package conformance

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// roster are a run's nodes, sorted by name: a node's place among them names its probes.
type roster []Node

// newRoster takes the cluster's nodes as the matrix wants them, with what the options know of their hosts. ErrUsage: a node that is said to be
// new is not in the cluster.
func newRoster(o Options, nodes []kube.Node) (roster, error) {
	for _, name := range o.NewNodes {
		if !slices.ContainsFunc(nodes, func(n kube.Node) bool { return n.Name == name }) {
			return nil, fmt.Errorf("%w: there is no node %q in the cluster", ErrUsage, name)
		}
	}
	var out roster
	for _, n := range nodes {
		place, _ := slices.BinarySearchFunc(out, n.Name, func(a Node, name string) int { return strings.Compare(a.Name, name) })
		out = slices.Insert(out, place, newNode(o, n))
	}
	return out, nil
}

func newNode(o Options, n kube.Node) Node {
	node := Node{PodCIDR: n.PodCIDR, Addresses: slices.Clone(n.InternalIPs), SSHPort: 22, Ready: n.Ready}
	node.RunNode = report.RunNode{Name: n.Name, Arch: n.Arch, Role: "worker", Kernel: n.KernelVersion, New: slices.Contains(o.NewNodes, n.Name)}
	if n.ControlPlane {
		node.Role = "control-plane"
	}
	if len(n.InternalIPs) > 0 {
		node.Address = n.InternalIPs[0]
	}
	if f, ok := o.Facts[n.Name]; ok {
		node.PageKiB, node.CPU, node.SSHPort = f.PageKiB, f.CPU, cmp.Or(f.SSHPort, 22)
		if f.Address != "" && !slices.Contains(node.Addresses, f.Address) {
			node.Addresses = append(node.Addresses, f.Address)
		}
	}
	if _, ok := o.Machines[n.Name]; !ok {
		node.NoMachine = cmp.Or(o.NoMachine[n.Name], "it is not in the inventory")
	}
	node.NoProbe = cmp.Or(noProbeFor(n), o.NoProbe[n.Name])
	if node.OutOf = node.NoProbe; !n.Ready {
		node.OutOf = "not Ready"
	}
	return node
}

// noProbeFor is why there is no probe for a node, wherever it comes from: it has an architecture, or an operating system, that none is made for.
func noProbeFor(n kube.Node) string {
	if n.OS != "" && n.OS != "linux" {
		return fmt.Sprintf("node %s runs %s, for which there is no probe", n.Name, n.OS)
	}
	if _, err := platform.Parse(n.Arch); err != nil && n.Ready {
		return fmt.Sprintf("node %s is of the architecture %q, for which there is no probe", n.Name, n.Arch)
	}
	return ""
}

func (n roster) node(name string) Node { return n[n.index(name)] }

// index is a node's place among all; -1 when it is none of them.
func (n roster) index(name string) int {
	return slices.IndexFunc(n, func(n Node) bool { return n.Name == name })
}

// slot names a node's probe or Service.
func (n roster) slot(which, node string) string { return slot(which, n.index(node)) }

// client is the pod that dials for a cell: another one where the server is on the same node.
func (n roster) client(c Cell) string {
	if c.Src == c.Dst {
		return n.slot(podB, c.Src)
	}
	return n.slot(podA, c.Src)
}

// unread is a cell's result before it is tried.
func (n roster) unread(c Cell, reason string) report.CellResult {
	out := report.CellResult{Check: c.Check, Name: c.Name, Class: c.Class, Verdict: report.Blocked, Reason: cmp.Or(c.Blocked, reason)}
	out.Src, out.Dst = n.end(c.Src), n.end(c.Dst)
	if c.Vantage != "" {
		out.Src = &report.Endpoint{Where: c.Vantage + " via " + c.Src}
	}
	return out
}

func (n roster) end(node string) *report.Endpoint {
	if node == "" {
		return nil
	}
	return &report.Endpoint{Node: node, Arch: n.node(node).Arch}
}

// whose is the node that an address is of, itself or in its range of pods; empty when of none.
func (n roster) whose(address string) string {
	ip, err := netip.ParseAddr(address)
	for _, n := range n {
		if slices.Contains(n.Addresses, address) {
			return "node " + n.Name
		}
		if pods, perr := netip.ParsePrefix(n.PodCIDR); err == nil && perr == nil && pods.Contains(ip) {
			return "the pod network of node " + n.Name
		}
	}
	return ""
}
