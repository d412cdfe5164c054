package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/templates"
)

func mustUp(t *testing.T, s *sim) Result {
	t.Helper()
	r, err := s.up()
	if err != nil {
		for _, c := range r.Checks {
			if c.Status == report.Fail {
				t.Logf("check %+v", c)
			}
		}
		t.Fatalf("up: %v\n%+v", err, r.Changes)
	}
	return r
}

func TestUp_SecondRunCostsOneConnectionAndOneExec(t *testing.T) {
	s := newSim(t, 4, remotetest.Options{})
	r := mustUp(t, s)
	if r.Plan.Changes() != len(r.Plan.Steps) || r.Kubeconfig == "" {
		t.Errorf("the first run planned %d changes of %d steps, kubeconfig %q", r.Plan.Changes(), len(r.Plan.Steps), r.Kubeconfig)
	}
	if len(s.api.Tokens) != 0 || s.api.TokensMade != 1 {
		t.Errorf("%d tokens are left, %d were made", len(s.api.Tokens), s.api.TokensMade)
	}
	if s.changed() == 0 {
		t.Error("the first run changed nothing")
	}
	before := s.fleet.Stats()
	r = mustUp(t, s)
	for _, c := range r.Changes {
		if c.Action != report.Unchanged {
			t.Errorf("%s: %s", c.Step, c.Action)
		}
	}
	if n := s.changed(); n != 0 {
		t.Errorf("the second run changed %d things", n)
	}
	after := s.fleet.Stats()
	if c, e := after.Connections-before.Connections, after.Execs-before.Execs; c != 4 || e != 4 || after.SFTP != before.SFTP {
		t.Errorf("4 hosts cost %d connections, %d execs, %d SFTP sessions", c, e, after.SFTP-before.SFTP)
	}
}

func TestUp_StateLostChangesNothing(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	mustUp(t, s)
	s.changed()
	if err := os.RemoveAll(s.state); err != nil {
		t.Fatal(err)
	}
	r := mustUp(t, s)
	if n := s.changed(); n != 0 || r.Plan.Changes() != 0 {
		t.Errorf("%d things were changed, %d planned", n, r.Plan.Changes())
	}
	for _, f := range []string{"state.json", "kubeconfig"} {
		info, err := os.Stat(filepath.Join(s.state, f))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
	}
	before := s.fleet.Stats().Execs
	mustUp(t, s)
	if n := s.fleet.Stats().Execs - before; n != 3 {
		t.Errorf("the run after it: %d execs for 3 hosts", n)
	}
}

func TestUp_FailingHostStopsOnlyItself(t *testing.T) {
	s := newSim(t, 4, remotetest.Options{})
	s.hosts["host-3"].fail["kubeadm"] = "kubeadm join: the moon is in the way"
	r, err := s.up()
	if !errors.Is(err, ErrPartial) {
		t.Fatalf("error %v, want ErrPartial", err)
	}
	for _, h := range r.Hosts {
		bad := h.Name == "host-3"
		if (h.Error != "") != bad || (h.Next != "") != bad {
			t.Errorf("%s: error %q, next %q", h.Name, h.Error, h.Next)
		}
		if bad && (!strings.Contains(h.Error, "the moon is in the way") || !strings.Contains(h.Next, "hybridctl up -f")) {
			t.Errorf("%s: error %q, next %q", h.Name, h.Error, h.Next)
		}
	}
	if len(s.api.AllNodes) != 3 {
		t.Errorf("%d nodes, want the 3 others", len(s.api.AllNodes))
	}
	if len(s.api.Tokens) != 0 {
		t.Error("a join token is left")
	}
	s.changed()
	delete(s.hosts["host-3"].fail, "kubeadm")
	mustUp(t, s)
	for name, h := range s.hosts {
		if name != "host-3" && len(h.writes) > 0 {
			t.Errorf("%s was touched again: %q", name, h.writes)
		}
	}
	for _, w := range s.hosts["host-3"].writes {
		if !strings.HasPrefix(w, "kubeadm") {
			t.Errorf("a finished step was done again: %s", w)
		}
	}
}

func TestUp_UnreachableHostIsNamedAndFinishedLater(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	s.fleet.Hosts[2].Refuse()
	r, err := s.up()
	if !errors.Is(err, ErrPartial) {
		t.Fatalf("error %v, want ErrPartial", err)
	}
	if h := r.Hosts[2]; !strings.Contains(h.Error, "connection refused") || h.Next == "" {
		t.Errorf("host-3: %+v", h)
	}
	if len(s.api.AllNodes) != 2 {
		t.Errorf("%d nodes, want 2", len(s.api.AllNodes))
	}
	s.fleet.Hosts[2].Start()
	mustUp(t, s)
	if len(s.api.AllNodes) != 3 {
		t.Errorf("%d nodes after the second run, want 3", len(s.api.AllNodes))
	}
	// and when it goes away again, nothing is taken from the cluster, and the run says so
	s.changed()
	s.fleet.Hosts[2].Refuse()
	if _, err := s.up(); !errors.Is(err, ErrPartial) {
		t.Errorf("error %v, want ErrPartial", err)
	}
	if n := s.changed(); n != 0 {
		t.Errorf("%d things changed on the other hosts", n)
	}
}

