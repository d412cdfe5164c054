package conformance

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
)

func (r *run) tryReady(ctx context.Context, c Cell) outcome {
	return r.steady(ctx, c, r.API.WaitNodesReady, fmt.Sprintf("not Ready without a break for %s: ", r.Window))
}

func (r *run) tryDaemons(ctx context.Context, c Cell) outcome {
	return r.steady(ctx, c, r.API.WaitDaemonSets, "")
}

// windowLag is what a wait may need beyond its window: the first answer, and one break.
const windowLag = 30 * time.Second

// steady waits for something to hold on a node without a break for the window.
func (r *run) steady(ctx context.Context, c Cell, wait func(context.Context, []string, kube.WaitOptions) error, otherwise string) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Window+windowLag)
	defer cancel()
	if err := wait(ctx, []string{c.Dst}, kube.WaitOptions{Window: r.Window}); err != nil {
		return failed("%s%v", otherwise, err)
	}
	return passed()
}

func (r *run) tryArch(ctx context.Context, c Cell) outcome {
	nodes, err := r.API.Nodes(ctx)
	if err != nil {
		return failed("%v", err)
	}
	i := slices.IndexFunc(nodes, func(n kube.Node) bool { return n.Name == c.Dst })
	if i < 0 {
		return failed("the node is gone")
	}
	machine, err := r.Machines[c.Dst].UnameM(ctx)
	if err != nil {
		return failed("ask the host: %v", err)
	}
	n := nodes[i]
	real, err := platform.Parse(machine)
	switch {
	case err != nil:
		return failed("the host says it is %q: %v", machine, err)
	case n.ArchLabel != n.Arch || n.Arch != string(real):
		return failed("label kubernetes.io/arch is %q, the kubelet says %q, the host %q", n.ArchLabel, n.Arch, machine)
	}
	return passed()
}

func (r *run) tryAddress(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	pod, err := r.view.ready(ctx, r.slot(podA, c.Dst))
	if err != nil {
		return failed("a new pod does not start there: %v", err)
	}
	n := r.node(c.Dst)
	if pod.Node != n.Name {
		return failed("the pod is on %s", pod.Node)
	}
	if n.PodCIDR == "" || !r.NodeRanges {
		return passed() // the pod network does not use the nodes' ranges, or nobody knows
	}
	_, network, err := net.ParseCIDR(n.PodCIDR)
	if err != nil {
		return failed("the node's podCIDR %q: %v", n.PodCIDR, err)
	}
	if ip := net.ParseIP(pod.IP); ip == nil || !network.Contains(ip) {
		return failed("a new pod got the address %s, which is not of the node's podCIDR %s", pod.IP, n.PodCIDR)
	}
	return passed()
}

func (p *planner) added() {
	for _, n := range p.subjects() {
		p.on(n, "ready", kindReady, Cell{})
		c := needsMachine(n)
		p.on(n, "architecture", kindArch, c)
		p.on(n, "daemonsets", kindDaemons, Cell{})
		p.on(n, "pod-address", kindAddress, Cell{})
	}
}
