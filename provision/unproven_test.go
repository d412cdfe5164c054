package provision

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestScaleOut_GuardIsOfTheRunAndNotOfTheStep(t *testing.T) {
	s := grown(t, 3, 2)
	if _, err := s.scaleOut(func(o *ScaleOutOptions) { o.Guard = true }); !errors.Is(err, ErrRefused) {
		t.Errorf("a guard without a proof: %v", err)
	}
	r, err := s.scaleOut(func(o *ScaleOutOptions) { o.Guard, o.Conformance = true, ConformanceQuick })
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.hosts["host-3"].config, proof.GuardTaint.Key) {
		t.Errorf("kubeadm was told\n%s", s.hosts["host-3"].config)
	}
	// the bundle has no probe: nothing was proven, and the guard stays
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "kubectl taint nodes host-3 hybridctl.dev/not-proven-") || len(s.api.Did) > 0 {
		t.Errorf("notes %q, done %q", r.Notes, s.api.Did)
	}
	if r := mustUp(t, s); r.Plan.Changes() != 0 || len(r.Plan.Notes) > 0 {
		t.Errorf("up plans %d changes, notes %q", r.Plan.Changes(), r.Plan.Notes)
	}
}

func TestScaleOut_GuardThatWasLeftIsToldLater(t *testing.T) {
	s := grown(t, 2, 2)
	n := s.api.AllNodes["host-2"]
	n.Taints, n.Ready = []string{"a=b:NoExecute", proof.GuardTaint.Key + ":NoSchedule"}, false
	s.api.AllNodes["host-2"] = n
	r, err := s.scaleOut(nil)
	if err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "kubectl taint nodes host-2 hybridctl.dev/not-proven-") {
		t.Errorf("error %v, notes %q", err, r.Notes)
	}
	if want := "every host of the inventory is a node already; not Ready: host-2; a host that was reinstalled joins again with hybridctl scale-out --replace host-2"; r.Nothing != want {
		t.Errorf("nothing to do: %q, want %q", r.Nothing, want)
	}
}

// A run that ends between the last step and the end of the wait left all of its steps done.
func TestScaleOut_WaitsForWhatAnEarlierRunDidNotWaitFor(t *testing.T) {
	s := grown(t, 3, 2)
	s.api.Failing = map[string]error{"WaitNodesReady": errors.New("node host-3: not ready")}
	r, err := s.scaleOut(nil)
	if !errors.Is(err, ErrPartial) || !s.hosts["host-3"].member {
		t.Fatalf("%v %+v", err, r.Hosts)
	}
	before := s.connections()
	r, err = s.scaleOut(nil)
	if !errors.Is(err, ErrPartial) || r.Nothing != "" || r.Plan.Changes() > 0 {
		t.Errorf("it is not Ready yet: %v, %q, %d changes", err, r.Nothing, r.Plan.Changes())
	}
	s.wantAlone(before, "host-3")
	s.api.Failing = nil
	if r, err := s.scaleOut(nil); err != nil || r.Nothing != "" {
		t.Errorf("%v, %q", err, r.Nothing)
	}
	before = s.connections()
	if r, err := s.scaleOut(nil); err != nil || r.Nothing == "" {
		t.Errorf("it came to its end: %v, %q", err, r.Nothing)
	}
	s.wantAlone(before)
}

func TestScaleOut_GuardStaysWhenItIsInterrupted(t *testing.T) {
	s := grown(t, 3, 2)
	stop := make(chan struct{})
	r, err := s.scaleOut(func(o *ScaleOutOptions) {
		o.Guard, o.Conformance, o.Stop = true, ConformanceQuick, stop
		o.Progress = sinkFunc(func(e report.Event) {
			if e.Kind == report.Done && e.Step == "join" {
				close(stop)
			}
		})
	})
	if err == nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "stays on host-3") {
		t.Errorf("error %v, notes %q", err, r.Notes)
	}
	// nothing is left to do but the proof, and the bundle has no probe
	r, err = s.scaleOut(func(o *ScaleOutOptions) { o.Guard, o.Conformance = true, ConformanceQuick })
	if err != nil || r.Plan.Changes() > 0 || r.NotProven == "" || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "stays on host-3") || len(s.api.Did) > 0 {
		t.Errorf("error %v, %d changes, not proven %q, notes %q, done %q", err, r.Plan.Changes(), r.NotProven, r.Notes, s.api.Did)
	}
}

// A bundle without the probe proves nothing, which is known beforehand: who asked for a proof by name is refused before anything is done, and
// who did not is told with the plan.
func TestProof_BundleWithoutProbe(t *testing.T) {
	asked := func(o *ProofOptions) { o.Asked = true }
	up := func(s *sim, change func(*ProofOptions)) (plan.Plan, error) {
		var shown plan.Plan
		o := UpOptions{Options: s.options(), Conformance: ConformanceFull}
		o.Ask = func(p plan.Plan) bool { shown = p; return false }
		if change != nil {
			change(&o.Proof)
		}
		_, err := Up(t.Context(), o)
		return shown, err
	}
	s := newSim(t, 2, remotetest.Options{})
	if shown, err := up(s, asked); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), `no image of the probe (component "probe")`) || shown.Steps != nil || s.changed() != 0 {
		t.Errorf("up: %v, asked about %d steps", err, len(shown.Steps))
	}
	if shown, err := up(s, nil); !errors.Is(err, ErrDeclined) || !slices.ContainsFunc(shown.Notes, func(n string) bool { return strings.Contains(n, "nothing is proven") }) {
		t.Errorf("up that was not told: %v, notes %q", err, shown.Notes)
	}
	s = grown(t, 3, 2)
	r, err := s.scaleOut(func(o *ScaleOutOptions) { o.Conformance, o.Proof.Asked = ConformanceQuick, true })
	if !errors.Is(err, ErrBundle) || s.hosts["host-3"].member || s.changed() != 0 || len(r.Changes) > 0 {
		t.Errorf("scale-out: %v, %+v", err, r.Changes)
	}
	if r, err := s.scaleOut(func(o *ScaleOutOptions) { o.Conformance, o.Proof.Asked = ConformanceOff, true }); err != nil || r.NotProven != "" {
		t.Errorf("no proof is wanted: %v, %q", err, r.NotProven)
	}
}

// Hosts that nobody has proven stay those that are to be proven, until a run proves them or is told not to.
func TestScaleOut_WithoutProbeNoHostIsProven(t *testing.T) {
	s := grown(t, 3, 2)
	for range 2 {
		r, err := s.scaleOut(func(o *ScaleOutOptions) { o.Conformance = ConformanceFull })
		if left, uerr := proof.Unproven(s.state); err != nil || r.Nothing != "" || r.NotProven == "" || uerr != nil || !slices.Equal(left, []string{"host-3"}) {
			t.Errorf("%v, nothing to do: %q, not proven: %q, to be proven: %q, %v", err, r.Nothing, r.NotProven, left, uerr)
		}
	}
	if _, err := s.scaleOut(func(o *ScaleOutOptions) { o.Conformance = ConformanceOff }); err != nil {
		t.Error(err)
	}
	if left, err := proof.Unproven(s.state); err != nil || len(left) > 0 {
		t.Errorf("still to be proven: %q, %v", left, err)
	}
}
