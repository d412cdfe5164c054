package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
)

//go:embed page
var pageFiles embed.FS

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"took": took, "millis": millis,
}).ParseFS(pageFiles, "page/*"))

// How much a page shows. What it leaves out it says, and report.json has it.
const (
	maxGist     = 5        // failures named beside the verdict
	maxFailures = 100      // cells that did not pass, in full
	maxRows     = 500      // rows per list of cells
	maxEvidence = 16 << 10 // bytes of a file of evidence
	maxInlined  = 2 << 20  // bytes of all evidence together
)

// WritePage writes a run as one HTML document that needs nothing else: no network, no script to be read. The evidence is what
// read returns for its paths; nil leaves it at the names.
func WritePage(w io.Writer, r ConformanceRun, read func(path string) ([]byte, error)) error {
	return pageTemplate.Execute(w, newPage(r, read))
}

// page is what the template shows. Its parts stand in the order of the page.
type page struct {
	Run      ConformanceRun
	Verdict  verdictText
	Headline string
	When     string
	Total    []count
	Gist     []failure // the first of Failures
	Beyond   int       // failures that Gist leaves out
	Archs    []string
	Views    []view // the first is of all architectures
	Maps     []heatmap
	NotDrawn int // old nodes that the maps leave out, as the sample did
	Failures []failure
	Unshown  int // failures that are not shown in full
	Untried  []untriedGroup
	Nodes    []RunNode
	Times    []bar
	Phases   []bar
	Lists    []cellList
}

// verdictText is a verdict as it is written: never by colour alone.
type verdictText struct {
	Class  string // in the style sheet: "pass", "fail" …
	Symbol string
	Word   string
}

// text writes a verdict for a page.
func (v Verdict) text() verdictText {
	switch v {
	case Passed:
		return verdictText{"pass", "✓", "passed"}
	case Failing:
		return verdictText{"fail", "✗", "failed"}
	case Flaky:
		return verdictText{"flaky", "≈", "flaky"}
	default:
		return verdictText{"blocked", "–", "blocked"}
	}
}

// count is how many cells have a verdict.
type count struct {
	verdictText
	N int
}

// counts lists all verdicts, also those that do not occur.
func (n VerdictCounts) counts() []count {
	var list []count
	for _, v := range []struct {
		Verdict
		n int
	}{{Passed, n.Pass}, {Flaky, n.Flaky}, {Failing, n.Fail}, {Blocked, n.Blocked}} {
		list = append(list, count{v.text(), v.n})
	}
	return list
}

// view is the scenario as far as it touches one architecture; all of it when Arch is empty.
type view struct {
	Arch   string
	Checks []checkRow
}

type checkRow struct {
	RunCheck
	Verdict verdictText
	Counts  []count
	Took    time.Duration
}

type untriedGroup struct {
	untried
	Tally string
	Archs string
	Names []string
	More  int
}

// bar is a duration beside others.
type bar struct {
	ID, Name string
	Took     time.Duration
	Share    float64 // of the longest one, in percent
}

// cellList has the cells of one check.
type cellList struct {
	RunCheck
	Verdict verdictText
	Summary string
	Rows    []cellRow
	More    int
}

type cellRow struct {
	CellResult
	Verdict  verdictText
	From, To string
	Archs    string
	Link     string
	Waited   time.Duration // for the rules of a Service
}

func newPage(r ConformanceRun, read func(string) ([]byte, error)) page {
	b := pageBuilder{run: r, read: read, archOf: map[string]string{}, anchors: map[string]bool{}, linkOf: map[int]string{}}
	for _, n := range r.Nodes {
		b.archOf[n.Name] = n.Arch
	}
	p := page{
		Run: r, Verdict: r.Verdict().text(), Headline: r.Headline(), When: r.when(),
		Total: CountVerdicts(r.Cells).counts(), Archs: b.archs(), Nodes: r.Nodes,
	}
	p.Failures, p.Unshown = b.failures()
	p.Gist = p.Failures[:min(len(p.Failures), maxGist)]
	p.Beyond = len(p.Failures) - len(p.Gist) + p.Unshown
	p.Views = append(p.Views, b.view(""))
	for _, arch := range p.Archs {
		p.Views = append(p.Views, b.view(arch))
	}
	p.Maps, p.NotDrawn = b.heatmaps()
	p.Untried = b.untried()
	p.Times, p.Phases = b.times()
	p.Lists = b.lists()
	return p
}

// pageBuilder has what the parts of a page share.
type pageBuilder struct {
	run     ConformanceRun
	read    func(string) ([]byte, error)
	archOf  map[string]string // of the nodes
	anchors map[string]bool   // those that are taken
	linkOf  map[int]string    // cells by index: the anchor of the failure
	inlined int               // bytes of evidence so far
}

