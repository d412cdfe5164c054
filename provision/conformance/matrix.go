package conformance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/report"
)

// Node is a node as the matrix looks at it.
type Node struct {
	report.RunNode
	PodCIDR string
	IPs     []string
	Ready   bool
	// NoMachine is why nothing can be asked on its host; empty = it can.
	NoMachine string
	// NoProbe is why it cannot run a probe; empty = it can.
	NoProbe string
}

// class is what makes two nodes alike for the matrix: a page size is a difference as an architecture is.
func (n Node) class() string { return fmt.Sprintf("%s/%dK", n.Arch, n.PageKiB) }

// Cell is one thing to find out. What it compares stands in its kind.
type Cell struct {
	Check    string
	Name     string // "tcp/1400/podIP"
	Class    string // "arm64 → amd64"
	Src, Dst string // node names; empty = not of a node
	Vantage  string // for S7: where it is dialled from
	Blocked  string // why it cannot be tried; known before anything runs

	kind    kind
	network string // "tcp", "udp"
	size    int    // bytes
	times   int    // attempts
	class   string // of storage, by name
}

// kind is which function finds a cell out.
type kind string

const (
	kindReady       kind = "ready"
	kindArch        kind = "arch"
	kindDaemons     kind = "daemons"
	kindAddress     kind = "address"
	kindOwn         kind = "own"
	kindForeign     kind = "foreign"
	kindSelector    kind = "selector"
	kindAffinity    kind = "affinity"
	kindNowhere     kind = "nowhere"
	kindLoopback    kind = "loopback"
	kindEmptyDir    kind = "emptyDir"
	kindSameNode    kind = "sameNode"
	kindPodIP       kind = "podIP"
	kindService     kind = "service"
	kindServiceName kind = "serviceName"
	kindHairpin     kind = "hairpin"
	kindDNS         kind = "dns"
	kindRemoved     kind = "removed"
	kindNodePort    kind = "nodePort"
	kindLocal       kind = "local"
	kindNotLocal    kind = "notLocal"
	kindClosed      kind = "closed"
	kindPodWrites   kind = "podWrites"
	kindHostWrites  kind = "hostWrites"
	kindElsewhere   kind = "elsewhere"
	kindNoDirectory kind = "noDirectory"
	kindPull        kind = "pull"
	kindNoPull      kind = "noPull"
	kindGuard       kind = "guard"

	kindVolumeMoves   kind = "volumeMoves"
	kindVolumeBlock   kind = "volumeBlock"
	kindVolumeAlone   kind = "volumeAlone"
	kindVolumeShared  kind = "volumeShared"
	kindVolumeGrows   kind = "volumeGrows"
	kindVolumeDeleted kind = "volumeDeleted"

	kindNever kind = "never" // blocked whatever happens
)

// Input is what the matrix is planned from.
type Input struct {
	Scenario  Scenario
	Nodes     []Node // all of the cluster
	Checks    []string
	Quick     bool
	MaxPairs  int
	Seed      uint64
	Vantages  []Vantage
	HasImage  bool // the probe's own images can be made: S2
	Registry  bool
	Storage   []StorageClass
	NoStorage string // why there is none
	Fault     *Fault // its nodes' pairs are tried whatever the sample is; nil = none
}

// Matrix is what a run will find out.
type Matrix struct {
	Cells    []Cell
	Coverage report.Coverage
}

// The sizes of payloads in bytes: one, one that fits any MTU, one above the MTU of Ethernet and of most overlays, and many packets.
const (
	sizeOne    = 1
	sizeFits   = 1400
	sizeAbove  = 8972
	sizeStream = 1 << 20
)

// attempts is how often a cell asks: the first attempt counts, the others tell a lost packet from a closed way.
const attempts = 5

