package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/report"
)

func newReport(a *app) *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "report",
		Short: "Show and compare the reports of conformance runs",
		Long: `report reads the directories that conformance runs wrote. It connects nowhere and judges nothing: a report that can
be read is exit code 0, whatever it says; one that cannot is 2.`,
	})
	cmd.AddCommand(newReportShow(a), newReportDiff(a))
	return cmd
}

func newReportShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show DIR",
		Short: "Show a run: its verdict, its checks, and every cell that did not pass",
		Long: `show writes the report in DIR as text: the verdict, a line per check, and every cell that did not pass, with its likely cause and its
evidence. With -o json it is the content of report.json. For the node-to-node maps open report.html in a browser.

The exit code is 0 also when the run failed.`,
		Args: directories("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			run, err := readRun(args[0])
			if err != nil {
				return err
			}
			return a.write(run, func(w io.Writer) error { return report.WriteRun(w, run, a.color(w)) })
		},
	}
}

func newReportDiff(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "diff BEFORE AFTER",
		Short: "Show what changed between two runs",
		Long: `diff compares the reports in two directories: which cells are worse, better, new or gone, and which nodes are others (kernel, page size,
architecture …). A cell that was tried before and no longer is counts as worse.

The exit code is 0 whatever changed.`,
		Args: directories("BEFORE", "AFTER"),
		RunE: func(_ *cobra.Command, args []string) error {
			before, err := readRun(args[0])
			if err != nil {
				return err
			}
			after, err := readRun(args[1])
			if err != nil {
				return err
			}
			d := report.DiffRuns(before, after)
			return a.write(d, func(w io.Writer) error { return report.WriteRunDiff(w, d, a.color(w)) })
		},
	}
}

// readRun reads the report in a directory. One that cannot be read is the user's to correct.
func readRun(dir string) (report.ConformanceRun, error) {
	run, err := report.ReadRun(dir)
	if err != nil {
		return run, asUsageError(err)
	}
	return run, nil
}

// directories takes exactly the arguments that names lists.
func directories(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s wants %s, but the number of arguments is %d", cmd.CommandPath(), strings.Join(names, " and "), len(args))
		}
		return nil
	}
}
