package provision

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

func (s *sim) destroy(force ...string) (Result, error) {
	return Destroy(context.Background(), DestroyOptions{Options: s.options(), ForceHosts: force})
}

// wipe reinstalls a host.
func (s *sim) wipe(name string) {
	h := s.hosts[name]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.member, h.belongs = false, ""
	clear(h.markers)
}

func (s *sim) host(name string) *remotetest.Host {
	for _, h := range s.fleet.Hosts {
		if h.Name == name {
			return h
		}
	}
	s.t.Fatalf("no host %s", name)
	return nil
}

// An address that leads to another host of the inventory leaves the one that had it as it is.
func TestDestroy_TwoNamesOfOneMachine(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	mustUp(t, s)
	s.c.Spec.Hosts[2].Address, s.c.Spec.Hosts[2].Port = s.c.Spec.Hosts[1].Address, s.c.Spec.Hosts[1].Port
	s.changed()
	_, err := s.destroy()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "the host that answers for host-3 is that of host-2, too (machine-id id-of-host-2)") || s.changed() != 0 {
		t.Errorf("error %v", err)
	}
}

// A host that was away while its cluster was destroyed is another cluster's node by now: the kubeconfig that is kept says so.
func TestDestroy_HostThatJoinedAnotherClusterSinceIsLeftAlone(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	mustUp(t, s)
	s.host("host-3").Refuse()
	if _, err := s.destroy(); !errors.Is(err, ErrPartial) {
		t.Fatalf("error %v", err)
	}
	s.host("host-3").Start()
	s.hosts["host-3"].others = true
	s.changed()
	_, err := s.destroy()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "host-3 is a node of another cluster") || !strings.Contains(printed(err), "--force=host-3") {
		t.Errorf("error %v", err)
	}
	if s.changed() != 0 || !s.hosts["host-3"].member {
		t.Error("the host was touched")
	}
	if _, err := s.destroy("host-3"); err != nil || s.hosts["host-3"].member {
		t.Errorf("the host was named: %v", err)
	}
}

// Without the state directory, and with the only control plane away, no one knows which cluster's node a host is.
func TestDestroy_OwnAuthorityUnknownIsNoLeaveToReset(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	mustUp(t, s)
	if err := os.RemoveAll(s.state); err != nil {
		t.Fatal(err)
	}
	s.host("host-1").Refuse()
	s.hosts["host-3"].others = true
	s.changed()
	_, err := s.destroy("host-2")
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "host-3 is a node of a cluster") || strings.Contains(err.Error(), "host-2 is a node") || s.changed() != 0 {
		t.Errorf("error %v", err)
	}
	if _, err := s.destroy("host-9"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), `no host "host-9"`) {
		t.Errorf("a host that is not there: %v", err)
	}
}

// A node whose markers are lost is not left behind by a destroy that says that all is done.
func TestDestroy_NodeWhoseMarksAreLostIsTold(t *testing.T) {
	for name, c := range map[string]struct{ state, marked bool }{"of this cluster": {true, true}, "of no one knows which": {false, false}} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 2, remotetest.Options{})
			mustUp(t, s)
			for _, h := range s.hosts {
				clear(h.markers)
				if !c.marked {
					h.belongs = ""
				}
			}
			if !c.state {
				_ = os.RemoveAll(s.state)
			}
			s.changed()
			_, err := s.destroy()
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "host-1, host-2: nodes that hybridctl did not set up, or whose marks in /var/lib/hybridctl are lost") || s.changed() != 0 {
				t.Errorf("error %v", err)
			}
			if _, err := os.Stat(filepath.Join(s.state, "kubeconfig")); c.state && err != nil {
				t.Errorf("what is kept was forgotten: %v", err)
			}
		})
	}
}

