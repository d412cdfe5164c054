package provision

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// failed are the checks that failed.
func failed(all []report.Check) (out []report.Check) {
	for _, c := range all {
		if c.Status == report.Fail {
			out = append(out, c)
		}
	}
	return out
}

// A host that may not join stops the run before anything is written anywhere. It stops none that is named without it, and joins when it is mended.
func TestScaleOut_HostThatMayNotJoinIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		spoil, mend func(*sim, *simHost)
		check, want string // which fails, and its message: a regular expression
	}{
		"clock an hour ahead": {func(_ *sim, h *simHost) { h.clock = time.Hour }, func(_ *sim, h *simHost) { h.clock = 0 },
			"clock-skew", `^the clock is (59m5\d|1h0m\d)\S* ahead of this machine's, wanted 5s at most$`},
		"clock an hour behind": {func(_ *sim, h *simHost) { h.clock = -time.Hour }, func(_ *sim, h *simHost) { h.clock = 0 },
			"clock-skew", `^the clock is (59m5\d|1h0m\d)\S* behind this machine's, wanted 5s at most$`},
		"disk full": {func(_ *sim, h *simHost) { h.says("disk", strings.Repeat("25600 4096 var/lib\n", 3)) }, func(_ *sim, h *simHost) { h.says("disk", "") },
			"disk", `^100 MiB free in /var/lib/containerd, wanted 2048 MiB for images; 100 MiB free in /var/lib/kubelet`},
		"bundle without its architecture": {func(s *sim, _ *simHost) { s.c.Spec.Bundle = bundletest.Make(s.t, platform.AMD64).Dir }, func(s *sim, _ *simHost) { s.c.Spec.Bundle = s.bundle.Dir },
			"bundle-arch", `^the bundle lacks the binary containerd \(containerd\) for arm64, .* and \d+ more$`},
	} {
		t.Run(name, func(t *testing.T) {
			s := grown(t, 4, 2)
			h := s.hosts["host-4"]
			c.spoil(s, h)
			before, made := s.connections(), s.api.TokensMade
			r, err := s.scaleOut(nil)
			if !errors.Is(err, ErrPreflight) {
				t.Fatalf("error %v", err)
			}
			if f := failed(r.Checks); len(f) != 1 || f[0].Host != "host-4" || f[0].Name != c.check || !regexp.MustCompile(c.want).MatchString(f[0].Message) {
				t.Errorf("failed %+v, want %s of host-4: %s", f, c.check, c.want)
			}
			s.wantAlone(before, "host-3", "host-4")
			if s.changed() != 0 || len(s.api.AllNodes) != 2 || s.api.TokensMade != made || s.api.Held != 0 {
				t.Errorf("something was written: %d nodes, %d tokens made, lock taken %d times", len(s.api.AllNodes), s.api.TokensMade-made, s.api.Held)
			}
			if _, err := s.scaleOut(func(o *ScaleOutOptions) { o.Hosts = []string{"host-3"} }); err != nil || !s.hosts["host-3"].member || len(h.writes) > 0 {
				t.Errorf("the host beside it: %v, written on host-4: %q", err, h.writes)
			}
			c.mend(s, h)
			if _, err := s.scaleOut(nil); err != nil || !h.member {
				t.Errorf("mended: %v", err)
			}
		})
	}
}