func TestUp_PreflightStopsBeforeAnythingIsWritten(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	s.c.Spec.Hosts[1].Arch = platform.AMD64 // it is an Arm host
	r, err := s.up()
	if !errors.Is(err, ErrPreflight) {
		t.Fatalf("error %v, want ErrPreflight", err)
	}
	found := false
	for _, c := range r.Checks {
		found = found || c.Host == "host-2" && c.Name == "arch-declared" && c.Status == report.Fail
	}
	if !found {
		t.Errorf("checks %+v", r.Checks)
	}
	if n := s.changed(); n != 0 {
		t.Errorf("%d things were written", n)
	}
}

func TestUp_Declined(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	o := s.options()
	var asked plan.Plan
	o.Ask = func(p plan.Plan) bool { asked = p; return false }
	if _, err := Up(context.Background(), UpOptions{Options: o}); !errors.Is(err, ErrDeclined) {
		t.Errorf("error %v, want ErrDeclined", err)
	}
	if asked.Changes() == 0 || s.changed() != 0 {
		t.Errorf("asked about %d changes", asked.Changes())
	}
}

func TestUp_SecondRunAtOnceIsRefused(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{})
	o := s.options()
	o.Ask = func(plan.Plan) bool {
		if _, err := s.up(); !errors.Is(err, ErrLocked) {
			t.Errorf("error %v, want ErrLocked", err)
		}
		return false
	}
	_, _ = Up(context.Background(), UpOptions{Options: o})
}

func TestUp_FirstInterruptFinishesRunningSteps(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	gate, stop := make(chan struct{}), make(chan struct{})
	s.hosts["host-2"].gate["apply"] = gate
	o := s.options()
	o.Stop = stop
	o.Progress = sinkFunc(func(e report.Event) {
		if e.Kind == report.Started && e.Host == "host-2" && e.Step == "os" {
			close(stop)
			time.AfterFunc(50*time.Millisecond, func() { close(gate) }) // the step must be under way when the run is told to stop
		}
	})
	_, err := Up(context.Background(), UpOptions{Options: o})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	if m := s.hosts["host-2"].markers["os"]; !strings.HasPrefix(m, "state done") {
		t.Errorf("the running step was not finished: marker %q", m)
	}
	delete(s.hosts["host-2"].gate, "apply")
	mustUp(t, s)
}

type sinkFunc func(report.Event)

func (f sinkFunc) Event(e report.Event) { f(e) }

func TestUp_NodeRegistersAfterTheJoinHasEnded(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	s.api.Late = map[string]int{"host-2": 1}
	mustUp(t, s)
}

func TestUp_DriftIsMended(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	mustUp(t, s)
	s.changed()
	s.hosts["host-2"].markers["join"] += "unit kubelet.service\n"
	s.hosts["host-2"].stopped = true
	r := mustUp(t, s)
	if w := s.hosts["host-2"].writes; len(w) != 1 || !strings.HasPrefix(w[0], "start") {
		t.Errorf("written: %q", w)
	}
	if r.Plan.Changes() != 1 {
		t.Errorf("%d changes planned", r.Plan.Changes())
	}
}

// TestUp_ImportCutOff: what containerd unpacked before its host lost power may be empty files, although it knows the images.
func TestUp_ImportCutOff(t *testing.T) {
	for boot, wantForgotten := range map[string]bool{"another-boot": true, "": false} {
		s := newSim(t, 2, remotetest.Options{})
		mustUp(t, s)
		h := s.hosts["host-1"]
		if boot == "" {
			boot = strings.TrimSpace(h.fact["boot-id"])
		}
		h.mu.Lock()
		h.markers["images"] = "state started\ndigest " + boot + "\n"
		for _, i := range s.bundle.Manifest.Images {
			for _, arch := range platform.All() {
				if platform.ProfileFor(arch).Spellings[1] == h.arch {
					h.images[i.Ref] = i.Manifests[arch]
				}
			}
		}
		h.writes = nil
		h.mu.Unlock()
		mustUp(t, s)
		h.mu.Lock()
		done := strings.Join(h.writes, "\n")
		marker := h.markers["images"]
		h.mu.Unlock()
		if forgotten := strings.Contains(done, "forget"); forgotten != wantForgotten {
			t.Errorf("boot %q: forgotten %v, want %v:\n%s", boot, forgotten, wantForgotten, done)
		}
		if !strings.Contains(marker, "state done") {
			t.Errorf("the marker says %q", marker)
		}
		if wantForgotten && !strings.Contains(done, "import") {
			t.Errorf("nothing was imported anew:\n%s", done)
		}
	}
}

func TestUp_MissingBundleFile(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{})
	s.c.Spec.Bundle = filepath.Join(t.TempDir(), "none")
	if _, err := s.up(); !errors.Is(err, ErrBundle) {
		t.Errorf("error %v, want ErrBundle", err)
	}
	if st := s.fleet.Stats(); st.Connections != 0 {
		t.Errorf("%d connections were made all the same", st.Connections)
	}
}

