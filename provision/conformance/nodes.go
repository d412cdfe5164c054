package conformance

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// nodeTrier tries what the API server and the hosts say of nodes.
type nodeTrier struct {
	roster
	rules
	api        API
	machines   map[string]Machine
	view       *view
	leases     *leases
	window     time.Duration
	daemonSets []string // of Options
	nodeRanges bool     // of Options
	fault      *Fault
}

// tryReady looks whether a node is Ready without a break, and whether its kubelet is alive: the API server believes a dead one for longer than
// that.
func (t *nodeTrier) tryReady(ctx context.Context, c Cell) outcome {
	before, err := t.leases.of(ctx, c.Dst)
	o := t.steady(ctx, c, t.api.WaitNodesReady, kube.WaitOptions{}, fmt.Sprintf("not Ready without a break for %s: ", t.window))
	switch {
	case o.verdict != report.Passed:
		return o
	case err != nil:
		return failed("whether its kubelet is alive cannot be seen: %v", err)
	}
	if err := t.renews(ctx, c.Dst, before); err != nil {
		return failed("%v", err)
	}
	return o
}

// renews waits for a kubelet to renew its lease. Clocks differ, so that what tells is that the time in it changes.
func (t *nodeTrier) renews(ctx context.Context, node string, before time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, t.pace.lease)
	defer cancel()
	for {
		switch now, err := t.leases.of(ctx, node); {
		case ctx.Err() != nil:
			return fmt.Errorf("the API server calls the node Ready, but its kubelet has not renewed its lease for %s (last at %s, by its clock)", t.window+t.pace.lease, inWords(before))
		case err != nil:
			return fmt.Errorf("whether its kubelet is alive cannot be seen: %w", err)
		case !now.Equal(before):
			return nil
		}
		t.pause(ctx)
	}
}

func inWords(t time.Time) string {
	if t.IsZero() {
		return "no time"
	}
	return t.UTC().Format(time.RFC3339)
}

// leases are the nodes' leases as the API server has them, asked for once for all who want to know at the same time.
type leases struct {
	api  API
	now  func() time.Time
	good time.Duration // for how long they are: many nodes ask at the same time
	mu   sync.Mutex
	read time.Time
	all  map[string]time.Time
	err  error
}

// of is when a node's kubelet renewed its lease; the zero time when it has none.
func (l *leases) of(ctx context.Context, node string) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.read.IsZero() || l.err != nil || l.now().Sub(l.read) >= l.good {
		l.all, l.err = l.api.NodeLeases(ctx)
		l.read = l.now()
	}
	return l.all[node], l.err
}

// anyDaemonSet stands for one whichever: see kube.WaitOptions.
const anyDaemonSet = "*/*"

// tryDaemons looks at the DaemonSets that have to want the node by name, and at all others that do. Where none is known by name, as in a
// cluster that hybridctl did not make, one of them has to want the node: none to look at is no pass.
func (t *nodeTrier) tryDaemons(ctx context.Context, c Cell) outcome {
	o := kube.WaitOptions{DaemonSets: t.daemonSets}
	if len(o.DaemonSets) == 0 {
		o.DaemonSets = []string{anyDaemonSet}
	}
	if t.fault != nil && t.fault.Name == faultDaemonSet {
		o.DaemonSets = append(slices.Clone(o.DaemonSets), "kube-system/hybridctl-self-test")
	}
	return t.steady(ctx, c, t.api.WaitDaemonSets, o, "")
}

// windowLag is what a wait may need beyond its window: the first answer, and one break.
const windowLag = 30 * time.Second

// steady waits for something to hold on a node without a break for the window.
func (t *nodeTrier) steady(ctx context.Context, c Cell, wait func(context.Context, []string, kube.WaitOptions) error, o kube.WaitOptions, otherwise string) outcome {
	o.Window = t.window
	ctx, cancel := context.WithTimeout(ctx, t.window+windowLag)
	defer cancel()
	if err := wait(ctx, []string{c.Dst}, o); err != nil {
		return failed("%s%v", otherwise, err)
	}
	return passed()
}

func (t *nodeTrier) tryArch(ctx context.Context, c Cell) outcome {
	nodes, err := t.api.Nodes(ctx)
	if err != nil {
		return failed("%v", err)
	}
	i := slices.IndexFunc(nodes, func(n kube.Node) bool { return n.Name == c.Dst })
	if i < 0 {
		return failed("the node is gone")
	}
	machine, err := t.machines[c.Dst].UnameM(ctx)
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

func (t *nodeTrier) tryAddress(ctx context.Context, c Cell) outcome {
	ctx, cancel := context.WithTimeout(ctx, t.view.patience)
	defer cancel()
	pod, err := t.view.ready(ctx, t.slot(podA, c.Dst))
	if err != nil {
		return failed("a new pod does not start there: %v", err)
	}
	n := t.node(c.Dst)
	if pod.Node != n.Name {
		return failed("the pod is on %s", pod.Node)
	}
	switch {
	case net.ParseIP(pod.IP) == nil:
		return failed("the pod has no address (%q)", pod.IP)
	case !t.nodeRanges:
		return passed() // the pod network has ranges of its own
	case n.PodCIDR == "":
		return failed("the node has no podCIDR, which the pod network gives addresses of")
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
