package execution

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet/fleettest"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/restarts"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// newExecutor is that of a cluster of two control planes and a worker, none of which is connected.
func newExecutor(t *testing.T) (*Executor, *fakeapi.API) {
	t.Helper()
	c, f, dir := fleettest.Three(t)
	store, err := stack.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	api := fakeapi.New(bundletest.Version)
	w := restarts.New(f.ControlPlanes, report.Discard, 0)
	t.Cleanup(w.Stop)
	return New(Options{Server: &access.Server{API: api}, Cluster: c, StateDir: dir, Fleet: f, Store: store, Bundle: func() *bundle.Bundle { return &bundle.Bundle{} },
		Watcher: w, Progress: report.Discard, Parallel: 2, Reading: context.Background(), Stop: make(chan struct{})}), api
}

func TestUnderLock_WhichErrorWins(t *testing.T) {
	no := errors.New("a step failed")
	away := errors.New("away")
	returns := func(err error) func(*lock.Lock) error { return func(*lock.Lock) error { return err } }
	untilLost := func(l *lock.Lock) error {
		<-l.Stop()
		return context.Canceled
	}
	for name, c := range map[string]struct {
		spoil       func(*Executor, *fakeapi.API)
		work        func(*lock.Lock) error // nil = it must not be begun
		failed, err error
		says        string
	}{
		"all is well":                {work: returns(nil)},
		"a step failed":              {work: returns(no), failed: no, says: "a step failed"},
		"it was interrupted":         {work: returns(context.Canceled), err: context.Canceled},
		"another run has it":         {spoil: func(_ *Executor, a *fakeapi.API) { a.Holder = "eve@elsewhere" }, err: stack.ErrLocked, says: "or was ended in the middle: the cluster's lock is the lease is held by eve@elsewhere"},
		"another had it meanwhile":   {spoil: func(x *Executor, _ *fakeapi.API) { x.Server.Mark = "mark of before" }, err: stack.ErrLocked, says: "run it again"},
		"it is taken from who broke": {spoil: func(x *Executor, a *fakeapi.API) { a.Holder, x.BreakLock = "eve@elsewhere", true }, work: returns(nil)},
		"another broke it": {spoil: func(x *Executor, a *fakeapi.API) { x.LockTTL, a.Lost = 2*time.Second, kube.ErrHeld }, work: untilLost,
			failed: context.Canceled, err: stack.ErrLocked, says: "was taken from this run"},
		"it lapsed": {spoil: func(x *Executor, a *fakeapi.API) { x.LockTTL, a.Lost = 100*time.Millisecond, away }, work: untilLost,
			failed: context.Canceled, err: stack.ErrLocked, says: "perhaps: the cluster's lock"},
		"it is not given back":                   {spoil: func(_ *Executor, a *fakeapi.API) { a.Failing["ReleaseLease"] = away }, work: returns(nil), failed: away, says: "could not be given back"},
		"nor did a step succeed":                 {spoil: func(_ *Executor, a *fakeapi.API) { a.Failing["ReleaseLease"] = away }, work: returns(no), failed: no, says: "could not be given back"},
		"there is no API server, and no host":    {spoil: func(x *Executor, _ *fakeapi.API) { x.Server.API = nil }, work: returns(no), failed: no},
		"what the token is kept in is no file":   {spoil: func(x *Executor, _ *fakeapi.API) { _ = os.Mkdir(filepath.Join(x.StateDir, lock.TokenFile), 0o700) }, work: returns(nil), says: lock.TokenFile},
		"a lock that was left stays on its host": {spoil: func(x *Executor, _ *fakeapi.API) { _, _ = lock.Token(x.StateDir) }, work: returns(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			x, api := newExecutor(t)
			if c.spoil != nil {
				c.spoil(x, api)
			}
			begun := false
			failed, err := x.underLock(t.Context(), noKind, nil, func(l *lock.Lock) error {
				begun = true
				if c.work == nil {
					return nil
				}
				return c.work(l)
			})
			if begun != (c.work != nil) {
				t.Errorf("begun: %t", begun)
			}
			if c.failed != nil && !errors.Is(failed, c.failed) || c.failed == nil && failed != nil && c.says == "" {
				t.Errorf("failed: %v", failed)
			}
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Errorf("error %v", err)
			}
			if said := errors.Join(failed, err); c.says != "" && (said == nil || !strings.Contains(said.Error()+"\nhint: "+hint.Text(said), c.says)) {
				t.Errorf("said %v", said)
			}
		})
	}
}

