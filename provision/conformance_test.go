package provision

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/proposal"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
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
	if len(c.Before) != 1 || !slices.Equal(c.NewNodes, []string{"host-4"}) || !slices.Contains(c.DaemonSets, "kube-system/kube-proxy") {
		t.Errorf("before %v, new %v, DaemonSets %q", c.Before, c.NewNodes, c.DaemonSets)
	}
	s.wantAlone(before, "host-4")
}

// What is wrong with the command is told before any host is asked.
func TestConformance_SaysWhatIsUnknownBeforeItConnects(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{})
	for want, o := range map[string]ConformanceOptions{
		`there is no scenario "old"`:                 {Options: s.options(), Scenario: "old"},
		`scenario new-deployment has no check "S55"`: {Options: s.options(), Checks: []string{"S5", "S55"}},
		`scenario scale-out has no check "N1"`:       {Options: s.options(), Scenario: "scale-out", Checks: []string{"N1"}},
		`scenario scale-out needs the nodes`:         {Options: s.options(), Scenario: "scale-out"},
		`new-deployment proves every node`:           {Options: s.options(), Nodes: []string{"host-1"}},
	} {
		if _, err := Conformance(context.Background(), o); !errors.Is(err, conformance.ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := ConformanceSelfTest(context.Background(), o, nil); !errors.Is(err, conformance.ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("self-test: %v, want %s", err, want)
		}
	}
	if n := s.connections()["host-1"]; n != 0 {
		t.Errorf("%d connections and commands", n)
	}
}

// A run that is stopped while it asks the hosts has not looked for what they would get, and says nothing about it.
func TestPreflight_StoppedSaysNothingOfTheBundle(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	checks, err := Preflight(ctx, s.options())
	if !errors.Is(err, context.Canceled) || len(checks) == 0 {
		t.Fatalf("%v, %v", checks, err)
	}
	for _, c := range checks {
		if c.Name == "bundle-version" && c.Status != report.Unknown {
			t.Errorf("%+v", c)
		}
	}
}

// What a host that does not answer has left of a run is not known: that nothing was found says nothing of it.
func TestConformanceClean_TellsOfHostsThatWereNotLookedAt(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	mustUp(t, s)
	s.fleet.Hosts[1].Refuse()
	ids, err := ConformanceClean(context.Background(), s.options())
	if len(ids) > 0 || err == nil || !strings.Contains(err.Error(), "host-2 was not looked at, and may have something of a run: ") || strings.Contains(err.Error(), "host-1") {
		t.Errorf("%v, %v", ids, err)
	}
}
