package steps

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// What an earlier attempt of a join may have begun in the cluster is taken out of it before the host is reset.
func TestJoin_HalfAControlPlaneLeavesEtcdBeforeItIsReset(t *testing.T) {
	w := newWorld(t)
	w.api.Members = members("cp cp-2 x")
	w.hosts["cp-2"].half = 77
	got := apply(t, w, w.step("cp-2/join"), report.Created)
	want := []string{"kubeadm join refused cp-2", "etcd member 2 asked on cp", "delete cp-2", "reset cp-2", "apply files cp-2", "kubeadm join cp-2"}
	if !slices.Equal(got, want) || !w.hosts["cp-2"].pki {
		t.Errorf("did %q, want %q", got, want)
	}
}

// A member that never started has no name: without a nodeIP in the inventory, the host's own addresses tell whose it is.
func TestJoin_MemberThatNeverStartedIsTheHostsOwn(t *testing.T) {
	w := newWorld(t)
	w.api.Members = members("cp ?- x")
	w.api.Members[1].Name, w.api.Members[1].Peers = "", []string{"198.51.100.2"}
	w.hosts["cp-2"].half = 77
	f := w.facts["cp-2"]
	f.Addresses = []string{"127.0.0.1", "198.51.100.2"}
	w.facts["cp-2"] = f
	s := w.step("cp-2/join")
	in := s.Inputs.(plan.JoinInputs)
	in.Config.NodeIP = ""
	s.Inputs = in
	got := apply(t, w, s, report.Created)
	want := []string{"kubeadm join refused cp-2", "etcd member 2 asked on cp", "delete cp-2", "reset cp-2", "apply files cp-2", "kubeadm join cp-2"}
	if !slices.Equal(got, want) {
		t.Errorf("did %q, want %q", got, want)
	}
}

func TestJoin_HalfAControlPlaneStaysWhereEtcdNeedsIt(t *testing.T) {
	w := newWorld(t)
	w.api.Members = members("cp cp-2")
	w.hosts["cp-2"].half = 77
	w.api.OnEtcd = func(times int) { w.api.Members[0].Healthy = times == 1 } // it falls ill after the join began
	_, err := w.x.Apply(t.Context(), w.step("cp-2/join"))
	if !errors.Is(err, plan.ErrQuorum) || slices.Contains(w.done(), "reset cp-2") {
		t.Errorf("error %v", err)
	}
}

// A run that lost the connection to kubeadm leaves it its token.
func TestJoin_TokenOfAJoinThatWasCutOffStays(t *testing.T) {
	w := newWorld(t)
	w.hosts["worker"].cut["kubeadm"] = true
	if _, err := w.x.Apply(t.Context(), w.step("worker/join")); err == nil || !strings.Contains(err.Error(), "kubeadm may be at work there still") {
		t.Errorf("error %v", err)
	}
	if err := w.x.Close(t.Context()); err != nil || len(w.api.Tokens) != 1 {
		t.Errorf("%v, tokens %v", err, w.api.Tokens)
	}
	w.looks("worker")
	w.begin()
	apply(t, w, w.step("worker/join"), report.Created)
	if err := w.x.Close(t.Context()); err != nil || len(w.api.Tokens) != 1 {
		t.Errorf("%v, tokens %v: that of the run that ended well is deleted", err, w.api.Tokens)
	}
}

func TestJoin_ServingCertificate(t *testing.T) {
	right := kube.ServingRequestOf(kubetest.KubeletRequest("csr-right", "worker", []string{"192.0.2.3"}, nil))
	earlier := kube.ServingRequestOf(kubetest.KubeletRequest("csr-earlier", "worker", []string{"192.0.2.3"}, nil))
	earlier.Decided, earlier.Issued = true, true
	for name, c := range map[string]struct {
		asked []kube.ServingRequest
		did   []string
		want  string
	}{
		"asked for what is the host's": {[]kube.ServingRequest{right}, []string{"kubeadm join worker", "approve csr-right"}, "its serving certificate is approved"},
		"asked for more": {[]kube.ServingRequest{kube.ServingRequestOf(kubetest.KubeletRequest("csr-more", "worker", []string{"192.0.2.3", "192.0.2.1"}, nil))},
			[]string{"kubeadm join worker"}, "csr-more for a serving certificate is not approved: it asks for the address 192.0.2.1"},
		"asked by another":             {[]kube.ServingRequest{kube.ServingRequestOf(kubetest.KubeletRequest("csr-cp", "cp", []string{"192.0.2.1"}, nil))}, []string{"kubeadm join worker"}, "has not asked"},
		"of the host's kubelet before": {[]kube.ServingRequest{earlier}, []string{"kubeadm join worker"}, "has not asked"},
		"asked for nothing":            {nil, []string{"kubeadm join worker"}, "the next up approves it"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.env.Serving = func(q kube.ServingRequest) error { return q.Fits("worker", []string{"192.0.2.3"}) }
			w.begin()
			w.api.Serving = slices.Clone(c.asked)
			did, err := w.x.Apply(t.Context(), w.step("worker/join"))
			if err != nil || !strings.HasPrefix(did.Detail, "joined; ") || !strings.Contains(did.Detail, c.want) {
				t.Errorf("%v: %q, want %q", err, did.Detail, c.want)
			}
			if got := w.done(); !slices.Equal(got, c.did) {
				t.Errorf("did %q, want %q", got, c.did)
			}
		})
	}
	other := newWorld(t) // another approves, too
	other.env.Serving = func(q kube.ServingRequest) error { return q.Fits("worker", []string{"192.0.2.3"}) }
	other.begin()
	other.api.Serving, other.api.Failing["ApproveServing"] = []kube.ServingRequest{right}, kube.ErrConflict
	if did, err := other.x.Apply(t.Context(), other.step("worker/join")); err != nil || !strings.Contains(did.Detail, "csr-right for a serving certificate was changed") {
		t.Errorf("%v: %q", err, did.Detail)
	}
	w := newWorld(t) // with time, it is awaited
	w.env.Serving = func(q kube.ServingRequest) error { return q.Fits("worker", []string{"192.0.2.3"}) }
	w.begin()
	w.x.servingWithin, w.api.Serving = time.Minute, []kube.ServingRequest{right}
	if did, err := w.x.Apply(t.Context(), w.step("worker/join")); err != nil || did.Detail != "joined; serving certificate issued" {
		t.Errorf("%v: %q", err, did.Detail)
	}
}

