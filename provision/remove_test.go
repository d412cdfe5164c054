package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

func (s *sim) remove(host string, change func(*RemoveOptions)) (Result, error) {
	o := RemoveOptions{Options: s.options(), Hosts: []string{host}}
	if change != nil {
		change(&o)
	}
	return Remove(context.Background(), o)
}

// standing is a running cluster of n hosts whose first is a control plane, also for the API.
func standing(t *testing.T, n int) *sim {
	t.Helper()
	s := grown(t, n, n)
	s.api.ControlPlane("host-1")
	return s
}

func TestRemove_DrainsDeletesResetsAndForgets(t *testing.T) {
	s := standing(t, 3)
	s.api.Evictable = map[string][]kube.DrainPod{"host-2": {{Namespace: "a", Name: "b"}, {Namespace: "a", Name: "c"}}}
	before := s.connections()
	var asked plan.Plan
	var out []string
	r, err := s.remove("host-2", func(o *RemoveOptions) {
		o.Ask = func(p plan.Plan) bool { asked = p; return true }
		o.TakeOut = func(host string) error { out = append(out, host); return nil }
	})
	if err != nil {
		t.Fatalf("%v\n%+v", err, r.Changes)
	}
	s.wantAlone(before, "host-2")
	if want := []string{"cordon host-2", "drain 2 pods", "reset host-2", "delete host-2"}; !slices.Equal(s.api.Did, want) {
		t.Errorf("done %q, want %q", s.api.Did, want)
	}
	if len(asked.Notes) != 1 || !strings.Contains(asked.Notes[0], "drained of 2 pods") {
		t.Errorf("asked %q", asked.Notes)
	}
	h := s.hosts["host-2"]
	if h.member || len(h.markers) != 0 || !slices.Equal(out, []string{"host-2"}) || s.api.Holder != "" {
		t.Errorf("markers %v, taken out %v, lock %q", h.markers, out, s.api.Holder)
	}
	// without it up has nothing to do; with it again, scale-out joins it from nothing
	s.changed()
	all := s.c.Spec.Hosts
	s.c.Spec.Hosts = []inventory.Host{all[0], all[2]}
	if r := mustUp(t, s); r.Plan.Changes() != 0 || s.changed() != 0 {
		t.Errorf("up planned %d changes", r.Plan.Changes())
	}
	s.c.Spec.Hosts = all
	if _, err := s.scaleOut(nil); err != nil || len(s.api.AllNodes) != 3 {
		t.Errorf("%v, %d nodes", err, len(s.api.AllNodes))
	}
}

func TestRemove_RefusedBeforeAnythingIsDone(t *testing.T) {
	for name, c := range map[string]struct {
		host   string
		change func(*sim)
		want   string
	}{
		"unknown":                     {"nobody", func(*sim) {}, `no host "nobody"`},
		"the last control plane":      {"host-1", func(*sim) {}, "no control plane that is Ready would be left"},
		"unreachable":                 {"host-2", func(s *sim) { s.fleet.Hosts[1].Refuse() }, "--offline"},
		"a pod of nobody":             {"host-2", func(s *sim) { s.api.Evictable["host-2"] = []kube.DrainPod{{Name: "p", Unmanaged: true}} }, "belongs to no controller"},
		"a pod with local data":       {"host-2", func(s *sim) { s.api.Evictable["host-2"] = []kube.DrainPod{{Name: "p", LocalData: []string{"cache"}}} }, "emptyDir cache"},
		"another machine at its name": {"host-2", func(s *sim) { s.api.SetMachineID("host-2", "another") }, "another machine"},
		"the only control plane, whose node somebody deleted": {"host-1", func(s *sim) { delete(s.api.AllNodes, "host-1") }, "no control plane that is Ready would be left"},
		"the one with the endpoint": {"host-1", func(s *sim) {
			s.api.ControlPlane("host-2")
			s.c.Spec.Kubernetes.Endpoint = s.c.Spec.Hosts[0].Name + ":6443"
		}, "is the own address of host-1"},
		"set up by somebody else":  {"host-2", func(s *sim) { clear(s.hosts["host-2"].markers) }, "it would not be reset\nhint: run \"kubeadm reset\" there"},
		"renamed in the inventory": {"host-2", func(s *sim) { s.api.Rename("host-2", "host-old") }, "knows this machine as host-old"},
		"etcd without quorum, the node deleted": {"host-2", func(s *sim) {
			s.c.Spec.Hosts[1].Role = inventory.ControlPlane
			delete(s.api.AllNodes, "host-2")
			s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}, {ID: 2, Name: "host-2"}}
			s.api.Members[0].Healthy = false
		}, "only 0 of its 2 members are well"},
		"a member of another name": {"host-2", func(s *sim) {
			s.api.ControlPlane("host-2")
			s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}, {ID: 42, Name: "restored", Peers: []string{"192.0.2.9"}, Healthy: true}}
		}, `etcd has no member named host-2; members that match no node: "restored" (2a at 192.0.2.9)`},
		"etcd without quorum": {"host-1", func(s *sim) {
			s.api.ControlPlane("host-2")
			s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
			s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}, {ID: 2, Name: "host-2"}}
		}, "lose its quorum"},
	} {
		t.Run(name, func(t *testing.T) {
			s := standing(t, 3)
			s.api.Evictable = map[string][]kube.DrainPod{}
			c.change(s)
			_, err := s.remove(c.host, nil)
			if !errors.Is(err, ErrRefused) || !strings.Contains(printed(err), c.want) {
				t.Errorf("error %v, want %q", printed(err), c.want)
			}
			if len(s.api.Did) > 0 || s.changed() != 0 || s.api.Held > 0 {
				t.Errorf("done all the same: %q", s.api.Did)
			}
		})
	}
}

