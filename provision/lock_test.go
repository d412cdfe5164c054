package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestLock_SecondOperatorIsToldWhoHasIt(t *testing.T) {
	s := grown(t, 3, 2)
	s.api.Holder = "eve@elsewhere"
	_, err := s.scaleOut(nil)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "eve@elsewhere") || !strings.Contains(printed(err), "--break-lock") {
		t.Errorf("error %v", err)
	}
	if s.changed() != 0 || s.api.Holder != "eve@elsewhere" {
		t.Errorf("something was written, or the lock taken: %q", s.api.Holder)
	}
	if _, err := s.scaleOut(func(o *ScaleOutOptions) { o.BreakLock = true }); err != nil {
		t.Fatal(err)
	}
	if s.api.Holder != "" {
		t.Errorf("the lock stays with %q", s.api.Holder)
	}
}

func TestLock_IsGivenBackAfterFailures(t *testing.T) {
	s := grown(t, 3, 2)
	s.hosts["host-3"].fail["kubeadm"] = "no"
	if _, err := s.scaleOut(nil); !errors.Is(err, ErrPartial) {
		t.Errorf("error %v", err)
	}
	if s.api.Holder != "" || s.api.Held != 1 {
		t.Errorf("taken %d times, held by %q", s.api.Held, s.api.Holder)
	}
}

// TestLock_LostEndsTheRun: whoever broke the lock believes that this run is gone.
func TestLock_LostEndsTheRun(t *testing.T) {
	s := grown(t, 3, 2)
	gate := make(chan struct{})
	s.hosts["host-3"].gate["apply"] = gate
	_, err := s.scaleOut(func(o *ScaleOutOptions) {
		o.hooks.leaseTTL = 2 * time.Second
		o.Progress = sinkFunc(func(e report.Event) {
			if e.Kind == report.Started && e.Step == "os" {
				s.api.Lock()
				s.api.Lost = fmt.Errorf("%w by eve@elsewhere", kube.ErrHeld)
				s.api.Unlock()
				time.AfterFunc(1500*time.Millisecond, func() { close(gate) }) // the lock is lost while the step is under way
			}
		})
	})
	if !errors.Is(err, ErrLocked) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "eve@elsewhere") {
		t.Errorf("error %v", err)
	}
	if m := s.hosts["host-3"].markers; !strings.HasPrefix(m["os"], "state done") || m["join"] != "" {
		t.Errorf("markers %v: the running step is to be finished, and no other begun", m)
	}
}

// TestLock_PlanOfBeforeAnotherRunIsNotCarriedOut: while this run waits for an answer another joins the host. What this one would do is of a
// cluster that is no more: it would join, and so reset, a node.
func TestLock_PlanOfBeforeAnotherRunIsNotCarriedOut(t *testing.T) {
	for name, run := range map[string]func(s *sim, ask func(plan.Plan) bool) error{
		"scale-out": func(s *sim, ask func(plan.Plan) bool) error {
			_, err := s.scaleOut(func(o *ScaleOutOptions) { o.Ask = ask })
			return err
		},
		"up": func(s *sim, ask func(plan.Plan) bool) error {
			o := UpOptions{Options: s.options()}
			o.Ask = ask
			_, err := Up(context.Background(), o)
			return err
		},
		"remove": func(s *sim, ask func(plan.Plan) bool) error {
			_, err := s.remove("host-2", func(o *RemoveOptions) { o.Ask = ask })
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := grown(t, 3, 2)
			s.api.ControlPlane("host-1")
			asked := false
			err := run(s, func(plan.Plan) bool {
				asked = true
				other := s.options()
				other.StateDir = t.TempDir()
				if err := os.CopyFS(other.StateDir, os.DirFS(s.state)); err != nil {
					t.Fatal(err)
				}
				if _, err := ScaleOut(context.Background(), ScaleOutOptions{Options: other}); err != nil {
					t.Fatal(err)
				}
				s.changed()
				return true
			})
			if !asked || !errors.Is(err, ErrLocked) || !strings.Contains(printed(err), "run it again") {
				t.Errorf("asked: %t, error %v", asked, err)
			}
			if s.changed() != 0 || s.api.Holder != "" || len(s.api.Did) > 0 {
				t.Errorf("something was written, lock %q, done %q", s.api.Holder, s.api.Did)
			}
		})
	}
}

