package report

import (
	"fmt"
	"slices"
	"strings"
)

// heatmap shows the pairs of nodes for one protocol: the worst verdict of the cells from the row's node to the column's.
type heatmap struct {
	Protocol string
	Checks   string // which checks it is made of: "S4, S5"
	Counts   VerdictCounts
	Columns  []mapNode
	Rows     []mapRow
}

type mapNode struct {
	Name, Arch string
	Edge       bool // the first one of another architecture
	Out        string
}

type mapRow struct {
	mapNode
	Squares []square
}

type square struct {
	verdictText
	Planned bool
	Edge    bool
	Archs   string
	Link    string // to the failure
	Title   string
}

// pair is a client's node and a server's.
type pair struct{ src, dst string }

// heatmaps makes one map per protocol: the first element of the names of cells between two nodes. The old nodes that are in no pair of a
// sample are counted.
func (b *pageBuilder) heatmaps() (maps []heatmap, left int) {
	var protocols []string
	pairs := map[string]map[pair][]int{} // cells by index
	paired := map[string]bool{}          // nodes
	for i, c := range b.run.Cells {
		if !c.isPair() {
			continue
		}
		protocol, _, _ := strings.Cut(c.Name, "/")
		if pairs[protocol] == nil {
			protocols = append(protocols, protocol)
			pairs[protocol] = map[pair][]int{}
		}
		at := pair{c.Src.Node, c.Dst.Node}
		pairs[protocol][at] = append(pairs[protocol][at], i)
		paired[at.src], paired[at.dst] = true, true
	}
	notDrawn := map[string]bool{}
	for _, n := range b.run.Nodes {
		if b.run.Coverage.Sampled && !n.New && n.OutOf == "" && !paired[n.Name] {
			notDrawn[n.Name] = true
		}
	}
	for _, protocol := range protocols {
		here := map[string]bool{}
		for at := range pairs[protocol] {
			here[at.src], here[at.dst] = true, true
		}
		// A node that is in no pair at all stands in every map, so that its absence is seen; those that a sample left out are too many.
		axis := b.axis(func(node string) bool { return here[node] || !paired[node] && !notDrawn[node] })
		maps = append(maps, b.heatmap(protocol, axis, pairs[protocol]))
	}
	return maps, len(notDrawn)
}

// isPair tells that both ends of a cell are nodes.
func (c CellResult) isPair() bool {
	return c.Src != nil && c.Dst != nil && c.Src.Node != "" && c.Dst.Node != ""
}

func (b *pageBuilder) heatmap(protocol string, axis []mapNode, pairs map[pair][]int) heatmap {
	m := heatmap{Protocol: protocol, Columns: axis}
	var all []int
	for _, row := range axis {
		r := mapRow{mapNode: row}
		for _, column := range axis {
			cells := pairs[pair{row.Name, column.Name}]
			all = append(all, cells...)
			r.Squares = append(r.Squares, b.square(row, column, cells))
		}
		m.Rows = append(m.Rows, r)
	}
	slices.Sort(all)
	m.Checks, m.Counts = b.sum(all)
	return m
}

// axis lists the nodes that are wanted as rows and columns of a map, those of one architecture side by side.
func (b *pageBuilder) axis(wanted func(name string) bool) []mapNode {
	var nodes []mapNode
	known := map[string]bool{}
	add := func(n mapNode) {
		if !known[n.Name] && wanted(n.Name) {
			known[n.Name] = true
			nodes = append(nodes, n)
		}
	}
	for _, n := range b.run.Nodes {
		add(mapNode{Name: n.Name, Arch: n.Arch, Out: n.OutOf})
	}
	for _, c := range b.run.Cells {
		if c.isPair() {
			add(mapNode{Name: c.Src.Node, Arch: c.Src.Arch})
			add(mapNode{Name: c.Dst.Node, Arch: c.Dst.Arch})
		}
	}
	slices.SortStableFunc(nodes, func(a, b mapNode) int { return -strings.Compare(a.Arch, b.Arch) })
	for i := range nodes {
		nodes[i].Edge = i > 0 && nodes[i].Arch != nodes[i-1].Arch
	}
	return nodes
}

func (b *pageBuilder) square(row, column mapNode, cells []int) square {
	s := square{Edge: column.Edge, Archs: strings.TrimSpace(row.Arch + " " + column.Arch), Planned: len(cells) > 0}
	if !s.Planned {
		return s
	}
	worst := b.run.Cells[cells[0]].Verdict
	for _, i := range cells {
		v := b.run.Cells[i].Verdict
		if gravity(v) > gravity(worst) {
			worst, s.Link = v, ""
		}
		if v == worst && s.Link == "" {
			s.Link = b.linkOf[i]
		}
	}
	_, n := b.sum(cells)
	s.verdictText, s.Title = worst.text(), fmt.Sprintf("%s → %s: %s", row.Name, column.Name, n)
	return s
}

// sum names the checks of cells and counts their verdicts.
func (b *pageBuilder) sum(cells []int) (checks string, n VerdictCounts) {
	var ids []string
	var results []CellResult
	for _, i := range cells {
		c := b.run.Cells[i]
		results = append(results, c)
		if !slices.Contains(ids, c.Check) {
			ids = append(ids, c.Check)
		}
	}
	return strings.Join(ids, ", "), CountVerdicts(results)
}
