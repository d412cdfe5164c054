package conformance

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

const amd64, arm64 = platform.AMD64, platform.ARM64

// fullRun runs everything and returns the report, which is complete.
func fullRun(t *testing.T, o Options) (report.ConformanceRun, error) {
	t.Helper()
	var planned []Cell
	o.Planned = func(cells []Cell) { planned = cells }
	d, err := Run(t.Context(), o)
	wantComplete(t, d, planned)
	return d, err
}

// wantComplete checks that every planned cell has its result, and every result that is no pass a reason.
func wantComplete(t *testing.T, d report.ConformanceRun, planned []Cell) {
	t.Helper()
	if len(planned) == 0 || len(d.Cells) != len(planned) {
		t.Fatalf("%d cells planned, %d reported", len(planned), len(d.Cells))
	}
	for i, c := range d.Cells {
		if c.Check != planned[i].Check || c.Name != planned[i].Name {
			t.Errorf("cell %d is %s, planned was %s/%s", i, c.ID(), planned[i].Check, planned[i].Name)
		}
		if !slices.Contains(report.Verdicts(), c.Verdict) || (c.Verdict != report.Passed) != (c.Reason != "") {
			t.Errorf("%s: %q with the reason %q", c.ID(), c.Verdict, c.Reason)
		}
		if c.Verdict == report.Passed && (c.OK != c.Planned || c.OK == 0 || !c.FirstAttemptOK) {
			t.Errorf("%s passed with %d of %d attempts", c.ID(), c.OK, c.Planned)
		}
	}
	if d.Version != report.RunVersion || d.ID == "" || len(d.Nodes) == 0 || len(d.Checks) == 0 || d.Finished.IsZero() {
		t.Errorf("%+v", d)
	}
}

// wantOnly checks that exactly those cells have another verdict than pass, leaving out those that are always blocked on the fake.
func wantOnly(t *testing.T, d report.ConformanceRun, want func(c report.CellResult) report.Verdict) {
	t.Helper()
	n := 0
	for _, c := range d.Cells {
		if always(c) {
			continue
		}
		v := want(c)
		if v != c.Verdict {
			t.Errorf("%s: %s (%s), want %s", c.ID(), c.Verdict, c.Reason, v)
		}
		if v != report.Passed {
			n++
		}
	}
	if n == 0 {
		t.Error("no cell had to have another verdict than pass")
	}
}

// always tells whether a cell is blocked on every fake, for the reason it has to have.
func always(c report.CellResult) bool {
	if c.Verdict != report.Blocked {
		return false
	}
	return c.Check == "S9" && c.Reason == "no Ceph storage in the inventory" || c.Check == "S3" && c.Reason == "the pod has no IPv6" ||
		c.Check == "S5" && strings.HasPrefix(c.Reason, "needs two ")
}

