package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// endings are attempts that end so, one after the other; the last one goes on.
func endings(all ...probe.Ending) attempt {
	i := 0
	return func(context.Context, string) (probe.Attempt, error) {
		e := all[min(i, len(all)-1)]
		i++
		a := probe.Attempt{Ending: e, Error: "it says " + string(e)}
		if e == probe.Answered {
			a.Reply, a.Error = &probe.Reply{Who: probe.Who{Pod: "a-0", Node: "arm-1"}}, ""
		}
		return made(a)
	}
}

// A refusal is proven by something of the same source that is answered. What could not be tried, or what no one would
// hear, is no refusal.
func TestShut(t *testing.T) {
	const yes, silent, refused, untried, strange = probe.Answered, probe.Silent, probe.Refused, probe.Untried, probe.Strange
	for _, c := range []struct {
		name    string
		try     []probe.Ending
		control []probe.Ending
		closes  report.Verdict // within the time of the rules
		stays   report.Verdict // all the time
	}{
		{"silence beside an answer", []probe.Ending{silent}, []probe.Ending{yes}, report.Passed, report.Passed},
		{"a refusal beside an answer", []probe.Ending{refused}, []probe.Ending{yes}, report.Passed, report.Passed},
		{"a control that loses a packet", []probe.Ending{silent}, []probe.Ending{silent, yes}, report.Passed, report.Passed},
		{"silence beside silence", []probe.Ending{silent}, []probe.Ending{silent}, report.Blocked, report.Blocked},
		{"a refusal beside a refusal", []probe.Ending{refused}, []probe.Ending{refused}, report.Blocked, report.Blocked},
		{"a vantage point that is lost", []probe.Ending{untried}, []probe.Ending{untried}, report.Blocked, report.Blocked},
		{"a vantage point that is lost later", []probe.Ending{silent}, []probe.Ending{untried}, report.Blocked, report.Blocked},
		{"a stranger answers", []probe.Ending{strange}, []probe.Ending{yes}, report.Failing, report.Failing},
		{"it answers on", []probe.Ending{yes}, []probe.Ending{yes}, report.Failing, report.Failing},
		{"one lost packet", []probe.Ending{silent, silent, yes}, []probe.Ending{yes}, report.Failing, report.Failing},
		{"it closes later", []probe.Ending{yes, yes, silent}, []probe.Ending{yes}, report.Passed, report.Failing},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := rules{time.Now, usual}
			s := func() shut {
				return shut{try: endings(c.try...), control: endings(c.control...), otherwise: "it answers", beside: "the other", unseen: blocked}
			}
			if got := r.closes(t.Context(), s()); got.verdict != c.closes {
				t.Errorf("%s: closes: %s (%s), want %s", c.name, got.verdict, got.reason, c.closes)
			}
			if got := r.stays(t.Context(), s()); got.verdict != c.stays {
				t.Errorf("%s: stays: %s (%s), want %s", c.name, got.verdict, got.reason, c.stays)
			}
		})
	}
}

// A probe that is not heard any more says nothing of what has to be shut, nor of what is beside it, whatever is made of other silence.
func TestShut_AProbeThatIsNotHeard(t *testing.T) {
	lost := func(context.Context, string) (probe.Attempt, error) {
		return probe.Attempt{}, &unheardError{"a-0/probe", errKubelet}
	}
	for name, s := range map[string]shut{
		"what has to be shut": {try: lost, control: endings(probe.Answered)},
		"what is beside it":   {try: endings(probe.Silent), control: lost},
	} {
		synctest.Test(t, func(t *testing.T) {
			s.unseen = failed
			r := rules{time.Now, usual}
			for _, o := range []outcome{r.closes(t.Context(), s), r.stays(t.Context(), s)} {
				if o.verdict != report.Blocked || !o.lost || !strings.Contains(o.reason, "the probe in a-0/probe is not heard any more") {
					t.Errorf("%s: %s (%s), lost: %t", name, o.verdict, o.reason, o.lost)
				}
			}
		})
	}
}