// archs lists the architectures of the nodes.
func (b *pageBuilder) archs() []string {
	var archs []string
	for _, n := range b.run.Nodes {
		if n.Arch != "" && !slices.Contains(archs, n.Arch) {
			archs = append(archs, n.Arch)
		}
	}
	slices.Sort(archs)
	return archs
}

// touches lists the architectures a cell's ends have; none for a cell of the whole cluster, which belongs to all of them.
func (b *pageBuilder) touches(c CellResult) []string {
	var archs []string
	for _, end := range []*Endpoint{c.Src, c.Dst} {
		if end == nil {
			continue
		}
		arch := orElse(end.Arch, b.archOf[end.Node])
		if arch != "" && !slices.Contains(archs, arch) {
			archs = append(archs, arch)
		}
	}
	return archs
}

func (b *pageBuilder) view(arch string) view {
	part := b.run
	if arch != "" {
		part.Cells = nil
		for _, c := range b.run.Cells {
			if archs := b.touches(c); len(archs) == 0 || slices.Contains(archs, arch) {
				part.Cells = append(part.Cells, c)
			}
		}
	}
	v := view{Arch: arch}
	for _, check := range b.run.AllChecks() {
		v.Checks = append(v.Checks, checkRow{
			check, part.CheckVerdict(check.ID).text(), CountVerdicts(part.CheckCells(check.ID)).counts(), part.CheckDuration(check.ID),
		})
	}
	return v
}

func (b *pageBuilder) untried() []untriedGroup {
	const named = 50
	var groups []untriedGroup
	for _, u := range byReason(b.run.Cells) {
		g := untriedGroup{untried: u, Tally: u.tally()}
		var archs []string
		everywhere := false
		for i, c := range u.Cells {
			touched := b.touches(c)
			everywhere = everywhere || len(touched) == 0
			for _, arch := range touched {
				if !slices.Contains(archs, arch) {
					archs = append(archs, arch)
				}
			}
			if i < named {
				g.Names = append(g.Names, OneLine(c.ID()))
			} else {
				g.More++
			}
		}
		if !everywhere {
			g.Archs = strings.Join(archs, " ")
		}
		groups = append(groups, g)
	}
	return groups
}

func (b *pageBuilder) times() (checks, phases []bar) {
	for _, check := range b.run.AllChecks() {
		checks = append(checks, bar{ID: check.ID, Name: check.Title, Took: b.run.CheckDuration(check.ID)})
	}
	for _, p := range b.run.Phases {
		phases = append(phases, bar{Name: p.Name, Took: p.Duration})
	}
	share(checks)
	share(phases)
	return checks, phases
}

func share(bars []bar) {
	longest := time.Duration(1)
	for _, b := range bars {
		longest = max(longest, b.Took)
	}
	for i := range bars {
		bars[i].Share = 100 * float64(max(bars[i].Took, 0)) / float64(longest)
	}
}

// lists has the cells by check, those that did not pass first.
func (b *pageBuilder) lists() []cellList {
	var lists []cellList
	for _, check := range b.run.AllChecks() {
		l := cellList{RunCheck: check, Verdict: b.run.CheckVerdict(check.ID).text()}
		var rows []cellRow
		for i, c := range b.run.Cells {
			if c.Check == check.ID {
				rows = append(rows, b.cellRow(i))
			}
		}
		l.Summary = CountVerdicts(b.run.CheckCells(check.ID)).String()
		if c, n := longest(b.run.CheckCells(check.ID)); n > 0 {
			l.Summary += fmt.Sprintf("; the rules of a Service took up to %s", took(c.waited()))
		}
		slices.SortStableFunc(rows, func(x, y cellRow) int { return gravity(y.CellResult.Verdict) - gravity(x.CellResult.Verdict) })
		l.Rows, l.More = rows[:min(len(rows), maxRows)], max(0, len(rows)-maxRows)
		lists = append(lists, l)
	}
	return lists
}

func (b *pageBuilder) cellRow(i int) cellRow {
	c := b.run.Cells[i]
	return cellRow{
		CellResult: c, Verdict: c.Verdict.text(), From: c.Src.short(), To: c.Dst.short(),
		Archs: strings.Join(b.touches(c), " "), Link: b.linkOf[i], Waited: c.waited(),
	}
}

// short names an end where its architecture stands elsewhere.
func (e *Endpoint) short() string {
	if e == nil {
		return ""
	}
	return orElse(e.Node, e.Where)
}