// printed is an error as the terminal shows it.
func printed(err error) string {
	text := fmt.Sprint(err)
	for _, h := range hint.Of(err) {
		text += "\nhint: " + h
	}
	return text
}

// A control plane whose node someone deleted is still a member of etcd.
func TestRemove_ControlPlaneWithoutItsNodeLeavesEtcd(t *testing.T) {
	s := standing(t, 3)
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	s.c.Spec.Hosts[1].Role = inventory.ControlPlane
	delete(s.api.AllNodes, "host-2")
	for i, name := range []string{"host-1", "host-2", "host-3"} {
		s.api.Members = append(s.api.Members, kube.EtcdMember{ID: uint64(i + 1), Name: name, Healthy: true})
	}
	s.api.ControlPlane("host-3")
	if _, err := s.remove("host-2", nil); err != nil {
		t.Fatal(err)
	}
	if want := []string{"etcd member 2 asked on host-1", "reset host-2"}; !slices.Equal(s.api.Did, want) && !slices.Equal(s.api.Did, []string{"etcd member 2 asked on host-3", want[1]}) {
		t.Errorf("done %q", s.api.Did)
	}
}

// A control plane that was only announced to etcd has no name there yet; and the first that could be asked does not answer.
func TestRemove_ControlPlaneThatNeverStartedLeavesEtcd(t *testing.T) {
	s := standing(t, 4)
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	for i, name := range []string{"host-1", "host-2", "host-3"} {
		s.c.Spec.Hosts[i].Role = inventory.ControlPlane
		s.api.ControlPlane(name)
	}
	delete(s.api.AllNodes, "host-3")
	s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}, {ID: 2, Name: "host-2", Healthy: true},
		{ID: 3, Peers: []string{s.c.Spec.Hosts[2].NodeIP}, Learner: true}}
	s.api.Mute = "host-1"
	if _, err := s.remove("host-3", func(o *RemoveOptions) { o.Offline = true }); err != nil || !slices.Equal(s.api.Did, []string{"etcd member 3 asked on host-2"}) {
		t.Errorf("error %v, done %q", err, s.api.Did)
	}
	s.api.Members = append(s.api.Members, kube.EtcdMember{ID: 3, Peers: []string{"192.0.2.200"}, Learner: true})
	if _, err := s.remove("host-3", func(o *RemoveOptions) { o.Offline = true }); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "one that has not started (3 at 192.0.2.200)") {
		t.Errorf("whose it is is not known: %v", err)
	}
}

func TestRemove_ExternalEtcdIsNotAsked(t *testing.T) {
	s := standing(t, 2)
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	s.api.ControlPlane("host-2")
	s.api.Config = kube.ClusterConfiguration{Endpoint: "api.example:6443", ExternalEtcd: true}
	s.api.Members = []kube.EtcdMember{{ID: 2, Name: "host-2"}} // no one asks
	if _, err := s.remove("host-2", nil); err != nil || slices.ContainsFunc(s.api.Did, func(d string) bool { return strings.HasPrefix(d, "etcd") }) {
		t.Errorf("error %v, done %q", err, s.api.Did)
	}
}

