package provision

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// What kubeadm.sh says of a host whose join ended half-way.
const halfWorker, halfControlPlane = 76, 77

// halfJoined is a cluster of one control plane. The join of a second was interrupted when it was a member of etcd, and had no node yet.
func halfJoined(t *testing.T) *sim {
	s := newSim(t, 2, remotetest.Options{})
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	hosts := s.c.Spec.Hosts
	s.c.Spec.Hosts = hosts[:1]
	mustUp(t, s)
	s.c.Spec.Hosts = hosts
	hosts[1].Role = inventory.ControlPlane
	s.hosts["host-2"].half = halfControlPlane
	s.hosts["host-2"].markers["join"] = "state started\n"
	s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}, {ID: 2, Name: "host-2", Healthy: true}}
	return s
}

func TestUp_HalfJoinedControlPlaneLeavesEtcdBeforeItIsReset(t *testing.T) {
	for name, peers := range map[string][]kube.EtcdMember{
		"it votes":      {{ID: 1, Name: "host-1", Healthy: true}, {ID: 2, Name: "host-2", Healthy: true}},
		"it learns":     {{ID: 1, Name: "host-1", Healthy: true}, {ID: 2, Name: "host-2", Learner: true}},
		"it is to come": {{ID: 1, Name: "host-1", Healthy: true}, {ID: 2, Peers: []string{"192.0.2.2"}, Learner: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := halfJoined(t)
			s.api.Members = peers
			mustUp(t, s)
			if want := []string{"etcd member 2 asked on host-1", "delete host-2", "reset host-2"}; !slices.Equal(s.api.Did, want) {
				t.Errorf("done %q, want %q", s.api.Did, want)
			}
			if !s.hosts["host-2"].member {
				t.Error("it did not join")
			}
		})
	}
}

func TestUp_HalfJoinedControlPlaneIsNotWipedWhenEtcdCannotForgetIt(t *testing.T) {
	for name, spoil := range map[string]func(*fakeapi.API){
		"no answer": func(a *fakeapi.API) { a.Mute = "host-1" },
		"no quorum": func(a *fakeapi.API) { a.Members[0].Healthy = false },
	} {
		t.Run(name, func(t *testing.T) {
			s := halfJoined(t)
			spoil(s.api)
			r, err := s.up()
			if !errors.Is(err, ErrPartial) || len(s.api.Did) > 0 || s.hosts["host-2"].half == 0 {
				t.Errorf("error %v, done %q", err, s.api.Did)
			}
			for _, h := range r.Hosts {
				if h.Name == "host-2" && !strings.Contains(h.Error, "etcd") {
					t.Errorf("%+v", h)
				}
			}
		})
	}
}

// A control plane that joined in this run may take a while to be well; another one is not waited for.
func TestUp_NoControlPlaneJoinsBesideAMemberThatIsNotWell(t *testing.T) {
	s := newSim(t, 4, remotetest.Options{})
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	hosts := s.c.Spec.Hosts
	s.c.Spec.Hosts = hosts[:2]
	hosts[1].Role = inventory.ControlPlane
	mustUp(t, s)
	s.c.Spec.Hosts = hosts
	hosts[2].Role, hosts[3].Role = inventory.ControlPlane, inventory.ControlPlane
	s.api.ControlPlane("host-1")
	s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}, {ID: 2, Name: "host-2", Healthy: true}}
	s.api.EtcdAsked = 0
	s.api.OnEtcd = func(times int) { s.api.Members[1].Healthy = times == 1 } // it was well when the plan was made
	s.changed()
	r, err := s.up()
	if !errors.Is(err, ErrPartial) || s.hosts["host-3"].member || s.hosts["host-4"].member {
		t.Fatalf("error %v %+v", err, r.Hosts)
	}
	for _, h := range r.Hosts {
		if h.Name == "host-3" && !strings.Contains(h.Error, `etcd's member "host-2"`) {
			t.Errorf("%+v", h)
		}
	}
	s.api.OnEtcd = nil
	s.api.Members[1].Healthy = false
	if r, err := s.up(); !errors.Is(err, ErrPreflight) {
		t.Errorf("it is not well when the plan is made: %v %+v", err, r.Checks)
	}
	s.api.Members[1].Healthy = true
	s.api.EtcdAsked = 0
	s.api.OnEtcd = func(times int) { s.api.Members[1].Healthy = times != 3 } // for a moment, after host-3 has joined
	mustUp(t, s)
	if !s.hosts["host-3"].member || !s.hosts["host-4"].member {
		t.Error("they did not join")
	}
}

