package steps

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// errAway is a call that failed.
var errAway = errors.New("the API server is away")

const twoObjects = "{apiVersion: v1, kind: Namespace, metadata: {name: net}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: net, namespace: net}}\n"

// row is how one kind of step behaves. Every kind has one.
type row struct {
	step      func(*world) plan.Step
	ready     func(*world)      // what is there before
	interrupt func(*world)      // the first attempt ends half-way
	there     func(*world) bool // it is true now
	did       []string          // by an apply from nothing; of an undo where there is no apply
	again     []string          // by an apply when it is true already
	undo      []string          // by an undo
	undoAgain []string          // when nothing is there any more
}

func ofPlan(id plan.ID) func(*world) plan.Step {
	return func(w *world) plan.Step { return w.step(id) }
}

// leaves is a step of a removal.
func leaves(k plan.Kind, a plan.Action, in any) func(*world) plan.Step {
	return func(*world) plan.Step {
		return plan.Step{ID: plan.HostID("worker", k), Kind: k, Host: "worker", Action: a, Inputs: in, Digest: plan.Digest(in)}
	}
}

func cuts(host, script string) func(*world) {
	return func(w *world) { w.hosts[host].cut[script] = true }
}

// fails makes a call of the API server fail until another run begins.
func hasNode(w *world, name string) bool { _, there := w.api.AllNodes[name]; return there }

func fails(call string) func(*world) { return func(w *world) { w.api.Failing[call] = errAway } }

func marked(host, step string) func(*world) bool {
	return func(w *world) bool { return strings.HasPrefix(w.hosts[host].markers[step], "state done\n") }
}

func isMember(host string) func(*world) bool {
	return func(w *world) bool {
		h := w.hosts[host]
		if h.member != (h.belongs == "ca "+ownCA+"\nname lab\n") {
			w.t.Errorf("%s: member %t, and its mark is %q", host, h.member, h.belongs)
		}
		return h.member
	}
}

// files is the row of a step that puts files on a host.
func files(k plan.Kind) row {
	name := string(k)
	return row{
		step: ofPlan(plan.HostID("worker", k)), interrupt: cuts("worker", "apply"), there: marked("worker", name),
		did: []string{"apply " + name + " worker"}, again: []string{"apply " + name + " worker"},
		undo: []string{"remove " + name + " worker"}, undoAgain: []string{"remove " + name + " worker"},
	}
}

