package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/cmd/hybridctl/progress"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/fetch"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// sourceFlags say from where things come.
type sourceFlags struct {
	sources []string
	caFile  string
}

func (f *sourceFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.sources, "source", nil, "fetch from elsewhere: `FROM=TO`, where FROM begins an address (https://dl.k8s.io) or an image's name (registry.k8s.io); may be given several times")
	flags.StringVar(&f.caFile, "ca-file", "", "certificates of authorities besides the system's: `FILE` in PEM")
	_ = cmd.MarkFlagFilename("ca-file") // the flag is there
}

func (f sourceFlags) options() (fetch.Options, error) {
	o := fetch.Options{CAFile: f.caFile, Sources: fetch.Sources{}}
	for _, text := range f.sources {
		from, to, ok := strings.Cut(text, "=")
		if !ok || from == "" || to == "" {
			return o, hint.With(usagef("--source is not FROM=TO"), "write FROM=TO, as https://dl.k8s.io=https://mirror.example/dl.k8s.io or registry.k8s.io=harbor.example/k8s")
		}
		if _, twice := o.Sources[from]; twice {
			return o, usagef("--source: %s stands twice", from)
		}
		o.Sources[from] = to
	}
	return o, o.Sources.Check()
}

// fetchFlags are those of the verbs that fetch what the catalogue says.
type fetchFlags struct {
	sourceFlags
	catalogue string
	upstream  bool
}

func (f *fetchFlags) register(cmd *cobra.Command) {
	f.sourceFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.catalogue, "catalogue", "", "a catalogue of your own in place of hybridctl's: `FILE`")
	flags.BoolVar(&f.upstream, "allow-upstream-checksums", false, "for what the catalogue has no sum of, believe the one that upstream publishes; the lock file holds it from then on")
	_ = cmd.MarkFlagFilename("catalogue") // the flag is there
}

// set is what the catalogue says goes together. places are all that a source can be for.
func (f fetchFlags) set(version string, archs []platform.Arch, with []string) (s catalogue.Set, places []string, err error) {
	c, err := openCatalogue(f.catalogue)
	if err != nil {
		return catalogue.Set{}, nil, err
	}
	if versions := c.Versions(); version == "" && len(versions) > 0 {
		version = versions[0]
	}
	if f.upstream {
		s, err = c.Upstream(version, archs, with...)
	} else {
		s, err = c.Set(version, archs, with...)
	}
	return s, append(c.Places(), s.Places()...), err
}

// warnOfIdle tells which sources of the command line change nothing. That is no error, as another catalogue may have what they are for.
func warnOfIdle(w io.Writer, sources fetch.Sources, places []string) {
	for _, text := range sources.Idle(places) {
		fmt.Fprintf(w, "warning: --source %s\n", report.OneLine(text))
	}
}

type bundleFetchFlags struct {
	fetchFlags
	kubernetes string
	archs      []string
	with       []string
	dryRun     bool
}

func newBundleFetch(a *app) *cobra.Command {
	var f bundleFetchFlags
	cmd := &cobra.Command{
		Use:   "fetch [DIR]",
		Short: "Fetch all that a Kubernetes version needs, and make a bundle of it",
		Long: `fetch makes the bundle DIR ("bundle" in the current directory by default) of what the catalogue says goes together for a Kubernetes version.
What is fetched is kept in ${XDG_CACHE_HOME:-~/.cache}/hybridctl by its digest: nothing comes twice, and a run that was ended goes on where
it was. What comes is held against the catalogue's sha256, from wherever it comes; digests of images that the catalogue does not pin are
written into DIR.lock the first time, and nothing else is taken later.
Proxies are those of HTTPS_PROXY and NO_PROXY; logins of registries those of docker or podman.`,
		Args: atMostOneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.bundleFetch(cmd.Context(), f, append(args, "bundle")[0])
		},
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.kubernetes, "kubernetes", "", "the Kubernetes `VERSION`, as v1.36.4 (default: the newest of the catalogue)")
	flags.StringSliceVar(&f.archs, "arch", nil, "the architectures: `ARCH,ARCH...` (default: all that are supported)")
	flags.StringSliceVar(&f.with, "with", nil, "further components: `COMPONENT,COMPONENT...`, such as ceph-csi")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be fetched; nothing is asked for")
	complete(cmd, "arch", archNames()...)
	complete(cmd, "with", bundle.CephCSI)
	return cmd
}