// Hosts of another cluster are not proven, nor are faults made on them, because the inventory has their addresses.
func TestConformance_NotOnAnotherCluster(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	mustUp(t, s)
	for _, h := range s.hosts {
		h.others, h.belongs = true, markOf(fakeapi.OtherCA, "b")
	}
	s.changed()
	for name, run := range map[string]func() error{
		"conformance": func() error {
			_, err := Conformance(context.Background(), ConformanceOptions{Options: s.options(), Scenario: "new-deployment"})
			return err
		},
		"self-test": func() error {
			_, err := ConformanceSelfTest(context.Background(), ConformanceOptions{Options: s.options()}, nil)
			return err
		},
		"clean": func() error { _, err := ConformanceClean(context.Background(), s.options()); return err },
	} {
		if err := run(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "host-1 bears the mark of cluster b") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.host("host-1").Refuse()
	if _, err := ConformanceClean(context.Background(), s.options()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "host-2: of another cluster") {
		t.Errorf("the first is away: %v", err)
	}
	if s.changed() != 0 {
		t.Error("hosts were written to")
	}
}

// wipedAndAway is a cluster of two control planes, the first of which was reinstalled while the other is not reached.
func wipedAndAway(t *testing.T, ceph bool) *sim {
	s := newSim(t, 2, remotetest.Options{})
	if ceph {
		s.withCeph()
	}
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	s.c.Spec.Hosts[1].Role = inventory.ControlPlane
	s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}, {ID: 2, Name: "host-2", Healthy: true}}
	mustUp(t, s)
	s.wipe("host-1")
	s.host("host-2").Refuse()
	s.changed()
	return s
}

func TestUp_NoSecondClusterWhileAControlPlaneIsAway(t *testing.T) {
	for name, prepare := range map[string]func(*sim){
		"the state is lost": func(s *sim) { _ = os.RemoveAll(s.state) },
		"the API server does not say": func(s *sim) {
			s.api.Failing = map[string]error{"LeaseMark": errors.New("away"), "Nodes": errors.New("away")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := wipedAndAway(t, false)
			prepare(s)
			_, err := s.up()
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "to be looked at: host-2") {
				t.Errorf("error %v", err)
			}
			if _, _, planned := Plan(context.Background(), s.options()); !errors.Is(planned, ErrRefused) {
				t.Errorf("plan: %v", planned)
			}
			if s.changed() != 0 {
				t.Error("something was written")
			}
		})
	}
}

func TestDestroy_VolumesAreAskedAboutWhileAControlPlaneIsAway(t *testing.T) {
	s := wipedAndAway(t, true)
	if err := os.RemoveAll(s.state); err != nil {
		t.Fatal(err)
	}
	if _, err := s.destroy(); !errors.Is(err, ErrVolumes) || s.changed() != 0 {
		t.Errorf("error %v", err)
	}
}

// refusing is an API server that does not accept the kubeconfig's certificate.
type refusing struct{ *fakeapi.API }

func (refusing) LeaseMark(context.Context, string) (string, error) { return "", kube.ErrUnauthorized }

func TestPlan_KubeconfigThatIsRefusedIsReadAgainFromAControlPlane(t *testing.T) {
	s := grown(t, 2, 2)
	o := s.options()
	asked := 0
	o.hooks.newAPI = func([]byte, kube.Options) (access.API, error) {
		if asked++; asked == 1 {
			return refusing{s.api}, nil
		}
		return s.api, nil
	}
	p, _, err := Plan(context.Background(), o)
	if err != nil || asked != 2 || p.Changes() != 0 {
		t.Errorf("error %v, %d clients, %d changes", err, asked, p.Changes())
	}
	o.hooks.newAPI = refusingAll(s)
	if status, err := Status(context.Background(), o); err != nil || !strings.Contains(status.API, "not accepted") {
		t.Errorf("%v, API %q", err, status.API)
	}
}

// A host that lets us in and whose facts do not come is not known: nothing is done on it, whatever the connection could do.
func TestDestroy_HostWithoutFactsIsLeftAlone(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	mustUp(t, s)
	s.hosts["host-3"].fail["facts"] = "systemctl did not answer"
	s.hosts["host-3"].others = true
	s.changed()
	r, err := s.destroy()
	if !errors.Is(err, ErrPartial) || r.Hosts[2].Error == "" {
		t.Errorf("error %v, %+v", err, r.Hosts)
	}
	if h := s.hosts["host-3"]; !h.member || len(h.markers) == 0 {
		t.Error("the host was reset")
	}
}

func TestUp_BootstrapHostWithoutFactsIsNotBegun(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	s.hosts["host-1"].fail["facts"] = "systemctl did not answer"
	if _, err := s.up(); err == nil || s.hosts["host-1"].member || len(s.hosts["host-1"].markers) > 0 {
		t.Errorf("error %v, markers %v", err, s.hosts["host-1"].markers)
	}
}

// refusingAll makes API servers that accept no kubeconfig.
func refusingAll(s *sim) func([]byte, kube.Options) (access.API, error) {
	return func([]byte, kube.Options) (access.API, error) { return refusing{s.api}, nil }
}