var rows = map[plan.Kind]row{
	plan.OS:         files(plan.OS),
	plan.Runtime:    files(plan.Runtime),
	plan.Kubernetes: files(plan.Kubernetes),
	plan.Registries: {
		step:      func(w *world) plan.Step { w.site(); return w.step("worker/registries") },
		interrupt: cuts("worker", "apply"), there: marked("worker", "registries"),
		did: []string{"apply registries worker"}, again: []string{"apply registries worker"},
		undo: []string{"remove registries worker"}, undoAgain: []string{"remove registries worker"},
	},
	plan.Images: {
		step: ofPlan("worker/images"), interrupt: cuts("worker", "import"), there: marked("worker", "images"),
		did: []string{"import worker"}, // and nothing again: the images are there
	},
	plan.Files: {
		step: ofPlan("cp/files"), interrupt: cuts("cp", "apply"), there: marked("cp", "files"),
		did: []string{"apply files cp"}, again: []string{"apply files cp"},
		undo: []string{"remove files cp"}, undoAgain: []string{"remove files cp"},
	},
	plan.Init: {
		step: ofPlan("cp/init"), interrupt: cuts("cp", "kubeadm"), there: isMember("cp"),
		did: []string{"kubeadm init cp"}, again: []string{"reset cp", "apply files cp", "kubeadm init cp"}, // it is begun again only where the host is a member no longer
		undo: []string{"reset cp"}, undoAgain: []string{"reset cp"},
	},
	plan.Join: {
		step: ofPlan("worker/join"), interrupt: cuts("worker", "kubeadm"), there: isMember("worker"),
		did: []string{"kubeadm join worker"}, again: []string{"reset worker", "kubeadm join worker"},
		undo: []string{"reset worker"}, undoAgain: []string{"reset worker"},
	},
	plan.Node: {
		step: ofPlan("worker/node"), ready: func(w *world) { w.api.AddNode("worker") }, interrupt: fails("ApplyNode"),
		there: func(w *world) bool { return hasNode(w, "worker") && w.api.labelled["rack"] == "a" },
		did:   []string{"label worker"}, again: []string{"label worker"},
		undo: []string{"delete worker"}, undoAgain: []string{"delete worker"},
	},
	plan.CNI: {
		step: ofPlan("cluster/cni"), interrupt: fails("Apply"), there: func(w *world) bool { return w.api.objects["DaemonSet/kube-flannel-ds"] },
		did: []string{"apply objects"}, again: []string{"apply objects"},
	},
	plan.CSI: {
		step: func(*world) plan.Step {
			return plan.Step{ID: plan.ClusterID(plan.CSI), Kind: plan.CSI, Action: plan.Create, Inputs: plan.CSIInputs{Manifest: []byte(twoObjects)}}
		},
		interrupt: fails("Owned"), there: func(w *world) bool { return w.api.objects["ConfigMap/net"] },
		did: []string{"apply objects"}, again: []string{"apply objects"},
	},
	plan.Cordon: {
		step: leaves(plan.Cordon, plan.Update, plan.CordonInputs{Node: "worker"}), ready: func(w *world) { w.api.AddNode("worker") },
		interrupt: fails("Cordon"), there: func(w *world) bool { return true },
		did: []string{"cordon worker"}, again: []string{"cordon worker"},
	},
	plan.Drain: {
		step:  leaves(plan.Drain, plan.Update, plan.DrainInputs{Node: "worker", Timeout: longEnough}),
		ready: func(w *world) { w.api.Evictable["worker"] = []kube.DrainPod{{Namespace: "a", Name: "b"}} }, interrupt: fails("WaitDetached"),
		there: func(w *world) bool { return len(w.api.Evictable["worker"]) == 0 },
		did:   []string{"drain 0 pods"}, again: []string{"drain 0 pods"}, // the interrupted attempt had evicted it
	},
	plan.Etcd: {
		step:  leaves(plan.Etcd, plan.Delete, plan.EtcdInputs{Node: "worker", Ask: []string{"cp", "cp-2"}}),
		ready: func(w *world) { w.api.Members = members("cp cp-2 worker") }, interrupt: fails("RemoveEtcdMember"),
		there: func(w *world) bool { return len(w.api.Members) == 3 },
		undo:  []string{"etcd member 3 asked on cp"},
	},
	plan.Inventory: {
		step: leaves(plan.Inventory, plan.Delete, plan.InventoryInputs{Path: "/lab.yaml"}), interrupt: fails("TakeOut"),
		there: func(w *world) bool { return len(w.out) == 0 },
	},
}

func TestSteps_EveryKindHasItsRow(t *testing.T) {
	for _, table := range []map[plan.Kind]action{appliers, undoers} {
		for k := range table {
			if rows[k].step == nil {
				t.Errorf("%s is carried out, and no row of the test tells how", k)
			}
		}
	}
}

// Each kind of step: undone when nothing is there, interrupted, applied, applied again, undone, undone again.
func TestSteps_MayBeCalledAgainAfterAnything(t *testing.T) {
	for k, r := range rows {
		t.Run(string(k), func(t *testing.T) {
			w := newWorld(t)
			s := r.step(w)
			_, applies := appliers[k]
			_, undoes := undoers[k]
			if !applies || !undoes {
				if err := oneWayOnly(w, s, applies); err == nil {
					t.Error("what nobody asks of such a step is done silently")
				}
			}
			if undoes && applies {
				r.expect(t, w, "undo of nothing", r.undoAgain, undo(t, w, s, report.Deleted))
			}
			if r.ready != nil {
				r.ready(w)
			}
			r.interrupt(w)
			if err := once(w, s, applies); err == nil {
				t.Error("the interrupted attempt says that it succeeded")
			}
			clear(w.api.Failing)
			w.done()
			w.looks("worker")
			w.looks("cp")
			w.begin()
			if applies {
				want := report.Created
				if s.Action == plan.Update {
					want = report.Configured
				}
				r.expect(t, w, "apply", r.did, apply(t, w, s, want))
				if !r.there(w) {
					t.Error("applied, and not there")
				}
				w.looks("worker")
				w.looks("cp")
				r.expect(t, w, "apply again", r.again, apply(t, w, s, want))
				if !r.there(w) {
					t.Error("applied again, and not there")
				}
			}
			if undoes {
				if !r.there(w) {
					t.Error("the interrupted undo did it all")
				}
				r.expect(t, w, "undo", r.undo, undo(t, w, s, report.Deleted))
				if r.there(w) && len(r.undo) > 0 {
					t.Error("undone, and still there")
				}
				r.expect(t, w, "undo again", r.undoAgain, undo(t, w, s, report.Deleted))
			}
		})
	}
}

