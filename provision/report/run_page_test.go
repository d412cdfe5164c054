package report

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func pageOf(t *testing.T, r ConformanceRun, read func(string) ([]byte, error)) string {
	t.Helper()
	var b bytes.Buffer
	if err := WritePage(&b, r, read); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWritePage_EscapesWhatComesFromElsewhere(t *testing.T) {
	const hostile = `<script>alert(1)</script>`
	r := mixedRun()
	r.Cluster, r.ID, r.Tool, r.Error = hostile, hostile, hostile, hostile
	r.Nodes[0].Name, r.Nodes[0].Arch, r.Nodes[0].Kernel, r.Nodes[0].OutOf = hostile, `" onload="alert(1)`, hostile, hostile
	for i := range r.Cells {
		c := &r.Cells[i]
		c.Name = hostile + "/" + c.Name
		c.Reason, c.Cause, c.Hint, c.Class, c.Nonce = hostile, hostile, hostile, hostile, `</dd></style><img src=x onerror=alert(1)>`
		c.Verdict = Verdicts()[i%4]
		c.Evidence = []string{`javascript:alert(1)`}
	}
	r.Checks[0].Title, r.Phases[0].Name = hostile, hostile
	page := pageOf(t, r, func(string) ([]byte, error) { return []byte("</pre>" + hostile + "\x1b[31m\x00"), nil })
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("%d scripts, want our own alone", n)
	}
	for _, bad := range []string{`onload="alert`, "<img", `href="javascript:`, "\x1b", "\x00"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if !strings.Contains(page, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the text itself is lost")
	}
}

func TestWritePage_NeedsNoNetwork(t *testing.T) {
	page := pageOf(t, mixedRun(), nil)
	if found := regexp.MustCompile(`(?i)https?:|\ssrc=|url\(|@import|<link|<iframe|<object|fetch\(|XMLHttp`).FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	if !strings.Contains(page, `http-equiv="Content-Security-Policy" content="default-src 'none';`) {
		t.Error("nothing keeps the page from the network")
	}
}

// TestWritePage_WithoutScript: what the filter hides is hidden by the script, and the filter itself shows only with it.
func TestWritePage_WithoutScript(t *testing.T) {
	page := pageOf(t, mixedRun(), nil)
	body := page[strings.Index(page, "<body>"):]
	hidden := regexp.MustCompile(`<(\w+)[^>]* hidden>`).FindAllString(body, -1)
	want := []string{`<form class="filter" hidden>`, `<p id="filtered" role="status" hidden>`, `<tbody data-view="amd64" hidden>`, `<tbody data-view="arm64" hidden>`}
	if fmt.Sprint(hidden) != fmt.Sprint(want) {
		t.Errorf("hidden is %q, want %q", hidden, want)
	}
}

func TestWritePage_SaysWhatItLeavesOut(t *testing.T) {
	r := ConformanceRun{Checks: []RunCheck{{"S5", "pods"}}}
	for i := range maxFailures + 50 {
		r.Cells = append(r.Cells, CellResult{Check: "S5", Name: fmt.Sprintf("tcp/%d", i), Verdict: Failing, Reason: "no answer"})
	}
	for i := range maxRows {
		r.Cells = append(r.Cells, CellResult{Check: "S5", Name: fmt.Sprintf("udp/%d", i), Verdict: Passed})
	}
	page := pageOf(t, r, nil)
	if n := strings.Count(page, "<article"); n != maxFailures {
		t.Errorf("%d failures in full, want %d", n, maxFailures)
	}
	if n := strings.Count(page, "data-cell"); n != maxRows {
		t.Errorf("%d rows, want %d", n, maxRows)
	}
	for _, text := range []string{"50 more did not pass.", "150 more cells are in report.json.", "and 145 more</a>"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
}

func TestWritePage_Evidence(t *testing.T) {
	one := func(path string) ConformanceRun {
		return ConformanceRun{Cells: []CellResult{{Check: "S5", Name: "tcp", Verdict: Failing, Evidence: []string{path}}}}
	}
	for body, want := range map[string]string{
		"two\nlines\n": "<pre tabindex=\"0\">two\nlines</pre>",
		"":             "the file is empty",
		"missing":      "cannot be read: no such file",
		"first" + strings.Repeat("x", 2*maxEvidence): "the beginning and the end of 33 kB; the file has it all",
	} {
		page := pageOf(t, one("evidence/a.txt"), func(path string) ([]byte, error) {
			if body == "missing" {
				return nil, errors.New("no such file")
			}
			return []byte(body), nil
		})
		if !strings.Contains(page, want) || !strings.Contains(page, `<a href="evidence/a.txt">`) {
			t.Errorf("evidence %.20q: the page lacks %q or the link", body, want)
		}
	}
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if page := pageOf(t, one("../../../etc/passwd"), d.readEvidence); strings.Contains(page, "root:") || !strings.Contains(page, "is outside the report directory") {
		t.Error("evidence from outside the report directory")
	}
}

// TestHeatmaps: a square is the worst of its cells and leads to the failure; a node without any pair is shown.
func TestHeatmaps(t *testing.T) {
	a, b := &Endpoint{Node: "a", Arch: "arm64"}, &Endpoint{Node: "b", Arch: "amd64"}
	r := ConformanceRun{
		Nodes: []RunNode{{Name: "b", Arch: "amd64"}, {Name: "a", Arch: "arm64"}, {Name: "z", Arch: "amd64", OutOf: "cordoned"}},
		Cells: []CellResult{
			{Check: "S5", Name: "tcp/64", Src: a, Dst: b, Verdict: Passed},
			{Check: "S5", Name: "tcp/1400", Src: a, Dst: b, Verdict: Failing},
			{Check: "S6", Name: "tcp/64", Src: b, Dst: a, Verdict: Passed},
			{Check: "S6", Name: "tcp/1400", Src: b, Dst: a, Verdict: Blocked},
			{Check: "S5", Name: "udp/64", Src: b, Dst: a, Verdict: Flaky},
			{Check: "S7", Name: "tcp/nodePort", Src: &Endpoint{Where: "operator"}, Dst: a, Verdict: Failing},
			{Check: "S8", Name: "hostpath", Dst: a, Verdict: Failing},
		},
	}
	var got strings.Builder
	for _, m := range newPage(r, nil).Maps {
		fmt.Fprintf(&got, "%s (%s):", m.Protocol, m.Checks)
		for _, row := range m.Rows {
			fmt.Fprintf(&got, " %s", row.Name)
			for _, s := range row.Squares {
				fmt.Fprintf(&got, "[%s%s]", s.Symbol, s.Link)
			}
		}
		got.WriteByte('\n')
	}
	want := `tcp (S5, S6): a[][✗#s5-tcp-1400-a-b][] b[–][][] z[][][]
udp (S5): a[][][] b[≈#s5-udp-64-b-a][][] z[][][]
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", &got, want)
	}
}

// TestHeatmaps_Sample: old nodes that a sample left out are told of, and stand in no map: a thousand of them would be a million squares.
func TestHeatmaps_Sample(t *testing.T) {
	ends := map[string]*Endpoint{"new": {Node: "new", Arch: "arm64"}, "old": {Node: "old", Arch: "amd64"}}
	r := ConformanceRun{
		Scenario: "scale-out", Coverage: Coverage{Pairs: 2, Of: 6, Sampled: true, Seed: 3},
		Nodes: []RunNode{{Name: "new", Arch: "arm64", New: true}, {Name: "alone", Arch: "arm64", New: true}, {Name: "old", Arch: "amd64"}, {Name: "not-drawn", Arch: "amd64"}, {Name: "away", Arch: "amd64", OutOf: "not Ready"}},
		Cells: []CellResult{
			{Check: "S5", Name: "tcp/64", Src: ends["new"], Dst: ends["old"], Verdict: Passed},
			{Check: "S5", Name: "tcp/64", Src: ends["old"], Dst: ends["new"], Verdict: Passed},
		},
	}
	var rows []string
	for _, row := range newPage(r, nil).Maps[0].Rows {
		rows = append(rows, row.Name)
	}
	if got := strings.Join(rows, " "); got != "new alone old away" {
		t.Errorf("rows: %s", got)
	}
	const told = "2 of 6 ordered pairs of nodes, a sample (seed 3); old nodes that are in none of them: 1<"
	if page := pageOf(t, r, nil); !strings.Contains(page, told) {
		t.Errorf("the page lacks %q", told)
	}
	r.Coverage = Coverage{Pairs: 6, Of: 6}
	if page := pageOf(t, r, nil); len(newPage(r, nil).Maps[0].Rows) != 5 || strings.Contains(page, "in none of them:") {
		t.Error("without a sample a node is missing, or said to be")
	}
}

func TestWritePage_LargeClusterStaysQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	const nodes = 128
	var r ConformanceRun
	for i := range nodes {
		r.Nodes = append(r.Nodes, RunNode{Name: fmt.Sprintf("node-%d", i), Arch: []string{"amd64", "arm64"}[i%2]})
	}
	for _, from := range r.Nodes {
		for _, to := range r.Nodes {
			r.Cells = append(r.Cells, CellResult{Check: "S5", Name: "tcp", Verdict: Passed, Src: &Endpoint{Node: from.Name, Arch: from.Arch}, Dst: &Endpoint{Node: to.Name, Arch: to.Arch}})
		}
	}
	begin := time.Now()
	page := pageOf(t, r, nil)
	if n := len(page); n > 8<<20 {
		t.Errorf("the page has %d bytes", n)
	}
	t.Logf("%d cells: %d bytes in %v", len(r.Cells), len(page), time.Since(begin))
}