func (a *app) bundleFetch(ctx context.Context, f bundleFetchFlags, dir string) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	archs, err := parseArchs(f.archs)
	if err != nil {
		return err
	}
	set, places, err := f.set(f.kubernetes, archs, f.with)
	if err != nil {
		return err
	}
	warnOfIdle(a.Stderr, o.Sources, places)
	for _, note := range set.Notes {
		fmt.Fprintf(a.Stderr, "note: %s\n", report.OneLine(note))
	}
	o.Dir, o.Lock, o.AllowUpstreamChecksums = dir, lockBeside(dir), f.upstream
	if f.dryRun {
		return a.bundleMissing(set, o)
	}
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	show, done := a.fetchProgress()
	o.Progress = show
	_, err = fetch.Bundle(ctx, set, o)
	done()
	if err != nil {
		return err
	}
	b, err := bundle.Open(dir)
	if err != nil {
		return err
	}
	return a.write(b.Manifest, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "bundle %s: %s\n", dir, contents(b))
		return err
	})
}

// lockBeside is the lock file of a bundle.
func lockBeside(dir string) string { return filepath.Clean(dir) + ".lock" }

func (a *app) bundleMissing(set catalogue.Set, o fetch.Options) error {
	missing, err := fetch.Plan(set, o)
	if err != nil {
		return err
	}
	return a.write(missing, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Kubernetes %s: would fetch %s\n", set.Kubernetes, missing)
		return err
	})
}

func parseArchs(names []string) ([]platform.Arch, error) {
	var archs []platform.Arch
	for _, name := range names {
		arch, err := platform.Parse(name)
		if err != nil {
			return nil, usagef("--arch: %v", err)
		}
		archs = append(archs, arch)
	}
	return archs, nil
}

// fetchProgress shows what is fetched: a row for each file and one for the whole on a terminal, lines elsewhere.
func (a *app) fetchProgress() (show func(fetch.Event), done func()) {
	view := progress.New(progress.Options{
		Out: a.Stderr, Live: a.canDraw(a.Stderr), JSON: a.global.logFormat == logJSON, Color: a.color(a.Stderr),
	})
	sink, over := a.silence(view, "all", "the places that files and images come from, or the bundle's files to be read and written")
	return fetching(sink), func() {
		over()
		view.Close()
	}
}

// fetching shows what package fetch tells.
func fetching(sink report.Sink) func(fetch.Event) {
	return func(e fetch.Event) {
		out := report.Event{Kind: report.Progress, Host: e.Item, Step: "fetch", Message: e.Message, Bytes: e.Bytes, Total: e.Total}
		if out.Host == "" {
			out.Host = "all"
		}
		if e.Message == "" && e.Total == 0 {
			out.Message = report.Bytes(e.Bytes)
		}
		if e.Done {
			out.Kind, out.Action, out.Message = report.Done, report.Created, report.Bytes(e.Bytes)
		}
		sink.Event(out)
	}
}

func newBundleGC(a *app) *cobra.Command {
	var o fetch.GCOptions
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Delete from the cache what no bundle of the cache uses",
		Long: `gc deletes from ${XDG_CACHE_HOME:-~/.cache}/hybridctl what was fetched and no bundle there uses: beginnings of files, too. Bundles elsewhere
stay whole, whatever it deletes.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.bundleGC(cmd.Context(), o) },
	}
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be deleted")
	cmd.Flags().Var((*lasting)(&o.Unused), "unused", "delete also bundles of the cache that no run has used for so long: `DURATION`, as 36h or 30d")
	return cmd
}

// freed is what bundle gc writes as JSON and YAML.
type freed struct {
	DryRun bool          `json:"dryRun"`
	Bytes  int64         `json:"bytes"`
	Items  []fetch.Freed `json:"items"`
}

func (a *app) bundleGC(ctx context.Context, o fetch.GCOptions) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	if o.Unused > 0 && o.Unused < time.Minute {
		return usagef("--unused must be a minute at least, such as 30d")
	}
	over := a.waits("cache", "what no bundle uses to be found and deleted")
	items, err := fetch.GC(ctx, o)
	over()
	if err != nil {
		return err
	}
	doc := freed{DryRun: o.DryRun, Bytes: fetch.Sum(items), Items: append([]fetch.Freed{}, items...)}
	return a.write(doc, func(w io.Writer) error {
		for _, i := range items {
			if _, err := fmt.Fprintf(w, "%s: %s (%s)\n", i.Path, i.Why, report.Bytes(i.Bytes)); err != nil {
				return err
			}
		}
		verb := "deleted"
		if o.DryRun {
			verb = "would delete"
		}
		if len(items) == 0 {
			_, err := fmt.Fprintln(w, "nothing to delete")
			return err
		}
		_, err := fmt.Fprintf(w, "%s %s, %s\n", verb, report.Count(len(items), "item"), report.Bytes(doc.Bytes))
		return err
	})
}
