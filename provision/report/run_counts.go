package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// VerdictCounts counts cells by verdict.
type VerdictCounts struct {
	Pass    int `json:"pass"`
	Flaky   int `json:"flaky"`
	Fail    int `json:"fail"`
	Blocked int `json:"blocked"`
}

// CountVerdicts counts cells by verdict.
func CountVerdicts(cells []CellResult) VerdictCounts {
	var n VerdictCounts
	for _, c := range cells {
		switch c.Verdict {
		case Passed:
			n.Pass++
		case Flaky:
			n.Flaky++
		case Failing:
			n.Fail++
		default:
			n.Blocked++
		}
	}
	return n
}

// All is how many cells were counted.
func (n VerdictCounts) All() int { return n.Pass + n.Flaky + n.Fail + n.Blocked }

// String says the counts that are not zero, the gravest first: "1 failed, 8 blocked, 50 passed".
func (n VerdictCounts) String() string {
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{n.Fail, "failed"}, {n.Flaky, "flaky"}, {n.Blocked, "blocked"}, {n.Pass, "passed"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	if len(parts) == 0 {
		return "no cells"
	}
	return strings.Join(parts, ", ")
}

// CheckCells returns the cells of one check, in the order of the run.
func (r ConformanceRun) CheckCells(id string) []CellResult {
	var cells []CellResult
	for _, c := range r.Cells {
		if c.Check == id {
			cells = append(cells, c)
		}
	}
	return cells
}

// AllChecks returns the checks of the scenario, and those that only cells name: no cell is left out of a report.
func (r ConformanceRun) AllChecks() []RunCheck {
	checks := slices.Clone(r.Checks)
	for _, c := range r.Cells {
		if !slices.ContainsFunc(checks, func(have RunCheck) bool { return have.ID == c.Check }) {
			checks = append(checks, RunCheck{ID: c.Check})
		}
	}
	return checks
}

// CheckDuration is the time from the start of a check's first cell to the end of its last; cells run side by side. When no cell has a
// start, it is the sum of their durations.
func (r ConformanceRun) CheckDuration(id string) time.Duration {
	var first, last time.Time
	var sum time.Duration
	for _, c := range r.CheckCells(id) {
		sum += c.Duration
		if c.Started.IsZero() {
			continue
		}
		if first.IsZero() || c.Started.Before(first) {
			first = c.Started
		}
		if end := c.Started.Add(c.Duration); end.After(last) {
			last = end
		}
	}
	if first.IsZero() {
		return sum
	}
	return last.Sub(first)
}

// waited is how long the rules of the cell's Service took, for which attempts did not count.
func (c CellResult) waited() time.Duration {
	return time.Duration(c.RulesLagMillis * float64(time.Millisecond))
}

// longest is the cell of these that was waited for the longest, and how many were.
func longest(cells []CellResult) (c CellResult, n int) {
	for _, x := range cells {
		if x.waited() <= 0 {
			continue
		}
		if n++; x.waited() > c.waited() {
			c = x
		}
	}
	return c, n
}

// Headline says in one line how the run ended.
func (r ConformanceRun) Headline() string {
	n := CountVerdicts(r.Cells)
	switch {
	case r.Error != "":
		return "The run ended early: " + OneLine(r.Error)
	case n.All() == 0:
		return "No cell was planned, so nothing is proven"
	case n.Fail+n.Flaky+n.Blocked == 0:
		return fmt.Sprintf("All %s passed", Count(n.Pass, "cell"))
	}
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{{n.Fail, "%d failed"}, {n.Flaky, "%d " + was(n.Flaky) + " flaky"}, {n.Blocked, "%d could not be tried"}, {n.Pass, "%d passed"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf(p.text, p.n))
		}
	}
	last := len(parts) - 1
	if last > 0 {
		parts = []string{strings.Join(parts[:last], ", "), parts[last]}
	}
	return fmt.Sprintf("Of %s %s", Count(n.All(), "cell"), strings.Join(parts, " and "))
}

func was(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// String says how much of the node pairs was tried.
func (c Coverage) String() string {
	switch {
	case c.Of == 0:
		return "no pairs of nodes"
	case c.Pairs < c.Of:
		return fmt.Sprintf("%d of %d ordered pairs of nodes, a sample (seed %d)", c.Pairs, c.Of, c.Seed)
	default:
		return fmt.Sprintf("all %d ordered pairs of nodes", c.Of)
	}
}

// gravity orders verdicts: the higher, the worse.
func gravity(v Verdict) int {
	if i := slices.Index(Verdicts(), v); i >= 0 {
		return len(Verdicts()) - i
	}
	return 0
}

// untried are the blocked cells of one reason.
type untried struct {
	Reason string
	Hint   string
	Cells  []CellResult
}

// byReason groups the blocked cells by reason and hint, in the order in which they come.
func byReason(cells []CellResult) []untried {
	var groups []untried
	for _, c := range cells {
		if c.Verdict != Blocked {
			continue
		}
		reason := c.Reason
		if reason == "" {
			reason = "no reason was given"
		}
		i := slices.IndexFunc(groups, func(g untried) bool { return g.Reason == reason && g.Hint == c.Hint })
		if i < 0 {
			groups = append(groups, untried{Reason: reason, Hint: c.Hint})
			i = len(groups) - 1
		}
		groups[i].Cells = append(groups[i].Cells, c)
	}
	return groups
}

// tally says how many of the group's cells each check has: "S9 4, R 2".
func (u untried) tally() string {
	var ids []string
	n := map[string]int{}
	for _, c := range u.Cells {
		if n[c.Check] == 0 {
			ids = append(ids, c.Check)
		}
		n[c.Check]++
	}
	for i, id := range ids {
		ids[i] = fmt.Sprintf("%s %d", id, n[id])
	}
	return strings.Join(ids, ", ")
}

// took writes a duration for people, with the digits that matter.
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return "–"
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d.Milliseconds(), 1))
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	default:
		return Elapsed(d)
	}
}

// Lines makes text of several lines that came from elsewhere safe to show: terminal codes go, other control characters but tabs
// become spaces.
func Lines(s string) string {
	lines := strings.Split(strings.ReplaceAll(terminalCode.ReplaceAllString(s, ""), "\r\n", "\n"), "\n")
	for i, line := range lines {
		parts := strings.Split(line, "\t")
		for j := range parts {
			parts[j] = blankControls(parts[j])
		}
		lines[i] = strings.Join(parts, "\t")
	}
	return strings.Join(lines, "\n")
}
