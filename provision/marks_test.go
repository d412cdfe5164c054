package provision

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
)

// markOf is the mark of a cluster's hosts, by its authority.
func markOf(ca func() string, name string) string {
	return "name " + name + "\nca " + pinOf(ca) + "\n"
}

func pinOf(ca func() string) string {
	pins, err := kube.CAHashes([]byte(fakeapi.KubeconfigOf(ca())))
	if err != nil {
		panic(err)
	}
	return pins[0]
}

// lostItsFiles is a worker whose kubelet.conf and authority are gone, while hybridctl's marks are there.
func (s *sim) lostItsFiles(name, mark string) {
	h := s.hosts[name]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.member, h.belongs = false, mark
}

func TestMarks_OfEveryHostFromUpToDestroy(t *testing.T) {
	s := grown(t, 3, 2)
	if _, err := s.scaleOut(nil); err != nil {
		t.Fatal(err)
	}
	for name, h := range s.hosts {
		if want := markOf(fakeapi.CA, "sim"); h.belongs != want {
			t.Errorf("%s: %q, want %q", name, h.belongs, want)
		}
	}
	if _, err := s.destroy(); err != nil {
		t.Fatal(err)
	}
	for name, h := range s.hosts {
		if h.belongs != "" {
			t.Errorf("%s still has %q", name, h.belongs)
		}
	}
}

// A cluster that stands longer than there are marks gets them, and nothing of it changes.
func TestMarks_AreNoChangeOfAClusterThatStands(t *testing.T) {
	s := standing(t, 3)
	for _, h := range s.hosts {
		h.belongs = ""
	}
	if p, _, err := Plan(context.Background(), s.options()); err != nil || p.Changes() != 0 || s.changed() != 0 {
		t.Fatalf("plan: %d changes, %v", p.Changes(), err)
	}
	o := s.options()
	o.Ask = func(plan.Plan) bool { t.Error("it asks"); return true }
	s.api.Holder = "eve@elsewhere" // while another run is at work nothing is written, and nothing was to be done
	if r, err := Up(context.Background(), UpOptions{Options: o}); err != nil || s.changed() != 0 || len(r.Changes) == 0 {
		t.Errorf("the lock is another's: %v", err)
	}
	s.api.Holder = ""
	if r, err := Up(context.Background(), UpOptions{Options: o}); err != nil || r.Plan.Changes() != 0 || s.changed() != 3 || s.api.Holder != "" {
		t.Errorf("error %v, %d changes, lock %q", err, r.Plan.Changes(), s.api.Holder)
	}
	for name, h := range s.hosts {
		if h.belongs != markOf(fakeapi.CA, "sim") {
			t.Errorf("%s: %q", name, h.belongs)
		}
	}
	before := s.fleet.Stats().Execs
	if mustUp(t, s); s.fleet.Stats().Execs-before != 3 || s.changed() != 0 {
		t.Error("the run after it did more than look")
	}
}

// Two inventories that have one cluster's hosts and two names for it would write each other's name away: each run tells of it.
func TestMarks_AnotherNameIsTold(t *testing.T) {
	s := standing(t, 3)
	s.hosts["host-1"].belongs, s.hosts["host-3"].belongs = markOf(fakeapi.CA, "b"), markOf(fakeapi.CA, "b")
	const want = "host-1, host-3: marked as of cluster b, which by its authority is this one (metadata.name: sim)"
	if p, _, err := Plan(context.Background(), s.options()); err != nil || p.Changes() != 0 || !strings.Contains(strings.Join(p.Notes, "\n"), want) {
		t.Errorf("plan: %q, %v", p.Notes, err)
	}
	r := mustUp(t, s)
	if !strings.Contains(strings.Join(r.Plan.Notes, "\n"), want) || s.hosts["host-3"].belongs != markOf(fakeapi.CA, "sim") {
		t.Errorf("up: %q, mark %q", r.Plan.Notes, s.hosts["host-3"].belongs)
	}
	if r := mustUp(t, s); len(r.Plan.Notes) > 0 {
		t.Errorf("again: %q", r.Plan.Notes)
	}
}

