package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// many are 40 nodes of three classes.
func many() []Node {
	var nodes []Node
	for i := range 40 {
		switch {
		case i < 20:
			nodes = append(nodes, planNode(fmt.Sprintf("x86-%02d", i), "amd64"))
		case i < 35:
			nodes = append(nodes, planNode(fmt.Sprintf("arm-%02d", i), "arm64"))
		default:
			nodes = append(nodes, planNode(fmt.Sprintf("big-%02d", i), "arm64", func(n *Node) { n.PageKiB = 64 }))
		}
	}
	return nodes
}

func linksOf(t *testing.T, in Input) ([]link, Matrix) {
	t.Helper()
	m, err := Plan(in)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Node{}
	for _, n := range in.Nodes {
		byName[n.Name] = n
	}
	var links []link
	for _, c := range m.Cells {
		if c.kind == kindPodIP && c.Name == "tcp/1400/podIP" {
			links = append(links, link{byName[c.Src], byName[c.Dst]})
		}
	}
	return links, m
}

func TestPlan_Sampling(t *testing.T) {
	in := planInput(many()...)
	in.MaxPairs, in.Checks = 90, []string{"S5"}
	links, m := linksOf(t, in)
	if c := m.Coverage; !c.Sampled || c.Of != 40*39 || c.Pairs != len(links) || c.Seed != 1 || c.Pairs < 90 || c.Pairs > 40*3*2 {
		t.Errorf("coverage: %+v with %d links", c, len(links))
	}
	classes := map[string]bool{}
	met := map[string]bool{}
	for _, l := range links {
		met["client "+l.src.Name+" "+l.dst.likeness()], met["server "+l.dst.Name+" "+l.src.likeness()] = true, true
	}
	for _, n := range in.Nodes {
		classes[n.likeness()] = true
	}
	if len(classes) != 3 {
		t.Fatalf("classes: %v", classes)
	}
	for _, n := range in.Nodes {
		for class := range classes {
			if !met["client "+n.Name+" "+class] || !met["server "+n.Name+" "+class] {
				t.Errorf("%s does not meet %s both as client and as server", n.Name, class)
			}
		}
	}
	same, _ := linksOf(t, in)
	if !slices.Equal(names(links), names(same)) {
		t.Error("the same seed draws another sample")
	}
	in.Seed = 2
	if other, m := linksOf(t, in); slices.Equal(names(links), names(other)) || m.Coverage.Seed != 2 {
		t.Error("another seed draws the same sample")
	}
	in.MaxPairs = 500
	if links, m := linksOf(t, in); len(links) != 500 || m.Coverage.Pairs != 500 {
		t.Errorf("with room for 500 pairs: %+v", m.Coverage)
	}
	in.MaxPairs = 40 * 39
	if links, m := linksOf(t, in); len(links) != 40*39 || m.Coverage.Sampled {
		t.Errorf("with room for all: %+v", m.Coverage)
	}
}

// After a scale-out it is the new nodes that meet every class, old ones that can be tried, both ways; no others cost anything.
func TestPlan_SamplingOfAScaleOut(t *testing.T) {
	in := planInput(many()...)
	in.Scenario, in.MaxPairs, in.Checks = ScaleOut, 10, []string{"S5"}
	in.Nodes[39].New = true
	for i := range 39 {
		in.Nodes[i].Ready = i%5 == 0
	}
	in.Nodes[36].NoProbe = "no image"
	links, m := linksOf(t, in)
	if c := m.Coverage; c.Of != 2*39 || c.Pairs != 10 || len(links) != 10 || !c.Sampled || c.Seed != 1 {
		t.Errorf("coverage: %+v with %d links", m.Coverage, len(links))
	}
	met, partners := map[string]bool{}, map[string]bool{}
	for _, l := range links {
		old := l.src
		if l.src.New {
			old = l.dst
		}
		if !l.src.New && !l.dst.New || !old.Ready || old.NoProbe != "" {
			t.Errorf("%s > %s proves nothing", l.src.Name, l.dst.Name)
		}
		partners[old.Name] = true
		met[l.src.Name+l.dst.likeness()], met[l.src.likeness()+l.dst.Name] = true, true
	}
	for _, class := range []string{"amd64/4K", "arm64/4K", "arm64/64K"} {
		if new := in.Nodes[39].Name; !met[new+class] || !met[class+new] {
			t.Errorf("%s does not meet %s", new, class)
		}
	}
	if len(partners) != 5 {
		t.Errorf("10 links concern %d old nodes", len(partners))
	}
	if same, _ := linksOf(t, in); !slices.Equal(names(links), names(same)) {
		t.Error("the same seed draws another sample")
	}
	in.Seed = 2
	if other, _ := linksOf(t, in); slices.Equal(names(links), names(other)) {
		t.Error("another seed draws the same sample")
	}
}

