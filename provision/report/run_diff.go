package report

import (
	"bytes"
	"fmt"
	"io"
)

// RunDiff is what changed from one run to another. Cells are the same when they have the same ID.
type RunDiff struct {
	Before RunSummary `json:"before"`
	After  RunSummary `json:"after"`

	// Worse has also the cells that were tried before and are not any more: nothing is proven by not trying.
	Worse       []CellChange `json:"worse"`
	Better      []CellChange `json:"better"`
	Appeared    []CellChange `json:"appeared"`
	Disappeared []CellChange `json:"disappeared"`
	// Same counts the cells that ended as before, StillBad those of them that did not pass.
	Same     int `json:"same"`
	StillBad int `json:"stillBad"`

	NodesAppeared    []string     `json:"nodesAppeared"`
	NodesDisappeared []string     `json:"nodesDisappeared"`
	NodesChanged     []NodeChange `json:"nodesChanged"`
}

// RunSummary names a run.
type RunSummary struct {
	ID       string        `json:"id"`
	Cluster  string        `json:"cluster"`
	Scenario string        `json:"scenario"`
	Tool     string        `json:"tool"`
	Verdict  Verdict       `json:"verdict"`
	Counts   VerdictCounts `json:"counts"`
	Error    string        `json:"error,omitempty"`
	Hint     string        `json:"hint,omitempty"` // what the user can do about the error
}

// CellChange is a cell whose verdict is another one. From is empty for a cell that appeared, To for one that disappeared.
type CellChange struct {
	Cell   string  `json:"cell"`
	From   Verdict `json:"from,omitempty"`
	To     Verdict `json:"to,omitempty"`
	Reason string  `json:"reason,omitempty"` // of the newer verdict
}

// NodeChange is a fact of a node that is another one.
type NodeChange struct {
	Node string `json:"node"`
	Fact string `json:"fact"` // "kernel", "page size", "arch" …
	From string `json:"from"`
	To   string `json:"to"`
}

// Summary names the run and how it ended.
func (r ConformanceRun) Summary() RunSummary {
	return RunSummary{
		ID: r.ID, Cluster: r.Cluster, Scenario: r.Scenario, Tool: r.Tool,
		Verdict: r.Verdict(), Counts: CountVerdicts(r.Cells), Error: r.Error, Hint: r.Hint,
	}
}

// DiffRuns tells what changed from a to b.
func DiffRuns(a, b ConformanceRun) RunDiff {
	d := RunDiff{
		Before: a.Summary(), After: b.Summary(),
		Worse: []CellChange{}, Better: []CellChange{}, Appeared: []CellChange{}, Disappeared: []CellChange{},
		NodesAppeared: []string{}, NodesDisappeared: []string{}, NodesChanged: []NodeChange{},
	}
	d.cells(a, b)
	d.nodes(a, b)
	return d
}

func (d *RunDiff) cells(a, b ConformanceRun) {
	before, beforeIDs := gravest(a.Cells)
	after, afterIDs := gravest(b.Cells)
	for _, id := range beforeIDs {
		was, is := before[id], after[id]
		change := CellChange{Cell: id, From: was.Verdict, To: is.Verdict, Reason: is.Reason}
		switch {
		case is.Verdict == "":
			d.Disappeared = append(d.Disappeared, change)
		case is.Verdict == was.Verdict:
			d.Same++
			if is.Verdict != Passed {
				d.StillBad++
			}
		case is.Verdict == Blocked || gravity(is.Verdict) > gravity(was.Verdict):
			d.Worse = append(d.Worse, change)
		default:
			d.Better = append(d.Better, change)
		}
	}
	for _, id := range afterIDs {
		if _, known := before[id]; !known {
			d.Appeared = append(d.Appeared, CellChange{Cell: id, To: after[id].Verdict, Reason: after[id].Reason})
		}
	}
}

// gravest returns the cells by ID, and the IDs in the order of the run. Should an ID occur twice, its gravest cell counts.
func gravest(cells []CellResult) (map[string]CellResult, []string) {
	byID := map[string]CellResult{}
	var ids []string
	for _, c := range cells {
		id := c.ID()
		have, known := byID[id]
		if !known {
			ids = append(ids, id)
		}
		if !known || gravity(c.Verdict) > gravity(have.Verdict) {
			byID[id] = c
		}
	}
	return byID, ids
}