func TestLock_DestroyWaitsForTheOtherOperator(t *testing.T) {
	s := grown(t, 2, 2)
	s.api.Holder = "eve@elsewhere"
	o := DestroyOptions{Options: s.options()}
	if _, err := Destroy(context.Background(), o); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "eve@elsewhere") || s.changed() != 0 {
		t.Errorf("error %v", err)
	}
	o.BreakLock = true
	if _, err := Destroy(context.Background(), o); err != nil || len(s.hosts["host-2"].markers) != 0 {
		t.Errorf("error %v", err)
	}
}

// An API server that does not answer has not said that nobody is at work. It is gone only where no control plane runs it.
func TestLock_DestroyTakesNoAnswerForNobody(t *testing.T) {
	runs := func(s *sim) {
		s.hosts["host-1"].says("apiserver", "    image: registry.k8s.io/kube-apiserver:"+s.c.Spec.Kubernetes.Version+"\n")
	}
	for name, c := range map[string]struct {
		change func(*sim)
		locked bool
	}{
		"a control plane runs it":       {runs, true},
		"something listens at its port": {func(s *sim) { s.hosts["host-1"].listens = []int{6443} }, true},
		"the control plane is away":     {func(s *sim) { s.host("host-1").Refuse() }, true},
		"no one runs it":                {func(*sim) {}, false},
		"its init did not end":          {func(s *sim) { runs(s); s.spoil("host-1", "init", "state started\n") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := standing(t, 2)
			s.api.Holder = "eve@elsewhere"
			s.api.Failing = map[string]error{"LeaseMark": context.DeadlineExceeded}
			c.change(s)
			o := DestroyOptions{Options: s.options()}
			_, err := Destroy(context.Background(), o)
			if errors.Is(err, ErrLocked) != c.locked || (s.changed() == 0) != c.locked {
				t.Fatalf("error %v", err)
			}
			if !c.locked {
				return
			}
			if said := printed(err); !strings.Contains(said, "the API server, which may run on host-1, did not say who has the lock, and nothing was done: ") || !strings.Contains(said, "--break-lock") {
				t.Errorf("said %q", said)
			}
			o.BreakLock = true
			if _, err := Destroy(context.Background(), o); errors.Is(err, ErrLocked) || len(s.hosts["host-2"].markers) != 0 {
				t.Errorf("broken: %v", err)
			}
		})
	}
}

func TestLock_UpTakesItWhenThereIsAClusterAndSomethingToDo(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	mustUp(t, s)
	mustUp(t, s)
	if s.api.Held != 1 || s.api.Holder != "" {
		t.Errorf("the lock was taken %d times, by a first run that makes the cluster and one that does nothing; it is with %q", s.api.Held, s.api.Holder)
	}
	s.c.Spec.Hosts[1].Labels = map[string]string{"a": "b"}
	s.hosts["host-2"].markers["join"] += "unit kubelet.service\n"
	s.api.Holder = "eve@elsewhere"
	if _, err := s.up(); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v", err)
	}
	s.api.Holder = ""
	mustUp(t, s)
	if s.api.Held != 2 || s.api.Holder != "" {
		t.Errorf("taken %d times, held by %q", s.api.Held, s.api.Holder)
	}
}

func TestScaleOut_AddsAControlPlaneWithCertificatesFromOneHost(t *testing.T) {
	s := grown(t, 4, 3)
	s.c.Spec.Hosts[3].Role = inventory.ControlPlane
	s.api.ControlPlane("host-1")
	before := s.connections()
	if _, err := s.scaleOut(nil); !errors.Is(err, ErrPreflight) { // the endpoint is host-1's own
		t.Errorf("error %v", err)
	}
	s.wantAlone(before, "host-4")
	if s.changed() != 0 {
		t.Error("something was written")
	}
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	before = s.connections()
	r, err := s.scaleOut(nil)
	if err != nil {
		t.Fatalf("%v %+v", err, r.Hosts)
	}
	s.wantAlone(before, "host-1", "host-4")
	if got := s.hosts["host-4"].files["pki"]; got == 0 {
		t.Error("no certificates came")
	}
}