// The bundle's version is what new hosts will run.
func TestScaleOut_VersionSkew(t *testing.T) {
	const policy = "a kubelet may be as new as its API server, and at most 3 minor versions older"
	for server, c := range map[string]struct {
		role   inventory.Role
		status report.Status
		want   string
	}{
		"v1.35.9":          {inventory.Worker, report.Fail, "the hosts would run Kubernetes v1.36.3, the API server runs v1.35.9: " + policy},
		bundletest.Version: {inventory.Worker, "", ""},
		"v1.36.9":          {inventory.Worker, "", ""},
		"v1.37.0":          {inventory.Worker, report.Warn, "the hosts will run Kubernetes v1.36.3, the API server runs v1.37.0, which the policy allows"},
		"v1.39.2":          {inventory.Worker, report.Warn, "the hosts will run Kubernetes v1.36.3, the API server runs v1.39.2, which the policy allows"},
		"v1.40.0":          {inventory.Worker, report.Fail, "the hosts would run Kubernetes v1.36.3, the API server runs v1.40.0: " + policy},
		"v1.36.4":          {inventory.ControlPlane, report.Fail, "host-3 would be a control plane of Kubernetes v1.36.3, the cluster's run v1.36.4"},
	} {
		t.Run(server+" "+string(c.role), func(t *testing.T) {
			s := grown(t, 3, 2)
			if s.c.Spec.Hosts[2].Role = c.role; c.role == inventory.ControlPlane {
				s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
			}
			s.api.ServerVersion = server
			made := s.api.TokensMade
			r, err := s.scaleOut(nil)
			var got report.Check
			for _, check := range r.Checks {
				if check.Name == "version-skew" {
					got = check
				}
			}
			if got.Status != c.status || !strings.HasPrefix(got.Message, c.want) || c.want == "" && got.Message != "" {
				t.Errorf("told %+v, want %s: %s", got, c.status, c.want)
			}
			if c.status != report.Fail {
				if err != nil || !s.hosts["host-3"].member || len(s.api.AllNodes) != 3 {
					t.Errorf("error %v, %d nodes", err, len(s.api.AllNodes))
				}
				return
			}
			if !errors.Is(err, ErrPreflight) || s.changed() != 0 || len(s.api.AllNodes) != 2 || s.api.TokensMade != made || s.api.Held != 0 {
				t.Errorf("error %v, or something was written: %d nodes, lock taken %d times", err, len(s.api.AllNodes), s.api.Held)
			}
		})
	}
}

// A run that is longer than half the life of its token makes another one for the joins that are left.
func TestScaleOut_TokenEndsBetweenTwoJoins(t *testing.T) {
	s := grown(t, 4, 2)
	s.api.TokenLife = func(asked time.Duration) time.Duration { return asked / 2 }
	later, made := make(chan struct{}), s.api.TokensMade
	s.hosts["host-4"].gate["apply"] = later
	r, err := s.scaleOut(func(o *ScaleOutOptions) {
		o.Progress = sinkFunc(func(e report.Event) {
			if e.Host == "host-3" && e.Step == "join" && e.Kind == report.Done {
				s.api.TokensEnd()
				close(later)
			}
		})
	})
	if err != nil || !s.hosts["host-4"].member {
		t.Fatalf("%v %+v", err, r.Hosts)
	}
	if s.api.TokensMade-made != 2 || len(s.api.Tokens) != 0 {
		t.Errorf("%d tokens made, %d left", s.api.TokensMade-made, len(s.api.Tokens))
	}
}

// One that ends while kubeadm is at work with it costs that host its join, and the next run makes another.
func TestScaleOut_TokenEndsInTheMiddleOfAJoin(t *testing.T) {
	s := grown(t, 3, 2)
	r, err := s.scaleOut(func(o *ScaleOutOptions) {
		o.Progress = sinkFunc(func(e report.Event) {
			if e.Message == "kubeadm join" {
				s.api.TokensEnd()
			}
		})
	})
	if !errors.Is(err, ErrPartial) || !strings.Contains(r.Hosts[0].Error, "could not find a JWS signature") || !strings.HasPrefix(r.Hosts[0].Next, "hybridctl scale-out -f ") {
		t.Fatalf("error %v, hosts %+v", err, r.Hosts)
	}
	s.changed()
	if _, err := s.scaleOut(nil); err != nil {
		t.Fatal(err)
	}
	if w := s.hosts["host-3"].writes; len(w) != 1 || !strings.HasPrefix(w[0], "kubeadm join") || len(s.api.Tokens) != 0 {
		t.Errorf("written %q, %d tokens left", w, len(s.api.Tokens))
	}
}

