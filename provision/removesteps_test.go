package provision

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// threeControlPlanes is a running cluster whose control plane is three hosts, behind an endpoint of its own.
func threeControlPlanes(t *testing.T) *sim {
	t.Helper()
	s := standing(t, 4)
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	for i, name := range []string{"host-1", "host-2", "host-3"} {
		s.c.Spec.Hosts[i].Role = inventory.ControlPlane
		s.api.ControlPlane(name)
		s.api.Members = append(s.api.Members, kube.EtcdMember{ID: uint64(i + 1), Name: name, Healthy: true})
	}
	mustUp(t, s) // they get the images of control planes
	s.changed()
	s.api.Held, s.api.Did = 0, nil
	return s
}

// removalSteps are those of a control plane's removal, in their order.
var removalSteps = []string{"cordon", "drain", "etcd", "join", "images", "kubernetes", "runtime", "os", "node", "inventory"}

func TestRemove_DryRunShowsTheStepsAndDoesNothing(t *testing.T) {
	s := threeControlPlanes(t)
	s.changed()
	s.api.Evictable = map[string][]kube.DrainPod{"host-2": {{Namespace: "a", Name: "b"}}}
	r, err := s.remove("host-2", func(o *RemoveOptions) {
		o.DryRun = true
		o.Ask = func(plan.Plan) bool { t.Error("a dry run asks"); return true }
		o.TakeOut = func(string) error { t.Error("a dry run writes the inventory"); return nil }
	})
	var kinds []string
	for _, st := range r.Plan.Steps {
		kinds = append(kinds, string(st.Kind))
	}
	if err != nil || !slices.Equal(kinds, removalSteps) || r.Plan.Steps[1].Details[0] != "pod a/b" {
		t.Errorf("error %v, steps %q", err, kinds)
	}
	if len(s.api.Did) > 0 || s.changed() != 0 || s.api.Held > 0 || len(r.Changes) > 0 {
		t.Errorf("done %q, lock taken %d times, %d changes", s.api.Did, s.api.Held, len(r.Changes))
	}
}

// A run that is killed leaves what it did where it is; its lock ends with time. The next run goes on. A run that is asked to end finishes its
// step; one that is abandoned does not.
func TestRemove_KilledAtEachStepIsGoneOnWith(t *testing.T) {
	for _, way := range []string{"asked to end", "abandoned"} {
		for _, moment := range []report.EventKind{report.Started, report.Done} {
			for _, step := range removalSteps {
				t.Run(strings.Join([]string{way, string(moment), step}, " "), func(t *testing.T) { killedAndGoneOnWith(t, way == "abandoned", moment, step) })
			}
		}
	}
}

func killedAndGoneOnWith(t *testing.T, abandoned bool, moment report.EventKind, step string) {
	s := threeControlPlanes(t)
	var out []string
	takeOut := func(o *RemoveOptions) { o.TakeOut = func(host string) error { out = append(out, host); return nil } }
	killed, kill := context.WithCancel(context.Background())
	defer kill()
	ctx := context.Background()
	o := RemoveOptions{Options: s.options(), Hosts: []string{"host-2"}}
	takeOut(&o)
	if o.Stop = killed.Done(); abandoned {
		ctx = killed
	}
	reached := false
	o.Progress = sinkFunc(func(e report.Event) {
		if e.Kind == moment && e.Host == "host-2" && e.Step == step {
			reached = true
			kill()
		}
	})
	if _, err := Remove(ctx, o); err != nil && !errors.Is(err, context.Canceled) || !reached {
		t.Fatalf("it was not ended at that moment: %v", err)
	}
	s.api.Expired = true
	if len(out) == 0 {
		if r, err := s.remove("host-2", takeOut); err != nil {
			t.Fatalf("%v\n%+v", err, r.Changes)
		}
	}
	h := s.hosts["host-2"]
	if h.member || len(h.markers) != 0 || len(s.api.AllNodes) != 3 || len(s.api.Members) != 2 || !slices.Equal(out, []string{"host-2"}) {
		t.Errorf("member %v, markers %v, %d nodes, %d members of etcd, taken out %q", h.member, h.markers, len(s.api.AllNodes), len(s.api.Members), out)
	}
	s.c.Spec.Hosts = slices.Delete(slices.Clone(s.c.Spec.Hosts), 1, 2)
	s.changed()
	s.api.Expired = true
	if r := mustUp(t, s); r.Plan.Changes() != 0 || s.changed() != 0 {
		t.Errorf("up planned %d changes: %+v", r.Plan.Changes(), r.Plan.Steps)
	}
}

// Two of three control planes leave in one run. Etcd is asked before each, as it is then.
func TestRemove_SeveralKeepQuorumStepByStep(t *testing.T) {
	s := threeControlPlanes(t)
	o := RemoveOptions{Options: s.options(), Hosts: []string{"host-2", "host-3"}}
	if r, err := Remove(context.Background(), o); err != nil {
		t.Fatalf("%v\n%+v", err, r.Changes)
	}
	if want := []string{
		"cordon host-2", "drain 0 pods", "etcd member 2 asked on host-1", "reset host-2", "delete host-2",
		"cordon host-3", "drain 0 pods", "etcd member 3 asked on host-1", "reset host-3", "delete host-3",
	}; !slices.Equal(s.api.Did, want) {
		t.Errorf("done %q", s.api.Did)
	}

	s = threeControlPlanes(t)
	o.Options = s.options()
	o.Progress = sinkFunc(func(e report.Event) {
		if e.Kind == report.Done && e.Host == "host-2" && e.Step == "drain" {
			s.api.Members[0].Healthy = false // the one that is to stay falls ill
		}
	})
	r, err := Remove(context.Background(), o)
	if !errors.Is(err, ErrPartial) || len(s.api.Members) != 3 || slices.ContainsFunc(s.api.Did, func(d string) bool { return strings.HasPrefix(d, "reset") }) {
		t.Errorf("error %v, done %q", err, s.api.Did)
	}
	for _, h := range r.Hosts {
		if !strings.Contains(h.Error, "lose its quorum") || h.Hint == "" || !strings.Contains(h.Next, "hybridctl remove host-2 host-3") {
			t.Errorf("%+v", h)
		}
	}
}