func TestUp_AControlPlaneThatIsNotReachedHoldsUpNoOther(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	s.c.Spec.Hosts[1].Role, s.c.Spec.Hosts[2].Role = inventory.ControlPlane, inventory.ControlPlane
	all := s.c.Spec.Hosts
	s.c.Spec.Hosts = all[:1] // a cluster begins only when every control plane was looked at
	mustUp(t, s)
	s.c.Spec.Hosts = all
	s.fleet.Hosts[1].Refuse()
	if _, err := s.up(); !errors.Is(err, ErrPartial) || !s.hosts["host-3"].member {
		t.Errorf("host-2 holds up host-3: %v", err)
	}
}

// It is what it was: etcd counts on it although the inventory makes a worker of it now.
func TestUp_HalfJoinedControlPlaneThatBecomesAWorkerLeavesEtcd(t *testing.T) {
	s := halfJoined(t)
	s.c.Spec.Hosts[1].Role = inventory.Worker
	mustUp(t, s)
	if want := []string{"etcd member 2 asked on host-1", "delete host-2", "reset host-2"}; !slices.Equal(s.api.Did, want) {
		t.Errorf("done %q, want %q", s.api.Did, want)
	}
}

func TestUp_HalfJoinedWorkerIsNotEtcds(t *testing.T) {
	s := halfJoined(t)
	s.c.Spec.Hosts[1].Role = inventory.Worker
	s.hosts["host-2"].half = halfWorker
	s.api.Mute = "host-1" // etcd may not be askable at all
	mustUp(t, s)
	if want := []string{"delete host-2", "reset host-2"}; !slices.Equal(s.api.Did, want) {
		t.Errorf("done %q, want %q", s.api.Did, want)
	}
}

// A worker whose join has ended and that never had a node: the run was killed before its kubelet registered it, which is waited for. One that had
// a node, or joined with other settings, is reset and joins again: what it had as that node does not fit the new one.
func TestScaleOut_WorkerThatHasJoinedRegistersItsNode(t *testing.T) {
	const started, reset, joined = "start", "reset", "kubeadm"
	for name, c := range map[string]struct {
		change func(*sim, *ScaleOutOptions)
		want   []string // what was done on the host
	}{
		"at once":        {func(*sim, *ScaleOutOptions) {}, []string{started}},
		"a moment later": {func(s *sim, _ *ScaleOutOptions) { s.api.Late = map[string]int{"host-3": 1} }, []string{started}},
		"never":          {func(s *sim, _ *ScaleOutOptions) { s.hosts["host-3"].stranger = true }, []string{started, reset, joined}},
		"never, in a short step": {func(s *sim, o *ScaleOutOptions) {
			s.hosts["host-3"].stranger, o.hooks.registerWithin = true, time.Hour
			s.c.Spec.Timeouts.Step = inventory.Duration(8 * time.Second)
		}, []string{started, reset, joined}},
		"unit fails": {func(s *sim, _ *ScaleOutOptions) {
			s.hosts["host-3"].stranger, s.hosts["host-3"].fail[started] = true, "Unit kubelet.service not found."
		}, []string{reset, joined}},
		"without the taint":   {func(_ *sim, o *ScaleOutOptions) { o.Guard, o.Conformance = true, ConformanceQuick }, []string{reset, joined}},
		"it had pods":         {func(s *sim, _ *ScaleOutOptions) { s.hosts["host-3"].says("pods", "") }, []string{reset, joined}},
		"with other settings": {func(s *sim, _ *ScaleOutOptions) { s.c.Spec.Hosts[2].Taints = []string{"a=b:NoSchedule"} }, []string{reset, joined}},
	} {
		t.Run(name, func(t *testing.T) {
			s := standing(t, 3)
			delete(s.api.AllNodes, "host-3")
			s.changed()
			r, err := s.scaleOut(func(o *ScaleOutOptions) {
				o.hooks.registerWithin = 1500 * time.Millisecond
				c.change(s, o)
			})
			if err != nil || len(s.api.AllNodes) != 3 {
				t.Fatalf("error %v, %d nodes\n%+v", err, len(s.api.AllNodes), r.Changes)
			}
			var did []string
			for _, w := range s.hosts["host-3"].writes {
				did = append(did, strings.Fields(w)[0])
			}
			if !slices.Equal(did, c.want) {
				t.Errorf("done on the host: %q, want %q", did, c.want)
			}
		})
	}
}

