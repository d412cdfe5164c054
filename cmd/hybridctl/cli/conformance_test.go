package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/report"
)

// aRun is a conformance run with one cell.
func aRun(v report.Verdict) report.ConformanceRun {
	return report.ConformanceRun{
		ID: "c0ffee", Cluster: "lab", Scenario: "new-deployment",
		Checks: []report.RunCheck{{ID: "S4", Title: "pods on the same node"}},
		Cells:  []report.CellResult{{Check: "S4", Name: "tcp/podIP", Class: "arm64", Verdict: v, Reason: "because"}},
	}
}

func TestConformance_OptionsAndOutput(t *testing.T) {
	r := newRun(t)
	var o provision.ConformanceOptions
	r.front.Conformance = func(_ context.Context, given provision.ConformanceOptions) (report.ConformanceRun, error) {
		o = given
		o.Planned([]conformance.Cell{{Check: "S4"}, {Check: "S4"}, {Check: "S5", Blocked: "needs two arm64 nodes"}})
		return aRun(report.Passed), nil
	}
	r.want("conformance --scenario scale-out --nodes arm-1,arm-2 --checks S4,S5 --quick --max-pairs 7 --seed 42 --report-dir out --keep --keep-on-failure", 0)
	if o.Scenario != "scale-out" || len(o.Nodes) != 2 || len(o.Checks) != 2 || !o.Quick || o.MaxPairs != 7 || o.Seed != 42 || o.ReportDir != "out" || !o.Keep || !o.KeepOnFailure || o.Tool != "v1.2.3" {
		t.Errorf("%+v", o)
	}
	contains(t, "stderr", r.stderr.String(), "3 cells planned: S4 2, S5 1; 1 of them are blocked already")
	contains(t, "stdout", r.stdout.String(), "pods on the same node", "out/report.html")
}

func TestConformance_ExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{nil, 0, ""},
		{provision.ErrConformance, 5, "conformance checks failed"},
		{fmt.Errorf("%w: there is no scenario", conformance.ErrUsage), 2, "there is no scenario"},
		{fmt.Errorf("%w: x", conformance.ErrLeftovers), 1, "leftovers of an earlier run"},
		{fmt.Errorf("%w: x", conformance.ErrSetup), 1, "could not begin"},
		{fmt.Errorf("%w: the report directory /x cannot be written", provision.ErrReportDir), 2, "cannot be written"},
		{context.Canceled, 130, "interrupted"},
	} {
		r := newRun(t)
		r.front.Conformance = func(context.Context, provision.ConformanceOptions) (report.ConformanceRun, error) {
			return aRun(report.Failing), c.err
		}
		r.want("conformance", c.code)
		contains(t, "stderr", r.stderr.String(), c.says)
		contains(t, "stdout", r.stdout.String(), "because") // what was found is shown whatever happened
	}
}

func TestConformance_SelfTest(t *testing.T) {
	good := conformance.SelfTest{Fault: "wrong-pod-answers", Node: "arm-1", Other: "x86-1", Cells: 20, Red: 4}
	bad := conformance.SelfTest{Fault: "volume-byte", Node: "arm-1", Cells: 4, Missed: []string{"S8/pod-writes-host-reads: arm-1 (arm64): pass"}}
	ended := conformance.SelfTest{Fault: "endpoint-deleted", Node: "arm-1", Error: "interrupted", Hint: "run it again"}
	for _, c := range []struct {
		tests []conformance.SelfTest
		err   error
		code  int
		says  []string
	}{
		{[]conformance.SelfTest{good}, nil, 0, []string{"wrong-pod-answers", "arm-1, x86-1", "as it had to be"}},
		{[]conformance.SelfTest{good, bad}, provision.ErrConformance, 5, []string{"not red: S8/pod-writes-host-reads", "  wrong"}},
		{[]conformance.SelfTest{ended}, provision.ErrConformance, 5, []string{"  not known", "interrupted", "hint: run it again"}},
	} {
		r := newRun(t)
		r.front.ConformanceSelfTest = func(_ context.Context, _ provision.ConformanceOptions, done func(conformance.SelfTest)) ([]conformance.SelfTest, error) {
			for _, s := range c.tests {
				done(s)
			}
			return c.tests, c.err
		}
		r.want("conformance --self-test", c.code)
		contains(t, "stdout", r.stdout.String(), c.says...)
	}
}

func TestConformance_Clean(t *testing.T) {
	for _, c := range []struct {
		ids  []string
		says string
	}{{nil, "nothing was left"}, {[]string{"c0ffee", "decade"}, "removed: c0ffee, decade"}} {
		r := newRun(t)
		r.front.ConformanceClean = func(context.Context, provision.Options) ([]string, error) { return c.ids, nil }
		r.want("conformance clean", 0)
		contains(t, "stdout", r.stdout.String(), c.says)
	}
}

// What was removed is told also when a run was left alone, and whose it is after that.
func TestConformance_CleanLeavesARunAlone(t *testing.T) {
	r := newRun(t)
	breaks := false
	r.front.ConformanceClean = func(_ context.Context, o provision.Options) ([]string, error) {
		breaks = o.BreakLock
		return []string{"c0ffee"}, errors.New("run decade is at work, and is left alone: held by ann@there")
	}
	r.want("conformance clean", 1)
	contains(t, "stdout", r.stdout.String(), "removed: c0ffee")
	contains(t, "stderr", r.stderr.String(), "held by ann@there")
	if r.want("conformance clean --break-lock", 1); !breaks {
		t.Error("the lock is not broken")
	}
}

func TestUp_Conformance(t *testing.T) {
	r := newRun(t)
	r.want("up --yes --conformance=half", 2)
	contains(t, "stderr", r.stderr.String(), `--conformance must be full, quick or off, not "half"`)
	for flag, want := range map[string]provision.ConformanceMode{"": "full", "--conformance=quick": "quick", "--conformance off": "off"} {
		var o provision.UpOptions
		r.front.Up = func(_ context.Context, given provision.UpOptions) (provision.Result, error) {
			o = given
			run, result := aRun(report.Failing), goodResult()
			result.Conformance, result.ReportDir = &run, "there"
			return result, provision.ErrConformance
		}
		r.want("up --yes "+flag, 5)
		if o.Conformance != want {
			t.Errorf("%q: %s, want %s", flag, o.Conformance, want)
		}
		contains(t, "stdout", r.stdout.String(), "pods on the same node", "there/report.html")
	}
}
