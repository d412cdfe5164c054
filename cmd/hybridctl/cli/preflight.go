package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/report"
)

// preflightDocument is what preflight writes as JSON and YAML.
type preflightDocument struct {
	Cluster string         `json:"cluster"`
	Totals  report.Totals  `json:"totals"` // of all checks, also of those that --problems leaves out
	Checks  []report.Check `json:"checks"`
}

func newPreflight(a *app) *cobra.Command {
	var f clusterFlags
	var problems, list bool
	cmd := &cobra.Command{
		Use:   "preflight",
		Short: "Check every host, and show all results",
		Long:  "preflight connects to every host and runs all checks that up would run before its first change. It changes nothing.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return a.listChecks()
			}
			return a.preflight(cmd.Context(), f, problems)
		},
	}
	f.register(cmd)
	f.registerCatalogue(cmd)
	cmd.Flags().BoolVar(&problems, "problems", false, "show only the checks that did not pass")
	cmd.Flags().BoolVar(&list, "list", false, "show the names of all checks and what they want, and connect nowhere")
	return cmd
}

// checkName is what preflight --list writes for each check as JSON and YAML.
type checkName struct {
	Name  string `json:"name"` // the word for preflight.ignore
	Wants string `json:"wants"`
}

func (a *app) listChecks() error {
	var names []checkName
	t := report.NewTable("CHECK", "WANTS")
	for _, name := range preflight.Names() {
		names = append(names, checkName{name, preflight.Describe(name)})
		t.Row(report.C(name), report.C(preflight.Describe(name)))
	}
	return a.write(names, func(w io.Writer) error { return t.Write(w, a.color(w)) })
}

func (a *app) preflight(ctx context.Context, f clusterFlags, problems bool) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	s, err := a.open(ctx, f)
	if err != nil {
		return err
	}
	defer s.close()
	checks, err := a.Front.Preflight(ctx, s.options)
	s.close()
	if len(checks) == 0 {
		return err
	}
	doc := preflightDocument{Cluster: s.cluster.Metadata.Name, Totals: report.Total(checks), Checks: checks}
	if problems {
		doc.Checks = append([]report.Check{}, report.Problems(checks)...) // a list also when it is empty
	}
	if werr := a.write(doc, func(w io.Writer) error { return doc.text(w, a.color(w)) }); err == nil {
		err = werr
	}
	return err
}

func (d preflightDocument) text(w io.Writer, color bool) error {
	if err := report.WriteChecks(w, d.Checks, color); err != nil {
		return err
	}
	if len(d.Checks) > 0 {
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "cluster %s: %s\n", d.Cluster, d.Totals)
	return err
}