// Whether it is half joined or new: nothing hands on what an etcd of its own gives its clients.
func TestControlPlaneIsRefusedWhereEtcdIsElsewhere(t *testing.T) {
	for name, run := range map[string]func(*sim) (Result, error){
		"up":        (*sim).up,
		"scale-out": func(s *sim) (Result, error) { return s.scaleOut(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s := halfJoined(t)
			s.api.Config = kube.ClusterConfiguration{Endpoint: "api.example:6443", Shared: true, ExternalEtcd: true}
			s.changed()
			_, err := run(s)
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "host-2: etcd runs outside the cluster") || s.changed() > 0 || len(s.api.Did) > 0 {
				t.Errorf("error %v, done %q, or the hosts were changed", err, s.api.Did)
			}
			s.c.Spec.Hosts[1].Role = inventory.Worker
			if _, err := run(s); err != nil {
				t.Errorf("as a worker: %v", err)
			}
		})
	}
}

// A first control plane that was reinstalled, and whose join was interrupted, is not taken for a cluster that never was.
func TestDestroy_AsksForVolumesAlsoWhenTheFirstControlPlaneIsNotBackYet(t *testing.T) {
	for name, c := range map[string]struct {
		marker string
		alone  bool // the other control plane does not answer
	}{"its join was interrupted": {"state started\n", false}, "it was wiped": {"", false}, "the other is away": {"state started\n", true}} {
		s := newSim(t, 2, remotetest.Options{}).withCeph()
		s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
		s.c.Spec.Hosts[1].Role = inventory.ControlPlane
		mustUp(t, s)
		first := s.hosts["host-1"]
		clear(first.markers)
		first.member = false
		if c.marker != "" {
			first.markers["join"] = c.marker
		}
		if c.alone {
			s.fleet.Hosts[1].Refuse()
		}
		s.api.AllVolumes = []kube.Volume{{Name: "pvc-1", Class: "ceph-rbd", Claim: "default/db"}}
		if _, err := Destroy(context.Background(), DestroyOptions{Options: s.options()}); !errors.Is(err, ErrVolumes) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// That no host answers does not say that there is no cluster.
func TestConformance_NoWayToTheCluster(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{})
	prove := func() error {
		_, err := Conformance(context.Background(), ConformanceOptions{Options: s.options()})
		return err
	}
	if err := prove(); err == nil || !strings.Contains(err.Error(), "there is no cluster yet") {
		t.Errorf("before there is one: %v", err)
	}
	s.fleet.Hosts[0].Refuse()
	if err := prove(); err == nil || !strings.Contains(err.Error(), "no way to the API server: host-1 was not reached") || strings.Contains(err.Error(), "no cluster") ||
		hint.Text(err) != `"hybridctl preflight -f `+s.c.Path+`" says what keeps a host from answering` {
		t.Errorf("it does not answer: %v, hint %q", err, hint.Text(err))
	}
	_, err := Kubeconfig(context.Background(), s.options())
	if err == nil || !strings.HasPrefix(err.Error(), s.state+" holds no kubeconfig, and no control-plane host that answers has an admin kubeconfig: host-1: ") || strings.Contains(err.Error(), "\n") ||
		hint.Text(err) != `"hybridctl preflight -f `+s.c.Path+`" says what keeps a host from answering; where there is no cluster yet, "hybridctl up" makes it` {
		t.Errorf("kubeconfig: %v, hint %q", err, hint.Text(err))
	}
}
