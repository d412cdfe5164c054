package conformance

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/probe"
	"github.com/hybridctl/hybridctl/provision/report"
)

// answered reports whether a probe has to say who it is for a cell to pass.
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

// A Service with the policy Local has to show who asks. A node that shows one of the cluster's own addresses does not; where something before
// the node translates addresses, nothing can be told.
func TestRun_WhoAsksFromOutside(t *testing.T) {
	for name, k := range map[string]struct {
		with   func(c *fake, v *Vantage)
		want   report.Verdict
		reason string
	}{
		"the node hides who asks": {func(c *fake, _ *Vantage) { c.hides = true }, report.Failing, "the policy Local does not keep who asks"},
		"the operator is behind a NAT": {func(_ *fake, v *Vantage) {
			v.Addresses = func(string) []string { return []string{"203.0.113.7"} }
		}, report.Blocked, "while operator is 203.0.113.7: something between operator and the node translates addresses"},
		"its addresses are not known": {func(_ *fake, v *Vantage) { v.Addresses = nil }, report.Blocked, "which address operator has there is not known"},
		"both": {func(c *fake, v *Vantage) {
			c.hides, v.Addresses = true, func(string) []string { return []string{"203.0.113.7"} }
		}, report.Failing, "the policy Local does not keep who asks"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			o.Checks = []string{"S7"}
			k.with(c, &o.Vantages[0])
			d, err := fullRun(t, o)
			if err != nil {
				t.Error(err)
			}
			wantOnly(t, d, func(c report.CellResult) report.Verdict {
				if c.Name != "tcp/nodePort/policy-Local" {
					return report.Passed
				}
				if !strings.Contains(c.Reason, k.reason) {
					t.Errorf("%s: %s", c.ID(), c.Reason)
				}
				return k.want
			})
		})
	}
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
			if err := os.MkdirAll(c.node("arm-1").path(hostDirs+testRun+"/missing"), 0o755); err != nil {
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
				if want := map[bool]report.Verdict{true: c.want, false: report.Passed}[strings.Contains(cell.Name, "closed-before")]; cell.Verdict != want && cell.Name != "nodePort/other-architecture" {
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
	case own || port < 30000: // of SSH and kubelets
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
