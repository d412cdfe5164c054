package steps

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
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
	return func(w *world) bool { return strings.Contains(w.hosts[host].markers[step], "state done\n") }
}

func isMember(host string) func(*world) bool {
	return func(w *world) bool {
		h := w.hosts[host]
		if h.member != (h.belongs == "name lab\nca "+ownCA+"\n") {
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
