package cli

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/report"
)

// reports writes the reports of two runs: in "old" a cell fails, in "new" it passes on another kernel.
func reports(t *testing.T) *run {
	t.Helper()
	r := newRun(t)
	conformance := report.ConformanceRun{
		ID: "c7f3a91e", Cluster: "lab", Scenario: "scale-out", Tool: "v0.9.0",
		Started: time.Date(2026, 7, 2, 14, 3, 20, 0, time.UTC), Finished: time.Date(2026, 7, 2, 14, 6, 32, 0, time.UTC),
		Nodes:  []report.RunNode{{Name: "arm-1", Arch: "arm64", Role: "worker", Kernel: "6.12.34", PageKiB: 16, Address: "192.0.2.21"}},
		Checks: []report.RunCheck{{ID: "S3", Title: "containers of one pod"}},
		Cells: []report.CellResult{{
			Check: "S3", Name: "tcp/loopback", Class: "arm64", Dst: &report.Endpoint{Node: "arm-1", Arch: "arm64"},
			Verdict: report.Failing, Reason: "connection refused", Hint: "start the server",
		}},
	}
	write := func(dir string) {
		d, err := report.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Write(conformance); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	conformance.ID, conformance.Nodes[0].Kernel, conformance.Cells[0].Verdict, conformance.Cells[0].Reason = "d80b2c44", "6.12.38", report.Passed, ""
	write("new")
	return r
}

func TestReport_Show(t *testing.T) {
	r := reports(t)
	r.want("report show old", 0) // the run failed, showing it did not
	contains(t, "stdout", r.stdout.String(), "FAILED  Of 1 cell 1 failed\n", "S3     containers of one pod  fail", "hint: start the server")
	r.want("report show old -o json", 0)
	var doc struct {
		Verdict string
		report.ConformanceRun
	}
	if err := json.Unmarshal(r.stdout.Bytes(), &doc); err != nil || doc.Verdict != "fail" || doc.Cells[0].Reason != "connection refused" {
		t.Errorf("%+v, %v", doc, err)
	}
	r.want("report show new -o yaml", 0)
	contains(t, "yaml", r.stdout.String(), "verdict: pass\n", "version: hybridctl/conformance/v1\n")
}

func TestReport_Diff(t *testing.T) {
	r := reports(t)
	r.want("report diff old new", 0)
	contains(t, "stdout", r.stdout.String(), "fail → pass  S3/tcp/loopback: arm-1 (arm64)", "arm-1  kernel  6.12.34  6.12.38", "0 cells worse, 1 better")
	r.want("report diff new old -o json", 0)
	var d report.RunDiff
	if err := json.Unmarshal(r.stdout.Bytes(), &d); err != nil || len(d.Worse) != 1 || len(d.Better) != 0 || d.NodesChanged[0].Fact != "kernel" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestReport_WhatCannotBeReadIsAUsageError(t *testing.T) {
	r := reports(t)
	for line, want := range map[string]string{
		"report show":             "error: hybridctl report show wants DIR, but the number of arguments is 0",
		"report show old new":     "but the number of arguments is 2",
		"report diff old":         "error: hybridctl report diff wants BEFORE and AFTER, but the number of arguments is 1",
		"report show none":        "error: there is no directory none",
		"report show bundle":      "error: bundle holds no report.json, so it is not the directory of a report",
		"report diff old none":    "error: there is no directory none",
		"report show old/x":       "error: there is no directory old/x",
		"report":                  "error: hybridctl report what?",
		"report shw old":          "did you mean show?",
		"report show -o xml old":  "must be text, json or yaml",
		"report show report.json": "error: there is no directory report.json",
	} {
		r.want(line, 2)
		contains(t, line, r.stderr.String(), want)
	}
	r.want("report --help", 0)
	contains(t, "help", r.stdout.String(), "exit code 0", "cannot is 2")
}