// An API server that stays away for longer than the client is patient ends the run part-way, and the next run goes on from there.
func TestScaleOut_APIServerAwayForTooLong(t *testing.T) {
	for call, c := range map[string]struct {
		joined  bool
		want    string // is told
		nothing bool   // the next run has nothing to do
	}{
		"WaitAPI":        {false, "join: away: connection refused", false},
		"ApplyNode":      {true, "node: away: connection refused", false},
		"WaitNodesReady": {true, "away: connection refused", false},
		"DeleteToken":    {true, "the join token could not be deleted; it ends by itself within the hour: away: connection refused", true},
		"ReleaseLease":   {true, "the cluster's lock could not be given back; it ends by itself in a minute: away: connection refused", true},
	} {
		t.Run(call, func(t *testing.T) {
			s := grown(t, 3, 2)
			h := s.hosts["host-3"]
			s.api.Failing = map[string]error{call: errors.New("away: connection refused")}
			r, err := s.scaleOut(nil)
			told := fmt.Sprint(err)
			for _, h := range r.Hosts {
				told += "; " + h.Error
			}
			if !errors.Is(err, ErrPartial) || !strings.Contains(told, c.want) || h.member != c.joined {
				t.Errorf("told %q, want %q; joined: %v, want %v", told, c.want, h.member, c.joined)
			}
			s.api.Failing = nil
			before := s.connections()
			if r, err = s.scaleOut(nil); err != nil || !h.member || (r.Nothing != "") != c.nothing {
				t.Errorf("the next run: %v, nothing to do: %q", err, r.Nothing)
			}
			if !c.nothing {
				s.wantAlone(before, "host-3")
			}
			joins := slices.DeleteFunc(h.writes, func(w string) bool { return !strings.HasPrefix(w, "kubeadm") })
			if r := mustUp(t, s); len(joins) != 1 || r.Plan.Changes() != 0 {
				t.Errorf("kubeadm ran %d times; up plans %d changes", len(joins), r.Plan.Changes())
			}
		})
	}
}

// restarting is an API server of which this is real: its readiness, tokens, the labels of nodes, and the cluster's lock.
type restarting struct {
	*fakeapi.API
	c *kube.Client
}

func (a restarting) WaitAPI(ctx context.Context) error { return a.c.WaitAPI(ctx) }

func (a restarting) CreateToken(ctx context.Context, ttl time.Duration, description string) (kube.Token, error) {
	t, err := a.c.CreateToken(ctx, ttl, description)
	a.Lock()
	defer a.Unlock()
	a.Tokens[t.ID] = true
	return t, err
}

func (a restarting) DeleteToken(ctx context.Context, id string) error {
	return a.c.DeleteToken(ctx, id)
}

func (a restarting) ApplyNode(ctx context.Context, name string, labels map[string]string, taints []string) (report.Action, error) {
	return a.c.ApplyNode(ctx, name, labels, taints)
}

func (a restarting) LeaseMark(ctx context.Context, name string) (string, error) {
	return a.c.LeaseMark(ctx, name)
}
func (a restarting) TakeLease(ctx context.Context, o kube.LeaseOptions) error {
	return a.c.TakeLease(ctx, o)
}
func (a restarting) RenewLease(ctx context.Context, o kube.LeaseOptions) error {
	return a.c.RenewLease(ctx, o)
}
func (a restarting) ReleaseLease(ctx context.Context, o kube.LeaseOptions) error {
	return a.c.ReleaseLease(ctx, o)
}

