package cli

import (
	"bytes"
	"io"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestText(t *testing.T) {
	plans := planDocument{Plan: somePlan(), Changes: 4, Checks: report.Problems(someChecks())}
	checks := preflightDocument{Cluster: "lab", Totals: report.Total(someChecks()), Checks: someChecks()}
	stopped := provision.Result{Cluster: "lab", Checks: report.Problems(someChecks())}
	for name, write := range map[string]func(io.Writer) error{
		"plan.txt":           func(w io.Writer) error { return plans.text(w, true, false) },
		"plan-color.txt":     func(w io.Writer) error { return plans.text(w, true, true) },
		"plan-none.txt":      func(w io.Writer) error { return writePlan(w, settledPlan(), false) },
		"preflight.txt":      func(w io.Writer) error { return checks.text(w, false) },
		"up.txt":             func(w io.Writer) error { return writeUp(w, goodResult(), true, false) },
		"up-partial.txt":     func(w io.Writer) error { return writeUp(w, partialResult(), false, false) },
		"up-unchanged.txt":   func(w io.Writer) error { return writeUp(w, unchangedResult(), true, false) },
		"up-preflight.txt":   func(w io.Writer) error { return writeUp(w, stopped, false, false) },
		"destroy.txt":        func(w io.Writer) error { return writeDestroy(w, destroyedResult(), true, false) },
		"destroy-partly.txt": func(w io.Writer) error { return writeDestroy(w, partialResult(), false, false) },
		"status.txt":         func(w io.Writer) error { return writeStatus(w, someStatus(), false) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, name, b.String())
		})
	}
}

// TestStructure holds the names of fields that scripts rely on.
func TestStructure(t *testing.T) {
	for name, v := range map[string]any{
		"plan.json":      planDocument{Plan: somePlan(), Changes: 4, Checks: report.Problems(someChecks())},
		"preflight.json": preflightDocument{Cluster: "lab", Totals: report.Total(someChecks()), Checks: someChecks()},
		"up.json":        partialResult(),
		"status.yaml":    someStatus(),
	} {
		t.Run(name, func(t *testing.T) {
			format := report.JSON
			if name == "status.yaml" {
				format = report.YAML
			}
			var b bytes.Buffer
			if err := report.Encode(&b, format, v); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, name, b.String())
		})
	}
}

func TestWritePlan_TextFromHostsIsOneLine(t *testing.T) {
	var b bytes.Buffer
	p := plan.Plan{Cluster: "lab", Steps: []plan.Step{{ID: "a/os", Host: "a", Action: plan.Create, Reason: "one\n\x1b[2Jtwo"}}}
	if err := writePlan(&b, p, false); err != nil {
		t.Fatal(err)
	}
	contains(t, "the plan", b.String(), "one; two\n")
}

// A run that changes nothing asks no one, and shows no plan: its notes are told all the same, and what is left to do.
func TestWriteUp_NotesOfARunThatChangesNothing(t *testing.T) {
	var b bytes.Buffer
	r := unchangedResult()
	r.Plan.Notes, r.Notes = []string{"x86-1: marked as of cluster b"}, []string{"a kubelet asks for a certificate"}
	if err := writeUp(&b, r, true, false); err != nil {
		t.Fatal(err)
	}
	contains(t, "the end", b.String(), "nothing to do, 4 steps in place\n", "note: x86-1: marked as of cluster b\n", "note: a kubelet asks for a certificate\n")
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"/a/b-c_d.yaml": "/a/b-c_d.yaml",
		"/a b":          "'/a b'",
		"it's":          `'it'\''s'`,
		"":              "''",
		"~/x":           "'~/x'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}