// A step is begun only while the lock is this run's: the engine asks the lock itself.
func TestEngine_AsksTheLock(t *testing.T) {
	x, api := newExecutor(t)
	if x.engine(nil).Lost() {
		t.Error("lost before it was taken")
	}
	x.LockTTL, api.Lost = 2*time.Second, kube.ErrHeld
	_, err := x.underLock(t.Context(), noKind, nil, func(l *lock.Lock) error {
		o := x.engine(l.Stop())
		if o.Lost() {
			t.Error("lost as soon as it was taken")
		}
		<-l.Stop()
		if !o.Lost() {
			t.Error("it does not know of the loss")
		}
		if err := x.markNodes(t.Context(), unmarkedNode(api), nil); err != nil { // whose host is not connected
			t.Errorf("a mark was to be written even so: %v", err)
		}
		return nil
	})
	if !errors.Is(err, stack.ErrLocked) {
		t.Errorf("error %v", err)
	}
}

// unmarkedNode is a host that is a node, and has no mark.
func unmarkedNode(api *fakeapi.API) survey.Seen {
	f := facts.Host{Name: "host-3", Markers: map[string]facts.Marker{"join": {Marker: host.Marker{State: host.MarkerDone}}}}
	f.Kubeadm.KubeletConf, f.Kubeadm.CACertHash = true, api.CAHashes()[0]
	return survey.Seen{Hosts: survey.Hosts{"host-3": f}}
}

// Whatever may take long is said while it lasts.
func TestWaits_AreSaid(t *testing.T) {
	x, api := newExecutor(t)
	var said []string
	lasts := 0
	x.Waiting = func(what string) func() {
		said = append(said, what)
		lasts++
		return func() { lasts-- }
	}
	_, err := x.underLock(t.Context(), noKind, nil, func(l *lock.Lock) error {
		if lasts != 0 {
			t.Error("the lock is waited for that it has")
		}
		return x.markNodes(t.Context(), unmarkedNode(api), l.Stop())
	})
	want := []string{"the cluster's lock", "marks to be written on host-3", "the cluster's lock to be given back"}
	if err != nil || !slices.Equal(said, want) || lasts != 0 {
		t.Errorf("error %v; %q was said, and %d are not over", err, said, lasts)
	}
}

func TestUnmarked(t *testing.T) {
	x, api := newExecutor(t)
	own := api.CAHashes()[0]
	mark := func(ca, name string) facts.Belonging {
		return facts.Belonging{Marked: true, ClusterMark: host.ClusterMark{CA: ca, Name: name}}
	}
	node := func(change func(*facts.Host)) facts.Host {
		f := unmarkedNode(api).Hosts["host-3"]
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		fact     facts.Host
		unmarked bool
	}{
		"a node without a mark":              {node(func(*facts.Host) {}), true},
		"marked":                             {node(func(f *facts.Host) { f.Belongs = mark(own, "sim") }), false},
		"its cluster was given another name": {node(func(f *facts.Host) { f.Belongs = mark(own, "old") }), true},
		"the mark has another authority":     {node(func(f *facts.Host) { f.Belongs = mark("sha256:b", "sim") }), true},
		"a node of another cluster":          {node(func(f *facts.Host) { f.Kubeadm.CACertHash = "sha256:b" }), false},
		"no node":                            {node(func(f *facts.Host) { f.Kubeadm.KubeletConf = false }), false},
		"its join did not come to the end":   {node(func(f *facts.Host) { f.Markers = nil }), false},
		"not reached":                        {node(func(f *facts.Host) { f.Err = errors.New("away") }), false},
	} {
		if got := x.unmarked(survey.Hosts{"host-3": c.fact}); (len(got) > 0) != c.unmarked {
			t.Errorf("%s: %q", name, got)
		}
	}
	x.Server.API = nil
	if got := x.unmarked(survey.Hosts{"host-3": node(func(*facts.Host) {})}); len(got) > 0 {
		t.Errorf("whose node it is is not known: %q", got)
	}
}

