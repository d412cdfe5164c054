package steps

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
)

// longEnough is a limit that no test waits for.
const longEnough = time.Hour

// members are etcd's, well but for those that end with "-".
func members(words string) (out []kube.EtcdMember) {
	for i, w := range strings.Fields(words) {
		name, sick := strings.CutSuffix(w, "-")
		out = append(out, kube.EtcdMember{ID: uint64(i + 1), Name: name, Healthy: !sick})
	}
	return out
}

func drain(in plan.DrainInputs) plan.Step {
	in.Node = "worker"
	return leaves(plan.Drain, plan.Update, in)(nil)
}

func TestDrain(t *testing.T) {
	pod := kube.DrainPod{Namespace: "a", Name: "p"}
	lost := kube.DrainPod{Namespace: "a", Name: "p", Unmanaged: true}
	for name, c := range map[string]struct {
		in    plan.DrainInputs
		ready func(*fakeAPI)
		did   []string
		want  string // of the error
		hint  string
	}{
		"pods that come back elsewhere": {plan.DrainInputs{Timeout: longEnough}, func(a *fakeAPI) { a.Evictable["worker"] = []kube.DrainPod{pod, pod} }, []string{"drain 2 pods"}, "", ""},
		"no pods":                       {plan.DrainInputs{Timeout: longEnough}, func(*fakeAPI) {}, []string{"drain 0 pods"}, "", ""},
		"pods that would be lost came meanwhile": {plan.DrainInputs{Timeout: longEnough}, func(a *fakeAPI) { a.Evictable["worker"] = []kube.DrainPod{lost} }, nil,
			"pods came to the node meanwhile: pod a/p belongs to no controller", "--force evicts them"},
		"the same, forced": {plan.DrainInputs{Timeout: longEnough, Force: true}, func(a *fakeAPI) { a.Evictable["worker"] = []kube.DrainPod{lost} }, []string{"drain 1 pods"}, "", ""},
		"a budget in the way": {plan.DrainInputs{Timeout: time.Millisecond}, func(a *fakeAPI) { a.Evictable["worker"], a.Guarded = []kube.DrainPod{pod}, true }, nil,
			"not done after 1ms (--timeout): drain", "--timeout"},
		"a budget in the way is respected with --force too": {plan.DrainInputs{Timeout: time.Millisecond, Force: true}, func(a *fakeAPI) { a.Evictable["worker"], a.Guarded = []kube.DrainPod{pod}, true }, nil,
			"not done after 1ms", "--timeout"},
		"a node that is away": {plan.DrainInputs{Timeout: time.Millisecond, Away: true}, func(a *fakeAPI) {
			a.Evictable["worker"], a.Attached, a.Stuck = []kube.DrainPod{pod}, []string{"v"}, true
		}, []string{"drain 1 pods, 1 abandoned"}, "", ""},
		"volumes that stay": {plan.DrainInputs{Timeout: time.Millisecond}, func(a *fakeAPI) { a.Attached, a.Stuck = []string{"v"}, true }, []string{"drain 0 pods"}, "still attached to worker", "--force goes on"},
		"volumes that stay, forced": {plan.DrainInputs{Timeout: time.Millisecond, Force: true}, func(a *fakeAPI) { a.Attached, a.Stuck = []string{"v"}, true },
			[]string{"drain 0 pods"}, "", ""},
		"the API server is away": {plan.DrainInputs{Timeout: longEnough}, func(a *fakeAPI) { a.Failing["DrainPods"] = errAway }, nil, "is away", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.ready(w.api)
			_, err := w.x.Apply(t.Context(), drain(c.in))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || !strings.Contains(strings.Join(hint.Of(err), "\n"), c.hint) {
				t.Errorf("error %v, hints %q", err, hint.Of(err))
			}
			if got := w.done(); !slices.Equal(got, c.did) {
				t.Errorf("did %q, want %q", got, c.did)
			}
		})
	}
}

// A drain has a limit of its own: the step's, which is for work on hosts, does not cut it off.
func TestDrain_IsNotCutOffByTheTimeoutOfSteps(t *testing.T) {
	w := newWorld(t)
	w.env.Timeout = time.Nanosecond
	w.begin()
	if _, err := w.x.Apply(t.Context(), drain(plan.DrainInputs{Timeout: longEnough})); err != nil {
		t.Error(err)
	}
}

func TestDrain_SaysWhatItWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.api.Attached, w.api.Stuck = []string{"v"}, true
	_, _ = w.x.Apply(t.Context(), drain(plan.DrainInputs{Timeout: time.Millisecond}))
	if !slices.Contains(w.said, "persistentvolume v: is still attached to worker") {
		t.Errorf("said %q", w.said)
	}
}

func TestCordon_OfANodeThatIsGone(t *testing.T) {
	w := newWorld(t)
	c, err := w.x.Apply(t.Context(), rows[plan.Cordon].step(w))
	if err != nil || !strings.Contains(c.Detail, "gone already") {
		t.Errorf("%v, %+v", err, c)
	}
}

