package report

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/golden"
)

// laterRun is mixedRun some days on: the failure is mended, a service fails, a node has another kernel and one is gone.
func laterRun() ConformanceRun {
	r := mixedRun()
	r.ID, r.Tool = "d80b2c44", "v0.9.1"
	r.Nodes = append(slices.Clone(r.Nodes[:3]), RunNode{Name: "arm-3", Arch: "arm64", Role: "worker", Kernel: "6.12.34+rpt-rpi-2712", PageKiB: 16})
	r.Nodes[2].Kernel, r.Nodes[2].PageKiB = "6.12.38+rpt-rpi-v8", 4
	var cells []CellResult
	for _, c := range r.Cells {
		switch {
		case c.Check == "S7" && c.Dst.Node == "arm-2": // that node is gone
			continue
		case c.Verdict == Failing:
			c.Verdict, c.Reason = Passed, ""
		case c.Check == "S7" && c.Dst.Node == "arm-1":
			c.Verdict, c.Reason = Failing, "connection refused"
		case c.Check == "S8" && c.Dst.Node == "x86-1":
			c = blocked(c, "the node is cordoned", "")
		case c.Check == "R" && c.Dst.Node == "x86-1":
			c.Verdict, c.Reason = Passed, ""
		}
		cells = append(cells, c)
	}
	r.Cells = append(cells, CellResult{Check: "S7", Name: "tcp/nodePort", Src: &Endpoint{Where: "operator"}, Dst: &Endpoint{Node: "arm-3", Arch: "arm64"}, Verdict: Passed})
	return r
}

func TestDiffRuns(t *testing.T) {
	for name, test := range map[string]struct {
		a, b  ConformanceRun
		color bool
	}{
		"diff.txt":         {mixedRun(), laterRun(), false},
		"diff-color.txt":   {mixedRun(), laterRun(), true},
		"diff-none.txt":    {mixedRun(), mixedRun(), false},
		"diff-aborted.txt": {ConformanceRun{ID: "a", Cluster: "lab"}, ConformanceRun{ID: "b", Cluster: "lab", Error: "no API server"}, false},
	} {
		var b bytes.Buffer
		if err := WriteRunDiff(&b, DiffRuns(test.a, test.b), test.color); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name, b.String())
	}
}

func TestDiffRuns_WhatIsWorse(t *testing.T) {
	one := func(v Verdict) ConformanceRun {
		return ConformanceRun{Cells: []CellResult{{Check: "S5", Name: "tcp", Verdict: v}}}
	}
	for _, test := range []struct {
		from, to      Verdict
		worse, better int
	}{
		{Passed, Passed, 0, 0}, {Passed, Flaky, 1, 0}, {Passed, Failing, 1, 0}, {Passed, Blocked, 1, 0},
		{Flaky, Passed, 0, 1}, {Flaky, Failing, 1, 0}, {Flaky, Blocked, 1, 0},
		{Failing, Passed, 0, 1}, {Failing, Flaky, 0, 1}, {Failing, Blocked, 1, 0},
		{Blocked, Passed, 0, 1}, {Blocked, Flaky, 1, 0}, {Blocked, Failing, 1, 0},
	} {
		d := DiffRuns(one(test.from), one(test.to))
		if len(d.Worse) != test.worse || len(d.Better) != test.better {
			t.Errorf("%s → %s: %d worse, %d better", test.from, test.to, len(d.Worse), len(d.Better))
		}
	}
}

func TestDiffRuns_OfOneIDTheGravestCounts(t *testing.T) {
	a := ConformanceRun{Cells: []CellResult{{Check: "S5", Name: "tcp", Verdict: Passed}}}
	b := ConformanceRun{Cells: []CellResult{
		{Check: "S5", Name: "tcp", Verdict: Passed}, {Check: "S5", Name: "tcp", Verdict: Failing, Reason: "once"}, {Check: "S5", Name: "tcp", Verdict: Passed},
	}}
	want := []CellChange{{Cell: "S5/tcp", From: Passed, To: Failing, Reason: "once"}}
	if d := cmp.Diff(want, DiffRuns(a, b).Worse); d != "" {
		t.Error(d)
	}
}