// A worker of another cluster whose kubelet.conf is gone is that cluster's still: its mark says so.
func TestMarks_WorkerWithoutItsFilesIsNotNobodys(t *testing.T) {
	for name, mark := range map[string]string{"another's": markOf(fakeapi.OtherCA, "b"), "another's, of the same name": markOf(fakeapi.OtherCA, "sim"), "not readable": " \n"} {
		for verb, c := range map[string]struct {
			run  func(*sim) (Result, error)
			want error
		}{
			"up":        {func(s *sim) (Result, error) { return s.up() }, ErrPreflight},
			"destroy":   {func(s *sim) (Result, error) { return s.destroy() }, ErrRefused},
			"remove":    {func(s *sim) (Result, error) { return s.remove("host-3", nil) }, ErrRefused},
			"scale-out": {func(s *sim) (Result, error) { return s.scaleOut(nil) }, ErrPreflight},
			"scale-out --replace": {func(s *sim) (Result, error) {
				s.api.SetMachineID("host-3", "the machine that was")
				s.api.SetReady("host-3", false)
				return s.scaleOut(func(o *ScaleOutOptions) { o.Replace = []string{"host-3"} })
			}, ErrPreflight},
		} {
			if name != "another's" && verb != "destroy" && verb != "scale-out" {
				continue // as there
			}
			t.Run(verb+", "+name, func(t *testing.T) {
				s := standing(t, 3)
				if verb == "scale-out" {
					delete(s.api.AllNodes, "host-3")
				}
				s.lostItsFiles("host-3", mark)
				r, err := c.run(s)
				said := printed(err)
				for _, ch := range failed(r.Checks) {
					said += ch.Host + ": " + ch.Message
				}
				if !errors.Is(err, c.want) || !strings.Contains(said, "host-3") || !strings.Contains(said, "mark") {
					t.Errorf("error %v, said %q", err, said)
				}
				if s.changed() != 0 || len(s.api.Did) > 0 {
					t.Errorf("written %q, done %q", s.hosts["host-3"].writes, s.api.Did)
				}
			})
		}
	}
}

// Its own mark says whose it is where nothing else does.
func TestMarks_OwnWorkerWithoutItsFilesIsOurs(t *testing.T) {
	s := standing(t, 3)
	s.lostItsFiles("host-3", markOf(fakeapi.CA, "sim"))
	mustUp(t, s)
	s.lostItsFiles("host-3", markOf(fakeapi.CA, "sim"))
	if _, err := s.destroy(); err != nil {
		t.Error(err)
	}
	if h := s.hosts["host-3"]; h.belongs != "" || len(h.markers) > 0 {
		t.Errorf("%q, %v", h.belongs, h.markers)
	}
}

// --force=HOST names the host that is reset although it is another cluster's, and no other.
func TestMarks_ForceNamesTheHost(t *testing.T) {
	t.Run("remove", func(t *testing.T) {
		s := standing(t, 3)
		s.hosts["host-3"].others = true
		force := func(names ...string) error {
			_, err := s.remove("host-3", func(o *RemoveOptions) { o.ForceHosts = names })
			return err
		}
		if err := force("host-2"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "is not one of host-3") {
			t.Errorf("another host: %v", err)
		}
		if err := force(); !errors.Is(err, ErrRefused) || !strings.Contains(printed(err), "--force=host-3") || s.changed() != 0 {
			t.Errorf("no host: %v", printed(err))
		}
		if err := force("host-3"); err != nil || s.hosts["host-3"].member || s.hosts["host-3"].belongs != "" {
			t.Errorf("named: %v", err)
		}
	})
	for name, take := range map[string]func(*sim){
		"a node of another cluster": func(s *sim) { s.hosts["host-3"].others = true },
		"without its files":         func(s *sim) { s.lostItsFiles("host-3", markOf(fakeapi.OtherCA, "b")) },
	} {
		t.Run("scale-out, "+name, func(t *testing.T) {
			s := standing(t, 3)
			delete(s.api.AllNodes, "host-3")
			take(s)
			s.hosts["host-3"].belongs = markOf(fakeapi.OtherCA, "b")
			var asked plan.Plan
			r, err := s.scaleOut(func(o *ScaleOutOptions) {
				o.Force = []string{"host-3"}
				o.Ask = func(p plan.Plan) bool { asked = p; s.hosts["host-3"].others = false; return true }
			})
			if err != nil {
				t.Fatalf("%v %+v", err, r.Checks)
			}
			step, _ := asked.Step("host-3/join")
			h := s.hosts["host-3"]
			if !strings.Contains(step.Reason, "--force") || !h.member || h.belongs != markOf(fakeapi.CA, "sim") || strings.Join(s.api.Did, " ") != "reset host-3" {
				t.Errorf("reason %q, mark %q, done %q", step.Reason, h.belongs, s.api.Did)
			}
			said := ""
			for _, ch := range r.Checks {
				said += ch.Message
			}
			if !strings.Contains(said, "what runs there is lost") {
				t.Errorf("checks %+v", r.Checks)
			}
			if r, err := s.scaleOut(func(o *ScaleOutOptions) { o.Force = []string{"host-3"} }); err != nil || r.Nothing == "" {
				t.Errorf("once more: %v, %q", err, r.Nothing)
			}
		})
	}
}

