package conformance

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// A node whose probe is not there is unproven: no run passes without it, whatever checks it has.
func TestRun_NoProbeNoPass(t *testing.T) {
	for name, with := range map[string]func(c *fake, o *Options){
		"one check": func(_ *fake, o *Options) { o.Checks = []string{"S5"} },
		"an old node, which adds": func(_ *fake, o *Options) {
			o.Scenario, o.NewNodes, o.Checks = ScaleOut, []string{"x86-1"}, []string{"S4", "S5"}
		},
		"its program cannot be started": func(c *fake, o *Options) {
			c.node("arm-1").stuck = false
			o.Checks = []string{"N1", "S5"}
			c.strays = func(pod, container string) (string, string) {
				if pod == "a-0" {
					return "none", container
				}
				return pod, container
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64, amd64)
			c.node("arm-1").stuck = true
			o := c.options()
			o.Patience = time.Second
			with(c, &o)
			d, err := fullRun(t, o)
			if err != nil || d.Verdict() != report.Failing {
				t.Errorf("%s, %v", d.Verdict(), err)
			}
			for _, cell := range d.Cells {
				concerned := cell.Class == "arm64" || cell.Dst != nil && cell.Dst.Node == "arm-1" || cell.Src != nil && cell.Src.Node == "arm-1"
				if !concerned && cell.Verdict != report.Passed && !always(cell) {
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
		})
	}
}

// What no probe is made for is no failure of the node: its cells are blocked, and the others are tried.
func TestRun_NodesWithoutAProbe(t *testing.T) {
	for name, k := range map[string]struct {
		with   func(n *fakeNode)
		reason string
	}{
		"another architecture":     {func(n *fakeNode) { n.arch = "riscv64" }, `node arm-1 is of the architecture "riscv64", for which there is no probe`},
		"another operating system": {func(n *fakeNode) { n.os = "windows" }, "node arm-1 runs windows, for which there is no probe"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, amd64, arm64, amd64)
			n := c.node("arm-1")
			k.with(n)
			n.stuck = true
			o := c.options()
			delete(o.Machines, "arm-1") // it is none of the inventory's
			o.Patience = 5 * time.Second
			d, err := fullRun(t, o)
			if err != nil || d.Verdict() != report.Passed {
				t.Errorf("%s, %v", d.Verdict(), err)
			}
			said := 0
			for _, cell := range d.Cells {
				switch {
				case cell.Reason == k.reason:
					said++
				case cell.Verdict == report.Failing:
					t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
				}
			}
			if said == 0 || d.Nodes[0].OutOf != k.reason {
				t.Errorf("%d cells say why, the node %q", said, d.Nodes[0].OutOf)
			}
		})
	}
}