func etcd(node string, addresses ...string) plan.Step {
	s := leaves(plan.Etcd, plan.Delete, plan.EtcdInputs{Node: node, Addresses: addresses, Ask: []string{"cp", "cp-2"}})(nil)
	return s
}

// etcd is asked when the member is to be taken out: what the plan knew may be true no longer.
func TestEtcd_AsksAgainRightBefore(t *testing.T) {
	for name, c := range map[string]struct {
		ready func(*fakeAPI)
		node  string
		did   []string
		want  string
	}{
		"well":                            {func(*fakeAPI) {}, "cp-3", []string{"etcd member 3 asked on cp"}, ""},
		"another fell ill since":          {func(a *fakeAPI) { a.Members[1].Healthy = false }, "cp-3", nil, "without cp-3, 1 of 2 members are well; not well: cp-2"},
		"the one that leaves fell ill":    {func(a *fakeAPI) { a.Members[2].Healthy = false }, "cp-3", []string{"etcd member 3 asked on cp"}, ""},
		"another left since":              {func(a *fakeAPI) { a.Members = members("cp cp-2 cp-3")[1:] }, "cp-3", []string{"etcd member 3 asked on cp"}, ""},
		"all others left since":           {func(a *fakeAPI) { a.Members = a.Members[2:] }, "cp-3", nil, "is its last member"},
		"no quorum":                       {func(a *fakeAPI) { a.Members = members("cp cp-2- cp-3-") }, "cp-3", nil, "it cannot change them"},
		"the first asked does not answer": {func(a *fakeAPI) { a.Mute = "cp" }, "cp-3", []string{"etcd member 3 asked on cp-2"}, ""},
		"no one answers":                  {func(a *fakeAPI) { a.Failing["EtcdMembers"] = errAway }, "cp-3", nil, "on cp: the API server is away"},
		"out already":                     {func(*fakeAPI) {}, "cp-4", nil, ""},
		"one that never started": {func(a *fakeAPI) {
			a.Members = append(a.Members, kube.EtcdMember{ID: 9, Peers: []string{"192.0.2.4"}, Learner: true})
		}, "cp-4", []string{"etcd member 9 asked on cp"}, ""},
		"a learner needs no quorum of its own": {func(a *fakeAPI) { a.Members[1].Healthy = false; a.Members[2].Learner = true }, "cp-3", []string{"etcd member 3 asked on cp"}, ""},
		"it cannot be removed":                 {func(a *fakeAPI) { a.Failing["RemoveEtcdMember"] = errAway }, "cp-3", nil, "is away"},
		"the answer is lost":                   {func(a *fakeAPI) { a.lose = true }, "cp-3", []string{"etcd member 3 asked on cp"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.api.Members = members("cp cp-2 cp-3")
			c.ready(w.api)
			_, err := w.x.Undo(t.Context(), etcd(c.node, "192.0.2.4"))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if got := w.done(); !slices.Equal(got, c.did) {
				t.Errorf("did %q, want %q", got, c.did)
			}
		})
	}
}

// Where no control plane stays that could be asked, it is not known that the member is out.
func TestEtcd_NoOneStaysToBeAsked(t *testing.T) {
	w := newWorld(t)
	w.api.Members = members("cp")
	_, err := w.x.Undo(t.Context(), leaves(plan.Etcd, plan.Delete, plan.EtcdInputs{Node: "cp"})(nil))
	if err == nil || !strings.Contains(err.Error(), "no control plane stays that could be asked for etcd's members") {
		t.Errorf("error %v", err)
	}
	if got := w.done(); len(got) > 0 {
		t.Errorf("did %q", got)
	}
}

// Two of three leave, one after another; after the first, etcd is choosing a leader when the second asks.
func TestEtcd_WaitsUntilItIsWellAfterTheRunsOwnChange(t *testing.T) {
	w := newWorld(t)
	w.api.Members = members("cp cp-2 cp-3")
	if _, err := w.x.Undo(t.Context(), etcd("cp-3")); err != nil {
		t.Fatal(err)
	}
	w.api.OnEtcd = func(times int) { w.api.Members[0].Healthy = times > 4 }
	if _, err := w.x.Undo(t.Context(), etcd("cp-2")); err != nil {
		t.Errorf("it was not waited for: %v", err)
	}
	if got, want := w.done(), []string{"etcd member 3 asked on cp", "etcd member 2 asked on cp"}; !slices.Equal(got, want) {
		t.Errorf("did %q, want %q", got, want)
	}
	if !slices.ContainsFunc(w.said, func(s string) bool { return strings.Contains(s, "waiting for etcd") }) {
		t.Errorf("said %q", w.said)
	}
	w.begin()
	if _, err := w.x.Undo(t.Context(), etcd("cp")); !errors.Is(err, plan.ErrQuorum) {
		t.Errorf("the last member was taken out: %v", err)
	}
}

func TestInventory_OfARunThatDoesNotWriteIt(t *testing.T) {
	w := newWorld(t)
	w.env.TakeOut = nil
	w.begin()
	if _, err := w.x.Undo(t.Context(), rows[plan.Inventory].step(w)); err == nil {
		t.Error("nothing was written, and it says that it was")
	}
}
