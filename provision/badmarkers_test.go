package provision

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// zeroed is a marker behind a power cut, as the facts script tells of it.
const zeroed = "                "

// spoil makes a step's marker unreadable.
func (s *sim) spoil(name, step, text string) {
	h := s.hosts[name]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.markers[step] = text
}

// readable reports whether each marker of a host can be read.
func (s *sim) readable(name string) bool {
	h := s.hosts[name]
	h.mu.Lock()
	defer h.mu.Unlock()
	for step, text := range h.markers {
		if _, err := host.ParseMarker(step, []byte(text)); err != nil {
			return false
		}
	}
	return true
}

// What a marker lists that cannot be read would stay on the host, and all would be said to be gone.
func TestBadMarker_DestroyAndRemoveRefuseTheHost(t *testing.T) {
	for step, text := range map[string]string{"os": "", "runtime": zeroed, "kubernetes": "{}\n"} {
		for verb, run := range map[string]func(s *sim, force ...string) error{
			"destroy": func(s *sim, force ...string) error { _, err := s.destroy(force...); return err },
			"remove": func(s *sim, force ...string) error {
				_, err := s.remove("host-2", func(o *RemoveOptions) { o.ForceHosts = force })
				return err
			},
		} {
			t.Run(verb+", "+step, func(t *testing.T) {
				s := standing(t, 3)
				s.spoil("host-2", step, text)
				err := run(s)
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "host-2 has markers that cannot be read ("+host.MarkerPath(step)+")") || s.changed() != 0 || len(s.api.Did) > 0 {
					t.Fatalf("error %v, done %q", err, s.api.Did)
				}
				if said := printed(err); !strings.Contains(said, `"hybridctl up -f `+s.c.Path+`" writes them again; --force=host-2 goes without them`) {
					t.Errorf("said %q", said)
				}
				if err := run(s, "host-2"); err != nil || s.count("remove "+step) == 0 || len(s.hosts["host-2"].markers) > 0 {
					t.Errorf("forced: %v, markers %v", err, s.hosts["host-2"].markers)
				}
			})
		}
	}
}

func TestBadMarker_UpWritesItAgain(t *testing.T) {
	for _, step := range []string{"os", "runtime", "kubernetes", "images", "join", "init"} {
		t.Run(step, func(t *testing.T) {
			s, name := standing(t, 3), "host-2"
			if step == "init" {
				name = "host-1"
			}
			s.spoil(name, step, zeroed)
			r := mustUp(t, s)
			did, _ := r.Plan.Step(plan.HostID(name, plan.Kind(step)))
			if r.Plan.Changes() == 0 || !strings.Contains(did.Reason, "its marker cannot be read ("+host.MarkerPath(step)+")") {
				t.Errorf("%d changes, %s: %s", r.Plan.Changes(), did.Action, did.Reason)
			}
			if s.count("kubeadm") > 0 || !s.readable(name) {
				t.Errorf("kubeadm ran %d times, markers %v", s.count("kubeadm"), s.hosts[name].markers)
			}
			if r := mustUp(t, s); r.Plan.Changes() != 0 {
				for _, step := range r.Plan.Steps {
					if step.Action != plan.Unchanged {
						t.Errorf("the run after it: %s is %s: %s", step.ID, step.Action, step.Reason)
					}
				}
			}
			if _, err := s.destroy(); err != nil {
				t.Error(err)
			}
		})
	}
}

// How a host became a node is told by its marker, be it unreadable: what there is of it is undone, and nothing else of it is needed.
func TestBadMarker_OfAMemberIsUndone(t *testing.T) {
	for _, step := range []string{"join", "images"} {
		t.Run(step, func(t *testing.T) {
			s := standing(t, 3)
			s.spoil("host-2", step, zeroed)
			if _, err := s.destroy(); err != nil || s.hosts["host-2"].member || len(s.hosts["host-2"].markers) > 0 {
				t.Errorf("error %v, %v", err, s.hosts["host-2"].markers)
			}
		})
	}
}

// A host that never was a node, or was reset, is retried with the markers as they are.
func TestBadMarker_JoinIsRetried(t *testing.T) {
	s := grown(t, 3, 2)
	s.hosts["host-3"].markers = map[string]string{"os": zeroed, "runtime": "garbage", "kubernetes": zeroed}
	r, err := s.scaleOut(nil)
	if err != nil || !s.hosts["host-3"].member || !s.readable("host-3") {
		t.Errorf("error %v, %+v, markers %v", err, failed(r.Checks), s.hosts["host-3"].markers)
	}
}

// A first up that a power cut ended goes on: the host tells of its markers with the lock, and one that cannot be read is no other run's work.
func TestBadMarker_IsNoWorkOfAnotherRun(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	s.spoil("host-1", "os", zeroed)
	s.spoil("host-1", "runtime", "state done\ndigest sha256:1\nanew word\n")
	mustUp(t, s)
	if !s.readable("host-1") {
		t.Errorf("markers %v", s.hosts["host-1"].markers)
	}
}

// An init whose marker cannot be read may have made the cluster: nothing is begun over it while the API server does not tell.
func TestBadMarker_OfAnInitBeginsNoSecondCluster(t *testing.T) {
	s := standing(t, 2)
	s.spoil("host-1", "init", zeroed)
	s.api.Failing = map[string]error{"LeaseMark": errors.New("away"), "Nodes": errors.New("away")}
	_, err := s.up()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "host-1 has hybridctl's mark of a member, which cannot be read") || s.changed() != 0 {
		t.Errorf("error %v", err)
	}
}

// Who is told of a removal is told that the host is reset, and the state forgets no host that has markers.
func TestBadMarker_IsNotNothing(t *testing.T) {
	l := plan.Leaver{Facts: facts.Host{BadMarkers: []string{"images"}}}
	p := plan.LeavingPlan(standing(t, 2).c, []plan.Leaver{l}, plan.LeavingOptions{})
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "the host is reset") }) {
		t.Errorf("notes %q", p.Notes)
	}
	s := standing(t, 2)
	s.spoil("host-2", "join", zeroed)
	if status, err := Status(context.Background(), s.options()); err != nil || !strings.Contains(strings.Join(status.Hosts[1].Differs, "; "), "cannot be read") {
		t.Errorf("%v, %+v", err, status.Hosts)
	}
}
