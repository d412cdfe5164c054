package report

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteRun writes a run for people: the verdict, a row per check, how long rules were waited for, and every cell that did not pass.
func WriteRun(w io.Writer, r ConformanceRun, color bool) error {
	var b bytes.Buffer
	v := r.Verdict()
	fmt.Fprintf(&b, "%s  %s\n", Paint(strings.ToUpper(v.word()), v.Style(), color), r.Headline())
	if r.Hint != "" {
		fmt.Fprintf(&b, "hint: %s\n", OneLine(r.Hint))
	}
	fmt.Fprintf(&b, "cluster %s, %s, run %s\n", OneLine(r.Cluster), OneLine(r.Scenario), OneLine(r.ID))
	fmt.Fprintf(&b, "%s, %s, hybridctl %s\n", r.when(), r.Coverage, OneLine(r.Tool))
	parts := []func(io.Writer, bool) error{r.checkTable().Write, r.waitedTable().Write, r.problemTable().Write, r.untriedTable().Write, r.leftOutTable().Write}
	for _, write := range parts {
		var part bytes.Buffer
		if err := write(&part, color); err != nil {
			return err
		}
		if part.Len() > 0 {
			b.WriteString("\n" + part.String())
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// word is the verdict in a sentence.
func (v Verdict) word() string {
	switch v {
	case Passed:
		return "passed"
	case Failing:
		return "failed"
	default:
		return string(v)
	}
}

// when says when the run was and how long it took.
func (r ConformanceRun) when() string {
	if r.Started.IsZero() {
		return "never started"
	}
	text := r.Started.UTC().Format("2 Jan 2006 15:04:05 UTC")
	if r.Finished.After(r.Started) {
		text += ", " + took(r.Finished.Sub(r.Started).Round(time.Millisecond))
	}
	return text
}

func (r ConformanceRun) checkTable() *Table {
	t := NewTable("CHECK", "TITLE", "VERDICT", "PASS", "FLAKY", "FAIL", "BLOCKED", "TIME")
	for _, check := range r.AllChecks() {
		n, v := CountVerdicts(r.CheckCells(check.ID)), r.CheckVerdict(check.ID)
		t.Row(C(check.ID), C(check.Title), Cell{string(v), v.Style()},
			number(n.Pass), number(n.Flaky), number(n.Fail), number(n.Blocked), C(took(r.CheckDuration(check.ID))))
	}
	return t
}

// waitedTable has the checks with cells whose attempts counted only after the rules of a Service were there.
func (r ConformanceRun) waitedTable() *Table {
	t := NewTable("CHECK", "WAITED FOR A SERVICE'S RULES", "THE LONGEST IN")
	for _, check := range r.AllChecks() {
		if c, n := longest(r.CheckCells(check.ID)); n > 0 {
			t.Row(C(check.ID), Cell{fmt.Sprintf("%s, up to %s", Count(n, "cell"), took(c.waited())), Notice}, C(c.ID()))
		}
	}
	return t
}

func number(n int) Cell {
	if n == 0 {
		return Cell{"0", Faint}
	}
	return C(strconv.Itoa(n))
}

// problemTable has the cells that failed or were flaky.
func (r ConformanceRun) problemTable() *Table {
	t := NewTable("VERDICT", "CELL")
	for _, v := range []Verdict{Failing, Flaky} {
		for _, c := range r.Cells {
			if c.Verdict != v {
				continue
			}
			t.Row(Cell{string(v), v.Style()}, C(c.ID()))
			t.Note(c.Reason)
			t.Note(c.attempts())
			note(t, "likely cause: ", c.Cause)
			note(t, "hint: ", c.Hint)
			note(t, "evidence: ", strings.Join(c.Evidence, ", "))
		}
	}
	return t
}

func note(t *Table, label, text string) {
	if text != "" {
		t.Note(label + text)
	}
}

// attempts says how many attempts were right.
func (c CellResult) attempts() string {
	if c.Planned == 0 {
		return ""
	}
	first := "the first one not"
	if c.FirstAttemptOK {
		first = "the first one too"
	}
	before := ""
	if d := c.waited(); d > 0 {
		before = fmt.Sprintf("; before them the Service's rules took %s", took(d))
	}
	if c.OK == 0 {
		return fmt.Sprintf("none of %s was right", Count(c.Planned, "attempt")) + before
	}
	return fmt.Sprintf("%d of %s right, %s", c.OK, Count(c.Planned, "attempt"), first) + before
}

func (r ConformanceRun) untriedTable() *Table {
	t := NewTable("NOT TRIED", "REASON")
	for _, u := range byReason(r.Cells) {
		t.Row(Cell{Count(len(u.Cells), "cell"), Blocked.Style()}, C(u.Reason))
		t.Note(u.tally())
		note(t, "hint: ", u.Hint)
	}
	return t
}

// leftOutTable has the nodes on which nothing was proven.
func (r ConformanceRun) leftOutTable() *Table {
	t := NewTable("NODE LEFT OUT", "REASON")
	for _, n := range r.Nodes {
		if n.OutOf != "" {
			t.Row(Cell{n.Name, Notice}, C(n.OutOf))
		}
	}
	return t
}