func TestRun_NewDeployment(t *testing.T) {
	c := newFake(t, amd64, arm64)
	d, err := fullRun(t, c.options())
	if err != nil || d.Verdict() != report.Passed {
		t.Errorf("%s, %v", d.Verdict(), err)
	}
	for _, cell := range d.Cells {
		if cell.Verdict != report.Passed && !always(cell) {
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
	for _, check := range d.Checks {
		if want := map[bool]report.Verdict{true: report.Blocked, false: report.Passed}[check.ID == "S9"]; d.CheckVerdict(check.ID) != want {
			t.Errorf("%s: %s", check.ID, d.CheckVerdict(check.ID))
		}
	}
	if len(d.Nodes) != 2 || d.Nodes[0].Name != "arm-1" || d.Nodes[0].PageKiB != 4 || d.Nodes[1].Role != "control-plane" || d.Error != "" {
		t.Errorf("nodes: %+v, error %q", d.Nodes, d.Error)
	}
	for _, cell := range d.Cells {
		if cell.Check == "S5" && cell.Verdict == report.Passed {
			if cell.Responder == nil || cell.Responder.Node != cell.Dst.Node || cell.Nonce == "" || cell.ObservedClientIP == "" || cell.ObservedClientIP != cell.ExpectClientIP {
				t.Errorf("%s: %+v", cell.ID(), cell)
			}
		}
	}
	c.wantNothingLeft(t)
}

func TestRun_ScaleOut(t *testing.T) {
	c := newFake(t, amd64, arm64, arm64)
	o := c.options()
	o.Scenario, o.NewNodes = ScaleOut, []string{"arm-2"}
	d, err := fullRun(t, o)
	if err != nil {
		t.Error(err)
	}
	for _, cell := range d.Cells {
		if cell.Verdict != report.Passed && !always(cell) {
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
	if d.CheckVerdict("G") != report.Passed || d.CheckVerdict("S1") != report.Passed {
		t.Error("a check is missing")
	}
	c.wantNothingLeft(t)
}

func TestTestSelf(t *testing.T) {
	for _, scenario := range Scenarios() {
		t.Run(string(scenario), func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			o.pace.rulesLag = 250 * time.Millisecond
			o.Scenario = scenario
			if scenario == ScaleOut {
				o.NewNodes = []string{"x86-1"}
			}
			var seen []FaultName
			err := TestSelf(t.Context(), o, func(s SelfTest, d report.ConformanceRun) {
				seen = append(seen, s.Fault)
				if !s.OK() {
					t.Errorf("%+v", s)
				}
				if d.Error != "" || d.Verdict() == report.Failing != (s.Fault != faultNone) {
					t.Errorf("%s: %s, %s", s.Fault, d.Verdict(), d.Error)
				}
				c.wantNothingLeft(t)
			})
			if err != nil || len(seen) != 7 {
				t.Errorf("%v, %v", seen, err)
			}
		})
	}
}

// Checks that see nothing are found out: a self-test whose faults have no effect is not good.
func TestTestSelf_FaultsWithoutEffect(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.node("arm-1").emulates = true
	o := c.options()
	o.pace.rulesLag = 50 * time.Millisecond
	if err := TestSelf(t.Context(), o, func(s SelfTest, _ report.ConformanceRun) {
		if s.Fault == faultWrongImage && s.OK() || s.Fault == faultNone && s.OK() || s.Fault == faultByte && !s.OK() {
			t.Errorf("%+v", s)
		}
	}); err != nil {
		t.Error(err)
	}
}

// answered tells whether a probe has to say who it is for a cell to pass.
func answered(c report.CellResult) bool {
	switch c.Check {
	case "S3":
		return strings.Contains(c.Name, "127.0.0.1")
	case "S4", "S5":
		return true
	case "S6":
		return c.Name != "endpoint-removed" && !strings.HasPrefix(c.Name, "dns/")
	case "S7":
		return !strings.HasSuffix(c.Name, "refuses")
	}
	return false
}

func TestRun_AResponderThatIsNotTheRightOne(t *testing.T) {
	for name, lie := range map[string]func(*probe.Who){
		"node":      func(w *probe.Who) { w.Node = "elsewhere" },
		"pod":       func(w *probe.Who) { w.UID = "other" },
		"machine":   func(w *probe.Who) { w.ELF = 3 },
		"kernel":    func(w *probe.Who) { w.UnameM = "riscv64" },
		"container": func(w *probe.Who) { w.Container = peerContainer },
		"version":   func(w *probe.Who) { w.Version = 99 },
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			c.lie = func(w *probe.Who) {
				if w.Node == "arm-1" {
					lie(w)
				}
			}
			o := c.options()
			o.Checks = []string{"S3", "S4", "S5", "S6", "S7"}
			d, err := fullRun(t, o)
			if err != nil || d.Verdict() != report.Failing {
				t.Errorf("%s, %v", d.Verdict(), err)
			}
			wantOnly(t, d, func(c report.CellResult) report.Verdict {
				if answered(c) && c.Dst.Node == "arm-1" {
					return report.Failing
				}
				return report.Passed
			})
			c.wantNothingLeft(t)
		})
	}
}

func TestRun_AddressesAreTranslated(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.masks = true
	o := c.options()
	o.Checks = []string{"S4", "S5", "S6"}
	d, err := fullRun(t, o)
	if err != nil {
		t.Error(err)
	}
	wantOnly(t, d, func(c report.CellResult) report.Verdict {
		if c.Check != "S6" && !strings.Contains(c.Reason, "something on the way translates addresses") {
			t.Errorf("%s: %s", c.ID(), c.Reason)
		}
		return map[bool]report.Verdict{true: report.Passed, false: report.Failing}[c.Check == "S6"]
	})
}

// A Service with the policy Local has to show who asks.
func TestRun_OutsideIsHidden(t *testing.T) {
	c := newFake(t, amd64, arm64)
	o := c.options()
	o.Checks = []string{"S7"}
	o.Vantages[0].Address = func(string) string { return "203.0.113.7" }
	d, err := fullRun(t, o)
	if err != nil {
		t.Error(err)
	}
	wantOnly(t, d, func(c report.CellResult) report.Verdict {
		return map[bool]report.Verdict{true: report.Failing, false: report.Passed}[c.Name == "tcp/nodePort/policy-Local"]
	})
}

func TestRun_TheFirstAttemptIsLost(t *testing.T) {
	c := newFake(t, amd64, arm64)
	var mu sync.Mutex
	lost := false
	c.intercept = func(from, to *fakePod, network string) error {
		mu.Lock()
		defer mu.Unlock()
		if from != nil && from.Node == "x86-1" && to.Node == "arm-1" && network == "udp" && !lost {
			lost = true
			return unanswered(network)
		}
		return nil
	}
	o := c.options()
	o.Checks = []string{"S5"}
	d, err := fullRun(t, o)
	if err != nil || d.Verdict() != report.Flaky {
		t.Errorf("%s, %v", d.Verdict(), err)
	}
	flaky := 0
	for _, cell := range d.Cells {
		switch {
		case cell.Verdict == report.Flaky:
			flaky++
			if cell.FirstAttemptOK || cell.OK != cell.Planned-1 || !strings.Contains(cell.Reason, "4 of 5 attempts were right; the last that was not: no answer in time") || len(cell.Evidence) == 0 && cell.Src == nil {
				t.Errorf("%+v", cell)
			}
		case cell.Verdict != report.Passed && !always(cell):
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
	if flaky != 1 {
		t.Errorf("%d cells are flaky", flaky)
	}
}

// flipConn changes one byte of what comes back, in the payload.
type flipConn struct {
	net.Conn
	seen int
}

func (f *flipConn) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if at := 1000 - f.seen; at >= 0 && at < n {
		b[at] ^= 1
	}
	f.seen += n
	return n, err
}

func TestRun_AByteChangesOnTheWay(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.tamper = func(from *fakePod, _ string, conn net.Conn) net.Conn {
		if from != nil && from.Node == "x86-1" {
			return &flipConn{Conn: conn}
		}
		return conn
	}
	o := c.options()
	o.Checks = []string{"S5"}
	d, err := fullRun(t, o)
	if err != nil {
		t.Error(err)
	}
	wantOnly(t, d, func(c report.CellResult) report.Verdict {
		if c.Src.Node != "x86-1" || strings.Contains(c.Name, "/1/") {
			return report.Passed
		}
		if !strings.Contains(c.Reason, "the payload came back changed") {
			t.Errorf("%s: %s", c.ID(), c.Reason)
		}
		return report.Failing
	})
}

// What only looks right on the hosts is seen.
func TestRun_Hosts(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, c *fake)
		red  func(c report.CellResult) bool
	}{
		{"a directory that two hosts share", func(t *testing.T, c *fake) {
			c.node("x86-1").dir = c.node("arm-1").dir
		}, func(c report.CellResult) bool { return c.Name == "not-seen-elsewhere" }},
		{"the kubelet's word against the host's", func(_ *testing.T, c *fake) { c.node("arm-1").uname = "x86_64" },
			func(c report.CellResult) bool {
				return c.Dst.Node == "arm-1" && (c.Name == "architecture" || c.Name == "own-image")
			}},
		{"a host that takes no files and no images", func(_ *testing.T, c *fake) { c.node("arm-1").refuses = errors.New("no space left on device") },
			func(c report.CellResult) bool {
				return c.Dst != nil && c.Dst.Node == "arm-1" && (c.Check == "S2" || c.Check == "S8" && c.Name != "missing-directory-fails")
			}},
		{"an emulator", func(_ *testing.T, c *fake) { c.node("arm-1").emulates = true },
			func(c report.CellResult) bool { return c.Name == "foreign-image-fails" && c.Dst.Node == "arm-1" }},
		{"a directory that is not missing", func(t *testing.T, c *fake) {
			if err := os.MkdirAll(c.node("arm-1").path(hostDirs+"run1-missing"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, func(c report.CellResult) bool { return c.Name == "missing-directory-fails" && c.Dst.Node == "arm-1" }},
		{"a directory that is a copy of the host's", func(_ *testing.T, c *fake) { c.node("arm-1").copies = true },
			func(c report.CellResult) bool { return c.Name == "pod-writes-host-reads" && c.Dst.Node == "arm-1" }},
		{"every node answers for a local backend", func(_ *testing.T, c *fake) { c.anywhere = true },
			func(c report.CellResult) bool { return strings.HasSuffix(c.Name, "policy-Local-refuses") }},
		{"a registry that is not private", func(_ *testing.T, c *fake) { c.leaky = true },
			func(c report.CellResult) bool { return c.Name == "without-secret-fails" }},
		{"an old pod is restarted while the run is on its way", func(_ *testing.T, c *fake) {
			c.onExec = func(string, string) error {
				c.mu.Lock()
				defer c.mu.Unlock()
				for i := range c.others {
					if c.others[i].Name == "web-x86-1" {
						c.others[i].Restarts = 2
					}
				}
				return nil
			}
		}, func(c report.CellResult) bool { return c.Check == "G" && c.Dst.Node == "x86-1" }},
		{"one DNS server does not answer", func(_ *testing.T, c *fake) { c.deadDNS = c.others[0].IP },
			func(c report.CellResult) bool { return c.Name == "dns/each-server" }},
		{"a service answers on without an endpoint", func(_ *testing.T, c *fake) { c.lingers = "stay-0" },
			func(c report.CellResult) bool { return c.Name == "endpoint-removed" && c.Dst.Node == "arm-1" }},
		{"a node port answers on without its service", func(_ *testing.T, c *fake) { c.lingers = "gone-0-0" },
			func(c report.CellResult) bool {
				return strings.Contains(c.Name, "closed-before") && c.Dst.Node == "arm-1"
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, arm64, amd64)
			c.make(t, f)
			o := f.options()
			o.pace.rulesLag = 250 * time.Millisecond
			o.Patience = 2 * time.Second
			o.Scenario, o.NewNodes = ScaleOut, []string{"arm-1"}
			o.Checks = []string{"S1", "S2", "S6", "S7", "S8", "R", "G"}
			d, err := fullRun(t, o)
			if err != nil {
				t.Error(err)
			}
			wantOnly(t, d, func(cell report.CellResult) report.Verdict {
				if c.red(cell) {
					return report.Failing
				}
				if f.node("arm-1").uname == "x86_64" && answered(cell) && cell.Dst.Node == "arm-1" {
					return report.Failing
				}
				return report.Passed
			})
		})
	}
}

// Some runtimes say why a program did not start only in its log.
func TestRun_TheReasonIsInTheLog(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.wordless = true
	o := c.options()
	o.Checks = []string{"N2"}
	if d, err := fullRun(t, o); err != nil || d.Verdict() != report.Passed {
		t.Errorf("%s, %v: %+v", d.Verdict(), err, d.Cells)
	}
}

// A pod is Ready for a moment although its program cannot be loaded: that is no emulator.
func TestRun_ReadyForAMoment(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.flashes = true
	o := c.options()
	o.Checks = []string{"N2"}
	if d, err := fullRun(t, o); err != nil || d.Verdict() != report.Passed {
		t.Errorf("%s, %v: %+v", d.Verdict(), err, d.Cells)
	}
}

// A port that another Service has is not a port that should be closed: another one is drawn.
func TestRun_NodePortsOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		answering int // of those that are dialled first
		taken     int
		want      report.Verdict
	}{
		"some are taken":      {0, 4, report.Passed},
		"some answer":         {3, 0, report.Passed},
		"every port answers":  {1000, 0, report.Failing},
		"every port is taken": {0, 1000, report.Failing},
		"taken and answering": {2, 2, report.Passed},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, arm64)
			o := f.options()
			o.Checks = []string{"S7"}
			v := &otherPorts{outside: outside{f}, answering: c.answering, taken: c.taken}
			o.Vantages[0].Dial = v
			d, err := fullRun(t, o)
			if err != nil {
				t.Error(err)
			}
			for _, cell := range d.Cells {
				if want := map[bool]report.Verdict{true: c.want, false: report.Passed}[strings.Contains(cell.Name, "closed-before")]; cell.Verdict != want {
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
		})
	}
}

