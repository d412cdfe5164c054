package provision

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/proposal"
)

// Whether an old node was Ready is what the survey of a scale-out saw, not what is there once hosts have joined. What is proven is of the new
// nodes, and touches no other.
func TestScaleOut_ProofIsOfTheNewNodesAsTheOthersWereBefore(t *testing.T) {
	s := grown(t, 4, 2)
	before := s.connections()
	r, err := begin(context.Background(), s.options().withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer r.end()
	g, err := r.desk.Growth(r.reading, proposal.GrowthOptions{Hosts: []string{"host-4"}})
	if err != nil {
		t.Fatal(err)
	}
	s.api.SetReady("host-1", false)
	o := r.proofOptions(proof.Wish{Scenario: "scale-out", Nodes: []string{"host-4"}}, g.Seen)
	o.PodsBefore = []kube.Pod{{Name: "old"}}
	c := o.Conformance(context.Background())
	if len(c.NodesBefore) != 2 || !c.NodesBefore[0].Ready || !c.NodesBefore[1].Ready {
		t.Errorf("%+v", c.NodesBefore)
	}
	if len(c.Machines) != 1 || c.Machines["host-4"] == nil || !strings.Contains(c.NoMachine["host-1"], "was a node before") {
		t.Errorf("machines %v, none for %v", c.Machines, c.NoMachine)
	}
	if len(c.Before) != 1 || !slices.Equal(c.NewNodes, []string{"host-4"}) {
		t.Errorf("before %v, new %v", c.Before, c.NewNodes)
	}
	s.wantAlone(before, "host-4")
}