func TestRemove_DeadNodesPodsAreNotWaitedFor(t *testing.T) {
	s := standing(t, 3)
	s.api.Evictable = map[string][]kube.DrainPod{"host-2": {{Namespace: "a", Name: "b"}}, "host-3": {{Namespace: "a", Name: "c"}}}
	n := s.api.AllNodes["host-2"]
	n.Ready = false
	s.api.AllNodes["host-2"] = n
	if _, err := s.remove("host-2", func(o *RemoveOptions) { o.Offline = true }); err != nil || !slices.Contains(s.api.Did, "drain 1 pods, 1 abandoned") {
		t.Errorf("error %v, done %q", err, s.api.Did)
	}
	if _, err := s.remove("host-3", nil); err != nil || !slices.Contains(s.api.Did, "drain 1 pods") {
		t.Errorf("error %v, done %q", err, s.api.Did)
	}
}

// What came to the node while the user was asked is not lost either.
func TestRemove_PodsThatCameMeanwhileAreNotLost(t *testing.T) {
	for _, force := range []bool{false, true} {
		s := standing(t, 2)
		r, err := s.remove("host-2", func(o *RemoveOptions) {
			o.Force = force
			o.Ask = func(plan.Plan) bool {
				s.api.Evictable = map[string][]kube.DrainPod{"host-2": {{Namespace: "a", Name: "p", Unmanaged: true}}}
				return true
			}
		})
		if force {
			if err != nil || !slices.Contains(s.api.Did, "drain 1 pods") {
				t.Errorf("error %v, done %q", err, s.api.Did)
			}
			continue
		}
		if want := []string{"cordon host-2"}; !errors.Is(err, ErrPartial) || !slices.Equal(s.api.Did, want) || !strings.Contains(r.Hosts[0].Error, "pod a/p belongs to no controller") {
			t.Errorf("error %v, done %q, %+v", err, s.api.Did, r.Hosts)
		}
	}
}

func TestRemove_ForceEvictsWhatIsLost(t *testing.T) {
	s := standing(t, 2)
	s.api.Evictable = map[string][]kube.DrainPod{"host-2": {{Name: "p", Unmanaged: true}}}
	if _, err := s.remove("host-2", func(o *RemoveOptions) { o.Force = true }); err != nil {
		t.Error(err)
	}
}

func TestRemove_OfflineConnectsToNobodyAndSaysWhatIsLeft(t *testing.T) {
	s := standing(t, 3)
	s.fleet.Hosts[1].Refuse()
	before := s.connections()
	var asked plan.Plan
	r, err := s.remove("host-2", func(o *RemoveOptions) {
		o.Offline = true
		o.Ask = func(p plan.Plan) bool { asked = p; return true }
	})
	if err != nil {
		t.Fatal(err)
	}
	s.wantAlone(before)
	if want := []string{"cordon host-2", "drain 0 pods", "delete host-2"}; !slices.Equal(s.api.Did, want) {
		t.Errorf("done %q, want %q", s.api.Did, want)
	}
	if !strings.Contains(asked.Notes[0], "left as it is") || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "still in") {
		t.Errorf("asked %q, notes %q", asked.Notes, r.Notes)
	}
	s.c.Spec.Hosts = slices.Delete(slices.Clone(s.c.Spec.Hosts), 1, 2)
	s.changed()
	if r := mustUp(t, s); r.Plan.Changes() != 0 {
		t.Errorf("up planned %d changes", r.Plan.Changes())
	}
}

// A host that is not connected to does not say what it runs. Where its node has lost the label, or is gone, and the inventory calls it a
// worker, etcd knows.
func TestRemove_OfflineWorkerThatIsAMemberLeavesEtcd(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*sim)
		want   []string
		says   string
	}{
		"its node has no label": {func(*sim) {}, []string{"cordon host-3", "drain 0 pods", "etcd member 3 asked on host-1", "delete host-3"}, ""},
		"its node is gone":      {func(s *sim) { delete(s.api.AllNodes, "host-3") }, []string{"etcd member 3 asked on host-1"}, ""},
		"another is not well":   {func(s *sim) { s.api.Members[1].Healthy = false }, nil, "lose its quorum"},
		"the endpoint is its":   {func(s *sim) { s.c.Spec.Kubernetes.Endpoint = s.c.Spec.Hosts[2].NodeIP + ":6443" }, nil, "is the own address of host-3"},
		"etcd does not say":     {func(s *sim) { s.api.Mute = "host-1" }, nil, "--force=host-3"},
	} {
		t.Run(name, func(t *testing.T) {
			s := standing(t, 3)
			s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
			for i, name := range []string{"host-1", "host-2", "host-3"} {
				s.api.Members = append(s.api.Members, kube.EtcdMember{ID: uint64(i + 1), Name: name, Healthy: true})
			}
			s.fleet.Hosts[2].Refuse()
			c.change(s)
			_, err := s.remove("host-3", func(o *RemoveOptions) { o.Offline = true })
			if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, ErrRefused) || !strings.Contains(printed(err), c.says)) || !slices.Equal(s.api.Did, c.want) {
				t.Errorf("error %v, done %q", printed(err), s.api.Did)
			}
		})
	}
}