// Plan lists the cells of a run, in the order of the scenario's checks. It is an error when there is nothing to find out, since a run
// without cells would look like one without failures.
func Plan(in Input) (Matrix, error) {
	if err := in.check(); err != nil {
		return Matrix{}, err
	}
	p := &planner{in: in}
	p.pairs()
	for _, c := range ChecksOf(in.Scenario) {
		if len(in.Checks) > 0 && !slices.Contains(in.Checks, c.ID) {
			continue
		}
		p.id = c.ID
		planners[c.ID](p)
	}
	if len(p.m.Cells) == 0 {
		return Matrix{}, fmt.Errorf("%w: there is nothing to check: no cell was planned for %s on %s", ErrUsage, in.Scenario, report.Count(len(in.Nodes), "node"))
	}
	return p.m, nil
}

func (in Input) check() error {
	if !slices.Contains(Scenarios(), in.Scenario) {
		return fmt.Errorf("%w: there is no scenario %q (new-deployment, scale-out)", ErrUsage, in.Scenario)
	}
	for _, id := range in.Checks {
		if !slices.ContainsFunc(ChecksOf(in.Scenario), func(c report.RunCheck) bool { return c.ID == id }) {
			var ids []string
			for _, c := range ChecksOf(in.Scenario) {
				ids = append(ids, c.ID)
			}
			return fmt.Errorf("%w: scenario %s has no check %q (%s)", ErrUsage, in.Scenario, id, strings.Join(ids, ", "))
		}
	}
	if len(in.Nodes) == 0 {
		return fmt.Errorf("%w: the cluster has no nodes", ErrUsage)
	}
	isNew := func(n Node) bool { return n.New }
	if in.Scenario == ScaleOut && !slices.ContainsFunc(in.Nodes, isNew) {
		return fmt.Errorf("%w: scenario scale-out needs the nodes that were added (--nodes)", ErrUsage)
	}
	return nil
}

type planner struct {
	in    Input
	id    string // of the check that is planned
	links []link // the ordered pairs of different nodes that are tried
	m     Matrix
}

// planners says what each check consists of. R and S9 are planned even when nothing can be tried, so that the report says so.
var planners = map[string]func(*planner){
	"N1": (*planner).added, "S1": (*planner).added,
	"N2": (*planner).images, "S2": (*planner).images,
	"D": (*planner).directed, "S3": (*planner).containers, "S4": (*planner).sameNode, "S5": (*planner).nodes,
	"S6": (*planner).services, "S7": (*planner).outside, "S8": (*planner).hostPath, "S9": (*planner).ceph, "R": (*planner).registry,
	"G": (*planner).guard,
}

// subjects are the nodes that are proven: the new ones after a scale-out, else all.
func (p *planner) subjects() []Node {
	return slices.DeleteFunc(slices.Clone(p.in.Nodes), func(n Node) bool { return !p.proven(n) })
}

func (p *planner) add(c Cell) {
	c.Check = p.id
	if c.times == 0 {
		c.times = attempts
	}
	if p.in.Quick && c.times > 2 {
		c.times = 2
	}
	p.m.Cells = append(p.m.Cells, c)
}

// on adds a cell of one node.
func (p *planner) on(n Node, name string, k kind, c Cell) {
	c.Name, c.Class, c.Dst, c.kind = name, n.Arch, n.Name, k
	switch {
	case c.Blocked != "" || k == kindReady || k == kindGuard: // whether it is Ready is what they ask
	case k == kindArch || k == kindDaemons:
		c.Blocked = notReady(n)
	default:
		c.Blocked = noPods(n)
	}
	p.add(c)
}

// needsMachine is why a cell that asks the node's host cannot be tried.
func needsMachine(n Node) Cell {
	if n.NoMachine == "" {
		return Cell{}
	}
	return Cell{Blocked: "needs " + n.Name + "'s host: " + n.NoMachine}
}

func notReady(nodes ...Node) string {
	for _, n := range nodes {
		if !n.Ready {
			return "node " + n.Name + " is not Ready"
		}
	}
	return ""
}