// A host is reset as one of the cluster that it joins or, where the user named it, of the one that it showed when it was looked at.
func TestJoin_ResetsNoHostOfAnotherCluster(t *testing.T) {
	const b, c = "bb", "cc"
	for name, test := range map[string]struct {
		seen, shows string // authorities
		half        int    // of an earlier attempt; 0 = it was a member
		forced, may bool
	}{
		"of another all the time":         {seen: b, shows: b},
		"taken meanwhile":                 {seen: "ca", shows: b},
		"half joined, and taken":          {shows: b, half: 76},
		"half joined":                     {shows: "ca", half: 76, may: true},
		"named":                           {seen: b, shows: b, forced: true, may: true},
		"named, half joined":              {seen: b, shows: b, half: 76, forced: true, may: true},
		"named, and taken by a third":     {seen: b, shows: c, forced: true},
		"named, and reset by somebody":    {seen: b, forced: true, may: true},
		"named, and this cluster's since": {seen: b, shows: "ca", forced: true, may: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			mark := func(ca string) string {
				if ca == "" {
					return ""
				}
				return "ca sha256:" + strings.Repeat(ca, 32) + "\nname x\n"
			}
			h := w.hosts["worker"]
			h.markers["join"], h.half, h.belongs = "state done\ndigest x\n", test.half, mark(test.seen)
			if test.half != 0 {
				h.markers["join"] = "state started\n"
			}
			w.looks("worker")
			h.belongs = mark(test.shows)
			s := w.step("worker/join")
			in := s.Inputs.(plan.JoinInputs)
			in.Forced = test.forced
			s.Inputs = in
			_, err := w.x.Apply(t.Context(), s)
			if slices.Contains(w.done(), "reset worker") != test.may || (err == nil) != test.may {
				t.Errorf("error %v", err)
			}
			if !test.may && (!errors.Is(err, host.ErrOthers) || !strings.Contains(hint.Text(err), "--force=worker")) {
				t.Errorf("error %v, hint %q", err, hint.Text(err))
			}
		})
	}
}

// An API server whose etcd began anew, as its disk was not mounted, knows no node: those hosts are reset for no cluster that would take them.
func TestJoin_ResetsNothingForAClusterThatTakesNoHost(t *testing.T) {
	w := newWorld(t)
	h := w.hosts["worker"]
	h.markers["join"], h.belongs = "state done\ndigest x\n", "ca sha256:"+strings.Repeat("ca", 32)+"\nname x\n"
	w.looks("worker")
	away := errors.New("configmap kube-public/cluster-info: does not exist")
	w.api.Failing["WaitSigned"] = away
	if _, err := w.x.Apply(t.Context(), w.step("worker/join")); !errors.Is(err, away) || slices.Contains(w.done(), "reset worker") {
		t.Errorf("error %v, done %q", err, w.done())
	}
	delete(w.api.Failing, "WaitSigned")
	if _, err := w.x.Apply(t.Context(), w.step("worker/join")); err != nil || !slices.Contains(w.done(), "reset worker") {
		t.Errorf("error %v, done %q", err, w.done())
	}
}

// What a host that joined in this run has of a step that is in the plan no more is undone: it is this cluster's now, and showed none before.
func TestUndo_OnAHostThatJoinedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		belongs string
		may     bool
	}{"this cluster": {ownCA, true}, "another": {"sha256:" + strings.Repeat("bb", 32), false}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			h := w.hosts["cp-2"]
			h.markers["files"] = "state done\ndigest x\n"
			w.looks("cp-2")
			h.belongs = "ca " + c.belongs + "\nname x\n"
			_, err := w.x.Undo(t.Context(), w.step("cp-2/files"))
			if _, there := h.markers["files"]; there == c.may || (err == nil) != c.may || errors.Is(err, host.ErrOthers) == c.may {
				t.Errorf("error %v, markers %v", err, h.markers)
			}
		})
	}
}