func TestRemove_BudgetInTheWayEndsInTimeAndGoesNoFurther(t *testing.T) {
	s := standing(t, 2)
	s.api.Evictable = map[string][]kube.DrainPod{"host-2": {{Namespace: "a", Name: "p"}}}
	s.api.Guarded = true
	r, err := s.remove("host-2", func(o *RemoveOptions) { o.Timeout = time.Millisecond })
	if !errors.Is(err, ErrPartial) || !strings.Contains(r.Hosts[0].Error, "pod a/p: budget") || !strings.Contains(r.Hosts[0].Next, "hybridctl remove host-2 --timeout 1ms -f") {
		t.Errorf("error %v, host %+v", err, r.Hosts)
	}
	if !slices.Equal(s.api.Did, []string{"cordon host-2"}) || s.changed() != 0 || s.api.Holder != "" {
		t.Errorf("done %q", s.api.Did)
	}
	s.api.Guarded = false
	if _, err := s.remove("host-2", nil); err != nil {
		t.Error(err)
	}
}

func TestRemove_WhatTheInventoryCannotLoseIsFoundOutFirst(t *testing.T) {
	s := standing(t, 3)
	var asked []string
	_, err := s.remove("host-2", func(o *RemoveOptions) {
		o.MayTakeOut = func(hosts []string) error { asked = hosts; return errors.New("host-3 is reached through host-2") }
	})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "is reached through") || !slices.Equal(asked, []string{"host-2"}) {
		t.Errorf("error %v, asked for %q", err, asked)
	}
	if len(s.api.Did) > 0 || s.changed() != 0 || s.api.Held != 0 {
		t.Errorf("done %q", s.api.Did)
	}
}

func TestRemove_HostsBehindOthersGoFirst(t *testing.T) {
	s := standing(t, 4)
	s.c.Spec.Hosts[2].Jump = "host-2"
	s.c.Spec.Hosts[3].Jump = "host-3"
	var out []string
	_, err := s.remove("host-2", func(o *RemoveOptions) {
		o.Hosts = []string{"host-2", "host-3", "host-4"}
		o.Offline = true
		o.TakeOut = func(host string) error { out = append(out, host); return nil }
	})
	if want := []string{"host-4", "host-3", "host-2"}; err != nil || !slices.Equal(out, want) {
		t.Errorf("error %v, in the order %q, want %q", err, out, want)
	}
}

func TestRemove_WaitsForVolumesToLeaveTheNode(t *testing.T) {
	s := standing(t, 2)
	s.api.Attached, s.api.Stuck = []string{"pvc-1"}, true
	said := ""
	r, err := s.remove("host-2", func(o *RemoveOptions) {
		o.Timeout = 10 * time.Millisecond
		o.Progress = sinkFunc(func(e report.Event) { said += e.Message })
	})
	if !errors.Is(err, ErrPartial) || !strings.Contains(said, "pvc-1: is still attached to host-2") || !strings.Contains(r.Hosts[0].Error, "pvc-1: is still attached to host-2; another node") || slices.Contains(s.api.Did, "delete host-2") {
		t.Errorf("error %v, said %q, done %q", err, said, s.api.Did)
	}
	s.api.Silent = true
	r, err = s.remove("host-2", func(o *RemoveOptions) { o.Timeout = 10 * time.Millisecond })
	if !errors.Is(err, ErrPartial) || !strings.Contains(r.Hosts[0].Error, "(--timeout)") || !strings.Contains(r.Hosts[0].Hint, "--force") {
		t.Errorf("the time is over while it is asked: error %v, %+v", err, r.Hosts)
	}
	s.api.Silent, s.api.Stuck = false, false
	if _, err := s.remove("host-2", nil); err != nil || !slices.Contains(s.api.Did, "delete host-2") {
		t.Errorf("error %v, done %q", err, s.api.Did)
	}
}

