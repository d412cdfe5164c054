package provision

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/templates"
)

// grown is a fleet of n hosts whose first old ones are a running cluster; the others have just been added to the inventory.
func grown(t testing.TB, n, old int) *sim {
	t.Helper()
	s := newSim(t, n, remotetest.Options{})
	all := s.c.Spec.Hosts
	s.c.Spec.Hosts = all[:old]
	if _, err := s.up(); err != nil {
		t.Fatal(err)
	}
	s.c.Spec.Hosts = all
	s.changed()
	s.api.Held = 0
	return s
}

func (s *sim) scaleOut(change func(*ScaleOutOptions)) (Result, error) {
	o := ScaleOutOptions{Options: s.options()}
	if change != nil {
		change(&o)
	}
	return ScaleOut(context.Background(), o)
}

// connections counts what each host was asked: connections and commands.
func (s *sim) connections() map[string]int {
	out := map[string]int{}
	for _, h := range s.fleet.Hosts {
		st := h.Stats()
		out[h.Name] = int(st.Connections) + int(st.Execs)
	}
	return out
}

// wantAlone fails the test when a host that was not named has been connected to since.
func (s *sim) wantAlone(before map[string]int, touched ...string) {
	s.t.Helper()
	for name, n := range s.connections() {
		if n != before[name] && !slices.Contains(touched, name) {
			s.t.Errorf("%s was connected to: %d connections and commands", name, n-before[name])
		}
		if n == before[name] && slices.Contains(touched, name) {
			s.t.Errorf("%s was not connected to", name)
		}
	}
}

func TestScaleOut_ConnectsToNewHostsAlone(t *testing.T) {
	s := grown(t, 5, 3)
	before := s.connections()
	r, err := s.scaleOut(nil)
	if err != nil {
		t.Fatalf("%v\n%+v", err, r.Changes)
	}
	s.wantAlone(before, "host-4", "host-5")
	if len(s.api.AllNodes) != 5 || len(r.Hosts) != 2 || len(s.api.Tokens) != 0 || s.api.TokensMade != 2 {
		t.Errorf("%d nodes, results of %d hosts, %d tokens left, %d made by both runs", len(s.api.AllNodes), len(r.Hosts), len(s.api.Tokens), s.api.TokensMade)
	}
	s.changed()
	// up finds everything in place, and the state complete
	before = s.connections()
	if r := mustUp(t, s); r.Plan.Changes() != 0 || s.changed() != 0 {
		t.Errorf("up planned %d changes after the scale-out", r.Plan.Changes())
	}
	for name, n := range s.connections() {
		if n-before[name] != 2 { // a connection and the facts: an engine run or another would show
			t.Errorf("%s: up took %d connections and commands", name, n-before[name])
		}
	}
	// and there is nothing left to do
	before = s.connections()
	r, err = s.scaleOut(nil)
	if err != nil || r.Nothing == "" {
		t.Errorf("error %v, %q", err, r.Nothing)
	}
	s.wantAlone(before)
}

// Whoever joins workers need not have what control planes are given; whoever joins a control plane has to.
func TestScaleOut_FilesOfControlPlanesAreReadForThoseAlone(t *testing.T) {
	s := grown(t, 3, 2)
	s.c.Spec.Kubernetes.Files = []inventory.ControlPlaneFile{{Name: "encryption", Path: "/etc/kubernetes/hybridctl/encryption", SecretFile: filepath.Join(t.TempDir(), "none")}}
	s.c.Spec.Hosts[2].Role = inventory.ControlPlane
	if _, err := s.scaleOut(nil); err == nil || !strings.Contains(err.Error(), "spec.kubernetes.files[0]") || s.changed() != 0 {
		t.Errorf("a control plane: %v", err)
	}
	s.c.Spec.Hosts[2].Role = inventory.Worker
	if r, err := s.scaleOut(nil); err != nil || s.api.AllNodes["host-3"].Name == "" {
		t.Errorf("a worker: %v\n%+v", err, r.Changes)
	}
}

func TestScaleOut_WithoutStateTheKubeconfigComesOverOneConnection(t *testing.T) {
	s := grown(t, 4, 3)
	if err := os.RemoveAll(s.state); err != nil {
		t.Fatal(err)
	}
	before := s.connections()
	if _, err := s.scaleOut(nil); err != nil {
		t.Fatal(err)
	}
	s.wantAlone(before, "host-1", "host-4")
	if _, err := os.Stat(filepath.Join(s.state, fleet.KubeconfigFile)); err != nil {
		t.Error(err)
	}
}