// An API server that starts again between the join and what comes after it is waited for, and nothing fails.
func TestScaleOut_APIServerRestartsInTheMiddle(t *testing.T) {
	server := kubetest.Start(t)
	s := grown(t, 3, 2)
	s.c.Spec.Kubernetes.Timeouts.KubernetesAPICall = inventory.Duration(5 * time.Minute) // this machine may be busy
	s.c.Spec.Hosts[2].Labels = map[string]string{"rack": "two"}
	var c *kube.Client
	started := make(chan error, 1)
	r, err := s.scaleOut(func(o *ScaleOutOptions) {
		o.hooks.newAPI = func(_ []byte, k kube.Options) (_ access.API, err error) {
			c, err = kube.New(server.Kubeconfig(), k)
			return restarting{s.api, c}, err
		}
		o.Progress = sinkFunc(func(e report.Event) {
			if e.Step != "join" || e.Kind != report.Done {
				return
			}
			if _, err := c.Apply(context.Background(), []byte("apiVersion: v1\nkind: Node\nmetadata: {name: host-3}\n"), kube.ApplyOptions{}); err != nil {
				t.Error(err)
			}
			server.StopAPI()
			go func() { started <- server.StartAPI() }()
		})
	})
	if err != nil {
		t.Fatalf("%v %+v", err, r.Hosts)
	}
	defer c.Close()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	nodes, err := c.Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].Labels["rack"] != "two" {
		t.Errorf("%v, nodes %+v", err, nodes)
	}
	if n, err := c.DeleteTokens(t.Context(), plan.TokenDescription); err != nil || n != 0 {
		t.Errorf("%v, %d tokens left", err, n)
	}
	if err := c.TakeLease(t.Context(), kube.LeaseOptions{Name: "hybridctl", Holder: "eve@elsewhere/1/a", TTL: time.Hour}); err != nil {
		t.Errorf("the lock was not given back: %v", err)
	}
}

// trial is a run of the fleet that ends in its middle, when one of endings is called.
type trial struct {
	*sim
	ctx    context.Context
	cancel context.CancelFunc
	stop   chan struct{}
}

func (s *sim) trial() *trial {
	r := &trial{sim: s, stop: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(s.t.Context())
	return r
}

func (r *trial) options() Options {
	o := r.sim.options()
	o.Stop = r.stop
	return o
}

// interrupted is ^C: what is under way is finished.
func (r *trial) interrupted() {
	close(r.stop)
	time.Sleep(50 * time.Millisecond) // for the lock to pass it on
}

// interruptedTwice is a second one: it is not.
func (r *trial) interruptedTwice() {
	close(r.stop)
	r.cancel()
}

// killed is the end of the process: it gives nothing back.
func (r *trial) killed() {
	r.api.Lock()
	defer r.api.Unlock()
	gone := errors.New("the tool is gone")
	r.api.Failing = map[string]error{"ReleaseLease": gone, "DeleteToken": gone}
	r.cancel()
}

var endings = map[string]func(*trial){"interrupted": (*trial).interrupted, "interrupted twice": (*trial).interruptedTwice,
	"killed, the lock broken": (*trial).killed, "killed, the lock's time over": (*trial).killed}

// again is the run after one that was ended so. The lock of one that was killed stays until its time is over, or someone breaks it.
func (s *sim) again(how string, next func(breakLock bool) error) error {
	s.t.Helper()
	s.api.Failing = nil
	if killed := strings.HasPrefix(how, "killed"); (s.api.Holder != "") != killed {
		s.t.Errorf("the lock is with %q", s.api.Holder)
	} else if !killed {
		return next(false)
	}
	if err := next(false); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), s.api.Holder) || !strings.Contains(printed(err), "--break-lock") {
		s.t.Errorf("while the lock is another's: %v", err)
	}
	s.api.Expired = strings.HasSuffix(how, "over")
	return next(!s.api.Expired)
}

// removeAgain is again of the removal of a host, which has to leave nothing.
func (s *sim) removeAgain(how, host string) {
	s.t.Helper()
	err := s.again(how, func(breakLock bool) error {
		_, err := s.remove(host, func(o *RemoveOptions) { o.BreakLock = breakLock })
		return err
	})
	_, there := s.api.AllNodes[host]
	if h := s.hosts[host]; err != nil || there || h.member || len(h.markers) != 0 || s.api.Holder != "" {
		s.t.Errorf("error %v, its node is there: %v, markers %v, lock %q", err, there, h.markers, s.api.Holder)
	}
}