// With the state lost, a control plane that has another cluster's name is not believed: its address may be that of another cluster's.
func TestMarks_OtherNameIsNotBelieved(t *testing.T) {
	for verb, run := range map[string]func(*sim) (Result, error){
		"up":        func(s *sim) (Result, error) { return s.up() },
		"destroy":   func(s *sim) (Result, error) { return s.destroy() },
		"remove":    func(s *sim) (Result, error) { return s.remove("host-3", nil) },
		"scale-out": func(s *sim) (Result, error) { return s.scaleOut(nil) },
		"storage remove": func(s *sim) (Result, error) {
			return StorageRemove(context.Background(), StorageRemoveOptions{Options: s.options()})
		},
	} {
		t.Run(verb, func(t *testing.T) {
			s := newSim(t, 3, remotetest.Options{})
			s.withCeph()
			mustUp(t, s)
			s.api.ControlPlane("host-1")
			s.c.Metadata.Name = "other"
			if err := os.RemoveAll(s.state); err != nil {
				t.Fatal(err)
			}
			s.changed()
			if _, err := run(s); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "sim") || s.changed() != 0 || len(s.api.Did) > 0 {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A control plane of a cluster with another name gives no kubeconfig of this one.
func TestMarks_KubeconfigOfAnotherName(t *testing.T) {
	s := standing(t, 2)
	o := s.elsewhere()
	if b, err := Kubeconfig(context.Background(), o); err != nil || len(b) == 0 {
		t.Fatal(err)
	}
	s.hosts["host-1"].belongs = markOf(fakeapi.CA, "b")
	if b, err := Kubeconfig(context.Background(), o); !errors.Is(err, ErrRefused) || len(b) > 0 {
		t.Errorf("%v", err)
	}
}

// A host that another cluster takes while the question stands open is that cluster's: nothing of it is taken away.
func TestHostThatAnotherClusterTakesMeanwhileIsLeftAlone(t *testing.T) {
	for verb, run := range map[string]func(s *sim, ask func(plan.Plan) bool) (Result, error){
		"destroy": func(s *sim, ask func(plan.Plan) bool) (Result, error) {
			o := s.options()
			o.Ask = ask
			return Destroy(context.Background(), DestroyOptions{Options: o})
		},
		"remove": func(s *sim, ask func(plan.Plan) bool) (Result, error) {
			return s.remove("host-3", func(o *RemoveOptions) { o.Ask = ask })
		},
		"scale-out": func(s *sim, ask func(plan.Plan) bool) (Result, error) {
			delete(s.api.AllNodes, "host-3")
			s.hosts["host-3"].says("pods", "") // its node was registered once
			return s.scaleOut(func(o *ScaleOutOptions) { o.Ask = ask })
		},
		"scale-out, forced": func(s *sim, ask func(plan.Plan) bool) (Result, error) {
			delete(s.api.AllNodes, "host-3")
			s.lostItsFiles("host-3", " \n")
			return s.scaleOut(func(o *ScaleOutOptions) { o.Force, o.Ask = []string{"host-3"}, ask })
		},
		"up": func(s *sim, ask func(plan.Plan) bool) (Result, error) {
			delete(s.api.AllNodes, "host-3")
			s.hosts["host-3"].says("pods", "")
			o := s.options()
			o.Ask = ask
			return Up(context.Background(), UpOptions{Options: o})
		},
	} {
		t.Run(verb, func(t *testing.T) {
			s := standing(t, 3)
			h := s.hosts["host-3"]
			asked := false
			r, err := run(s, func(plan.Plan) bool {
				h.mu.Lock()
				defer h.mu.Unlock()
				asked, h.member, h.others, h.belongs = true, true, true, markOf(fakeapi.OtherCA, "b")
				return true
			})
			if !asked || !errors.Is(err, ErrPartial) {
				t.Errorf("asked: %t, error %v, %+v", asked, err, r.Checks)
			}
			if !h.member || !h.others || h.belongs != markOf(fakeapi.OtherCA, "b") || len(h.markers) < 4 {
				t.Errorf("member %t, mark %q, markers %v, written %q", h.member, h.belongs, h.markers, h.writes)
			}
			said := ""
			for _, c := range r.Changes {
				if c.Host == "host-3" && c.Action == report.Failed {
					said += c.Error + "; " + c.Hint
				}
			}
			if !strings.Contains(said, "nothing was done there: the host is of another cluster; ") || !strings.Contains(said, "--force=host-3") {
				t.Errorf("said %q", said)
			}
		})
	}
}
