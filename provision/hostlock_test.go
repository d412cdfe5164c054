package provision

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
)

// elsewhere are the options of a run from another machine.
func (s *sim) elsewhere() Options {
	o := s.options()
	o.StateDir = filepath.Join(s.t.TempDir(), "state")
	return o
}

// While a first up is at work, whenever another begins from another machine, it is told who is, and does nothing.
func TestHostLock_FirstUpFromTwoMachines(t *testing.T) {
	for _, step := range []string{"os", "init", "join"} {
		t.Run(step, func(t *testing.T) {
			s := newSim(t, 2, remotetest.Options{})
			var second error
			began := false
			o := UpOptions{Options: s.options()}
			o.Progress = sinkFunc(func(e report.Event) {
				if e.Kind != report.Started || e.Step != step || began {
					return
				}
				began = true
				_, second = Up(context.Background(), UpOptions{Options: s.elsewhere()})
			})
			if _, err := Up(context.Background(), o); err != nil || !began {
				t.Fatalf("the first: %v", err)
			}
			want := s.hosts["host-1"].lock[1]
			if step != "join" { // by then there is an API server, and it has the lease
				want = "the lock on host-1 (/var/lib/hybridctl.lock) is held by"
			}
			if !errors.Is(second, ErrLocked) || !strings.Contains(second.Error(), want) || !strings.Contains(printed(second), "--break-lock") {
				t.Errorf("the second: %v", second)
			}
			if inits := s.count("kubeadm init"); inits != 1 || s.count("kubeadm join") != 1 {
				t.Errorf("kubeadm init ran %d times", inits)
			}
			if s.hosts["host-1"].lock[0] != "" || s.api.Holder != "" {
				t.Error("a lock stays")
			}
			if _, err := os.Stat(filepath.Join(s.state, lock.TokenFile)); !os.IsNotExist(err) {
				t.Errorf("%s stays: %v", lock.TokenFile, err)
			}
		})
	}
}

// count counts the scripts that changed something on the hosts.
func (s *sim) count(prefix string) (n int) {
	for _, h := range s.hosts {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, w := range h.writes {
			if strings.HasPrefix(w, prefix) {
				n++
			}
		}
	}
	return n
}

// leftLocked is a first up that was killed: its lock stays on the host.
func leftLocked(t *testing.T) *sim {
	s := newSim(t, 2, remotetest.Options{})
	killed, kill := context.WithCancel(context.Background())
	o := s.options()
	o.Progress = sinkFunc(func(e report.Event) {
		if e.Kind == report.Started && e.Step == "runtime" {
			s.hosts["host-1"].mu.Lock()
			s.hosts["host-1"].fail["lock"] = "the tool is gone" // it gives nothing back
			s.hosts["host-1"].mu.Unlock()
			kill()
		}
	})
	if _, err := Up(killed, UpOptions{Options: o}); err == nil {
		t.Fatal("it was not killed")
	}
	delete(s.hosts["host-1"].fail, "lock")
	if s.hosts["host-1"].lock[0] == "" {
		t.Fatal("no lock was left")
	}
	s.changed()
	return s
}

func TestHostLock_KilledRunIsGoneOnWithFromWhereItWas(t *testing.T) {
	s := leftLocked(t)
	mustUp(t, s)
	if s.hosts["host-1"].lock[0] != "" {
		t.Error("the lock stays")
	}
}

// A copy of its state directory on the same machine is elsewhere: the run may be at work yet.
func TestHostLock_CopyOfTheStateDirectoryHasItNot(t *testing.T) {
	s := leftLocked(t)
	o := s.elsewhere()
	if err := os.CopyFS(o.StateDir, os.DirFS(s.state)); err != nil {
		t.Fatal(err)
	}
	if _, err := Up(context.Background(), UpOptions{Options: o}); !errors.Is(err, ErrLocked) || s.changed() != 0 {
		t.Errorf("error %v", err)
	}
}

func TestHostLock_KilledRunIsBrokenFromElsewhere(t *testing.T) {
	s := leftLocked(t)
	o := s.elsewhere()
	if _, err := Up(context.Background(), UpOptions{Options: o}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "2026-01-02T03:04:05Z") || s.changed() != 0 {
		t.Errorf("error %v", err)
	}
	if _, err := Destroy(context.Background(), DestroyOptions{Options: o}); !errors.Is(err, ErrLocked) || s.changed() != 0 {
		t.Errorf("destroy: %v", err)
	}
	o.BreakLock = true
	if _, err := Up(context.Background(), UpOptions{Options: o}); err != nil || s.hosts["host-1"].lock[0] != "" {
		t.Errorf("broken: %v", err)
	}
	mustUp(t, s) // from where it was killed
	if _, err := os.Stat(filepath.Join(s.state, lock.TokenFile)); !os.IsNotExist(err) && s.api.Held == 0 {
		t.Errorf("%s: %v", lock.TokenFile, err)
	}
}

