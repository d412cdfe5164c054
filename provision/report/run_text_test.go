package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/golden"
)

func TestWriteRun(t *testing.T) {
	left := abortedRun()
	left.Nodes[1].OutOf = "cordoned"
	for name, test := range map[string]struct {
		run   ConformanceRun
		color bool
	}{
		"run.txt":         {mixedRun(), false},
		"run-color.txt":   {mixedRun(), true},
		"run-aborted.txt": {left, false},
		"run-empty.txt":   {ConformanceRun{ID: "e", Cluster: "lab", Scenario: "new-deployment", Tool: "devel"}, false},
	} {
		var b bytes.Buffer
		if err := WriteRun(&b, test.run, test.color); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name, b.String())
	}
}

func TestConformanceRun_NoCellIsLost(t *testing.T) {
	r := ConformanceRun{Checks: []RunCheck{{"S5", "pods"}}, Cells: []CellResult{{Check: "X", Name: "tcp", Verdict: Failing}}}
	var text, junit, page bytes.Buffer
	if err := WriteRun(&text, r, false); err != nil {
		t.Fatal(err)
	}
	if err := WriteJUnit(&junit, r); err != nil {
		t.Fatal(err)
	}
	if err := WritePage(&page, r, nil); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"text": text.String(), "JUnit": junit.String(), "page": page.String()} {
		if !strings.Contains(got, "X/tcp") {
			t.Errorf("%s does not show a cell of a check that the scenario does not list:\n%s", name, got)
		}
	}
}

// What can be done about an error stands beside it in every form.
func TestConformanceRun_TheHintStandsBesideTheError(t *testing.T) {
	var r ConformanceRun
	if err := json.Unmarshal([]byte(`{"error": "leftovers", "hint": "have them\nremoved"}`), &r); err != nil {
		t.Fatal(err)
	}
	var text, junit, page, diff bytes.Buffer
	document, err := json.Marshal(r)
	summary, serr := json.Marshal(r.Summary())
	for _, err := range []error{err, serr, WriteRun(&text, r, false), WriteJUnit(&junit, r), WritePage(&page, r, nil), WriteRunDiff(&diff, DiffRuns(r, r), false)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, form := range []struct{ name, got, want string }{
		{"text", text.String(), "leftovers\nhint: have them; removed\n"}, {"JUnit", junit.String(), "hint: have them"}, {"page", page.String(), "have them"},
		{"diff", diff.String(), "hint: have them"}, {"JSON", string(document), `"hint":"have them\nremoved"`}, {"summary", string(summary), `"hint":"have them\nremoved"`},
	} {
		if !strings.Contains(form.got, form.want) {
			t.Errorf("%s does not show it:\n%s", form.name, form.got)
		}
	}
}

// A cell that passed may have been waited for: who reads any of the three learns for how long.
func TestConformanceRun_WhatWasWaitedForIsShown(t *testing.T) {
	r := ConformanceRun{Checks: []RunCheck{{"S6", "service"}}, Cells: []CellResult{
		{Check: "S6", Name: "tcp/64/clusterIP", Verdict: Passed, Planned: 5, OK: 5, FirstAttemptOK: true, RulesLagMillis: 42300}}}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"text":  func(b *bytes.Buffer) error { return WriteRun(b, r, false) },
		"JUnit": func(b *bytes.Buffer) error { return WriteJUnit(b, r) },
		"page":  func(b *bytes.Buffer) error { return WritePage(b, r, nil) },
	} {
		for wait, shown := range map[float64]bool{42300: true, 0: false} {
			r.Cells[0].RulesLagMillis = wait
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), "42 s") != shown {
				t.Errorf("%s, after %v ms:\n%s", name, wait, b.String())
			}
		}
	}
}

func TestCheckDuration(t *testing.T) {
	at := func(seconds, lasts int) CellResult {
		return CellResult{Check: "S5", Started: start.Add(time.Duration(seconds) * time.Second), Duration: time.Duration(lasts) * time.Second}
	}
	sideBySide := ConformanceRun{Cells: []CellResult{at(10, 5), at(0, 8), {Check: "S5", Verdict: Blocked}, {Check: "S6", Duration: time.Hour}}}
	if got := sideBySide.CheckDuration("S5"); got != 15*time.Second {
		t.Errorf("side by side: %v, want 15s", got)
	}
	if got := (ConformanceRun{Cells: []CellResult{{Check: "S5", Duration: 2}, {Check: "S5", Duration: 3}}}).CheckDuration("S5"); got != 5 {
		t.Errorf("without starts: %v, want 5ns", got)
	}
}

func TestTook(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "–", time.Microsecond: "1 ms", 240 * time.Millisecond: "240 ms", 1250 * time.Millisecond: "1.2 s", 42 * time.Second: "42 s", 192 * time.Second: "3m12s",
	} {
		if got := took(d); got != want {
			t.Errorf("took(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestLines(t *testing.T) {
	if got, want := Lines("a\x1b[31m\tb\x1b[0m\r\nbell\a\x00\xff\n"), "a\tb\nbell   \n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
