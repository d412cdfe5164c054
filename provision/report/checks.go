package report

import (
	"fmt"
	"io"
	"strings"
)

// Totals counts checks by outcome.
type Totals struct {
	Pass    int `json:"pass"`
	Warn    int `json:"warn"`
	Fail    int `json:"fail"`
	Ignored int `json:"ignored"`
	Unknown int `json:"unknown,omitempty"`
}

// Total counts checks by outcome.
func Total(checks []Check) Totals {
	var t Totals
	for _, c := range checks {
		switch c.Status {
		case Pass:
			t.Pass++
		case Warn:
			t.Warn++
		case Fail:
			t.Fail++
		case Ignored:
			t.Ignored++
		case Unknown:
			t.Unknown++
		}
	}
	return t
}

// String says the counts that are not zero: "12 passed, 1 warning".
func (t Totals) String() string {
	var parts []string
	if t.Pass > 0 {
		parts = append(parts, fmt.Sprintf("%d passed", t.Pass))
	}
	if t.Warn > 0 {
		parts = append(parts, Count(t.Warn, "warning"))
	}
	if t.Fail > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", t.Fail))
	}
	if t.Ignored > 0 {
		parts = append(parts, fmt.Sprintf("%d failed and ignored", t.Ignored))
	}
	if t.Unknown > 0 {
		parts = append(parts, fmt.Sprintf("%d not tried", t.Unknown))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// Problems returns the checks that were tried and did not pass, in the order given.
func Problems(checks []Check) []Check {
	var out []Check
	for _, c := range checks {
		if c.Status != Pass && c.Status != Unknown {
			out = append(out, c)
		}
	}
	return out
}

// WriteChecks writes checks as a table, each hint beneath its check.
func WriteChecks(w io.Writer, checks []Check, color bool) error {
	t := NewTable("HOST", "CHECK", "STATUS", "MESSAGE")
	for _, c := range checks {
		t.Row(C(HostName(c.Host)), C(c.Name), Cell{string(c.Status), c.Status.Style()}, C(c.Message))
		if c.Hint != "" && c.Status != Pass {
			t.Note("hint: " + c.Hint)
		}
	}
	return t.Write(w, color)
}

// HostName is what stands where a host's name stands: "cluster" for what belongs to no host.
func HostName(host string) string {
	if host == "" {
		return "cluster"
	}
	return host
}
