package conformance

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Every fault has cells that must turn red, and cells beside them that must not: else it would prove nothing.
func TestFaults_EachHasCellsToTurnRed(t *testing.T) {
	for _, c := range []struct {
		name     string
		scenario Scenario
		nodes    []Node
	}{
		{"new deployment", NewDeployment, []Node{planNode("arm-1", "arm64"), planNode("x86-1", "amd64")}},
		{"one architecture", NewDeployment, []Node{planNode("arm-1", "arm64"), planNode("arm-2", "arm64")}},
		{"scale-out, the new node first", ScaleOut, []Node{planNode("arm-1", "arm64", isNew), planNode("x86-1", "amd64")}},
		{"new deployment of many", NewDeployment, many()},
		{"scale-out of many", ScaleOut, append(many(), planNode("x-new", "arm64", isNew))},
		{"scale-out, the new node last", ScaleOut, []Node{planNode("arm-1", "arm64"), planNode("arm-2", "arm64"), planNode("x86-1", "amd64", isNew)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults, err := Faults(c.scenario, c.nodes, Extras{Registry: true, Devices: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range faults {
				in := planInput(c.nodes...)
				in.Scenario, in.Checks, in.Fault, in.MaxPairs = c.scenario, f.Checks, &f, 10
				in.Storage = []StorageClass{{Name: "rbd", Driver: RBD}}
				m, err := Plan(in)
				if err != nil {
					t.Fatal(err)
				}
				red, green := 0, 0
				for _, cell := range m.Cells {
					switch {
					case cell.Blocked != "":
					case f.red(cell):
						red++
					default:
						green++
					}
				}
				if (red > 0) != (f.Name != faultNone) || green == 0 {
					t.Errorf("%s at %s and %s: %d cells to turn red, %d that must not", f.Name, f.Node, f.Other, red, green)
				}
			}
		})
	}
}

// A fault is made only of what the run has.
func TestExtras(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want Extras
	}{
		"nothing":                           {Options{}, Extras{}},
		"a registry with a login":           {Options{Registry: &Registry{}}, Extras{Registry: true}},
		"a registry whose login nodes know": {Options{Registry: &Registry{NodesKnow: true}}, Extras{}},
		"devices":                           {Options{Storage: cephClasses}, Extras{Devices: true}},
		"volumes of which none is a device": {Options{Storage: cephClasses[1:]}, Extras{}},
	} {
		if got := c.o.extras(); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestFaults_Places(t *testing.T) {
	faults, err := Faults(NewDeployment, []Node{planNode("arm-1", "arm64", notReadyYet), planNode("arm-2", "arm64"), planNode("arm-3", "arm64"), planNode("x86-1", "amd64")}, Extras{Registry: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		if f.Node != "arm-2" || f.Other != "" && f.Other != "x86-1" {
			t.Errorf("%+v", f)
		}
	}
	for _, nodes := range [][]Node{nil, {planNode("arm-1", "arm64")}, {planNode("arm-1", "arm64"), planNode("x86-1", "amd64", noMachine)}, {planNode("arm-1", "arm64", notReadyYet), planNode("x86-1", "amd64")}} {
		if _, err := Faults(NewDeployment, nodes, Extras{Registry: true}); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "needs two Ready nodes whose hosts can be reached") {
			t.Errorf("%d nodes: %v", len(nodes), err)
		}
	}
}

func TestCompare(t *testing.T) {
	f := Fault{Name: faultByte, Node: "a"}
	planned := []Cell{{Check: "S8", kind: kindPodWrites, Dst: "a"}, {Check: "S8", kind: kindPodWrites, Dst: "b"}, {Check: "S8", kind: kindNever, Blocked: "no"}}
	document := func(verdicts ...report.Verdict) report.ConformanceRun {
		var d report.ConformanceRun
		for i, v := range verdicts {
			d.Cells = append(d.Cells, result(planned[i].Check, "x", "", planned[i].Dst, v, "why"))
		}
		return d
	}
	for _, c := range []struct {
		name          string
		a, b          report.Verdict
		ok            bool
		missed, wrong int
	}{
		{"exactly", report.Failing, report.Passed, true, 0, 0},
		{"nothing red", report.Passed, report.Passed, false, 1, 0},
		{"flaky is not red", report.Flaky, report.Passed, false, 1, 0},
		{"not tried is not red", report.Blocked, report.Passed, false, 1, 0},
		{"more red", report.Failing, report.Failing, false, 0, 1},
		{"another not tried", report.Failing, report.Blocked, false, 0, 1},
		{"the wrong one", report.Passed, report.Failing, false, 1, 1},
	} {
		s := compare(f, planned, document(c.a, c.b, report.Blocked), nil)
		if s.OK() != c.ok || len(s.Missed) != c.missed || len(s.Wrong) != c.wrong || s.Cells != 2 {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
	if s := compare(f, planned, document(), errors.New("a\nb")); s.OK() || s.Error != "a; b" {
		t.Errorf("with an error: %+v", s)
	}
	if s := compare(f, planned, document(), hint.With(errors.New("a"), "do b")); s.Hint != "do b" {
		t.Errorf("with a hint: %+v", s)
	}
	if s := compare(f, nil, document(), nil); s.OK() || s.Error == "" {
		t.Errorf("without cells: %+v", s)
	}
	// What it has to turn red could not be tried, which is no fault of the checks.
	apart := compare(f, []Cell{{Check: "S8", kind: kindPodWrites, Dst: "a", Blocked: "no way"}, planned[1]}, document(report.Blocked, report.Passed), nil)
	if apart.OK() || apart.Error != "none of the cells that it has to turn red could be tried: no way" {
		t.Errorf("%+v", apart)
	}
	none := Fault{Name: faultNone, Node: "a"}
	if s := compare(none, planned, document(report.Passed, report.Flaky, report.Blocked), nil); s.OK() || len(s.Wrong) != 1 {
		t.Errorf("without a fault, flaky: %+v", s)
	}
	if s := compare(Fault{Name: faultNone}, planned[1:2], report.ConformanceRun{Cells: document(report.Passed, report.Passed).Cells[1:]}, nil); !s.OK() {
		t.Errorf("no fault, no red: %+v", s)
	}
}

// Checks choose the faults that they have to see.
func TestSeenBy(t *testing.T) {
	all, err := Faults(NewDeployment, []Node{planNode("a", "arm64"), planNode("b", "amd64")}, Extras{Registry: true})
	if err != nil {
		t.Fatal(err)
	}
	for checks, want := range map[string]string{
		"":      "13 no-fault-all-green[N1 N2 S4 S5 S6 S7 S8]",
		"S7":    "4 no-fault-all-green[S7] wrong-pod-outside[S7] local-everywhere[S7] port-stays-open[S7]",
		"S5 N2": "3 no-fault-all-green[N2 S5] overlay-dropped[S4 S5] wrong-arch-image[N2]",
		"R":     "1 secret-for-all[R]",
		"D":     "a self-test makes no fault that D would see",
		"S77":   "S77",
	} {
		got, err := seenBy(all, NewDeployment, strings.Fields(checks))
		said := fmt.Sprint(len(got))
		for _, f := range got {
			said += fmt.Sprintf(" %s%v", f.Name, f.Checks)
		}
		if err != nil {
			said = err.Error()
		}
		if !strings.Contains(said, want) || err != nil && !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %s, want %s", checks, said, want)
		}
	}
}