// twoControlPlanes is a cluster of three whose first and third are its control planes, and members of its etcd.
func twoControlPlanes(t *testing.T) *sim {
	s := standing(t, 3)
	s.api.ControlPlane("host-3")
	s.c.Spec.Hosts[2].Role = inventory.ControlPlane
	s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}, {ID: 3, Name: "host-3", Healthy: true}}
	return s
}

// A removal that ends while pods are evicted goes no further: neither etcd nor the host is touched. The next run evicts those that are left.
func TestRemove_EndedInTheMiddleOfTheDrainIsFinished(t *testing.T) {
	for how, end := range endings {
		t.Run(how, func(t *testing.T) {
			s := twoControlPlanes(t)
			s.api.Evictable = map[string][]kube.DrainPod{"host-3": {{Namespace: "a", Name: "b"}, {Namespace: "a", Name: "c"}, {Namespace: "a", Name: "d"}}}
			r := s.trial()
			s.api.Draining = func(ctx context.Context) error { end(r); return ctx.Err() }
			if _, err := Remove(r.ctx, RemoveOptions{Options: r.options(), Hosts: []string{"host-3"}}); !errors.Is(err, context.Canceled) || errors.Is(err, ErrPartial) {
				t.Errorf("error %v", err)
			}
			if want := map[bool]int{true: 3, false: 1}[how == "interrupted"]; len(s.api.Evicted) != want {
				t.Errorf("evicted %q, want %d", s.api.Evicted, want)
			}
			if len(s.api.Members) != 2 || len(s.api.AllNodes) != 3 || s.changed() != 0 {
				t.Errorf("members %v, %d nodes, or something was written on the hosts", s.api.Members, len(s.api.AllNodes))
			}
			s.api.Draining = nil
			s.removeAgain(how, "host-3")
			if !slices.Equal(s.api.Evicted, []string{"a/b", "a/c", "a/d"}) || len(s.api.Members) != 1 {
				t.Errorf("evicted %q, members %v", s.api.Evicted, s.api.Members)
			}
		})
	}
}

// A control plane that has left etcd and is not reset yet is reset by the next run, which does not ask etcd to remove it again.
func TestRemove_EndedBetweenEtcdAndTheResetIsFinished(t *testing.T) {
	for how, end := range endings {
		t.Run(how, func(t *testing.T) {
			s := twoControlPlanes(t)
			r := s.trial()
			s.api.Forgotten = func() { end(r) }
			if _, err := Remove(r.ctx, RemoveOptions{Options: r.options(), Hosts: []string{"host-3"}}); !errors.Is(err, context.Canceled) || errors.Is(err, ErrPartial) {
				t.Errorf("error %v", err)
			}
			if len(s.api.Members) != 1 || len(s.api.AllNodes) != 3 || s.changed() != 0 {
				t.Errorf("members %v, %d nodes, or something was written on the hosts", s.api.Members, len(s.api.AllNodes))
			}
			s.removeAgain(how, "host-3")
			if asked := slices.DeleteFunc(s.api.Did, func(d string) bool { return !strings.HasPrefix(d, "etcd") }); !slices.Equal(asked, []string{"etcd member 3 asked on host-1"}) {
				t.Errorf("etcd was asked %q", asked)
			}
		})
	}
}