// The time of the rules is counted from the endpoint: a Service that is dead later has no grace, and one that came late does not pass.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		name   string
		age    time.Duration // of the endpoint
		silent int           // attempts before it answers
		lag    bool
		late   bool
		asked  bool
	}{
		{"at once", 0, 0, false, false, true},
		{"after a while", 0, 20, true, false, true},
		{"later than rules may need", 0, 1000, false, true, true},
		{"an old endpoint", kubeProxyLag, 20, false, false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := rules{time.Now, usual}
			left, asked := c.silent, false
			s := r.settle(t.Context(), time.Now().Add(-c.age), func(context.Context, string) (probe.Attempt, error) {
				asked = true
				if left--; left >= 0 {
					return probe.Attempt{Ending: probe.Silent}, nil
				}
				return probe.Attempt{Ending: probe.Answered, Reply: &probe.Reply{}}, nil
			}, new(time.Duration))
			if (s.lag > 0) != c.lag || s.late != c.late || asked != c.asked {
				t.Errorf("%s: %+v, asked %v", c.name, s, asked)
			}
			if o := s.with(passed(), r.pace.rulesLag); (o.verdict == report.Passed) == c.late || (o.lag > 0) != c.lag {
				t.Errorf("%s: %+v", c.name, o)
			}
		})
	}
}

// troubled is a vantage point that has trouble with the node ports of some nodes.
type troubled struct {
	outside
	address string
	err     error
}

func (v troubled) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, _ := net.SplitHostPort(addr)
	if host == v.address && len(port) == 5 && port != fmt.Sprint(kubeletPort) {
		return nil, v.err
	}
	return v.outside.DialContext(ctx, network, addr)
}

// A vantage point that lost its connection, or a node that is dead, refuses nothing.
func TestRun_AVantageThatIsLost(t *testing.T) {
	for name, lost := range map[string]error{"it cannot dial": errors.New("the connection was lost"), "nothing answers": unanswered("tcp")} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			o.pace.rulesLag, o.Checks = 50*time.Millisecond, []string{"S7"}
			o.Vantages[0].Dial = troubled{outside{c}, c.node("arm-1").address, lost}
			d, err := fullRun(t, o)
			if err != nil {
				t.Error(err)
			}
			for _, cell := range d.Cells {
				if cell.Name == "tcp/nodePort/policy-Local-refuses" && cell.Verdict != report.Blocked { // as the backend's own node is not heard, or the dialled one
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
				if strings.HasSuffix(cell.Src.Where, "arm-1") && cell.Verdict == report.Passed {
					t.Errorf("%s passed", cell.ID())
				}
				if name == "it cannot dial" && strings.HasSuffix(cell.Src.Where, "arm-1") && cell.Verdict != report.Blocked {
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
		})
	}
}

