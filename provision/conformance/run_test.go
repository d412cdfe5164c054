package conformance

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/platform"
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

// always reports whether a cell is blocked on every fake, for the reason it has to have.
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

// A pod network that has addresses of its own for pods is none the worse for it; flannel's are the nodes'.
func TestRun_AddressesOfNewPods(t *testing.T) {
	for ranges, want := range map[bool]report.Verdict{true: report.Failing, false: report.Passed} {
		c := newFake(t, amd64, arm64)
		for _, n := range c.nodes {
			n.podCIDR = "198.51.100.0/24"
		}
		o := c.options()
		o.Checks, o.NodeRanges = []string{"N1"}, ranges
		d, _ := fullRun(t, o)
		tried := 0
		for _, cell := range d.Cells {
			if cell.Name != "pod-address" {
				continue
			}
			if tried++; cell.Verdict != want {
				t.Errorf("the network uses the nodes' ranges: %v; %s: %s (%s), want %s", ranges, cell.ID(), cell.Verdict, cell.Reason, want)
			}
		}
		if tried != len(c.nodes) {
			t.Errorf("%d nodes were tried", tried)
		}
		c.wantNothingLeft(t)
	}
}

func TestTestSelf(t *testing.T) {
	for _, scenario := range Scenarios() {
		t.Run(string(scenario), func(t *testing.T) {
			c := newFake(t, amd64, arm64)
			o := c.options()
			o.pace.rulesLag = 250 * time.Millisecond
			o.Scenario, o.Storage = scenario, slices.Clone(cephClasses)
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
			if err != nil || len(seen) != 14 {
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

// kube-proxy needs its time for every Service: that of a control, too, and that of a fault.
func TestTestSelf_RulesThatAreSlow(t *testing.T) {
	c := newFake(t, amd64, arm64)
	c.behind = 400 * time.Millisecond
	o := c.options()
	o.pace.rulesLag = 2 * time.Second
	for _, f := range []Fault{{Name: faultNone}, {Name: faultPortOpen}, {Name: faultMovedPort}, {Name: faultNotLocal}, {Name: faultWrongPod, Checks: []string{"S6"}},
		{Name: faultEndpoint, Checks: []string{"S6"}}} {
		f.Node, f.Other = "arm-1", "x86-1"
		var planned []Cell
		o.Fault, o.Checks, o.Planned = &f, []string{cmp.Or(strings.Join(f.Checks, ""), "S7")}, func(cells []Cell) { planned = cells }
		d, err := Run(t.Context(), o)
		if s := compare(f, planned, d, err); !s.OK() {
			t.Errorf("%+v", s)
		}
	}
}