// otherPorts is a vantage point that finds the ports that are drawn in use.
type otherPorts struct {
	outside
	answering, taken int
	mu               sync.Mutex
}

func (v *otherPorts) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	_, text, _ := net.SplitHostPort(addr)
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.c.mu.Lock()
	own := false
	for _, s := range v.c.svcs {
		own = own || s.port == port
	}
	var to *fakePod
	switch {
	case own || port >= firstNodePort+nodePorts:
	case v.answering > 0:
		v.answering--
		to = v.c.pods["a-0"]
	case v.taken > 0:
		v.taken--
		v.c.ports[port] = true
	}
	v.c.mu.Unlock()
	v.mu.Unlock()
	if to != nil {
		return v.c.connect(ctx, nil, to, to.node, to.node.address, network)
	}
	return v.outside.DialContext(ctx, network, addr)
}

func TestRun_Leftovers(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.spaces["hybridctl-conformance-old"] = true
	o := c.options()
	c.onApply = func(kind, name string) { t.Errorf("%s %s is made", kind, name) }
	d, err := Run(t.Context(), o)
	if !errors.Is(err, ErrLeftovers) || !strings.Contains(err.Error(), "hybridctl-conformance-old") || !strings.Contains(err.Error(), "hybridctl conformance clean") {
		t.Errorf("got %v", err)
	}
	if d.Error == "" || len(d.Cells) > 0 || d.ID != "run1" || d.Verdict() != report.Failing {
		t.Errorf("%+v", d)
	}
	if len(c.spaces) != 1 {
		t.Errorf("%v", c.spaces)
	}
	ids, err := Runs(t.Context(), c)
	if err != nil || !slices.Equal(ids, []string{"old"}) {
		t.Errorf("%v, %v", ids, err)
	}
	if err := Clean(t.Context(), c, o.Machines, "old"); err != nil {
		t.Error(err)
	}
	c.wantNothingLeft(t)
}

