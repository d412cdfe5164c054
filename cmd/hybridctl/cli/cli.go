// Package cli is the command line: each verb turns flags into one options struct, makes one call, and writes what comes back.
// It decides nothing about clusters and holds no state: streams and calls come in through Deps.
package cli

import (
	"bytes"
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/podimages"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// Deps are what the commands reach the world through.
type Deps struct {
	Stdin    io.Reader // manifests; nil = empty
	Stdout   io.Writer // data
	Stderr   io.Writer // progress, log, errors
	Terminal Terminal  // whom to ask
	Stop     <-chan struct{}
	Getenv   func(string) string
	Version  Version
	Front    Front

	Waiting func(what string) (over func()) // is told of all that a verb may wait for, however short; nil = no one is
}

// Front is the front door of the engine, one function per verb.
type Front struct {
	Up            func(context.Context, provision.UpOptions) (provision.Result, error)
	ScaleOut      func(context.Context, provision.ScaleOutOptions) (provision.Result, error)
	Remove        func(context.Context, provision.RemoveOptions) (provision.Result, error)
	StorageRemove func(context.Context, provision.StorageRemoveOptions) (provision.Result, error)
	Adopt         func(context.Context, provision.AdoptOptions) (provision.Adoption, error)
	Plan          func(context.Context, provision.Options) (plan.Plan, []report.Check, error)
	Preflight     func(context.Context, provision.Options) ([]report.Check, error)
	Status        func(context.Context, provision.Options) (provision.StatusReport, error)
	Kubeconfig    func(context.Context, provision.Options) ([]byte, error)
	Destroy       func(context.Context, provision.DestroyOptions) (provision.Result, error)
	Identify      func(context.Context, provision.Options, []string) ([]provision.Identity, error)
	WorkloadsOf   func(ctx context.Context, kubeconfig []byte, o workload.ReadOptions) (podimages.Running, error)
	KnownImages   func(context.Context, *workload.Set, podimages.KnownOptions) (workload.Known, error)
	Programs      func(context.Context, *workload.Set, registry.Options) (workload.Starts, error)
	ClusterImages func(ctx context.Context, kubeconfig []byte, archs []platform.Arch) (wanted []image.Wanted, missing []string, err error)

	Conformance         func(context.Context, provision.ConformanceOptions) (report.ConformanceRun, error)
	ConformanceClean    func(context.Context, provision.Options) ([]string, error)
	ConformanceSelfTest func(context.Context, provision.ConformanceOptions, func(conformance.SelfTest)) ([]conformance.SelfTest, error)
}

// Engine is the Front that works on real hosts.
func Engine() Front {
	return Front{
		Up: provision.Up, ScaleOut: provision.ScaleOut, Remove: provision.Remove, Adopt: provision.Adopt, StorageRemove: provision.StorageRemove, Plan: provision.Plan, Preflight: provision.Preflight,
		Status: provision.Status, Kubeconfig: provision.Kubeconfig, Destroy: provision.Destroy, Identify: provision.Identify,
		WorkloadsOf: podimages.Workloads, KnownImages: podimages.Known, Programs: podimages.Starts, ClusterImages: podimages.OfCluster,
		Conformance: provision.Conformance, ConformanceClean: provision.ConformanceClean, ConformanceSelfTest: provision.ConformanceSelfTest,
	}
}

// Run runs one command line. It writes the error, if any, to d.Stderr and returns it for ExitCode.
func Run(ctx context.Context, d Deps, args []string) error {
	out := &output{to: d.Stdout}
	d.Stdout = out
	a := &app{Deps: d, args: args}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(d.Stdout)
	root.SetErr(d.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started {
		err = calledWrongly(cmd, err)
	}
	err = out.joined(err)
	a.printError(err)
	return err
}

// app is one run of the command line.
type app struct {
	Deps
	args    []string
	global  globalFlags
	started bool // the command line was understood; errors from here on are the verb's
}

func newRoot(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hybridctl",
		Short: "Build and tear down Kubernetes clusters of mixed x86 and Arm hosts",
		Long: `hybridctl turns one inventory file into a running Kubernetes cluster of mixed x86 and Arm hosts, over SSH.

Exit codes: 0 done; 1 other; 2 usage or inventory, or refused; 3 preflight; 4 stopped part-way; 5 conformance failed; 6 findings; 7 conformance was flaky; 8 nothing was proven; 10 changes; 130 interrupted.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if a.global.output == report.SARIF && cmd.Annotations[writesSARIF] == "" {
				return usagef("%s does not write sarif: its -o is text, json or yaml", cmd.CommandPath())
			}
			a.started = true
			return nil
		},
		Args: cobra.ArbitraryArgs, // runGroup says what is wrong with them
		RunE: runGroup,
	}
	cmd.SetFlagErrorFunc(a.flagError)
	a.global.register(cmd)
	cmd.SetHelpCommand(newHelp())
	cmd.SetUsageFunc(usageAsItIs(cmd.UsageFunc()))
	cmd.AddCommand(
		newInit(a), newUp(a), newPlan(a), newPreflight(a), newStatus(a), newKubeconfig(a), newDestroy(a),
		newScaleOut(a), newRemove(a), newAdopt(a), newStorage(a),
		newConformance(a), newInventory(a), newBundle(a), newImage(a), newWorkload(a), newReport(a), newVersion(a), newCompletion(a),
	)
	return cmd
}

// writesSARIF is the annotation of commands whose results are findings.
const writesSARIF = "sarif"

// write writes data to stdout in the format asked for; text is how it looks for people.
func (a *app) write(v any, text func(io.Writer) error) error {
	if a.global.output == report.Text {
		return shown(a.Stdout, text)
	}
	return report.Encode(a.Stdout, a.global.output, v)
}

// shown writes what text writes, without what a host, a registry or a file may have put into it for a terminal to obey.
func shown(w io.Writer, text func(io.Writer) error) error {
	var b bytes.Buffer
	err := text(&b)
	if _, werr := w.Write(report.Shown(b.Bytes())); werr != nil {
		return werr
	}
	return err
}

// jsonWriter writes JSON for terminals too.
type jsonWriter struct{ w io.Writer }

func (j jsonWriter) Write(doc []byte) (int, error) {
	if _, err := j.w.Write(report.ShownJSON(doc)); err != nil {
		return 0, err
	}
	return len(doc), nil
}
