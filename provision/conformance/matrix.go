package conformance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Node is a node as the matrix looks at it.
type Node struct {
	report.RunNode
	PodCIDR string
	// Addresses are where it may be reached, the one that Kubernetes knows first; SSHPort is where SSH is asked for.
	Addresses []string
	SSHPort   int
	Ready     bool
	// NoMachine is why nothing can be asked on its host; empty = it can.
	NoMachine string
	// NoProbe is why it cannot run a probe; empty = it can.
	NoProbe string
}

// likeness is the same for nodes that are alike for the matrix: a page size is a difference as an architecture is.
func (n Node) likeness() string { return fmt.Sprintf("%s/%dK", n.Arch, n.PageKiB) }

// Cell is one thing to find out. What kinds of cells have in common stands in kinds, where cells of a kind differ in its fields:
// its name is for people, and nothing reads it.
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
	arch    string // that a pod is directed to
	storage string // name of the StorageClass
}

// Input is what the matrix is planned from.
type Input struct {
	Scenario  Scenario
	Nodes     []Node // all of the cluster
	Checks    []string
	Quick     bool
	MaxPairs  int
	Seed      uint64
	Vantages  []Vantage
	Images    func(platform.Arch) bool // for which the probe's own images can be made; nil = for none
	Registry  bool
	NodesKnow bool // the registry's login
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
	for _, c := range checksOf(in.Scenario) {
		if len(in.Checks) > 0 && !slices.Contains(in.Checks, c.id) {
			continue
		}
		p.id = c.id
		c.plan(p)
	}
	if len(p.m.Cells) == 0 {
		return Matrix{}, fmt.Errorf("%w: there is nothing to check: no cell was planned for %s on %s", ErrUsage, in.Scenario, report.Count(len(in.Nodes), "node"))
	}
	return p.m, nil
}

// Known reports, with ErrUsage, a scenario that there is none of, or a check that it does not have. Nothing is asked.
func Known(s Scenario, checks []string) error {
	if !slices.Contains(Scenarios(), s) {
		return fmt.Errorf("%w: there is no scenario %q (new-deployment, scale-out)", ErrUsage, s)
	}
	for _, id := range checks {
		if !slices.ContainsFunc(ChecksOf(s), func(c report.RunCheck) bool { return c.ID == id }) {
			var ids []string
			for _, c := range ChecksOf(s) {
				ids = append(ids, c.ID)
			}
			return fmt.Errorf("%w: scenario %s has no check %q (%s)", ErrUsage, s, id, strings.Join(ids, ", "))
		}
	}
	return nil
}

func (in Input) check() error {
	if err := Known(in.Scenario, in.Checks); err != nil {
		return err
	}
	if len(in.Nodes) == 0 {
		return fmt.Errorf("%w: the cluster has no nodes", ErrUsage)
	}
	isNew := func(n Node) bool { return n.New }
	if in.Scenario == ScaleOut && !slices.ContainsFunc(in.Nodes, isNew) {
		return KnownNodes(in.Scenario, nil)
	}
	return nil
}

// KnownNodes reports, with ErrUsage, nodes that a scenario does not ask for, or lacks. Nothing is asked.
func KnownNodes(s Scenario, added []string) error {
	switch {
	case s == ScaleOut && len(added) == 0:
		return hint.With(fmt.Errorf("%w: scenario scale-out needs the nodes that were added", ErrUsage), "name them with --nodes")
	case s != ScaleOut && len(added) > 0:
		return hint.With(fmt.Errorf("%w: scenario %s proves every node, and was given %s", ErrUsage, s, strings.Join(added, ", ")),
			"add --scenario scale-out, or take --nodes out")
	}
	return nil
}

type planner struct {
	in    Input
	id    string // of the check that is planned
	links []link // the ordered pairs of different nodes that are tried
	m     Matrix
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
	if c.Blocked == "" {
		c.Blocked = kinds[k].needs.missing(n)
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