func (d *RunDiff) nodes(a, b ConformanceRun) {
	before, after := map[string]RunNode{}, map[string]RunNode{}
	for _, n := range a.Nodes {
		before[n.Name] = n
	}
	for _, n := range b.Nodes {
		after[n.Name] = n
		was, known := before[n.Name]
		if !known {
			d.NodesAppeared = append(d.NodesAppeared, n.Name)
			continue
		}
		is := n.facts()
		for i, fact := range was.facts() {
			if fact != is[i] {
				d.NodesChanged = append(d.NodesChanged, NodeChange{n.Name, fact.name, fact.value, is[i].value})
			}
		}
	}
	for _, n := range a.Nodes {
		if _, there := after[n.Name]; !there {
			d.NodesDisappeared = append(d.NodesDisappeared, n.Name)
		}
	}
}

type fact struct{ name, value string }

// facts are what is worth comparing of a node, always in the same order.
func (n RunNode) facts() []fact {
	return []fact{
		{"arch", n.Arch}, {"role", n.Role}, {"kernel", n.Kernel}, {"page size", n.pageSize()},
		{"CPU", n.CPU}, {"address", n.Address}, {"left out", n.OutOf},
	}
}

func (n RunNode) pageSize() string {
	if n.PageKiB == 0 {
		return ""
	}
	return fmt.Sprintf("%d KiB", n.PageKiB)
}

// WriteRunDiff writes what changed for people.
func WriteRunDiff(w io.Writer, d RunDiff, color bool) error {
	var b bytes.Buffer
	runs := NewTable("", "RUN", "CLUSTER", "SCENARIO", "VERDICT", "CELLS")
	for _, r := range []struct {
		which string
		RunSummary
	}{{"before", d.Before}, {"after", d.After}} {
		runs.Row(C(r.which), C(r.ID), C(r.Cluster), C(r.Scenario), Cell{string(r.Verdict), r.Verdict.Style()}, C(r.Counts.String()))
		note(runs, "ended early: ", r.Error)
		note(runs, "hint: ", r.Hint)
	}
	tables := []*Table{
		runs,
		changeTable("WORSE", d.Worse), changeTable("BETTER", d.Better),
		changeTable("NEW CELL", d.Appeared), changeTable("GONE", d.Disappeared),
		d.nodeTable(),
	}
	for i, t := range tables {
		if i > 0 && t.Len() > 0 {
			b.WriteByte('\n')
		}
		if err := t.Write(&b, color); err != nil {
			return err
		}
	}
	fmt.Fprintf(&b, "\n%s\n", d)
	_, err := w.Write(b.Bytes())
	return err
}

// String sums the difference up: "2 cells worse, 1 better; 57 as before, 9 of them not passed".
func (d RunDiff) String() string {
	return fmt.Sprintf("%s worse, %d better, %d new, %d gone; %d as before, %d of them not passed",
		Count(len(d.Worse), "cell"), len(d.Better), len(d.Appeared), len(d.Disappeared), d.Same, d.StillBad)
}

func changeTable(head string, changes []CellChange) *Table {
	t := NewTable("CHANGE", head)
	for _, c := range changes {
		v := c.To
		text := string(c.From) + " → " + string(c.To)
		switch {
		case c.From == "":
			text = string(c.To)
		case c.To == "":
			text, v = string(c.From), c.From
		}
		t.Row(Cell{text, v.Style()}, C(c.Cell))
		t.Note(c.Reason)
	}
	return t
}

func (d RunDiff) nodeTable() *Table {
	t := NewTable("NODE", "FACT", "BEFORE", "AFTER")
	for _, name := range d.NodesAppeared {
		t.Row(C(name), C("node"), C("–"), C("there"))
	}
	for _, name := range d.NodesDisappeared {
		t.Row(C(name), C("node"), C("there"), C("–"))
	}
	for _, c := range d.NodesChanged {
		t.Row(C(c.Node), C(c.Fact), C(orElse(c.From, "–")), C(orElse(c.To, "–")))
	}
	return t
}