func TestRemove_ForcedDoesNotInsistOnVolumes(t *testing.T) {
	s := standing(t, 2)
	s.api.Silent = true
	_, err := s.remove("host-2", func(o *RemoveOptions) { o.Timeout, o.Force = 10*time.Millisecond, true })
	if err != nil || !slices.Contains(s.api.Did, "delete host-2") {
		t.Errorf("error %v, done %q", err, s.api.Did)
	}
}

func TestRemove_NextGoesOnWithWhatIsLeft(t *testing.T) {
	s := standing(t, 3)
	s.api.Evictable = map[string][]kube.DrainPod{"host-3": {{Namespace: "a", Name: "p", LocalData: []string{"scratch"}}}}
	s.hosts["host-3"].fail["reset"] = "the moon is in the way"
	r, err := s.remove("host-2", func(o *RemoveOptions) {
		o.Hosts, o.Force, o.Timeout = []string{"host-2", "host-3"}, true, 90*time.Second
	})
	if !errors.Is(err, ErrPartial) {
		t.Fatal(err)
	}
	for _, h := range r.Hosts {
		if want := "hybridctl remove host-3 --force --timeout 1m30s -f "; (h.Name == "host-3") != strings.HasPrefix(h.Next, want) {
			t.Errorf("%s: next %q, want %q", h.Name, h.Next, want)
		}
	}
}

func TestRemove_WhoseLockIsBrokenSaysWhoHasIt(t *testing.T) {
	s := standing(t, 2)
	_, err := s.remove("host-2", func(o *RemoveOptions) {
		o.hooks.leaseTTL = 2 * time.Second
		o.Progress = sinkFunc(func(e report.Event) {
			if e.Kind == report.Started && e.Step == "drain" {
				s.api.Lock()
				s.api.Lost = fmt.Errorf("%w by eve@elsewhere", kube.ErrHeld)
				s.api.Unlock()
				time.Sleep(time.Second) // the lock is lost while the drain is under way
			}
		})
	})
	if !errors.Is(err, ErrLocked) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "eve@elsewhere") || slices.Contains(s.api.Did, "delete host-2") {
		t.Errorf("error %v, done %q", err, s.api.Did)
	}
}

func TestRemove_ControlPlaneLeavesEtcdFirst(t *testing.T) {
	s := standing(t, 3)
	s.api.ControlPlane("host-3")
	s.c.Spec.Hosts[2].Role = inventory.ControlPlane
	s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}, {ID: 3, Name: "host-3", Healthy: true}}
	before := s.connections()
	if _, err := s.remove("host-3", nil); err != nil {
		t.Fatal(err)
	}
	s.wantAlone(before, "host-3")
	if want := []string{"cordon host-3", "drain 0 pods", "etcd member 3 asked on host-1", "reset host-3", "delete host-3"}; !slices.Equal(s.api.Did, want) {
		t.Errorf("done %q, want %q", s.api.Did, want)
	}
}

func TestRemove_InterruptedAtTheResetIsFinished(t *testing.T) {
	s := standing(t, 2)
	s.hosts["host-2"].fail["reset"] = "the disk is away"
	if _, err := s.remove("host-2", nil); !errors.Is(err, ErrPartial) {
		t.Fatalf("error %v", err)
	}
	if len(s.api.AllNodes) != 2 {
		t.Errorf("%d nodes: the host's goes when it runs nothing any more", len(s.api.AllNodes))
	}
	delete(s.hosts["host-2"].fail, "reset")
	if _, err := s.remove("host-2", nil); err != nil {
		t.Fatal(err)
	}
	if h := s.hosts["host-2"]; h.member || len(h.markers) != 0 || len(s.api.AllNodes) != 1 {
		t.Errorf("markers %v, %d nodes", h.markers, len(s.api.AllNodes))
	}
}

func TestRemove_InterruptedBetweenResetAndNodeIsFinished(t *testing.T) {
	s := standing(t, 2)
	clear(s.hosts["host-2"].markers)
	s.hosts["host-2"].member = false
	if _, err := s.remove("host-2", nil); err != nil || len(s.api.AllNodes) != 1 {
		t.Errorf("error %v, %d nodes", err, len(s.api.AllNodes))
	}
}
