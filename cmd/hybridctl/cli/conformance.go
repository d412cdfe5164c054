package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/report"
)

type conformanceFlags struct {
	clusterFlags
	scenario      string
	checks, nodes []string
	quick         bool
	maxPairs      int
	seed          uint64
	reportDir     string
	keep          bool
	keepOnFailure bool
	selfTest      bool
}

func newConformance(a *app) *cobra.Command {
	var f conformanceFlags
	cmd := &cobra.Command{
		Use:   "conformance",
		Short: "Prove that the running cluster works on every architecture, and across them",
		Long: `conformance runs a scenario on the running cluster: probes on every node talk to each other, to services and to their host, and every
answer has to say which pod on which node of which architecture gave it. The cells that will be tried are counted before anything runs; each
ends as pass, fail, flaky (right, but not at the first attempt) or blocked (it could not be tried; the reason says why). What it makes is in
its own namespace, and is deleted at the end, also after ^C.

Scenarios: new-deployment (all nodes) and scale-out (--nodes: those that were added). Checks:
` + checkList() + `
The exit code is 5 when a cell failed, 7 when none failed and some were flaky, 8 when none could be tried, so that nothing is proven, and else
0, also when some were blocked. It is not the CNCF's conformance suite.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.maxPairs < 1 {
				return usagef("--max-pairs must be at least 1")
			}
			if f.selfTest {
				return a.selfTest(cmd.Context(), f)
			}
			return a.conformance(cmd.Context(), f)
		},
	}
	f.register(cmd)
	f.registerCatalogue(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.scenario, "scenario", string(conformance.NewDeployment), "what is proven: `SCENARIO` is new-deployment or scale-out")
	flags.StringSliceVar(&f.checks, "checks", nil, "only these checks: `ID,ID...`")
	flags.StringSliceVar(&f.nodes, "nodes", nil, "with scale-out: the nodes that were added, `NAME,NAME...`")
	flags.BoolVar(&f.quick, "quick", false, "a smaller matrix: fewer sizes and attempts, nothing that changes the cluster's services")
	flags.IntVar(&f.maxPairs, "max-pairs", conformance.DefaultMaxPairs, "how many ordered pairs of nodes are tried; of more, a sample in which every node that is proven meets every class of nodes")
	flags.Uint64Var(&f.seed, "seed", 0, "draw the sample of an earlier run again (default: a new one, which the report names)")
	flags.StringVar(&f.reportDir, "report-dir", "", "write report.json, junit.xml and report.html with the evidence into `DIR` (default: conformance in the state directory)")
	flags.BoolVar(&f.keep, "keep", false, "leave everything in the cluster")
	flags.BoolVar(&f.keepOnFailure, "keep-on-failure", false, "leave everything in the cluster when a cell fails")
	flags.BoolVar(&f.selfTest, "self-test", false, "inject faults, one after another, and verify that exactly the expected cells fail (with --checks: the faults that they have to see); only for clusters that no one uses")
	cmd.AddCommand(newConformanceClean(a))
	return cmd
}

// checkList are the checks' IDs and titles, a line each.
func checkList() string {
	var b strings.Builder
	for _, s := range conformance.Scenarios() {
		for _, c := range conformance.ChecksOf(s) {
			line := fmt.Sprintf("  %-3s %s\n", c.ID, c.Title)
			if !strings.Contains(b.String(), line) {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

func (f conformanceFlags) options(o provision.Options, version string) provision.ConformanceOptions {
	return provision.ConformanceOptions{
		Options: o, ProofOptions: provision.ProofOptions{ReportDir: f.reportDir, Tool: version},
		Scenario: f.scenario, Checks: f.checks, Nodes: f.nodes, Quick: f.quick, MaxPairs: f.maxPairs, Seed: f.seed,
		Keep: f.keep, KeepOnFailure: f.keepOnFailure,
	}
}

func (a *app) conformance(ctx context.Context, f conformanceFlags) error {
	s, err := a.open(ctx, f.clusterFlags)
	if err != nil {
		return err
	}
	defer s.close()
	o := f.options(s.options, a.Version.Version)
	o.Planned = s.planned
	run, err := a.Front.Conformance(ctx, o)
	s.close()
	if run.ID == "" || len(run.Cells) == 0 {
		return err
	}
	werr := a.write(run, func(w io.Writer) error {
		if err := report.WriteRun(w, run, a.color(w)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "\nThe report is %s\n", filepath.Join(provision.ReportDir(s.options, f.reportDir), "report.html"))
		return err
	})
	if err != nil {
		return err
	}
	return werr
}

// planned shows the matrix before anything runs.
func (s *session) planned(cells []conformance.Cell) { fmt.Fprintln(s.view, plannedText(cells)) }

// plannedText says how many cells each check has, before anything runs.
func plannedText(cells []conformance.Cell) string {
	count, order := map[string]int{}, []string{}
	blocked := 0
	for _, c := range cells {
		if count[c.Check] == 0 {
			order = append(order, c.Check)
		}
		count[c.Check]++
		if c.Blocked != "" {
			blocked++
		}
	}
	parts := make([]string, len(order))
	for i, id := range order {
		parts[i] = fmt.Sprintf("%s %d", id, count[id])
	}
	text := fmt.Sprintf("%s planned: %s", report.Count(len(cells), "cell"), strings.Join(parts, ", "))
	if blocked > 0 {
		text += fmt.Sprintf("; %d of them are blocked already", blocked)
	}
	return text
}

func (a *app) selfTest(ctx context.Context, f conformanceFlags) error {
	s, err := a.open(ctx, f.clusterFlags)
	if err != nil {
		return err
	}
	defer s.close()
	all, err := a.Front.ConformanceSelfTest(ctx, f.options(s.options, a.Version.Version), func(t conformance.SelfTest) {
		fmt.Fprintln(s.view, selfTestLine(t))
	})
	s.close()
	if len(all) == 0 {
		return err
	}
	werr := a.write(all, func(w io.Writer) error { return writeSelfTest(w, all, a.color(w)) })
	if err != nil {
		return err
	}
	return werr
}

func selfTestLine(t conformance.SelfTest) string {
	if t.OK() {
		return fmt.Sprintf("self-test %s: %d of %d cells red, as they had to be", t.Fault, t.Red, t.Cells)
	}
	if t.Error != "" {
		return fmt.Sprintf("self-test %s: not known: %s", t.Fault, t.Error)
	}
	return fmt.Sprintf("self-test %s: wrong: %d red, %d missed, %d red without reason", t.Fault, t.Red, len(t.Missed), len(t.Wrong))
}

func writeSelfTest(w io.Writer, all []conformance.SelfTest, color bool) error {
	t := report.NewTable("FAULT", "AT", "CELLS", "RED", "RESULT")
	for _, s := range all {
		at := s.Node
		if s.Other != "" {
			at += ", " + s.Other
		}
		result := report.Cell{Text: "as it had to be", Style: report.Good}
		switch {
		case s.Error != "": // its run did not come to its end, which says nothing of its cells
			result = report.Cell{Text: "not known", Style: report.Bad}
		case !s.OK():
			result = report.Cell{Text: "wrong", Style: report.Bad}
		}
		t.Row(report.C(string(s.Fault)), report.C(at), report.C(fmt.Sprint(s.Cells)), report.C(fmt.Sprint(s.Red)), result)
		t.Note(s.Error)
		if s.Hint != "" {
			t.Note("hint: " + s.Hint)
		}
		for _, m := range s.Missed {
			t.Note("not red: " + m)
		}
		for _, m := range s.Wrong {
			t.Note("red without reason: " + m)
		}
	}
	return t.Write(w, color)
}

func newConformanceClean(a *app) *cobra.Command {
	var f clusterFlags
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what conformance runs left in the cluster and on the hosts",
		Long: `clean removes what conformance runs left that were killed, or told to leave it. A run that is at work is left alone, and whose it is
is told: it has a lease in its namespace, which lapses two minutes after the run is gone. --break-lock does not wait for that.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd.Context(), f)
			if err != nil {
				return err
			}
			defer s.close()
			ids, err := a.Front.ConformanceClean(cmd.Context(), s.options)
			s.close()
			if err != nil && len(ids) == 0 {
				return err
			}
			if ids == nil {
				ids = []string{}
			}
			werr := a.write(ids, func(w io.Writer) error {
				if len(ids) == 0 {
					_, err := fmt.Fprintln(w, "nothing was left")
					return err
				}
				_, err := fmt.Fprintf(w, "removed: %s\n", strings.Join(ids, ", "))
				return err
			})
			return cmp.Or(err, werr)
		},
	}
	f.register(cmd)
	f.registerBreakLock(cmd)
	return cmd
}
