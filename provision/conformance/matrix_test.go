package conformance

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// matrixText is a matrix for people who review goldens.
func matrixText(m Matrix) []byte {
	var b bytes.Buffer
	for _, c := range m.Cells {
		line := fmt.Sprintf("%-3s %-42s %-15s", c.Check, c.Name, c.Class)
		if c.Src != "" || c.Dst != "" {
			line += " " + cmp.Or(c.Src, "-") + " > " + cmp.Or(c.Dst, "-")
		}
		if c.Vantage != "" {
			line += " from " + c.Vantage
		}
		if c.Blocked != "" {
			line += " BLOCKED " + c.Blocked
		}
		fmt.Fprintln(&b, strings.TrimRight(line, " "))
	}
	fmt.Fprintf(&b, "%d cells, %d of %d pairs, sampled %v\n", len(m.Cells), m.Coverage.Pairs, m.Coverage.Of, m.Coverage.Sampled)
	return b.Bytes()
}

func planNode(name, arch string, change ...func(*Node)) Node {
	n := Node{RunNode: report.RunNode{Name: name, Arch: arch, PageKiB: 4, Address: "192.0.2.1"}, Ready: true}
	for _, c := range change {
		c(&n)
	}
	return n
}

func isNew(n *Node)       { n.New = true }
func notReadyYet(n *Node) { n.Ready = false }
func noProbe(n *Node)     { n.NoProbe = n.Name + " has no image of the probe" }
func noMachine(n *Node)   { n.NoMachine = "it is not in the inventory" }

// planInput is everything there is for these nodes.
func planInput(nodes ...Node) Input {
	return Input{
		Scenario: NewDeployment, Nodes: nodes, Seed: 1, Images: func(platform.Arch) bool { return true }, Registry: true,
		Vantages: []Vantage{{Name: "operator"}, {Name: "jump", TCPOnly: true}},
	}
}

func TestPlan_Goldens(t *testing.T) {
	arm, x86 := planNode("arm-1", "arm64"), planNode("x86-1", "amd64")
	four := []Node{arm, planNode("arm-2", "arm64"), x86, planNode("x86-2", "amd64")}
	for _, c := range []struct {
		name string
		in   Input
		with func(*Input)
	}{
		{"two.txt", planInput(arm, x86), nil},
		{"four.txt", planInput(four...), func(in *Input) { in.Vantages = in.Vantages[:1] }},
		{"scale-out.txt", planInput(arm, planNode("arm-2", "arm64", isNew), x86), func(in *Input) { in.Scenario = ScaleOut }},
		{"quick.txt", planInput(arm, x86), func(in *Input) { in.Quick = true }},
		{"one.txt", planInput(arm), nil},
		{"not-ready.txt", planInput(planNode("arm-1", "arm64", notReadyYet), x86), nil},
		{"no-machines.txt", planInput(planNode("arm-1", "arm64", noMachine), planNode("x86-1", "amd64", noMachine)), nil},
		{"nothing-else.txt", planInput(arm, x86), func(in *Input) {
			in.Images, in.Registry = nil, false
			in.Vantages = []Vantage{{Name: "jump", Problem: "jump cannot be reached"}}
		}},
		{"volumes.txt", planInput(arm, x86, planNode("x86-2", "amd64")), func(in *Input) {
			in.Checks = []string{"S9"}
			in.Storage = []StorageClass{{Name: "ceph-rbd", Driver: RBD, Without: map[string]string{"x86-2": "ceph-csi is not wanted on x86-2"}}, {Name: "ceph-cephfs", Driver: CephFS, Grows: true}}
		}},
		{"volumes-one.txt", planInput(arm), func(in *Input) {
			in.Checks, in.Storage = []string{"S9"}, []StorageClass{{Name: "ceph-rbd", Driver: RBD, Grows: true}}
		}},
		{"volumes-added.txt", planInput(planNode("arm-1", "arm64", isNew), planNode("x86-1", "amd64", noMachine)), func(in *Input) {
			in.Scenario, in.Checks, in.Storage = ScaleOut, []string{"S9"}, []StorageClass{{Name: "ceph-rbd", Driver: RBD, Grows: true}}
		}},
		{"adopted.txt", planInput(planNode("arm-1", "arm64", isNew), planNode("x86-1", "amd64", noMachine, noProbe), planNode("x86-2", "amd64", noMachine)), func(in *Input) {
			in.Scenario, in.Registry, in.Vantages = ScaleOut, false, in.Vantages[:1]
		}},
		{"nodes-login.txt", planInput(arm, x86), func(in *Input) { in.Checks, in.NodesKnow = []string{"R"}, true }},
		{"some-checks.txt", planInput(arm, x86), func(in *Input) { in.Checks = []string{"S9", "S4"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.with != nil {
				c.with(&c.in)
			}
			m, err := Plan(c.in)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, c.name, matrixText(m))
			wantSane(t, c.in, m)
			again, err := Plan(c.in)
			if err != nil || !bytes.Equal(matrixText(again), matrixText(m)) {
				t.Errorf("the same input gives another matrix: %v", err)
			}
		})
	}
}