func (r row) expect(t *testing.T, _ *world, what string, want, got []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s did %q, want %q", what, got, want)
	}
}

func once(w *world, s plan.Step, applies bool) error {
	if applies {
		_, err := w.x.Apply(w.t.Context(), s)
		return err
	}
	_, err := w.x.Undo(w.t.Context(), s)
	return err
}

func oneWayOnly(w *world, s plan.Step, applies bool) error { return once(w, s, !applies) }

func apply(t *testing.T, w *world, s plan.Step, want report.Action) []string {
	t.Helper()
	w.done()
	c, err := w.x.Apply(t.Context(), s)
	if err != nil || c.Action != want || c.Host != s.Host || c.Step != string(s.ID) || c.Detail == "" {
		t.Errorf("applied: %v, %+v", err, c)
	}
	return w.done()
}

func undo(t *testing.T, w *world, s plan.Step, want report.Action) []string {
	t.Helper()
	w.done()
	c, err := w.x.Undo(t.Context(), s)
	if err != nil || c.Action != want || c.Host != s.Host || c.Step != string(s.ID) {
		t.Errorf("undone: %v, %+v", err, c)
	}
	return w.done()
}

func TestSteps_InputsOfAnotherKindAreRefused(t *testing.T) {
	w := newWorld(t)
	for k, r := range rows {
		if k == plan.Images || k == plan.Node || k == plan.Inventory {
			continue // their undo takes no inputs
		}
		s := r.step(w)
		s.Inputs = struct{}{}
		_, applies := appliers[k]
		if err := once(w, s, applies); err == nil || !strings.Contains(err.Error(), "inputs of kind") {
			t.Errorf("%s: %v", k, err)
		}
	}
	if _, err := w.x.Apply(t.Context(), plan.Step{Kind: "tomorrow's"}); err == nil {
		t.Error("a kind that nobody knows was applied")
	}
}

// A host that is not reached fails its step before anything is done, and steps of the API alone do not ask for it.
func TestSteps_OnlyStepsOfAHostConnectToIt(t *testing.T) {
	w := newWorld(t)
	for _, h := range w.hosts {
		h.ssh.Refuse()
	}
	w.api.AddNode("worker")
	w.api.Members = members("cp cp-2 worker")
	for k, r := range rows {
		s := r.step(w)
		_, applies := appliers[k]
		err := once(w, s, applies)
		if needs := s.Host != "" && !slices.Contains(withoutHost, k); needs != (err != nil) {
			t.Errorf("%s: %v", k, err)
		}
	}
}