func TestRun_BadInput(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.onApply = func(kind, name string) { t.Errorf("%s %s is made", kind, name) }
	for _, b := range []struct {
		with func(*Options)
		is   error
		want string
	}{
		{func(o *Options) { o.Scenario = "upgrade" }, ErrUsage, `there is no scenario "upgrade"`},
		{func(o *Options) { o.Checks = []string{"S99"} }, ErrUsage, `has no check "S99"`},
		{func(o *Options) { o.Scenario = ScaleOut }, ErrUsage, "needs the nodes that were added"},
		{func(o *Options) { o.Scenario, o.NewNodes = ScaleOut, []string{"arm-9"} }, ErrUsage, `there is no node "arm-9" in the cluster`},
		{func(o *Options) { o.API = unreachable{o.API} }, ErrSetup, "the API server does not answer"},
	} {
		o := c.options()
		b.with(&o)
		d, err := Run(t.Context(), o)
		if !errors.Is(err, b.is) || !strings.Contains(err.Error(), b.want) || d.Error != err.Error() || d.Verdict() != report.Failing {
			t.Errorf("want %s, got %v and %+v", b.want, err, d)
		}
	}
	if err := TestSelf(t.Context(), Options{API: unreachable{c}}, nil); err == nil || !strings.Contains(err.Error(), "the API server does not answer") {
		t.Errorf("self-test: %v", err)
	}
}