// wantSane holds what is true of every matrix.
func wantSane(t *testing.T, in Input, m Matrix) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range m.Cells {
		id := fmt.Sprintln(c.Check, c.Name, c.Class, c.Src, c.Dst, c.Vantage)
		if seen[id] {
			t.Errorf("planned twice: %s", id)
		}
		seen[id] = true
		if c.times < 1 || c.Class == "" || c.Name == "" {
			t.Errorf("%+v", c)
		}
		if kinds[c.kind].try == nil && (c.kind != kindNever || c.Blocked == "") {
			t.Errorf("nothing tries %+v", c)
		}
		for _, name := range []string{c.Src, c.Dst} {
			if name != "" && !slices.ContainsFunc(in.Nodes, func(n Node) bool { return n.Name == name }) {
				t.Errorf("%s is not a node: %+v", name, c)
			}
		}
	}
	for _, check := range ChecksOf(in.Scenario) {
		wanted := (len(in.Checks) == 0 || slices.Contains(in.Checks, check.ID)) && !in.Quick
		if wanted && !slices.ContainsFunc(m.Cells, func(c Cell) bool { return c.Check == check.ID }) {
			t.Errorf("check %s has no cell", check.ID)
		}
	}
}

func TestPlan_Refuses(t *testing.T) {
	arm := planNode("arm-1", "arm64")
	for _, c := range []struct {
		name string
		in   Input
		with func(*Input)
		want string
	}{
		{"unknown scenario", planInput(arm), func(in *Input) { in.Scenario = "upgrade" }, `there is no scenario "upgrade" (new-deployment, scale-out)`},
		{"unknown check", planInput(arm), func(in *Input) { in.Checks = []string{"S5", "S99"} },
			`scenario new-deployment has no check "S99" (N1, N2, D, S3, S4, S5, S6, S7, S8, S9, R)`},
		{"check of the other scenario", planInput(arm), func(in *Input) { in.Checks = []string{"S1"} }, `scenario new-deployment has no check "S1"`},
		{"scale-out without new nodes", planInput(arm), func(in *Input) { in.Scenario = ScaleOut }, "scenario scale-out needs the nodes that were added"},
		{"no nodes", planInput(), nil, "the cluster has no nodes"},
		{"nothing to check", planInput(arm), func(in *Input) { in.Quick, in.Checks = true, []string{"S8"} }, "there is nothing to check"},
		{"no vantage", planInput(arm), func(in *Input) { in.Vantages, in.Checks = nil, []string{"S7"} }, "there is nothing to check"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.with != nil {
				c.with(&c.in)
			}
			m, err := Plan(c.in)
			if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want) || len(m.Cells) > 0 {
				t.Errorf("got %d cells and %v", len(m.Cells), err)
			}
		})
	}
}

// Nonces are new for every attempt of every cell.
func TestNonces(t *testing.T) {
	m, err := Plan(planInput(planNode("arm-1", "arm64"), planNode("arm-2", "arm64"), planNode("x86-1", "amd64")))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, id := range []string{"run-1", "run-2"} {
		o := objects{runID: id}
		for _, c := range m.Cells {
			for _, n := range o.nonces(c) {
				if seen[n] {
					t.Errorf("%s is used twice", n)
				}
				seen[n] = true
			}
		}
	}
}
