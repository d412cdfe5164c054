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
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// reinstalled makes a host a new machine under the old name and address.
func (s *sim) reinstalled(name string) {
	h := s.hosts[name]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.markers, h.images, h.member = map[string]string{}, map[string]string{}, false
	h.belongs = ""
	s.api.SetMachineID(name, "the machine that was")
	s.api.SetReady(name, false)
}

func TestScaleOut_ReplaceJoinsAHostThatWasInstalledAnew(t *testing.T) {
	s := standing(t, 3)
	s.reinstalled("host-3")
	before := s.connections()
	if r, err := s.scaleOut(nil); err != nil || r.Nothing == "" {
		t.Errorf("nobody said that it is another machine: %v, %q", err, r.Nothing)
	}
	r, err := s.scaleOut(func(o *ScaleOutOptions) { o.Replace = []string{"host-3"} })
	if err != nil {
		t.Fatalf("%v\n%+v", err, r.Changes)
	}
	s.wantAlone(before, "host-3")
	if !slices.Contains(s.api.Did, "delete host-3") || !s.hosts["host-3"].member || len(s.api.AllNodes) != 3 || s.api.Holder != "" {
		t.Errorf("done %q, %d nodes, lock %q", s.api.Did, len(s.api.AllNodes), s.api.Holder)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "the machine that was") {
		t.Errorf("notes %q", r.Notes)
	}
	s.changed()
	if r := mustUp(t, s); r.Plan.Changes() != 0 || s.changed() != 0 {
		t.Errorf("up planned %d changes", r.Plan.Changes())
	}
}

func TestScaleOut_ReplaceIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		host   string
		change func(*sim)
		want   string
	}{
		"the machine is the same":    {"host-3", func(*sim) {}, "was not reinstalled"},
		"no such node":               {"host-3", func(s *sim) { delete(s.api.AllNodes, "host-3") }, "no node host-3"},
		"the old machine is alive":   {"host-3", func(s *sim) { s.reinstalled("host-3"); s.api.SetReady("host-3", true) }, "is alive"},
		"unreachable":                {"host-3", func(s *sim) { s.fleet.Hosts[2].Refuse() }, "nothing was done"},
		"the only control plane":     {"host-1", func(s *sim) { s.reinstalled("host-1") }, "no control plane that is Ready would be left"},
		"not a host of the document": {"nobody", func(*sim) {}, `no host "nobody"`},
		"not managed":                {"host-3", func(s *sim) { no := false; s.c.Spec.Hosts[2].Managed = &no }, "does not manage host-3"},
	} {
		t.Run(name, func(t *testing.T) {
			s := standing(t, 3)
			c.change(s)
			s.changed()
			_, err := s.scaleOut(func(o *ScaleOutOptions) { o.Replace = []string{c.host} })
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if len(s.api.Did) != 0 || s.changed() != 0 {
				t.Errorf("done %q", s.api.Did)
			}
		})
	}
}

func TestScaleOut_ReplaceKeepsTheNodesOfHostsThatDoNotJoin(t *testing.T) {
	s := standing(t, 3)
	s.reinstalled("host-2")
	s.reinstalled("host-3")
	_, err := s.scaleOut(func(o *ScaleOutOptions) { o.Replace, o.Arch = []string{"host-2", "host-3"}, platform.ARM64 })
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--arch leaves out host-3 (amd64)") || len(s.api.Did) != 0 {
		t.Errorf("error %v, done %q", err, s.api.Did)
	}
}

func TestScaleOut_ReplaceSaysBeforeWhatGoes(t *testing.T) {
	s := standing(t, 3)
	s.reinstalled("host-3")
	_, err := s.scaleOut(func(o *ScaleOutOptions) {
		o.Replace = []string{"host-3"}
		o.Ask = func(p plan.Plan) bool {
			if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "host-3: its old node is deleted (machine-id the machine that was)") {
				t.Errorf("asked with notes %q", notes)
			}
			return false
		}
	})
	if !errors.Is(err, ErrDeclined) || len(s.api.Did) != 0 {
		t.Errorf("error %v, done %q", err, s.api.Did)
	}
}

// The first control plane of three was reinstalled: it has to join the cluster that goes on without it, and not to begin another.
func TestScaleOut_ReplacedBootstrapHostJoins(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	for i := range s.c.Spec.Hosts {
		s.c.Spec.Hosts[i].Role = inventory.ControlPlane
	}
	mustUp(t, s)
	for i, h := range s.c.Spec.Hosts {
		s.api.ControlPlane(h.Name)
		s.api.Members = append(s.api.Members, kube.EtcdMember{ID: uint64(i + 1), Name: h.Name, Healthy: i > 0})
	}
	s.reinstalled("host-1")
	if r, err := s.scaleOut(func(o *ScaleOutOptions) { o.Replace = []string{"host-1"} }); err != nil {
		t.Fatalf("%v\n%+v %+v", err, r.Changes, r.Checks)
	}
	h := s.hosts["host-1"]
	_, begun := h.markers["init"]
	if _, joined := h.markers["join"]; !joined || begun || !strings.Contains(h.config, "kind: JoinConfiguration") {
		t.Errorf("markers %v\n%s", h.markers, h.config)
	}
	if len(s.api.Did) < 2 || !strings.HasPrefix(s.api.Did[0], "etcd member 1 asked on host-") || s.api.Did[1] != "delete host-1" {
		t.Errorf("done %q", s.api.Did)
	}
	s.api.ControlPlane("host-1")
	s.changed()
	if r := mustUp(t, s); r.Plan.Changes() != 0 || s.changed() != 0 {
		t.Errorf("up planned %d changes: %+v", r.Plan.Changes(), r.Plan)
	}
	if _, err := Destroy(context.Background(), DestroyOptions{Options: s.options()}); err != nil {
		t.Error(err)
	}
	for name, h := range s.hosts {
		if len(h.markers) != 0 {
			t.Errorf("%s still has %v", name, h.markers)
		}
	}
}