// noPods is why a cell with pods on these nodes cannot be tried.
func noPods(nodes ...Node) string {
	blocked := notReady(nodes...)
	for _, n := range nodes {
		if blocked == "" {
			blocked = n.NoProbe
		}
	}
	return blocked
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

func (p *planner) images() {
	for _, n := range p.subjects() {
		c := needsMachine(n)
		if !p.in.HasImage && c.Blocked == "" {
			c.Blocked = "the bundle has no image of the probe to make new ones from"
		}
		p.on(n, "own-image", kindOwn, c)
		if !p.in.Quick {
			p.on(n, "foreign-image-fails", kindForeign, c)
		}
	}
}

func (p *planner) directed() {
	if p.in.Quick {
		return
	}
	for _, arch := range archs(p.subjects()) {
		blocked := ""
		if !slices.ContainsFunc(p.in.Nodes, func(n Node) bool { return n.Arch == arch && n.Ready }) {
			blocked = "no " + arch + " node is Ready"
		}
		for _, n := range p.in.Nodes {
			if n.Arch == arch && blocked == "" {
				blocked = n.NoProbe // the scheduler may choose it
			}
		}
		p.add(Cell{Name: "nodeSelector/" + arch, Class: arch, kind: kindSelector, Blocked: blocked})
		p.add(Cell{Name: "nodeAffinity/" + arch, Class: arch, kind: kindAffinity, Blocked: blocked})
	}
	p.add(Cell{Name: "unsatisfiable-stays-pending", Class: "any", kind: kindNowhere})
}

func (p *planner) containers() {
	if p.in.Quick {
		return
	}
	for _, n := range p.subjects() {
		for _, network := range []string{"tcp", "udp"} {
			p.on(n, network+"/127.0.0.1", kindLoopback, Cell{network: network, size: sizeFits})
			p.on(n, network+"/[::1]", kindLoopback, Cell{network: network + "6", size: sizeFits})
		}
		p.on(n, "emptyDir", kindEmptyDir, Cell{})
	}
}

func (p *planner) sameNode() {
	for _, n := range p.subjects() {
		for _, network := range []string{"tcp", "udp"} {
			p.on(n, network+"/podIP", kindSameNode, Cell{Src: n.Name, network: network, size: sizeFits})
		}
	}
}

// flows are what goes over each pair of nodes.
func (p *planner) flows() []Cell {
	flows := []Cell{
		{network: "tcp", size: sizeOne}, {network: "tcp", size: sizeFits}, {network: "tcp", size: sizeAbove}, {network: "tcp", size: sizeStream, times: 2},
		{network: "udp", size: sizeOne}, {network: "udp", size: sizeFits}, {network: "udp", size: sizeAbove},
	}
	if p.in.Quick {
		return []Cell{flows[1], flows[2], flows[5]}
	}
	return flows
}

func (p *planner) nodes() {
	for _, l := range p.links {
		for _, c := range p.flows() {
			c.Name, c.kind = fmt.Sprintf("%s/%d/podIP", c.network, c.size), kindPodIP
			p.between(l, c)
		}
	}
	// What a small cluster cannot show is said.
	for _, arch := range archs(p.subjects()) {
		class := arch + " → " + arch
		if !slices.ContainsFunc(p.links, func(l link) bool { return classOf(l) == class }) {
			p.add(Cell{Name: "podIP", Class: class, kind: kindNever, Blocked: "needs two " + arch + " nodes"})
		}
	}
}

func (p *planner) services() {
	for _, l := range p.links {
		for _, network := range []string{"tcp", "udp"} {
			p.between(l, Cell{Name: network + "/clusterIP", kind: kindService, network: network, size: sizeFits})
		}
		if !p.in.Quick {
			p.between(l, Cell{Name: "tcp/name", kind: kindServiceName, network: "tcp", size: sizeFits})
		}
	}
	for _, n := range p.subjects() {
		p.on(n, "tcp/clusterIP", kindService, Cell{Src: n.Name, network: "tcp", size: sizeFits})
		p.on(n, "dns/service", kindDNS, Cell{network: "service"})
		if p.in.Quick {
			continue
		}
		p.on(n, "dns/each-server", kindDNS, Cell{network: "pods"})
		p.on(n, "tcp/hairpin", kindHairpin, Cell{Src: n.Name, network: "tcp", size: sizeFits})
		p.on(n, "endpoint-removed", kindRemoved, Cell{Src: n.Name, network: "tcp", size: sizeOne})
	}
}

func (p *planner) outside() {
	if p.in.Quick {
		return
	}
	for _, v := range p.in.Vantages {
		for _, n := range p.subjects() {
			p.from(v, n, n, "tcp/nodePort/local-backend", kindNodePort, "tcp")
			p.from(v, n, n, "udp/nodePort/local-backend", kindNodePort, "udp")
			p.from(v, n, n, "tcp/nodePort/policy-Local", kindLocal, "tcp")
			if other, ok := p.otherArch(n); ok {
				p.from(v, n, other, "tcp/nodePort/backend-on-"+other.Arch, kindNodePort, "tcp")
				p.from(v, n, other, "udp/nodePort/backend-on-"+other.Arch, kindNodePort, "udp")
				p.from(v, n, other, "tcp/nodePort/policy-Local-refuses", kindNotLocal, "tcp")
			} else {
				p.add(Cell{Name: "nodePort/other-architecture", Class: n.Arch, Src: n.Name, Dst: n.Name, Vantage: v.Name, kind: kindNever,
					Blocked: "needs a node of another architecture that is Ready"})
			}
			p.from(v, n, n, "tcp/nodePort/closed-before-and-after", kindClosed, "tcp")
		}
	}
}

// from adds a cell that dials a node's address from outside, with the backend on a node.
func (p *planner) from(v Vantage, address, backend Node, name string, k kind, network string) {
	c := Cell{Name: name, Class: address.Arch, Src: address.Name, Dst: backend.Name, Vantage: v.Name, kind: k, network: network, size: sizeFits}
	if address.Name != backend.Name {
		c.Class = address.Arch + " → " + backend.Arch
	}
	switch {
	case v.Problem != "":
		c.Blocked = v.Problem
	case v.Unreached[address.Name] != "":
		c.Blocked = v.Unreached[address.Name]
	case v.TCPOnly && network == "udp":
		c.Blocked = "an SSH connection carries no datagrams"
	default:
		c.Blocked = noPods(address, backend)
	}
	p.add(c)
}

// otherArch is a node of another architecture, the same for every run over the same nodes with the same seed.
func (p *planner) otherArch(n Node) (Node, bool) {
	return p.partner(func(o Node) bool { return o.Arch != n.Arch && noPods(o) == "" })
}

func (p *planner) hostPath() {
	if p.in.Quick {
		return
	}
	for _, n := range p.subjects() {
		p.on(n, "pod-writes-host-reads", kindPodWrites, needsMachine(n))
		p.on(n, "host-writes-pod-reads", kindHostWrites, needsMachine(n))
		c := needsMachine(n)
		other, ok := p.partner(func(o Node) bool { return o.Name != n.Name && o.NoMachine == "" && noPods(o) == "" })
		if !ok {
			c.Blocked = "needs a second node whose host can be asked"
		}
		c.Src = other.Name
		p.on(n, "not-seen-elsewhere", kindElsewhere, c)
		p.on(n, "missing-directory-fails", kindNoDirectory, Cell{})
	}
}

func (p *planner) registry() {
	switch {
	case p.in.Quick:
	case !p.in.Registry:
		p.add(Cell{Name: "pull", Class: "any", kind: kindNever, Blocked: "no private registry in the inventory (conformance.registry)"})
	default:
		for _, n := range p.subjects() {
			p.on(n, "with-secret", kindPull, Cell{})
			p.on(n, "without-secret-fails", kindNoPull, Cell{})
		}
	}
}

func (p *planner) guard() {
	for _, n := range p.in.Nodes {
		if !n.New {
			p.on(n, "pods-unchanged", kindGuard, Cell{})
		}
	}
}

// archs lists the architectures of nodes.
func archs(nodes []Node) []string {
	var out []string
	for _, n := range nodes {
		if !slices.Contains(out, n.Arch) {
			out = append(out, n.Arch)
		}
	}
	slices.Sort(out)
	return out
}