func TestDestroy_LeavesNothingAndUpMakesItAnew(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	mustUp(t, s)
	if _, err := Destroy(context.Background(), DestroyOptions{Options: s.options()}); err != nil {
		t.Fatal(err)
	}
	for name, h := range s.hosts {
		if len(h.markers) != 0 || h.member {
			t.Errorf("%s still has %v", name, h.markers)
		}
	}
	if _, err := os.Stat(filepath.Join(s.state, "kubeconfig")); !os.IsNotExist(err) {
		t.Errorf("the kubeconfig stays: %v", err)
	}
	s.api.AllNodes = map[string]kube.Node{}
	s.api.CNI = false
	mustUp(t, s)
}

func TestDestroy_UnreachableHostIsReportedAndFinishedLater(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	mustUp(t, s)
	s.fleet.Hosts[1].Refuse()
	r, err := Destroy(context.Background(), DestroyOptions{Options: s.options()})
	if !errors.Is(err, ErrPartial) || !strings.Contains(r.Hosts[1].Error, "connection refused") || !strings.Contains(r.Hosts[1].Next, "destroy") {
		t.Fatalf("error %v, host %+v", err, r.Hosts[1])
	}
	for _, name := range []string{"host-1", "host-3"} {
		if len(s.hosts[name].markers) != 0 {
			t.Errorf("%s still has %v", name, s.hosts[name].markers)
		}
	}
	s.fleet.Hosts[1].Start()
	if _, err := Destroy(context.Background(), DestroyOptions{Options: s.options()}); err != nil {
		t.Fatal(err)
	}
	if len(s.hosts["host-2"].markers) != 0 {
		t.Errorf("host-2 still has %v", s.hosts["host-2"].markers)
	}
}

func TestDestroy_StateLost(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	mustUp(t, s)
	if err := os.RemoveAll(s.state); err != nil {
		t.Fatal(err)
	}
	if _, err := Destroy(context.Background(), DestroyOptions{Options: s.options()}); err != nil {
		t.Fatal(err)
	}
	for name, h := range s.hosts {
		if len(h.markers) != 0 {
			t.Errorf("%s still has %v", name, h.markers)
		}
	}
}

// Who tells kubeadm to be patient with the API server has a slow one.
func TestUp_AsksAsPatientlyAsKubeadm(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{})
	s.c.Spec.Kubernetes.Timeouts.KubernetesAPICall = inventory.Duration(7 * time.Minute)
	o := s.options()
	var asked []time.Duration
	o.hooks.newAPI = func(_ []byte, k kube.Options) (access.API, error) {
		asked = append(asked, k.RetryFor)
		return s.api, nil
	}
	if _, err := Up(context.Background(), UpOptions{Options: o}); err != nil {
		t.Fatal(err)
	}
	if len(asked) == 0 || asked[0] != 7*time.Minute {
		t.Errorf("asked again for %v", asked)
	}
}

// Where the report cannot be written is found out before the work, and not after half an hour of it.
func TestUp_ReportThatCannotBeWrittenStopsItBefore(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	asked := false
	o := UpOptions{Options: s.options(), Conformance: ConformanceFull, Proof: ProofOptions{ReportDir: file}}
	o.Ask = func(plan.Plan) bool { asked = true; return true }
	if _, err := Up(context.Background(), o); !errors.Is(err, ErrReportDir) || asked || s.changed() != 0 {
		t.Errorf("error %v, asked %v", err, asked)
	}
}

// A control plane whose node someone deleted is not the bundle's fault.
func TestStatus_HostThatStandsInTheWay(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
	s.c.Spec.Hosts[1].Role = inventory.ControlPlane
	mustUp(t, s)
	delete(s.api.AllNodes, "host-2")
	if _, err := Status(context.Background(), s.options()); !errors.Is(err, ErrRefused) || errors.Is(err, ErrBundle) {
		t.Errorf("error %v", err)
	}
}

// What ends on a control plane while a run looks at it is told with whatever stops the run, and stays.
func TestUp_TellsWhatEndedMeanwhile(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{}).withCeph()
	s.fleet.On(remotetest.Is(templates.Script("static-pods")), func(session *remotetest.Session) int {
		fmt.Fprint(session.Stdout, "2026-01-01T00:01:00Z\netcd etcd 7 2026-01-01T00:00:30Z\n\tno space left on the device\n")
		return 0
	})
	noticed := make(chan struct{})
	for _, h := range s.hosts {
		h.ceph = map[string]string{"0.rbd": "said Permission denied\n"}
		h.gate["ceph-probe"] = noticed
	}
	o := s.options()
	o.hooks.restartsEvery = time.Millisecond
	once := sync.OnceFunc(func() { close(noticed) })
	o.Progress = sinkFunc(func(e report.Event) {
		if e.Kind == report.Note && e.Host == "host-1" && strings.Contains(e.Message, "no space left") {
			once()
		}
	})
	_, err := Up(t.Context(), UpOptions{Options: o})
	if !errors.Is(err, ErrPreflight) || !strings.Contains(err.Error(), "etcd on host-1 ends and is started again: 7 times so far") {
		t.Errorf("got %v", err)
	}
}