type unreachable struct{ API }

var errUnreachable = errors.New("the API server does not answer")

func (unreachable) Nodes(context.Context) ([]kube.Node, error)           { return nil, errUnreachable }
func (unreachable) Namespaces(context.Context, string) ([]string, error) { return nil, errUnreachable }
func (unreachable) DeleteNamespace(context.Context, string) error        { return errUnreachable }

func TestRun_CannotBegin(t *testing.T) {
	for name, c := range map[string]struct {
		with func(*fake, *Options)
		want string
	}{
		"namespace forbidden": {func(c *fake, _ *Options) {
			c.forbidden["Namespace"] = errors.New("namespaces is forbidden: User x cannot create it")
		}, "namespaces is forbidden: User x cannot create it"},
		"pods forbidden": {func(c *fake, _ *Options) { c.forbidden["Pod"] = errors.New("pods is forbidden") }, "pods is forbidden"},
		"no image":       {func(_ *fake, o *Options) { o.Image, o.Images = "", nil }, "the bundle has no image of the probe"},
		"no password": {func(_ *fake, o *Options) {
			o.Registry.Password = func() (string, error) { return "", errors.New("registry's password: no such file") }
		}, "registry's password: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, amd64, arm64)
			o := f.options()
			c.with(f, &o)
			d, err := fullRun(t, o)
			if !errors.Is(err, ErrSetup) || !strings.Contains(err.Error(), c.want) || !strings.Contains(d.Error, c.want) {
				t.Errorf("got %v, %q", err, d.Error)
			}
			if d.Verdict() != report.Failing {
				t.Errorf("the run's verdict is %s", d.Verdict())
			}
			for _, cell := range d.Cells {
				if cell.Verdict != report.Blocked || cell.Reason == "" {
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
			f.wantNothingLeft(t)
		})
	}
}

// What cannot be taken away is said, also beside another error.
func TestRun_CannotCleanUp(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		c := newFake(t, amd64, arm64)
		o := c.options()
		o.Checks = []string{"S4"}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c.forbidden["delete"] = errors.New("namespaces cannot be deleted")
		if interrupted {
			c.onExec = func(string, string) error { cancel(); return nil }
		}
		d, err := Run(ctx, o)
		if err == nil || !strings.Contains(d.Error, "namespaces cannot be deleted") || errors.Is(err, context.Canceled) != interrupted {
			t.Errorf("interrupted %v: %v", interrupted, err)
		}
	}
}