// Events and words of another cause are no proof.
func TestRun_AnotherCause(t *testing.T) {
	for _, k := range []struct {
		name, cell string
		checks     []string
		with       func(c *fake, o *Options)
		want       report.Verdict
	}{
		{"a volume is not attached because the driver is missing", "ceph-rbd/second-node-stays-out", []string{"S9"}, func(c *fake, o *Options) {
			c.disks.says, o.Storage = "CSINode x86-1 does not contain driver rbd.csi.ceph.com", slices.Clone(cephClasses[:1])
		}, report.Failing},
		{"the registry is not reached, at a port that looks like a status", "without-secret-fails", []string{"R"}, func(c *fake, _ *Options) {
			c.refusal = `failed to resolve reference: dial tcp registry.example:4010: connect: connection refused`
		}, report.Failing},
		{"the registry lets nobody in", "without-secret-fails", []string{"R"}, func(c *fake, _ *Options) { c.closes = true }, report.Blocked},
		{"no DaemonSet wants the node", "daemonsets", []string{"N1"}, func(c *fake, o *Options) { c.unwanted = map[string]bool{"arm-1": true, "x86-1": true} }, report.Failing},
		{"the kubelet is dead", "ready", []string{"N1"}, func(c *fake, o *Options) {
			c.node("arm-1").dead, c.node("x86-1").dead, o.pace.lease = true, true, 50*time.Millisecond
		}, report.Failing},
		{"a DaemonSet that is named is missing", "daemonsets", []string{"N1"}, func(c *fake, o *Options) {
			c.lacks = "kube-flannel/kube-flannel-ds"
			o.DaemonSets = []string{"kube-system/kube-proxy", c.lacks}
		}, report.Failing},
		{"leases cannot be read", "ready", []string{"N1"}, func(c *fake, _ *Options) { c.noLeases = func(int) error { return errUnreachable } }, report.Failing},
		{"leases cannot be read any more", "ready", []string{"N1"}, func(c *fake, _ *Options) {
			c.noLeases = func(look int) error { return map[bool]error{true: errUnreachable}[look > 1] }
		}, report.Failing},
		{"a mount fails for another reason", "missing-directory-fails", []string{"S8"}, func(c *fake, _ *Options) { c.mountSays = "timed out waiting for the condition" }, report.Failing},
		{"no node has room", "unsatisfiable-stays-pending", []string{"D"}, func(c *fake, _ *Options) { c.nowhere = "0/2 nodes are available: 2 Insufficient memory." }, report.Failing},
		{"pods do not see their hosts' directories", "not-seen-elsewhere", []string{"S8"}, func(c *fake, _ *Options) { c.ownDirs = true }, report.Blocked},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			o.Checks, o.Patience = k.checks, 2*time.Second
			k.with(c, &o)
			d, err := fullRun(t, o)
			if err != nil {
				t.Error(err)
			}
			found := 0
			for _, cell := range d.Cells {
				if cell.Name != k.cell {
					continue
				}
				if found++; cell.Verdict != k.want {
					t.Errorf("%s: %s: %s, want %s", cell.ID(), cell.Verdict, cell.Reason, k.want)
				}
			}
			if found == 0 {
				t.Error("the cell was not planned")
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]bool{
		"unexpected status from GET request to https://r.example/token?scope=x: 401 Unauthorized":                                              true,
		"unexpected status code [manifests latest]: 403 Forbidden":                                                                             true,
		"unexpected status from HEAD request to https://r.example/v2/app/manifests/1: 403 ":                                                    true,
		"pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed": true,
		"unauthorized: authentication required":                                                                                                true,
		"denied: requested access to the resource is denied":                                                                                   true,
		"no basic auth credentials":                                                                 true,
		"dial tcp registry.example:4010: connect: connection refused":                               false,
		"dial tcp 10.0.4.1:443: connect: no route to host":                                          false,
		"Get \"https://unauthorized.example/v2/\": EOF":                                             false,
		"open /var/lib/containerd/x: permission denied":                                             false,
		"unexpected status from GET request to https://r.example/403/v2: 500 Internal Server Error": false,
		"unexpected status from GET request to https://r.example/v2/: 429 Too Many Requests":        false,
		"image 401-app not found":                                                                   false,
	} {
		if got := refusals.MatchString(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// Where a policy of the cluster forbids what probes ask for, the cells that want it are blocked with the policy's words, and the others tried.
func TestRun_Policies(t *testing.T) {
	denied := func(what string) error {
		return fmt.Errorf("%w: admission webhook \"policy.test\" denied the request: %s", kube.ErrForbidden, what)
	}
	for name, k := range map[string]struct {
		denies  func(m manifest) error
		blocked func(c report.CellResult) bool
	}{
		"no directories of hosts": {func(m manifest) error {
			for _, v := range m.Spec.Volumes {
				if v.HostPath != nil {
					return denied("hostPath")
				}
			}
			return nil
		}, func(c report.CellResult) bool { return c.Check == "S8" }},
		"no root": {func(m manifest) error {
			for _, one := range m.Spec.Containers {
				if one.SecurityContext.RunAsUser == 0 {
					return denied("root")
				}
			}
			return nil
		}, func(c report.CellResult) bool { return c.Check == "S8" }},
		"no node ports": {func(m manifest) error {
			if m.Spec.Type == "NodePort" {
				return denied("node ports")
			}
			return nil
		}, func(c report.CellResult) bool { return c.Check == "S7" }},
		"no pods at all": {func(m manifest) error {
			if m.Kind == "Pod" {
				return denied("pods")
			}
			return nil
		}, func(c report.CellResult) bool {
			return c.Name != "ready" && c.Name != "architecture" && c.Name != "daemonsets"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			c.denies = k.denies
			o := c.options()
			o.Storage, o.Patience = nil, 5*time.Second
			d, err := fullRun(t, o)
			if err != nil {
				t.Error(err)
			}
			for _, cell := range d.Cells {
				want := report.Passed
				if k.blocked(cell) {
					want = report.Blocked
				}
				if always(cell) {
					continue
				}
				if cell.Verdict != want || want == report.Blocked && cell.Name != "nodePort/other-architecture" && !strings.Contains(cell.Reason, "denied the request") {
					t.Errorf("%s: %s: %s, want %s", cell.ID(), cell.Verdict, cell.Reason, want)
				}
			}
			c.wantNothingLeft(t)
		})
	}
}

// A node is dialled where it was reached: at the address that Kubernetes knows, or at that of its host.
func TestRun_NodesWithTwoAddresses(t *testing.T) {
	for _, reached := range []bool{true, false} {
		c := newFake(t, amd64, arm64)
		o := c.options()
		o.Checks = []string{"S7"}
		for i, n := range c.nodes {
			n.internal = fmt.Sprintf("192.0.2.%d", i+1) // no way leads there
			if reached {
				o.Facts[n.name] = NodeFacts{Address: n.address}
			}
		}
		d, err := fullRun(t, o)
		if err != nil {
			t.Error(err)
		}
		for _, cell := range d.Cells {
			switch {
			case reached && cell.Verdict != report.Passed:
				t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
			case !reached && (cell.Verdict != report.Blocked || !strings.Contains(cell.Reason, "operator does not reach")):
				t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
			}
		}
		if want := map[bool]error{true: nil, false: ErrUnproven}[reached]; Verdict(d) != want {
			t.Errorf("%v, want %v", Verdict(d), want)
		}
	}
}

func TestVerdict(t *testing.T) {
	cells := func(all ...report.Verdict) (d report.ConformanceRun) {
		for _, v := range all {
			d.Cells = append(d.Cells, report.CellResult{Verdict: v})
		}
		return d
	}
	for _, c := range []struct {
		run  report.ConformanceRun
		want error
	}{
		{cells(report.Passed), nil}, {cells(report.Passed, report.Blocked), nil}, {cells(report.Passed, report.Flaky), ErrFlaky}, {cells(report.Flaky, report.Failing), ErrFailed},
		{cells(report.Blocked), ErrUnproven}, {cells(), ErrUnproven}, {report.ConformanceRun{Error: "x"}, ErrFailed},
	} {
		if got := Verdict(c.run); got != c.want {
			t.Errorf("%+v: %v, want %v", c.run.Cells, got, c.want)
		}
	}
}

// What one host says is done to no other, and what is not the ID of a run is done to no one.
func TestCleanAll_AHostsWordIsItsOwn(t *testing.T) {
	removed := map[string][]string{}
	machines := map[string]Machine{}
	for name, dirs := range map[string][]string{"evil": {"../../../../etc", "aaaaaaaa", "aaaaaaaa/../..", "bbbbbbbb-1"}, "good": {"cccccccc"}} {
		machines[name] = &wordMachine{name: name, dirs: dirs, removed: removed}
	}
	ids, err := CleanAll(t.Context(), namedRuns{names: []string{"hybridctl-conformance-dddddddd", "hybridctl-conformance-../x", "kube-system"}}, machines, false, func(report.Event) {})
	if !slices.Equal(ids, []string{"aaaaaaaa", "bbbbbbbb-1", "cccccccc", "dddddddd"}) {
		t.Errorf("%v", ids)
	}
	for _, word := range []string{"../../../../etc", "aaaaaaaa/../..", "kube-system"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s is not named: %v", word, err)
		}
	}
	want := map[string][]string{"evil": {"aaaaaaaa", "bbbbbbbb-1", "dddddddd"}, "good": {"cccccccc", "dddddddd"}}
	for name := range machines {
		slices.Sort(removed[name])
		if !slices.Equal(removed[name], want[name]) {
			t.Errorf("from %s were removed %v, want %v", name, removed[name], want[name])
		}
	}
	for _, id := range []string{"", "..", "aaaaaaaa/x", "AAAAAAAA", "aaaaaaaa-123"} {
		if err := Clean(t.Context(), namedRuns{}, machines, id); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

var lock sync.Mutex // of what is removed

// namedRuns is an API server that names runs; of what is in the cluster there is nothing.
type namedRuns struct {
	API
	names []string
}

func (namedRuns) LeaseMark(context.Context, string) (string, error) { return kube.NoLease, nil }

func (namedRuns) DeleteNamespace(context.Context, string) error { return nil }

func (namedRuns) Volumes(context.Context, []string) ([]kube.Volume, error) { return nil, nil }

func (namedRuns) WaitNoVolumes(context.Context, string, string, kube.WaitOptions) error { return nil }

func (n namedRuns) Namespaces(context.Context, string) ([]string, error) { return n.names, nil }

type wordMachine struct {
	Machine
	name    string
	dirs    []string
	removed map[string][]string
}

func (m *wordMachine) Dirs(context.Context, string) ([]string, error) { return m.dirs, nil }
func (m *wordMachine) Faults(context.Context) ([]string, error)       { return nil, nil }
func (m *wordMachine) RemoveFaults(context.Context, string) error     { return nil }
func (m *wordMachine) RemoveImage(context.Context, string) error      { return nil }
func (m *wordMachine) RemoveDir(_ context.Context, path string) error {
	lock.Lock()
	defer lock.Unlock()
	m.removed[m.name] = append(m.removed[m.name], strings.TrimPrefix(path, hostDirs))
	return nil
}

// A self-test that was killed leaves its rules, which bear the run's ID: cleaning up takes them away.
func TestCleanAll_ASelfTestThatWasKilled(t *testing.T) {
	c := newFake(t, amd64, arm64)
	if err := c.node("arm-1").DropUDP(t.Context(), testRun+"-1", c.node("x86-1").address, overlayPort); err != nil {
		t.Fatal(err)
	}
	ids, err := CleanAll(t.Context(), c, c.options().Machines, false, func(report.Event) {})
	if err != nil || !slices.Equal(ids, []string{testRun + "-1"}) {
		t.Errorf("%v, %v", ids, err)
	}
	c.wantNothingLeft(t)
}

// What a container says is bounded, however much it says.
func TestNextAnswer(t *testing.T) {
	for text, want := range map[string]string{
		`{"id":1}` + "\n": "", "{}": "", "": "EOF", "[]\n": "is no answer", "\x00\n": "is no answer", strings.Repeat("x", maxAnswer+1): "more than",
	} {
		lines := bufio.NewScanner(strings.NewReader(text))
		lines.Buffer(nil, maxAnswer)
		_, err := nextAnswer(lines)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

// FuzzAnswers: what a container says never ends the run otherwise than with an error.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"id":1,"attempts":[{"nonce":"n","ending":"answered","reply":{"type":"reply"},"ms":1}]}` + "\n"))
	f.Add([]byte(`{"id":1,"attempts":[null]}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines := bufio.NewScanner(strings.NewReader(string(b)))
		lines.Buffer(nil, maxAnswer)
		for range 100 {
			answer, err := nextAnswer(lines)
			if err != nil {
				return
			}
			nonces := []string{"n", "m"}
			if o := judge(answer.Attempts, nonces, wanted{podUID: "u", node: "n", container: "c", arch: arm64}); o.verdict == report.Passed {
				for i, a := range answer.Attempts[:2] {
					if a.Reply == nil || a.Reply.UID != "u" || a.Nonce != nonces[i] {
						t.Errorf("%q passes", b)
					}
				}
			}
		}
	})
}

// FuzzHostFiles: mounts and devices are a host's words.
func FuzzHostFiles(f *testing.F) {
	f.Add("/dev/rbd0 /var/lib/kubelet/pods/uid/volumes/kubernetes.io~csi/pvc/mount ext4 rw 0 0\n")
	f.Add("Block devices:\n251 rbd\n")
	f.Fuzz(func(_ *testing.T, text string) {
		mountOf(text, "uid")
		deviceName(text, 251)
		_ = notEvery(text, []string{"a"}, 2)
		_ = refusals.MatchString(text)
		redact([]byte(text))
	})
}