// kubeadm goes on when the tool that began it is gone. The next run waits for it, and does not join the host twice: neither is its member
// taken from etcd, nor the host reset.
func TestScaleOut_KubeadmGoesOnWithoutTheTool(t *testing.T) {
	for name, c := range map[string]struct {
		role      inventory.Role
		registers bool
		end       func(*trial)
	}{
		"worker, interrupted twice":      {inventory.Worker, false, (*trial).interruptedTwice},
		"worker, killed":                 {inventory.Worker, false, (*trial).killed},
		"control plane":                  {inventory.ControlPlane, false, (*trial).killed},
		"control plane that is a member": {inventory.ControlPlane, true, (*trial).killed},
	} {
		t.Run(name, func(t *testing.T) {
			s := grown(t, 3, 2)
			s.api.ControlPlane("host-1")
			s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}}
			if s.c.Spec.Hosts[2].Role = c.role; c.role == inventory.ControlPlane {
				s.c.Spec.Kubernetes.Endpoint = "api.example:6443"
			}
			h := s.hosts["host-3"]
			r := s.trial()
			h.unit = &kubeadmUnit{registers: c.registers, begun: func() { c.end(r) }, end: make(chan struct{})}
			if _, err := ScaleOut(r.ctx, ScaleOutOptions{Options: r.options()}); !errors.Is(err, context.Canceled) || len(s.api.Tokens) != 1 {
				t.Fatalf("error %v, %d tokens are good: kubeadm is at work with one", err, len(s.api.Tokens))
			}
			if c.registers { // kubeadm has come so far
				s.api.ControlPlane("host-3")
				s.api.Members = append(s.api.Members, kube.EtcdMember{ID: 3, Name: "host-3", Healthy: true})
			}
			s.api.Failing = nil
			result, err := s.scaleOut(func(o *ScaleOutOptions) { o.BreakLock = s.api.Holder != "" })
			if err != nil || !h.member || len(s.api.AllNodes) != 3 {
				t.Fatalf("the next run: %v %+v", err, result.Hosts)
			}
			if w := s.hosts["host-1"].writes; len(w) > 0 {
				t.Errorf("written on another host: %q", w)
			}
			joins := slices.DeleteFunc(h.writes, func(w string) bool { return !strings.HasPrefix(w, "kubeadm") })
			if len(joins) != 1 || len(s.api.Did) > 0 || s.api.Holder != "" {
				t.Errorf("kubeadm ran %d times, done %q, lock %q", len(joins), s.api.Did, s.api.Holder)
			}
			if r := mustUp(t, s); r.Plan.Changes() != 0 {
				t.Errorf("up plans %d changes", r.Plan.Changes())
			}
		})
	}
}

// A join that ended anywhere after etcd was told of the host is cleared up and done again there, and on no other control plane.
func TestScaleOut_HalfJoinedControlPlaneJoinsAgain(t *testing.T) {
	for name, c := range map[string]struct {
		member kube.EtcdMember
		node   bool // there is one, and it is Ready
	}{
		"etcd was told of it": {kube.EtcdMember{ID: 3, Peers: []string{"192.0.2.3"}, Learner: true}, false},
		"it votes":            {kube.EtcdMember{ID: 3, Name: "host-3", Healthy: true}, false},
		"it is Ready":         {kube.EtcdMember{ID: 3, Name: "host-3", Healthy: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := grown(t, 3, 2)
			s.api.ControlPlane("host-1")
			s.api.Members = []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}}
			s.c.Spec.Hosts[2].Role, s.c.Spec.Kubernetes.Endpoint = inventory.ControlPlane, "api.example:6443"
			h := s.hosts["host-3"]
			h.fail["kubeadm"] = "error: the API server of this host is not healthy after 4m0s"
			if _, err := s.scaleOut(nil); !errors.Is(err, ErrPartial) {
				t.Fatalf("error %v", err)
			}
			delete(h.fail, "kubeadm")
			h.half, h.markers["join"] = halfControlPlane, "state started\n"
			s.api.Members = append(s.api.Members, c.member)
			if c.node {
				s.api.AddNode("host-3")
				s.api.ControlPlane("host-3")
			}
			if r, err := s.scaleOut(nil); err != nil || !h.member {
				t.Errorf("error %v %+v", err, r.Hosts)
			}
			if want := []string{"etcd member 3 asked on host-1", "delete host-3", "reset host-3"}; !slices.Equal(s.api.Did, want) || len(s.hosts["host-1"].writes) > 0 {
				t.Errorf("done %q, want %q; written on host-1: %q", s.api.Did, want, s.hosts["host-1"].writes)
			}
		})
	}
}