func TestScaleOut_ReachesTheAPIThroughOneControlPlane(t *testing.T) {
	s := grown(t, 5, 4)
	s.c.Spec.Hosts[2].Role = inventory.ControlPlane // another way, which is not needed
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before := s.connections()
	_, err = s.scaleOut(func(o *ScaleOutOptions) {
		o.hooks.newAPI = func(_ []byte, k kube.Options) (access.API, error) {
			for range 3 { // as an API whose endpoint does not answer directly
				c, err := k.Dial(context.Background(), "tcp", l.Addr().String())
				if err != nil {
					return nil, err
				}
				c.Close()
			}
			return s.api, nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s.wantAlone(before, "host-1", "host-5")
}

func TestScaleOut_Selection(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*ScaleOutOptions)
		touched []string
		joined  []string
		nothing string
		refused string
	}{
		"by name":                   {func(o *ScaleOutOptions) { o.Hosts = []string{"host-4"} }, []string{"host-4"}, []string{"host-4"}, "", ""},
		"by architecture":           {func(o *ScaleOutOptions) { o.Arch = platform.ARM64 }, []string{"host-3", "host-4"}, []string{"host-4"}, "", ""},
		"a node already":            {func(o *ScaleOutOptions) { o.Hosts = []string{"host-2"} }, nil, nil, "host-2: in the cluster already", ""},
		"none of that architecture": {func(o *ScaleOutOptions) { o.Arch, o.Hosts = platform.ARM64, []string{"host-3"} }, []string{"host-3"}, nil, "host-3 (amd64)", ""},
		"not in the inventory":      {func(o *ScaleOutOptions) { o.Hosts = []string{"nobody"} }, nil, nil, "", `has no host "nobody"; it has host-1, host-2`},
	} {
		t.Run(name, func(t *testing.T) {
			s := grown(t, 4, 2)
			before := s.connections()
			r, err := s.scaleOut(c.change)
			if c.refused != "" {
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("error %v", err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			s.wantAlone(before, c.touched...)
			if !strings.Contains(r.Nothing, c.nothing) || (r.Nothing == "") != (c.nothing == "") {
				t.Errorf("nothing to do: %q", r.Nothing)
			}
			var joined []string
			for _, h := range r.Hosts {
				joined = append(joined, h.Name)
			}
			if !slices.Equal(joined, c.joined) || len(s.api.AllNodes) != 2+len(joined) {
				t.Errorf("joined %v, %d nodes", joined, len(s.api.AllNodes))
			}
		})
	}
}

// Hosts that hybridctl may not set up are not waited for, and who asks for one is told why.
func TestScaleOut_NothingToJoinSaysWhy(t *testing.T) {
	const notManaged = "host-3: the cluster has no such node, and hybridctl does not manage the host (managed: false) and joins none that it may not set up"
	for name, c := range map[string]struct {
		gone  string // its node
		away  string // its node is not Ready
		hosts []string
		want  string
	}{
		"all are nodes":                     {want: "every host of the inventory is a node already"},
		"a node that is not managed":        {hosts: []string{"host-1"}, want: "host-1: in the cluster already"},
		"not managed, without a node":       {gone: "host-3", want: notManaged},
		"not managed, without, asked for":   {gone: "host-3", hosts: []string{"host-3"}, want: notManaged},
		"not managed, without, not asked":   {gone: "host-3", hosts: []string{"host-4"}, want: "host-4: in the cluster already"},
		"not managed, not Ready":            {away: "host-2", want: "every host of the inventory is a node already"},
		"without, and another is not Ready": {gone: "host-3", away: "host-4", want: notManaged + "; not Ready: host-4; a host that was reinstalled joins again with hybridctl scale-out --replace host-4"},
	} {
		t.Run(name, func(t *testing.T) {
			s := foreign(t, 4, 3)
			s.keep()
			if _, err := s.scaleOut(nil); err != nil {
				t.Fatal(err)
			}
			delete(s.api.AllNodes, c.gone)
			if c.away != "" {
				s.api.SetReady(c.away, false)
			}
			before := s.connections()
			r, err := s.scaleOut(func(o *ScaleOutOptions) { o.Hosts = c.hosts })
			if err != nil || r.Nothing != c.want {
				t.Errorf("error %v, nothing to do: %q, want %q", err, r.Nothing, c.want)
			}
			s.wantAlone(before)
		})
	}
}

func TestScaleOut_NoCluster(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{AllowUnknown: true})
	s.hosts["host-1"].fail["admin.conf"] = "cat: no such file"
	if _, err := s.scaleOut(nil); !errors.Is(err, ErrRefused) || !strings.Contains(printed(err), `where there is no cluster yet, "hybridctl up" makes it`) {
		t.Errorf("error %v", err)
	}
	if s.changed() != 0 {
		t.Error("something was written")
	}
}

func TestScaleOut_FailingHostLeavesTheOthersJoinedAndIsFinishedLater(t *testing.T) {
	s := grown(t, 5, 2)
	s.hosts["host-4"].fail["kubeadm"] = "the moon is in the way"
	s.fleet.Hosts[4].Refuse()
	r, err := s.scaleOut(func(o *ScaleOutOptions) { o.Audit, o.Conformance = AuditWarn, ConformanceOff })
	if !errors.Is(err, ErrPartial) || !strings.Contains(err.Error(), "2 of 3 hosts") {
		t.Fatalf("error %v", err)
	}
	for _, h := range r.Hosts {
		if bad := h.Name != "host-3"; (h.Error != "") != bad || bad && !strings.Contains(h.Next, "hybridctl scale-out --audit=warn --conformance=off -f") {
			t.Errorf("%+v", h)
		}
	}
	if len(s.api.AllNodes) != 3 || len(s.api.Tokens) != 0 {
		t.Errorf("%d nodes, %d tokens left", len(s.api.AllNodes), len(s.api.Tokens))
	}
	delete(s.hosts["host-4"].fail, "kubeadm")
	s.fleet.Hosts[4].Start()
	before := s.connections()
	s.changed()
	if _, err := s.scaleOut(nil); err != nil {
		t.Fatal(err)
	}
	s.wantAlone(before, "host-4", "host-5")
	if w := s.hosts["host-4"].writes; len(w) != 1 || !strings.HasPrefix(w[0], "kubeadm") {
		t.Errorf("finished steps were done again: %q", w)
	}
}

// TestScaleOut_TokenThatNobodySigns: a controller manager that is not at work is told before kubeadm is begun, whose words say less.
func TestScaleOut_TokenThatNobodySigns(t *testing.T) {
	s := grown(t, 2, 1)
	s.api.Unsigned = errors.New("kube-controller-manager has not signed it")
	r, err := s.scaleOut(nil)
	if !errors.Is(err, ErrPartial) || !strings.Contains(r.Hosts[0].Error, "has not signed it") {
		t.Errorf("error %v, hosts %+v", err, r.Hosts)
	}
	if w := s.hosts["host-2"].writes; slices.ContainsFunc(w, func(w string) bool { return strings.HasPrefix(w, "kubeadm") }) || len(s.api.Tokens) != 0 {
		t.Errorf("kubeadm was run, or the token stays: %q, %d tokens", w, len(s.api.Tokens))
	}
	s.api.Unsigned = nil
	if _, err := s.scaleOut(nil); err != nil {
		t.Error(err)
	}
}

// TestScaleOut_HostCutOffAfterItsJoin: its node is there, and yet it is not finished.
func TestScaleOut_HostCutOffAfterItsJoin(t *testing.T) {
	s := grown(t, 3, 2)
	s.api.Refuse = map[string]error{"host-3": errors.New("the API server is away")}
	if _, err := s.scaleOut(nil); !errors.Is(err, ErrPartial) {
		t.Fatalf("error %v", err)
	}
	if len(s.api.AllNodes) != 3 {
		t.Fatalf("%d nodes", len(s.api.AllNodes))
	}
	s.api.Refuse = nil
	r, err := s.scaleOut(nil)
	if err != nil || r.Nothing != "" {
		t.Fatalf("error %v, nothing %q", err, r.Nothing)
	}
	if r, err := s.scaleOut(nil); err != nil || r.Nothing == "" {
		t.Errorf("error %v, nothing %q", err, r.Nothing)
	}
}

func TestScaleOut_AnotherClustersNodeIsRefusedAndNothingWritten(t *testing.T) {
	s := grown(t, 4, 2)
	s.hosts["host-3"].member = true // kubeadm joined it somewhere, and hybridctl knows nothing of that
	before := s.connections()
	r, err := s.scaleOut(nil)
	if !errors.Is(err, ErrPreflight) {
		t.Fatalf("error %v", err)
	}
	if !slices.ContainsFunc(r.Checks, func(c report.Check) bool {
		return c.Host == "host-3" && c.Name == "other-cluster" && c.Status == report.Fail && strings.Contains(c.Message, "https://192.0.2.1:6443")
	}) {
		t.Errorf("checks %+v", r.Checks)
	}
	s.wantAlone(before, "host-3", "host-4")
	if s.changed() != 0 || len(s.api.AllNodes) != 2 {
		t.Error("something was written")
	}
}

func TestScaleOut_DeclinedWritesNothing(t *testing.T) {
	s := grown(t, 3, 2)
	var asked plan.Plan
	_, err := s.scaleOut(func(o *ScaleOutOptions) { o.Ask = func(p plan.Plan) bool { asked = p; return false } })
	if !errors.Is(err, ErrDeclined) || s.changed() != 0 {
		t.Errorf("error %v", err)
	}
	for _, step := range asked.Steps {
		if step.Host != "host-3" {
			t.Errorf("the plan has %s", step.ID)
		}
	}
}

func TestScaleOut_PodsAreListedBeforeAnythingJoins(t *testing.T) {
	s := grown(t, 4, 2)
	r, err := s.scaleOut(func(o *ScaleOutOptions) { o.Conformance = ConformanceFull })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.api.Snapshots, []int{2}) {
		t.Errorf("the pods were listed when there were %v nodes, want once with the 2 of before", s.api.Snapshots)
	}
	if r.NotProven == "" {
		t.Error("the bundle has no probe, and nothing says so")
	}
}

// storageOn is a fleet with storage whose first old hosts are a running cluster.
func storageOn(t *testing.T, n, old int) *sim {
	t.Helper()
	s := newSim(t, n, remotetest.Options{}).withCeph()
	all := s.c.Spec.Hosts
	s.c.Spec.Hosts = all[:old]
	mustUp(t, s)
	s.c.Spec.Hosts = all
	s.changed()
	s.probes()
	s.api.Waited = nil
	return s
}

// One control plane is asked for what a further one needs: the first that is Ready and answers.
func TestScaleOut_CertificatesComeFromAControlPlaneThatAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*sim)
		touched []string
		from    string // "" = from no one
	}{
		"the first":                      {func(*sim) {}, []string{"host-1", "host-4"}, "host-1"},
		"the first refuses SSH":          {func(s *sim) { s.fleet.Hosts[0].Refuse() }, []string{"host-2", "host-4"}, "host-2"},
		"the first is not Ready":         {func(s *sim) { s.api.SetReady("host-1", false) }, []string{"host-2", "host-4"}, "host-2"},
		"the first is in no inventory":   {func(s *sim) { s.api.AddNode("host-0"); s.api.ControlPlane("host-0"); s.api.Mute = "host-0" }, []string{"host-1", "host-4"}, "host-1"},
		"none answers":                   {func(s *sim) { s.fleet.Hosts[0].Refuse(); s.fleet.Hosts[1].Refuse() }, []string{"host-4"}, ""},
		"no state, the first refuses":    {func(s *sim) { s.forget(); s.fleet.Hosts[0].Refuse() }, []string{"host-2", "host-4"}, "host-2"},
		"no state, the first is no more": {func(s *sim) { s.forget(); s.hosts["host-1"].fail["admin.conf"] = "no such file" }, []string{"host-1", "host-2", "host-4"}, "host-2"},
	} {
		t.Run(name, func(t *testing.T) {
			s := grown(t, 4, 3)
			s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
			s.api.ControlPlane("host-1")
			s.api.ControlPlane("host-2")
			s.c.Spec.Hosts[1].Role, s.c.Spec.Hosts[3].Role = inventory.ControlPlane, inventory.ControlPlane
			c.change(s)
			before := s.connections()
			r, err := s.scaleOut(nil)
			s.wantAlone(before, c.touched...)
			for _, name := range []string{"host-1", "host-2"} {
				if gave := slices.Contains(s.hosts[name].asked, templates.Script("pki-pack")); gave != (name == c.from) {
					t.Errorf("%s was asked for certificates: %v", name, gave)
				}
			}
			if h := s.hosts["host-4"]; c.from != "" {
				if err != nil || h.files["pki"] == 0 || !h.member {
					t.Errorf("error %v %+v", err, r.Hosts)
				}
				return
			}
			if !errors.Is(err, ErrPartial) || s.hosts["host-4"].member || len(s.api.Tokens) != 0 {
				t.Fatalf("error %v, %d tokens left", err, len(s.api.Tokens))
			}
			for _, want := range []string{"host-1: ", "host-2: ", "connection refused", fleet.ErrNoWay.Error()} {
				if !strings.Contains(r.Hosts[0].Error, want) {
					t.Errorf("no %q in %q", want, r.Hosts[0].Error)
				}
			}
		})
	}
}

// forget loses the state directory.
func (s *sim) forget() {
	if err := os.RemoveAll(s.state); err != nil {
		s.t.Fatal(err)
	}
}