// What is on its way to a host when the connection is lost is not sent again.
func TestFiles_BinariesThatAreThereAreNotSentAgain(t *testing.T) {
	w := newWorld(t)
	s := w.step("worker/runtime")
	first, err := w.x.Apply(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(w.hosts["worker"].files)
	again, err := w.x.Apply(t.Context(), s)
	if err != nil || !maps.Equal(before, w.hosts["worker"].files) || len(before) == 0 {
		t.Errorf("%v: %v, then %v; %d files", err, first, again, len(before))
	}
}

// Images of an import that a new boot interrupted are taken away first: containerd does not sync what it unpacks.
func TestImages_OfAnImportThatAPowerCutInterruptedAreImportedAnew(t *testing.T) {
	w := newWorld(t)
	s := w.step("worker/images")
	in := s.Inputs.(plan.ImagesInputs)
	h := w.hosts["worker"]
	h.images[in.Images[0].Ref] = in.Images[0].Manifest
	h.markers["images"] = "state started\ndigest boot-0\n"
	w.looks("worker")
	if got := apply(t, w, s, report.Created); !slices.Equal(got, []string{"remove images worker", "import worker"}) {
		t.Errorf("did %q", got)
	}
	h.images[in.Images[0].Ref] = in.Images[0].Manifest
	f := w.facts["worker"]
	f.Markers, f.BadMarkers = nil, []string{"images"} // which may have said so
	w.facts["worker"] = f
	if got := apply(t, w, s, report.Created); !slices.Equal(got, []string{"remove images worker", "import worker"}) {
		t.Errorf("with a marker that cannot be read, did %q", got)
	}
	h.markers["images"] = "state started\ndigest boot-1\n" // the same boot: what is there was written
	w.looks("worker")
	if got := apply(t, w, s, report.Created); len(got) > 0 {
		t.Errorf("did %q", got)
	}
}

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

// A kubelet that stopped is started; kubeadm is not run again over a member.
func TestMember_WhoseKubeletStoppedIsStarted(t *testing.T) {
	w := newWorld(t)
	for _, id := range []plan.ID{"cp/init", "worker/join"} {
		s := w.step(id)
		s.Action = plan.Update
		if got := apply(t, w, s, report.Configured); !slices.Equal(got, []string{"start the kubelet " + s.Host}) {
			t.Errorf("%s did %q", id, got)
		}
	}
}

// A member whose marker cannot be read gets another, which says what the plan does.
func TestMember_WhoseMarkerCannotBeReadGetsAnother(t *testing.T) {
	w := newWorld(t)
	for _, id := range []plan.ID{"cp/init", "worker/join"} {
		s := w.step(id)
		s.Action = plan.Update
		f := w.facts[s.Host]
		f.BadMarkers = []string{string(s.Kind)}
		w.facts[s.Host] = f
		apply(t, w, s, report.Configured)
		m, err := host.ParseMarker(string(s.Kind), []byte(w.hosts[s.Host].markers[string(s.Kind)]))
		if err != nil || m.State != host.MarkerDone || m.Digest != s.Digest || !slices.Equal(m.Units, []string{"kubelet.service"}) {
			t.Errorf("%s: %+v, %v", id, m, err)
		}
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

func TestSteps_FactsOfAnotherHostAreNotUsed(t *testing.T) {
	w := newWorld(t)
	w.facts["cp"] = facts.Host{Name: "cp", Markers: map[string]facts.Marker{}}
	w.hosts["worker"].markers["join"] = "state done\ndigest x\n"
	w.looks("worker")
	if got := apply(t, w, w.step("cp/init"), report.Created); slices.Contains(got, "reset cp") {
		t.Errorf("did %q", got)
	}
}

// A control plane that is reset has its files again before kubeadm runs, and they travel as text that root alone may read.
func TestFiles_OfControlPlanes(t *testing.T) {
	w := newWorld(t)
	in := w.step("cp/files").Inputs.(plan.FilesInputs)
	if len(in.Texts) != 1 || in.Texts[0].Mode != "0600" || string(in.Texts[0].Body) != "rules: []" {
		t.Errorf("%+v", in)
	}
	if deps := w.step("cp/init").DependsOn; !slices.Contains(deps, plan.ID("cp/files")) {
		t.Errorf("init depends on %v", deps)
	}
	if _, ok := w.plan.Step("worker/files"); ok {
		t.Error("a worker gets files of control planes")
	}
	w.api.restarts = true
	c, err := w.x.Apply(t.Context(), w.step("cp/files"))
	if err != nil || c.Detail != "0 files changed, kube-apiserver started again" || !slices.Contains(w.said, "waiting for the API server") {
		t.Errorf("%+v, %v, said %q", c, err, w.said)
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
			w.env.Serving = func(string) []string { return []string{"192.0.2.3"} }
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
	other.env.Serving = func(string) []string { return []string{"192.0.2.3"} }
	other.begin()
	other.api.Serving, other.api.Failing["ApproveServing"] = []kube.ServingRequest{right}, kube.ErrConflict
	if did, err := other.x.Apply(t.Context(), other.step("worker/join")); err != nil || !strings.Contains(did.Detail, "csr-right for a serving certificate was changed") {
		t.Errorf("%v: %q", err, did.Detail)
	}
	w := newWorld(t) // with time, it is awaited
	w.env.Serving = func(string) []string { return []string{"192.0.2.3"} }
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
