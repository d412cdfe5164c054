package plan

import (
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestNothingToJoin_SaysWhy(t *testing.T) {
	no := false
	c := &inventory.Cluster{Spec: inventory.Spec{Hosts: []inventory.Host{{Name: "a"}, {Name: "b"}, {Name: "theirs", Managed: &no}}}}
	ready, away := facts.Node{Name: "a", Ready: true}, facts.Node{Name: "b"}
	theirs := facts.Node{Name: "theirs"}
	const reinstalled = "; not Ready: b; a host that was reinstalled joins again with hybridctl scale-out --replace b"
	for name, test := range map[string]struct {
		nodes []facts.Node
		asked []string
		want  string
	}{
		"all are nodes":           {[]facts.Node{ready, theirs}, nil, "every host of the inventory is a node already"},
		"that one is":             {[]facts.Node{ready, theirs}, []string{"a"}, "a: in the cluster already"},
		"one is away":             {[]facts.Node{ready, away, theirs}, nil, "every host of the inventory is a node already" + reinstalled},
		"another is away":         {[]facts.Node{ready, away, theirs}, []string{"a"}, "a: in the cluster already"},
		"a host we do not manage": {[]facts.Node{ready}, []string{"theirs"}, "theirs: the cluster has no such node, and hybridctl does not manage the host (managed: false) and joins none that it may not set up"},
	} {
		if got := NothingToJoin(c, test.nodes, test.asked); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestNotes_OfThoseThatLeave(t *testing.T) {
	c := &inventory.Cluster{Path: "lab.yaml"}
	c.Spec.CNI.Provider = inventory.CNIFlannel
	leaving := []Leaver{{Host: inventory.Host{Name: "a"}, Node: facts.Node{MachineID: "1"}}, {Host: inventory.Host{Name: "b"}, Node: facts.Node{MachineID: "2"}}}
	leaving[1].Member.ID = 7
	deleted := []report.Change{{Step: string(HostID("b", Node)), Action: report.Deleted}, {Step: string(HostID("a", Node)), Action: report.Failed}}
	stays := "b is still in lab.yaml: take it out there, or the next up or scale-out joins it again"
	for name, test := range map[string]struct{ got, want []string }{
		"before":         {ReplacedNotes(leaving), []string{"a: its old node is deleted (machine-id 1)", "b: its old node is deleted (machine-id 2), and its old etcd member removed"}},
		"after":          {ForgottenNotes(leaving, deleted), []string{"the old node b was deleted (machine-id 2): its host was reinstalled"}},
		"left":           {LeftNotes(c, leaving, []string{"a"}, LeavingOptions{}), []string{stays}},
		"left by no one": {LeftNotes(c, leaving, []string{"a"}, LeavingOptions{Path: c.Path}), nil},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("%s: %q, want %q", name, test.got, test.want)
		}
	}
	c.Spec.CNI.Provider = inventory.CNIManifest
	if got := LeftNotes(c, leaving, []string{"a"}, LeavingOptions{Path: c.Path}); len(got) != 1 || LeftNotes(c, leaving, nil, LeavingOptions{Offline: true, Path: c.Path}) != nil {
		t.Errorf("another pod network: %q", got)
	}
}
