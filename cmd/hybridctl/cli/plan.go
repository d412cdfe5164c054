package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// planDocument is what plan writes as JSON and YAML: the plan, and with it how many steps change something and the checks that did
// not pass.
type planDocument struct {
	plan.Plan
	Changes int            `json:"changes"`
	Checks  []report.Check `json:"checks,omitempty"`
}

func newPlan(a *app) *cobra.Command {
	var f clusterFlags
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what up would do, and why",
		Long:  "plan connects to every host, looks at it and shows what up would do there. It changes nothing.",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.plan(cmd.Context(), f, exitCode) },
	}
	f.register(cmd)
	f.registerCatalogue(cmd)
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with 0 when there is nothing to do, with 10 when there are changes")
	return cmd
}

func (a *app) plan(ctx context.Context, f clusterFlags, exitCode bool) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	s, err := a.open(ctx, f)
	if err != nil {
		return err
	}
	defer s.close()
	p, checks, err := a.Front.Plan(ctx, s.options)
	s.close()
	if err == nil || len(p.Steps)+len(checks) > 0 {
		planned := err == nil || len(p.Steps) > 0 // a cluster that was adopted may have no steps at all
		doc := planDocument{Plan: p, Changes: p.Changes(), Checks: report.Problems(checks)}
		werr := a.write(doc, func(w io.Writer) error { return doc.text(w, planned, a.color(w)) })
		if err == nil {
			err = werr
		}
	}
	if err == nil && exitCode && p.Changes() > 0 {
		return errChanges
	}
	return err
}

// text writes the checks, and before them the plan, when there is one.
func (d planDocument) text(w io.Writer, planned, color bool) error {
	if planned {
		if err := writePlan(w, d.Plan, color); err != nil {
			return err
		}
	}
	return writeProblems(w, d.Checks, planned, color)
}

// writeProblems writes a table of checks that did not pass, after a blank line when something stands before it.
func writeProblems(w io.Writer, checks []report.Check, after bool, color bool) error {
	if len(checks) == 0 {
		return nil
	}
	if after {
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	return report.WriteChecks(w, checks, color)
}
