package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/podimages"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/report/sarif"
	"github.com/hybridctl/hybridctl/provision/workload"
)

func newWorkload(a *app) *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "workload",
		Short: "Steer workloads to the architectures that their images are made for",
		Args:  cobra.ArbitraryArgs,
	})
	cmd.AddCommand(newWorkloadLint(a), newWorkloadPatch(a), newWorkloadExplain(a))
	return cmd
}

// workloadFlags are those of all verbs on workloads.
type workloadFlags struct {
	files      []string
	kubeconfig string
	images     string
	archs      []string
	knownKinds bool
	registries registryFlags
	ask        *askable
	children   bool // whether the images that an index names are there is asked, too
	programs   bool // so is what containers start
}

func (f *workloadFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "file", "f", nil, "manifests: `FILE`, a directory, or - for standard input; an inventory stands for its running cluster")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "a running cluster, whoever made it: its kubeconfig `FILE`")
	flags.StringVar(&f.images, "images", "", "what images are made for, as JSON {\"REF\": [\"ARCH\", …]}; no registry is asked then: `FILE`")
	flags.StringSliceVar(&f.archs, "arch", nil, "the architectures that pods may land on (default: those of the cluster, or all that are supported)")
	flags.BoolVar(&f.knownKinds, "known-kinds-only", false, "look at Kubernetes' own kinds alone, and at no custom resource that has the shape of a pod template")
	_ = cmd.MarkFlagFilename("file")       // the flags are there
	_ = cmd.MarkFlagFilename("kubeconfig") //
	_ = cmd.MarkFlagFilename("images", "json")
	f.registries.register(cmd)
	f.ask = &askable{}
	f.ask.register(cmd)
}

// input is what a verb on workloads works with.
type input struct {
	set       *workload.Set
	archs     []platform.Arch
	known     workload.Known
	world     workload.World
	missing   []string
	fromFiles bool // the set is of files
}

// workloads reads what the flags name.
func (a *app) workloads(ctx context.Context, f workloadFlags) (input, error) {
	in := input{archs: platform.All(), known: workload.NothingKnown}
	o := workload.ReadOptions{KnownKindsOnly: f.knownKinds}
	named, err := a.clusterOf(ctx, f)
	switch {
	case err != nil:
		return in, err
	case named.kubeconfig == nil && len(named.files) == 0:
		return in, hint.With(usagef("nothing is named that is to be looked at"), "give -f FILE, a directory, or - for standard input; or --kubeconfig FILE for a running cluster")
	}
	if named.kubeconfig != nil {
		over := a.waits("cluster", "the API server to say what runs")
		r, err := a.Front.WorkloadsOf(ctx, named.kubeconfig, o)
		over()
		if err != nil {
			return in, err
		}
		in.set, in.world, in.archs, in.missing = r.Set, r.World, r.Archs, r.Missing
	}
	if len(named.files) > 0 {
		sources, err := a.sources(named.files)
		if err != nil {
			return in, err
		}
		if in.set, err = workload.Read(sources, o); err != nil {
			return in, asUsageError(err)
		}
		in.fromFiles = true
	}
	if len(f.archs) > 0 {
		in.archs = nil
		for _, word := range f.archs {
			arch, err := platform.Parse(word)
			if err != nil {
				return in, usagef("--arch: %v", err)
			}
			in.archs = append(in.archs, arch)
		}
	}
	f.ask.inventory, f.ask.cluster = named.registries, !in.fromFiles
	from := f.registries.options()
	from.Allowed = f.ask.may
	if in.known, err = a.knownImages(ctx, f, in, from); err != nil {
		return in, err
	}
	f.ask.hint(a.Stderr)
	in.world.Known = in.known
	if f.programs {
		over := a.waits("registries", dockersWord)
		in.world.Starts, err = a.Front.Programs(ctx, in.set, from)
		over()
	}
	return in, err
}

// knownImages finds out what the images are made for: from a list, else from their registries.
func (a *app) knownImages(ctx context.Context, f workloadFlags, in input, from registry.Options) (workload.Known, error) {
	if f.images != "" {
		text, err := os.ReadFile(f.images)
		if err != nil {
			return nil, usagef("--images: %v", withoutOpen(err))
		}
		known, err := workload.ReadKnown(text)
		if err != nil {
			return nil, usagef("--images: %s %v", f.images, err)
		}
		return known, nil
	}
	o := podimages.KnownOptions{Registry: from, Archs: in.archs, Children: f.children}
	if _, err := registry.New(o.Registry); err != nil {
		return nil, usagef("--ca-file: %v", withoutOpen(err))
	}
	defer a.waits("registries", "what images are made for")()
	return a.Front.KnownImages(ctx, in.set, o)
}

// lintFlags are those of workload lint.
type lintFlags struct {
	workloadFlags
	rules, ignore []string
	failOn        failOn
	list          bool
}