// A plan that was made before another machine's first up is of hosts that are no more.
func TestHostLock_PlanOfBeforeAnotherRunIsNotCarriedOut(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	o := s.options()
	o.Ask = func(plan.Plan) bool {
		if _, err := Up(context.Background(), UpOptions{Options: s.elsewhere()}); err != nil {
			t.Fatal(err)
		}
		s.changed()
		return true
	}
	if _, err := Up(context.Background(), UpOptions{Options: o}); !errors.Is(err, ErrLocked) || !errors.Is(err, kube.ErrStale) || s.changed() != 0 {
		t.Errorf("error %v", err)
	}
	if s.hosts["host-1"].lock[0] != "" {
		t.Error("the lock stays")
	}
}

// Whoever broke the lock believes that this run is gone: it ends, and leaves the other's lock alone.
func TestHostLock_BrokenEndsTheRunAsLocked(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	o := s.options()
	o.Progress = sinkFunc(func(e report.Event) {
		if e.Kind == report.Started && e.Host == "host-1" && e.Step == "os" {
			h := s.hosts["host-1"]
			h.mu.Lock()
			h.lock = [2]string{"another", "eve@elsewhere"}
			h.mu.Unlock()
		}
	})
	if _, err := Up(context.Background(), UpOptions{Options: o}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "eve@elsewhere") {
		t.Errorf("error %v", err)
	}
	if s.hosts["host-1"].lock[0] != "another" {
		t.Error("the other's lock was taken away")
	}
}

// Whoever comes just as there is an API server may have its lease first: the run that made it goes no further.
func TestHostLock_LeaseOfAnotherEndsTheRun(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	o := s.options()
	o.Progress = sinkFunc(func(e report.Event) {
		if e.Step == "init" && e.Message == "waiting for the API server" {
			s.api.Lock()
			s.api.Holder = "eve@elsewhere"
			s.api.Unlock()
		}
	})
	_, err := Up(context.Background(), UpOptions{Options: o})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "eve@elsewhere") || s.count("kubeadm join") != 0 {
		t.Errorf("error %v, %d joins", err, s.count("kubeadm join"))
	}
	if s.hosts["host-1"].lock[0] != "" || s.api.Holder != "eve@elsewhere" {
		t.Errorf("the lock on the host is with %q, the lease with %q", s.hosts["host-1"].lock[0], s.api.Holder)
	}
}

// A first up was killed behind its init. Another run goes on from elsewhere with the cluster's lease, and its lock is
// in no one's way any more.
func TestHostLock_KilledBehindItsInitIsClearedByWhoHasTheLease(t *testing.T) {
	for name, initDone := range map[string]bool{"behind": true, "within": false} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 2, remotetest.Options{})
			mustUp(t, s)
			h := s.hosts["host-1"]
			h.lock, h.lockKind = [2]string{"another", "eve@elsewhere"}, host.LockOfUp
			if !initDone {
				h.markers["init"] = "state started\n"
			}
			delete(s.hosts["host-2"].markers, "os") // something is to be done
			o := s.elsewhere()
			_, err := Up(context.Background(), UpOptions{Options: o})
			if initDone && (err != nil || h.lock[0] != "") {
				t.Errorf("error %v, the lock is with %q", err, h.lock)
			}
			if initDone {
				return
			}
			if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "eve@elsewhere") || h.lock[0] != "another" || s.api.Holder != "" {
				t.Errorf("error %v, the lock is with %q, the lease with %q", err, h.lock, s.api.Holder)
			}
			o.BreakLock = true
			if _, err := Up(context.Background(), UpOptions{Options: o}); err != nil || h.lock[0] != "" {
				t.Errorf("broken: %v, the lock is with %q", err, h.lock)
			}
		})
	}
}

// It had an API server made, and slept; another run went on, and gave the lease back. It finds out.
func TestHostLock_LeaseThatAnotherHadEndsTheRun(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	o := s.options()
	o.BreakLock = true
	o.Progress = sinkFunc(func(e report.Event) {
		if e.Step == "init" && e.Message == "waiting for the API server" {
			s.api.Lock()
			s.api.Held++
			s.api.Unlock()
		}
	})
	_, err := Up(context.Background(), UpOptions{Options: o})
	if !errors.Is(err, ErrLocked) || !errors.Is(err, kube.ErrStale) || s.count("kubeadm join") != 0 || s.hosts["host-1"].lock[0] != "" {
		t.Errorf("error %v, %d joins, the lock is with %q", err, s.count("kubeadm join"), s.hosts["host-1"].lock)
	}
}