func TestRun_AProbeThatNeverStarts(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.node("arm-1").stuck = true
	o := c.options()
	o.Patience = time.Second
	d, err := fullRun(t, o)
	if err != nil || d.Verdict() != report.Failing {
		t.Errorf("%s, %v", d.Verdict(), err)
	}
	for _, cell := range d.Cells {
		concerned := cell.Class == "arm64" || cell.Dst != nil && cell.Dst.Node == "arm-1" || cell.Src != nil && (cell.Src.Node == "arm-1" || strings.HasSuffix(cell.Src.Where, "arm-1"))
		looks := slices.Contains([]string{"ready", "architecture", "daemonsets"}, cell.Name)
		switch {
		case always(cell):
		case concerned && !looks && cell.Verdict == report.Passed && !strings.HasPrefix(cell.Src.String(), "operator"):
			t.Errorf("%s passed", cell.ID())
		case (!concerned || looks) && cell.Verdict != report.Passed:
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		case cell.Verdict == report.Blocked && !strings.Contains(cell.Reason, "its kubelet has not started it yet"):
			t.Errorf("%s: %s", cell.ID(), cell.Reason)
		}
	}
	if d.CheckVerdict("N1") != report.Failing {
		t.Error("N1 is not failing")
	}
	c.wantNothingLeft(t)
}