// A class of which no node can be tried is met even so: its cells say why they are blocked.
func TestPlan_SamplingOfAScaleOut_AClassThatIsAway(t *testing.T) {
	in := planInput(many()...)
	in.Scenario, in.MaxPairs, in.Checks = ScaleOut, 10, []string{"S5"}
	in.Nodes[0].New = true
	for i := range in.Nodes[35:] {
		in.Nodes[35+i].Ready = false
	}
	blocked := 0
	_, m := linksOf(t, in)
	for _, c := range m.Cells {
		if strings.Contains(c.Src+c.Dst, "big-") && c.Name == "tcp/1400/podIP" && strings.HasSuffix(c.Blocked, "is not Ready") {
			blocked++
		}
	}
	if blocked != 2 {
		t.Errorf("%d cells are blocked", blocked)
	}
}

func names(links []link) []string {
	var out []string
	for _, l := range links {
		out = append(out, l.src.Name+">"+l.dst.Name)
	}
	return out
}

// growing is a cluster of so many old nodes, of three classes, and one new one. Nothing is asked on old hosts.
func growing(old int) Input {
	var nodes []Node
	for i := range old {
		nodes = append(nodes, planNode(fmt.Sprintf("old-%04d", i), []string{"amd64", "arm64"}[i%2], noMachine, func(n *Node) {
			if i%10 == 9 {
				n.PageKiB = 64
			}
		}))
	}
	in := planInput(append(nodes, planNode("x-new", "arm64", isNew))...)
	in.Scenario = ScaleOut
	in.Storage = []StorageClass{{Name: "ceph-rbd", Driver: RBD, Grows: true}}
	return in
}

// cost is what a run makes and tries, but for check G, which has a cell for each old node and asks once for all.
type cost struct{ pairs, cells, volumes, pods, services int }

func costOf(t *testing.T, in Input) cost {
	t.Helper()
	m, err := Plan(in)
	if err != nil {
		t.Fatal(err)
	}
	c := cost{pairs: m.Coverage.Pairs}
	for _, cell := range m.Cells {
		switch {
		case cell.Check == "S9":
			c.volumes++
		case cell.kind != kindGuard:
			c.cells++
		}
	}
	d := &draft{roster: in.Nodes, cells: m.Cells, registry: &Registry{}}
	for _, o := range d.wanted(nil) {
		if o["kind"] == "Pod" {
			c.pods++
		} else {
			c.services++
		}
	}
	return c
}

// What one node more costs does not depend on how many there are.
func TestPlan_CostOfOneMore(t *testing.T) {
	for seed := range uint64(3) {
		small, large := growing(100), growing(1000)
		small.Seed, large.Seed = seed, seed
		a, b := costOf(t, small), costOf(t, large)
		if a != b || a.pairs != DefaultMaxPairs {
			t.Errorf("seed %d: %+v on 100 nodes, %+v on 1000", seed, a, b)
		}
	}
	if c := costOf(t, growing(10)); c.pairs != 20 {
		t.Errorf("on 10 nodes: %+v", c)
	}
}
