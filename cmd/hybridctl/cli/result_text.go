package cli

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/report"
)

// writeUp writes the end of up for people; done says that nothing is left to do.
func writeUp(w io.Writer, r provision.Result, done bool, color bool) error {
	var b bytes.Buffer
	_ = writeProblems(&b, r.Checks, false, color) // a buffer takes everything
	if len(r.Checks) > 0 && len(r.Hosts) > 0 {
		b.WriteByte('\n')
	}
	if done && allUnchanged(r) {
		fmt.Fprintf(&b, "cluster %s: nothing to do, %s in place\n", r.Cluster, report.Count(len(r.Changes), "step"))
		r.Notes = slices.Concat(r.Plan.Notes, r.Notes) // no one was asked, and shown the plan
	} else {
		writeHosts(&b, r, color)
	}
	if r.Conformance != nil {
		b.WriteByte('\n')
		_ = report.WriteRun(&b, *r.Conformance, color)
		fmt.Fprintf(&b, "\nThe report is %s\n", filepath.Join(r.ReportDir, "report.html"))
	}
	if r.NotProven != "" {
		fmt.Fprintf(&b, "\nnote: %s\n", r.NotProven)
	}
	if done && r.Kubeconfig != "" {
		path := shellWord(r.Kubeconfig)
		fmt.Fprintf(&b, "\nThe admin kubeconfig is %s\nnext:\n  export KUBECONFIG=%s\n  kubectl get nodes -o wide\n", r.Kubeconfig, path)
	}
	writeNotes(&b, r.Notes)
	_, err := w.Write(b.Bytes())
	return err
}

func writeNotes(b *bytes.Buffer, notes []string) {
	for _, n := range notes {
		fmt.Fprintf(b, "note: %s\n", report.OneLine(n))
	}
}

// writeDestroy writes the end of destroy for people; done says that nothing is left of the cluster.
func writeDestroy(w io.Writer, r provision.Result, done bool, color bool) error {
	var b bytes.Buffer
	writeHosts(&b, r, color)
	if done {
		fmt.Fprintf(&b, "\ncluster %s is gone from %s\n", r.Cluster, report.Count(len(r.Hosts), "host"))
	}
	if len(r.Plan.Steps) == 0 {
		writeNotes(&b, r.Plan.Notes) // no one was asked, and shown the plan
	}
	_, err := w.Write(b.Bytes())
	return err
}

func allUnchanged(r provision.Result) bool {
	return !slices.ContainsFunc(r.Changes, func(c report.Change) bool { return c.Action != report.Unchanged })
}

// writeHosts writes a row for each host and for the cluster's own steps, with what failed and how to go on beneath.
func writeHosts(b *bytes.Buffer, r provision.Result, color bool) {
	steps := map[string][]report.Action{}
	for _, c := range r.Changes {
		steps[c.Host] = append(steps[c.Host], c.Action)
	}
	t := report.NewTable("HOST", "ARCH", "RESULT", "STEPS")
	for _, h := range failuresLast(r.Hosts) {
		t.Row(report.C(h.Name), report.C(h.Arch), actionCell(h.Action), report.C(report.Tally(steps[h.Name])))
		if h.Error != "" {
			t.Note("cause: " + h.Error)
		}
		if h.Hint != "" {
			t.Note("hint:  " + h.Hint)
		}
		if h.Next != "" {
			t.Note("next:  " + h.Next)
		}
	}
	if len(steps[""]) > 0 {
		t.Row(report.C(report.HostName("")), report.C(""), actionCell(gravest(steps[""])), report.C(report.Tally(steps[""])))
	}
	for _, c := range r.Changes {
		if c.Host == "" && c.Error != "" {
			t.Note(fmt.Sprintf("cause: %s: %s", strings.TrimPrefix(c.Step, "cluster/"), c.Error))
			if c.Hint != "" {
				t.Note("hint:  " + c.Hint)
			}
		}
	}
	_ = t.Write(b, color) // a buffer takes everything
}

// failuresLast puts the hosts that the user has to do something about where the eye is: at the end.
func failuresLast(hosts []provision.HostResult) []provision.HostResult {
	var good, bad []provision.HostResult
	for _, h := range hosts {
		if h.Action == report.Failed || h.Action == report.Skipped {
			bad = append(bad, h)
		} else {
			good = append(good, h)
		}
	}
	return append(good, bad...)
}

func actionCell(a report.Action) report.Cell {
	return report.Cell{Text: string(a), Style: a.Style()}
}

func gravest(actions []report.Action) report.Action {
	for _, a := range report.Actions() {
		if slices.Contains(actions, a) {
			return a
		}
	}
	return report.Unchanged
}

// shellWord quotes a path for a shell when it has to be.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