func TestRun_Interrupted(t *testing.T) {
	for name, when := range map[string]func(c *fake, o *Options, cancel func()){
		"while setting up": func(c *fake, _ *Options, cancel func()) {
			c.onApply = func(kind, _ string) {
				if kind == "Pod" {
					cancel()
				}
			}
		},
		"while pods start": func(c *fake, o *Options, cancel func()) { c.node("arm-1").stuck = true; o.Event = onDone("N1", cancel) },
		"while cells are tried": func(c *fake, _ *Options, cancel func()) {
			c.onExec = func(string, string) error { cancel(); return nil }
		},
		"when most is done": func(_ *fake, o *Options, cancel func()) { o.Event = onDone("S8", cancel) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			when(c, &o, func() { cancel(errors.New("SIGINT")) })
			o.KeepOnFailure = true // an interruption is no failure
			var planned []Cell
			o.Planned = func(cells []Cell) { planned = cells }
			d, err := Run(ctx, o)
			wantComplete(t, d, planned)
			if err == nil || !strings.Contains(err.Error(), "SIGINT") || !strings.Contains(d.Error, "interrupted") || errors.Is(err, ErrSetup) || d.Verdict() != report.Failing {
				t.Errorf("got %v, %q", err, d.Error)
			}
			for _, cell := range d.Cells {
				if cell.Verdict == report.Failing || cell.Verdict == report.Flaky {
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
			c.wantNothingLeft(t)
		})
	}
}

// onDone acts at the end of the first cell of a check.
func onDone(check string, act func()) func(report.Event) {
	var once sync.Once
	return func(e report.Event) {
		if e.Kind == report.Done && e.Step == check {
			once.Do(act)
		}
	}
}

// A node that goes away takes its own cells with it, and no others; the run ends, and says so.
func TestRun_ANodeGoesAway(t *testing.T) {
	c := newFake(t, amd64, arm64, arm64)
	o := c.options()
	o.pace.rulesLag, o.pace.answer = 100*time.Millisecond, 300*time.Millisecond
	o.pace.attempt, o.pace.stream = time.Second, 2*time.Second
	o.Patience = time.Second
	c.onExec = func(pod, _ string) error {
		if pod == "a-0" {
			c.goAway("arm-1") // it hears nothing of what it is asked
		}
		return nil
	}
	d, err := fullRun(t, o)
	if err == nil || !strings.Contains(d.Error, "arm-1: ") || !strings.Contains(d.Error, "the connection was lost") {
		t.Errorf("that its host could not be cleaned is not said: %v", err)
	}
	passed := 0
	for _, cell := range d.Cells {
		concerned := cell.Class == "arm64" || cell.Dst != nil && cell.Dst.Node == "arm-1" || cell.Src != nil && (cell.Src.Node == "arm-1" || strings.HasSuffix(cell.Src.Where, "arm-1"))
		switch {
		case cell.Verdict == report.Passed:
			passed++
		case !concerned && !always(cell) && cell.Name != "dns/each-server":
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
	if passed == 0 || d.Verdict() != report.Failing {
		t.Errorf("%d cells passed; the run's verdict is %s", passed, d.Verdict())
	}
	c.wantNothingLeft(t)
}

// A client that cannot be asked any more has not seen that nothing answers.
func TestRun_SilenceOfTheClientIsNotSilenceOfTheService(t *testing.T) {
	c := newFake(t, amd64, arm64)
	o := c.options()
	o.pace.attempt, o.pace.rulesLag, o.pace.answer = 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
	o.Checks = []string{"S6"}
	c.onApply = func(kind, name string) {
		c.mu.Lock()
		again := c.svcs["stay-0"] != nil // the second time its endpoint is taken away
		c.mu.Unlock()
		if kind == "Service" && name == "stay-0" && again {
			c.goAway("arm-1")
		}
	}
	d, err := fullRun(t, o)
	if err == nil {
		t.Error("the lost host is not said")
	}
	for _, cell := range d.Cells {
		if cell.Name == "endpoint-removed" && cell.Dst.Node == "arm-1" && cell.Verdict == report.Passed {
			t.Errorf("%s passed", cell.ID())
		}
	}
}

// One lost packet is not yet a closed port.
func TestRun_OneSilenceIsNotTheEnd(t *testing.T) {
	c := newFake(t, arm64)
	c.lingers = "stay-0"
	var mu sync.Mutex
	silences := 0
	c.intercept = func(from, to *fakePod, network string) error {
		mu.Lock()
		defer mu.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		if s := c.svcs["stay-0"]; s != nil && s.selector[slotLabel] == "none" && silences == 0 {
			silences++
			return unanswered(network)
		}
		return nil
	}
	o := c.options()
	o.pace.rulesLag = 200 * time.Millisecond
	o.Checks = []string{"S6"}
	d, err := fullRun(t, o)
	if err != nil {
		t.Error(err)
	}
	for _, cell := range d.Cells {
		if cell.Name == "endpoint-removed" && (cell.Verdict != report.Failing || silences == 0) {
			t.Errorf("%s: %s %s; %d silences", cell.ID(), cell.Verdict, cell.Reason, silences)
		}
	}
}

// A node that joins while the run is on its way is none of those it knows.
func TestRun_ANodeJoins(t *testing.T) {
	c := newFake(t, amd64, arm64)
	late := *c.node("arm-1")
	late.name, late.place, late.address, late.dir = "arm-0", 5, c.ip("200.6"), filepath.Join(c.dir, "late")
	o := c.options()
	o.Checks = []string{"D"}
	o.Planned = func([]Cell) { c.nodes = append([]*fakeNode{&late}, c.nodes...) }
	d, err := Run(t.Context(), o)
	if err != nil {
		t.Error(err)
	}
	for _, cell := range d.Cells {
		if cell.Class == "arm64" && (cell.Verdict != report.Failing || !strings.Contains(cell.Reason, "the pod is on arm-0, which was not there when the run began")) || cell.Class != "arm64" && cell.Verdict != report.Passed {
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
}

func TestRun_Keep(t *testing.T) {
	for _, k := range []struct {
		name                string
		keep, onFail, fails bool
		kept                bool
	}{
		{"keep", true, false, false, true},
		{"keep on failure, and it fails", false, true, true, true},
		{"keep on failure, and it passes", false, true, false, false},
		{"it fails", false, false, true, false},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			o.Checks, o.Keep, o.KeepOnFailure = []string{"S4", "S8"}, k.keep, k.onFail
			var said []string
			var mu sync.Mutex
			o.Event = func(e report.Event) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, e.Message)
			}
			if k.fails {
				c.lie = func(w *probe.Who) { w.Node = "elsewhere" }
			}
			d, err := fullRun(t, o)
			if err != nil || (d.Verdict() == report.Failing) != k.fails {
				t.Errorf("%s, %v", d.Verdict(), err)
			}
			if !k.kept {
				c.wantNothingLeft(t)
				return
			}
			if !c.spaces["hybridctl-conformance-run1"] || len(c.pods) == 0 {
				t.Error("nothing is kept")
			}
			if !slices.ContainsFunc(said, func(s string) bool {
				return strings.Contains(s, "hybridctl-conformance-run1 is kept") && strings.Contains(s, "hybridctl conformance clean")
			}) {
				t.Errorf("it is not said: %v", said)
			}
			if err := Clean(t.Context(), c, o.Machines, "run1"); err != nil {
				t.Error(err)
			}
			c.wantNothingLeft(t)
		})
	}
}

// Evidence is gathered where a cell failed, before anything is taken away, and holds no secret.
func TestRun_Evidence(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.node("arm-1").emulates = true
	o := c.options()
	o.Checks = []string{"N2"}
	var mu sync.Mutex
	files := map[string]string{}
	o.Evidence = func(name string, body []byte) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		files[name] = string(body)
		return "evidence/" + name, nil
	}
	d, err := fullRun(t, o)
	if err != nil {
		t.Error(err)
	}
	for _, cell := range d.Cells {
		want := []string(nil)
		if cell.Verdict == report.Failing {
			want = []string{"evidence/arm-1-cluster.txt", "evidence/arm-1-host.txt"}
			if !strings.Contains(cell.Cause, "binfmt") || cell.Hint == "" {
				t.Errorf("cause %q, hint %q", cell.Cause, cell.Hint)
			}
		}
		if !slices.Equal(cell.Evidence, want) {
			t.Errorf("%s: %v", cell.ID(), cell.Evidence)
		}
	}
	if len(files) != 2 || !strings.Contains(files["arm-1-cluster.txt"], "pod foreign-0") || !strings.Contains(files["arm-1-host.txt"], "journal of arm-1: password=<withheld>") {
		t.Errorf("%v", files)
	}
}
