package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

type upFlags struct {
	clusterFlags
	yes             bool
	mergeKubeconfig string
	conformance     string
	asked           bool // --conformance is given
	reportDir       string
}

// mergeDefault is the value of --merge-kubeconfig without a path.
const mergeDefault = "kubectl's own"

func newUp(a *app) *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make the cluster what the inventory says",
		Long: `up connects to every host, looks at it, shows what is to be done, asks, and does it. It is safe to re-run: what is in place stays
as it is, and what an earlier run left undone is finished. A run that changed something ends with the new-deployment scenario of
"hybridctl conformance", which proves that the cluster works. A bundle without the probe proves nothing: the plan says so, and where
--conformance asks for a proof, nothing is done.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.asked = cmd.Flags().Changed("conformance")
			return a.up(cmd.Context(), f)
		},
	}
	f.register(cmd)
	f.registerCatalogue(cmd)
	f.registerBreakLock(cmd)
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	cmd.Flags().StringVar(&f.mergeKubeconfig, "merge-kubeconfig", "", "merge the admin kubeconfig into `PATH`, by default the file that kubectl would write")
	cmd.Flags().Lookup("merge-kubeconfig").NoOptDefVal = mergeDefault
	cmd.Flags().StringVar(&f.conformance, "conformance", string(provision.ConformanceFull), "what is proven at the end of a run that changed something: `MODE` is full, quick or off")
	cmd.Flags().StringVar(&f.reportDir, "report-dir", "", "where the conformance report goes: `DIR` (default: conformance in the state directory)")
	return cmd
}

func (a *app) up(ctx context.Context, f upFlags) error {
	if !slices.Contains(provision.ConformanceModes(), provision.ConformanceMode(f.conformance)) {
		return usagef("--conformance must be full, quick or off, not %q", f.conformance)
	}
	if err := mayConfirm(a.Terminal, f.clusterFlags, f.yes, "the plan on", `"hybridctl plan" shows it; --yes agrees beforehand`); err != nil {
		return err
	}
	merge, err := a.mergePath(f.mergeKubeconfig)
	if err != nil {
		return err
	}
	s, err := a.open(ctx, f.clusterFlags)
	if err != nil {
		return err
	}
	defer s.close()

	o := provision.UpOptions{Options: s.options, MergeKubeconfig: merge, Conformance: provision.ConformanceMode(f.conformance)}
	o.Proof = provision.ProofOptions{ReportDir: f.reportDir, Tool: a.Version.Version, Asked: f.asked, Planned: s.planned}
	o.Ask = func(p plan.Plan) bool { return s.confirm(ctx, p, f.yes) }
	done := s.announceStop()
	result, err := a.Front.Up(ctx, o)
	done()
	s.close()
	return a.writeResult(result, err, func(w io.Writer) error { return writeUp(w, result, err == nil, a.color(w)) })
}

// resultDocument is what a verb writes as JSON and YAML: what it did, and how it failed.
type resultDocument struct {
	provision.Result
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"` // what the user can do about the error
}

// writeResult writes what a verb did also when it failed, and returns the verb's error before that of writing.
func (a *app) writeResult(r provision.Result, err error, text func(io.Writer) error) error {
	var writing error
	if r.Cluster != "" {
		doc := resultDocument{Result: r, Hint: hint.Text(err)}
		if err != nil {
			doc.Error = err.Error()
		}
		writing = a.write(doc, text)
	}
	if err != nil {
		return err
	}
	return writing
}

// confirm shows the plan and asks, unless the user has agreed beforehand.
func (s *session) confirm(ctx context.Context, p plan.Plan, yes bool) bool {
	show := func(w io.Writer) error { return writePlan(w, p, s.app.color(w)) }
	if yes {
		if s.app.global.logFormat == logText {
			var text bytes.Buffer
			_ = writePlan(&text, p, s.app.color(s.app.Stderr)) // a buffer takes everything
			_, _ = s.view.Write(report.Shown(text.Bytes()))
		}
		return true
	}
	answer, err := s.ask(ctx, show, "Do this? [y/N] ")
	return err == nil && (strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes"))
}

// mergePath says which file --merge-kubeconfig means: without a path the one that kubectl would write, the first of $KUBECONFIG that
// exists, or else its first, or else ~/.kube/config.
func (a *app) mergePath(flag string) (string, error) {
	if flag != mergeDefault {
		return flag, nil
	}
	var list []string
	for _, path := range filepath.SplitList(a.Getenv("KUBECONFIG")) {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		list = append(list, path)
	}
	if len(list) > 0 {
		return list[0], nil
	}
	home := a.Getenv("HOME")
	if home == "" {
		return "", &usageError{cause: errors.New("--merge-kubeconfig needs a path, as HOME is not set")}
	}
	return filepath.Join(home, ".kube", "config"), nil
}