// The scheduler may put a pod that tolerates everything on a node that is not Ready: that shows nothing of its selector.
func TestRun_DirectedPastNodesThatAreNotReady(t *testing.T) {
	c := newFake(t, arm64, amd64, arm64)
	c.node("arm-1").ready, c.node("arm-1").stuck = false, true
	o := c.options()
	o.Checks, o.Patience = []string{"D"}, 2*time.Second
	d, err := fullRun(t, o)
	if err != nil || d.Verdict() != report.Passed {
		t.Errorf("%s, %v: %+v", d.Verdict(), err, d.Cells)
	}
	for _, cell := range d.Cells {
		if cell.Verdict != report.Passed {
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
}

// A bundle for one architecture has no program of another.
func TestRun_ABundleOfOneArchitecture(t *testing.T) {
	c := newFake(t, amd64, amd64)
	o := c.options()
	o.Images, o.Checks = fakeImages{not: arm64}, []string{"N2"}
	d, err := fullRun(t, o)
	if err != nil {
		t.Error(err)
	}
	for _, cell := range d.Cells {
		want, reason := report.Passed, ""
		if cell.Name == "foreign-image-fails" {
			want, reason = report.Blocked, "the bundle has no image of the probe for another architecture than amd64"
		}
		if cell.Verdict != want || cell.Reason != reason {
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
	o.Images, o.RunID = fakeImages{not: amd64}, "0123abce"
	if d, err = fullRun(t, o); err != nil || d.Cells[0].Name != "own-image" || d.Cells[0].Reason != "the bundle has no image of the probe for amd64" {
		t.Errorf("%v: %+v", err, d.Cells[0])
	}
}

// A node that is taken out of the cluster in mid-run is away as one that is not Ready.
func TestAttendance_ANodeIsDeleted(t *testing.T) {
	a := newAttendance([]Node{{RunNode: report.RunNode{Name: "x"}}, {RunNode: report.RunNode{Name: "y"}}})
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ctx, done := a.while(t.Context(), "x")
	defer done()
	other, doneOther := a.while(t.Context(), "y")
	defer doneOther()
	for _, after := range []time.Duration{0, time.Minute, 3 * time.Minute} {
		a.look([]kube.Node{{Name: "y", Ready: true}, {Name: "new", Ready: true}}, begin.Add(after), 2*time.Minute)
	}
	<-ctx.Done()
	if other.Err() != nil {
		t.Error("the other is away too")
	}
}

// A place that is a node, or a pod, is not outside.
func TestLookFrom_AVantageWithin(t *testing.T) {
	for name, k := range map[string]struct {
		own     string
		tcpOnly bool
		want    string
	}{
		"a node":           {"10.9.9.1", false, "operator is node arm-1: a connection from there is not from outside"},
		"a node, by SSH":   {"10.9.9.1", true, "operator is node arm-1: a connection from there is not from outside"},
		"a pod":            {"10.244.1.7", false, "operator is in the pod network of node arm-1: a connection from there is not from outside"},
		"elsewhere":        {"192.0.2.7", false, ""},
		"a tunnel's end":   {"127.0.0.1", false, ""},
		"a bridge, by SSH": {"10.244.1.1", true, ""}, // of a cluster of its own
	} {
		t.Run(name, func(t *testing.T) {
			c := newFake(t, arm64)
			nodes := roster{{RunNode: report.RunNode{Name: "arm-1", Address: "10.9.9.1"}, Addresses: []string{"10.9.9.1", "127.0.0.1", c.node("arm-1").address}, PodCIDR: "10.244.1.0/24", SSHPort: 22}}
			v := vantages{roster: nodes, all: []Vantage{{Name: "operator", Dial: outside{c}, TCPOnly: k.tcpOnly, Addresses: func(string) []string { return []string{k.own} }}}}
			v.lookFrom(t.Context(), NewDeployment)
			if got := v.all[0].Problem; got != k.want {
				t.Errorf("got %q, want %q", got, k.want)
			}
		})
	}
}

func TestNewNode_SaysWhyThereIsNoProbe(t *testing.T) {
	o := Options{NoProbe: map[string]string{"a": "it has no image"}}
	for want, n := range map[string]kube.Node{
		"": {Name: "b", Arch: "arm64", OS: "linux", Ready: true}, "it has no image": {Name: "a", Arch: "amd64", Ready: true},
		"node c runs windows, for which there is no probe": {Name: "c", Arch: "amd64", OS: "windows", Ready: true},
	} {
		if got := newNode(o, n); got.NoProbe != want || got.OutOf != want {
			t.Errorf("%s: %q, left out: %q", n.Name, got.NoProbe, got.OutOf)
		}
	}
	if got := newNode(o, kube.Node{Name: "a"}); !strings.Contains(got.OutOf, "not Ready") {
		t.Errorf("not Ready: %q", got.OutOf)
	}
}

// taking is a vantage point behind something that takes every connection, and ends those that lead nowhere.
type taking struct{ outside }

func (v taking) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := v.outside.DialContext(ctx, network, addr)
	if err == nil || network != "tcp" {
		return conn, err
	}
	near, far := net.Pipe()
	_ = far.Close()
	return near, nil
}

// What takes every connection, as a transparent proxy does, tells nothing of node ports.
func TestRun_SomethingTakesEveryConnection(t *testing.T) {
	c := newFake(t, amd64, arm64)
	o := c.options()
	o.Checks, o.Vantages[0].Dial = []string{"S7"}, taking{outside{c}}
	d, err := fullRun(t, o)
	if err != nil || d.Verdict() != report.Blocked {
		t.Errorf("%s, %v", d.Verdict(), err)
	}
	for _, cell := range d.Cells {
		if !strings.Contains(cell.Reason, "takes every connection, also to ports 1 and 47") {
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
}

// departing is a vantage point that is lost at a moment.
type departing struct {
	outside
	gone *atomic.Bool
}

func (v departing) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if v.gone.Load() {
		return nil, errors.New("the connection was lost")
	}
	return v.outside.DialContext(ctx, network, addr)
}

// A vantage point that is lost while the port has to be open says nothing of it.
func TestRun_AVantageThatIsLostWhileAPortIsOpen(t *testing.T) {
	c := newFake(t, amd64, arm64)
	o := c.options()
	var gone atomic.Bool
	o.pace.rulesLag, o.Checks, o.Vantages[0].Dial = 50*time.Millisecond, []string{"S7"}, departing{outside{c}, &gone}
	var mu sync.Mutex
	made := map[string]int{}
	c.onApply = func(kind, name string) {
		mu.Lock()
		defer mu.Unlock()
		if made[name]++; kind == "Service" && strings.HasPrefix(name, svcGone) && made[name] == 2 { // the first was for a free port
			gone.Store(true)
		}
	}
	d, err := fullRun(t, o)
	if err != nil || !gone.Load() {
		t.Errorf("%v, lost: %t", err, gone.Load())
	}
	for _, cell := range d.Cells {
		if cell.Name == "tcp/nodePort/closed-before-and-after" && (cell.Verdict != report.Blocked || !strings.Contains(cell.Reason, "the connection was lost")) {
			t.Errorf("%s: %s: %s", cell.ID(), cell.Verdict, cell.Reason)
		}
	}
}