func TestHost_NotOneThatNothingIsKnownOf(t *testing.T) {
	x, _ := newExecutor(t)
	seen := survey.Seen{Hosts: survey.Hosts{"host-3": facts.Host{Err: errors.New("no facts")}}}
	if _, err := x.host(seen, "host-3"); err == nil || !strings.Contains(err.Error(), "nothing is known of it: no facts") {
		t.Errorf("error %v", err)
	}
	if _, err := x.host(seen, "host-2"); err == nil || !strings.Contains(err.Error(), "is not connected") {
		t.Errorf("one that was not asked: %v", err)
	}
}

func TestMember(t *testing.T) {
	x, _ := newExecutor(t)
	second := facts.Host{Markers: map[string]facts.Marker{"join": {Marker: host.Marker{State: host.MarkerDone}}}}
	second.Kubeadm.AdminConf = true
	for _, c := range []struct {
		hosts survey.Hosts
		want  string
	}{{nil, "host-1"}, {survey.Hosts{"host-2": second}, "host-2"}, {survey.Hosts{"host-2": {Markers: second.Markers}}, "host-1"}, {survey.Hosts{"host-3": second}, "host-1"}} {
		if got := x.member(c.hosts); got != c.want {
			t.Errorf("%v: %s, want %s", c.hosts, got, c.want)
		}
	}
	x.Fleet.GoThrough([]string{"host-2"})
	if got := x.member(nil); got != "host-2" {
		t.Errorf("not the one that serves: %s", got)
	}
}

// A run that has nothing to do needs no lock, unless an earlier one left something.
func TestUp_NothingToDo(t *testing.T) {
	for name, c := range map[string]struct {
		left   bool
		holder string
		held   int
	}{"nothing is left": {}, "another run is at work": {holder: "eve@elsewhere"}, "a lock was left": {left: true, held: 1}, "a lock was left, and another run is at work": {left: true, holder: "eve@elsewhere"}} {
		x, api := newExecutor(t)
		api.Holder = c.holder
		if c.left {
			if _, err := lock.Token(x.StateDir); err != nil {
				t.Fatal(err)
			}
		}
		changes, failed, err := x.Up(t.Context(), survey.Seen{}, plan.Plan{})
		if len(changes) > 0 || failed != nil || err != nil || api.Held != c.held || api.Holder != c.holder {
			t.Errorf("%s: %v, %v, %v, the lock was taken %d times and is with %q", name, changes, failed, err, api.Held, api.Holder)
		}
	}
}

// What comes before the plan ends the verb; a run that comes to the plan has noted who is to be proven.
func TestScaleOut_NotesWhoIsToBeProvenFirst(t *testing.T) {
	x, api := newExecutor(t)
	did, failed, err := x.ScaleOut(t.Context(), Growth{Hosts: x.Cluster.Spec.Hosts[2:], Plan: plan.Plan{Part: true, Cluster: "sim"}})
	if failed != nil || err != nil || did.Changes == nil || api.Holder != "" || api.Held != 1 {
		t.Errorf("%+v, %v, %v", did, failed, err)
	}
	if names, err := proof.Unproven(x.StateDir); err != nil || !slices.Equal(names, []string{"host-3"}) {
		t.Errorf("to be proven: %q, %v", names, err)
	}
	if err := os.Remove(filepath.Join(x.StateDir, proof.UnprovenFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(x.StateDir, proof.UnprovenFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if did, _, err := x.ScaleOut(t.Context(), Growth{Hosts: x.Cluster.Spec.Hosts[2:]}); err == nil || did.Changes != nil || api.Holder != "" {
		t.Errorf("it cannot be noted: %+v, %v, lock %q", did, err, api.Holder)
	}
}

func TestDeleteStorage(t *testing.T) {
	x, api := newExecutor(t)
	class := kube.Object{Kind: "StorageClass", Name: "ceph-rbd"}
	api.OwnedObjects[class] = true
	api.Holder = "eve@elsewhere"
	if changes, _, err := x.DeleteStorage(t.Context(), []kube.Object{class}); !errors.Is(err, stack.ErrLocked) || len(changes) > 0 || len(api.OwnedObjects) != 1 {
		t.Errorf("while another run is at work: %v, %v", changes, err)
	}
	api.Holder = ""
	changes, failed, err := x.DeleteStorage(t.Context(), []kube.Object{class})
	if failed != nil || err != nil || len(changes) != 1 || changes[0].Action != report.Deleted || changes[0].Kind != string(plan.CSI) || len(api.OwnedObjects) > 0 {
		t.Errorf("%+v, %v, %v", changes, failed, err)
	}
}