func newWorkloadLint(a *app) *cobra.Command {
	var f lintFlags
	cmd := &cobra.Command{
		Use:         "lint",
		Short:       "Find workloads that would land where their images do not run",
		Annotations: map[string]string{writesSARIF: "yes"},
		Long: `lint looks at every pod template in manifests or in a running cluster: whether its constraints let it onto nodes of an architecture that
its images are not made for, and whether what it says of architectures means anything. Registries are asked what images are made for, unless
--images names a list. About a running cluster's images only well-known registries are asked, those of its inventory, and those of --registry:
whoever may make pods names images, and so hosts. An image of which nothing is known is no finding; such images are listed on standard error.

A comment "# hybridctl:ignore L5" in the line of a finding, in the line above it, or above the object, silences a rule there.`,
		Example: `  hybridctl workload lint -f deploy/
  helm template ./chart | hybridctl workload lint -f -
  hybridctl workload lint --kubeconfig ~/.kube/config --fail-on warning
  hybridctl workload lint -f deploy/ -o sarif >lint.sarif`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.list {
				return a.listRules()
			}
			return a.lint(cmd.Context(), f)
		},
	}
	f.register(cmd)
	a.global.registerSARIF(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&f.rules, "rule", nil, "try these rules alone, also those that are tried only when asked for: `L1,...`")
	flags.StringSliceVar(&f.ignore, "ignore", nil, "leave these rules out: `L5,...`")
	flags.BoolVar(&f.list, "list", false, "show all rules")
	f.failOn.register(cmd)
	return cmd
}

// ruleName is what workload lint --list writes for each rule as JSON and YAML.
type ruleName struct {
	ID        string `json:"id"`
	Level     string `json:"level"`
	Title     string `json:"title"`
	Help      string `json:"help"`
	OnRequest bool   `json:"onRequest"`
}

func (a *app) listRules() error {
	var names []ruleName
	t := report.NewTable("RULE", "LEVEL", "FINDS")
	for _, r := range workload.Rules() {
		names = append(names, ruleName{r.ID, string(r.Level), r.Title, r.Help, r.OnRequest})
		title := r.Title
		if r.OnRequest {
			title += " (only with --rule)"
		}
		t.Row(report.C(r.ID), report.C(string(r.Level)), report.C(title))
	}
	if a.global.output == report.SARIF {
		return usagef("--list writes no sarif: its -o is text, json or yaml")
	}
	return a.write(names, func(w io.Writer) error { return t.Write(w, a.color(w)) })
}

// lintDocument is what workload lint writes as JSON and YAML.
type lintDocument struct {
	Findings []workload.Problem      `json:"findings"`
	Unknown  []workload.UnknownImage `json:"unknown"` // images of which nothing is known
	Missing  []string                `json:"missing"` // what of the cluster could not be listed
}

func (a *app) lint(ctx context.Context, f lintFlags) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	if err := f.check(); err != nil {
		return err
	}
	in, err := a.workloads(ctx, f.workloadFlags)
	if err != nil {
		return err
	}
	problems, unknown := workload.Lint(in.set, workload.Options{Archs: in.archs, Known: in.known, Nodes: workload.NodesOf(in.world.Nodes), Only: f.rules, Ignore: f.ignore})
	doc := lintDocument{append([]workload.Problem{}, problems...), append([]workload.UnknownImage{}, unknown...), append([]string{}, in.missing...)}
	for _, line := range doc.notKnown() {
		fmt.Fprintln(a.Stderr, report.OneLine(line))
	}
	if a.global.output == report.SARIF {
		err = a.lintSARIF(problems)
	} else {
		err = a.write(doc, doc.text)
	}
	if err == nil {
		count := levels(problems)
		err = f.failOn.check(count[workload.LevelError], count[workload.LevelWarning], "there are findings; each says what to do")
	}
	return err
}

// levels counts findings by level.
func levels(problems []workload.Problem) map[workload.Level]int {
	count := map[workload.Level]int{}
	for _, p := range problems {
		count[p.Level]++
	}
	return count
}

func (f lintFlags) check() error {
	for _, id := range append(append([]string{}, f.rules...), f.ignore...) {
		if !workload.IsRule(id) {
			return hint.With(usagef("there is no rule %s", id), "hybridctl workload lint --list shows them")
		}
	}
	return nil
}

func (d lintDocument) notKnown() []string {
	var out []string
	for _, u := range d.Unknown {
		out = append(out, fmt.Sprintf("not known: what %s is made for: %s", u.Image, u.Reason))
	}
	for _, m := range d.Missing {
		out = append(out, "not looked at: "+m)
	}
	return out
}

func (d lintDocument) text(w io.Writer) error {
	var b bytes.Buffer
	count := levels(d.Findings)
	for _, p := range d.Findings {
		for line := range strings.SplitSeq(p.String(), "\n") {
			bare := strings.TrimLeft(line, " ")
			b.WriteString(line[:len(line)-len(bare)] + report.OneLine(bare) + "\n")
		}
	}
	fmt.Fprintf(&b, "errors: %d, warnings: %d, notes: %d", count[workload.LevelError], count[workload.LevelWarning], count[workload.LevelNote])
	if len(d.Unknown) > 0 {
		fmt.Fprintf(&b, ", images of which nothing is known: %d", len(d.Unknown))
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

func (a *app) lintSARIF(problems []workload.Problem) error {
	var rules []sarif.Rule
	for _, r := range workload.Rules() {
		rules = append(rules, sarif.Rule{ID: r.ID, Title: r.Title, Help: r.Help, Level: string(r.Level)})
	}
	var results []sarif.Result
	for _, p := range problems {
		results = append(results, sarif.Result{
			Rule: p.Rule, Level: string(p.Level), Message: p.Message + ". " + p.Fix, File: relative(p.File), Line: p.Line, Column: p.Column,
			Logical: p.Object.String(), Fingerprint: p.Object.String() + " " + p.Path,
		})
	}
	return sarif.Write(a.Stdout, a.Version.Version, rules, results)
}
