package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/podimages"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/report/sarif"
	"github.com/hybridctl/hybridctl/provision/workload"
)

type imageAuditFlags struct {
	registryFlags
	failOn    failOn
	archs     []string
	indexOnly bool
	cache     string
	programs  bool
	ask       *askable

	files      []string
	kubeconfig string
}

func newImageAudit(a *app) *cobra.Command {
	f := imageAuditFlags{ask: &askable{}}
	cmd := &cobra.Command{
		Use:   "audit [IMAGE...]",
		Short: "Ask registries for which architectures images are made",

		Annotations: map[string]string{writesSARIF: "yes"},
		Long: `audit asks about the images that are named, about those of manifests (-f FILE, DIR or -), or about all that a running cluster's workloads
run: of containers of every kind, image volumes, bare and static pods, and of what admission or operators add (-f INVENTORY, or --kubeconfig
FILE for anybody's cluster). It asks the registry of every image, once, for which architectures it is made. Verdicts:
  yes      there is an image for the architecture
  listed   the index names one, and the registry does not have it (clean-up jobs delete what has no tag): pulling it fails
  no       there is none: linux/arm/v7 and linux/386 are not the same as what came after them
  unknown  the registry did not tell; the reason says why

With --programs it also reads the layers of what pods and pod templates run, for what each container starts: its command, else the image's.
  wrong    that does not start on the architecture
  missing  the image does not have it

Without it, audit reads manifests alone: one request for an image, one more for each wanted child, and digests alone the next time. Credentials are
docker's, and before them the pull secrets of pods and service accounts, of a cluster or as they stand among the manifests. Images that a
pod's own constraints keep off an architecture are not asked for it. Whoever may make pods in a cluster names images, and so hosts: about
the images of a running cluster only well-known registries are asked, those of its inventory, and those that --registry names. The exit code
is 6 when a verdict is no, listed, wrong or missing (--fail-on warning: unknown, too).`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && len(f.files) == 0 && f.kubeconfig == "" {
				return usagef("%s needs the name of an image, manifests (-f FILE, DIR or -) or a cluster (-f INVENTORY, or --kubeconfig FILE)", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.untilStopDo(cmd.Context(), func(ctx context.Context) error { return a.imageAudit(ctx, f, args) })
		},
	}
	f.register(cmd)
	f.failOn.register(cmd)
	a.global.registerSARIF(cmd)
	flags := cmd.Flags()
	flags.StringSliceVarP(&f.files, "file", "f", nil, "the images of manifests, `FILE`, DIR or - for standard input; or of the running cluster of an inventory")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "the images of the running cluster of this kubeconfig: `FILE`")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml", "json") // the flags are there
	_ = cmd.MarkFlagFilename("kubeconfig")
	flags.StringSliceVar(&f.archs, "arch", nil, "the architectures that the images are to run on: `ARCH,ARCH...` (default: all that are supported, or those of the cluster's nodes)")
	flags.BoolVar(&f.indexOnly, "index-only", false, "believe the index: do not ask whether the images that it names are there")
	flags.StringVar(&f.cache, "cache", "", "the file that keeps what digests stand for: `FILE`, or none (default: hybridctl/registry.json in the user's cache folder)")
	f.ask.register(cmd)
	flags.BoolVar(&f.programs, "programs", false, "look into the images of pods for what their containers start; layers are read")
	complete(cmd, "arch", archNames()...)
	return cmd
}

// noCache is what --cache is given to keep nothing.
const noCache = "none"

func (f imageAuditFlags) openCache() (*image.Cache, error) {
	path := f.cache
	if path == noCache {
		return nil, nil
	}
	if path == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, nil // no home, as in a container: nothing is kept
		}
		path = filepath.Join(dir, "hybridctl", "registry.json")
	}
	return image.OpenCache(path)
}

func (f imageAuditFlags) wantedArchs() ([]platform.Arch, error) {
	if len(f.archs) == 0 {
		return platform.All(), nil
	}
	var out []platform.Arch
	for _, text := range f.archs {
		arch, err := platform.Parse(text)
		if err != nil {
			return nil, usagef("--arch: %v", err)
		}
		out = append(out, arch)
	}
	return out, nil
}

func (a *app) imageAudit(ctx context.Context, f imageAuditFlags, names []string) error {
	archs, err := f.wantedArchs()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := image.ParseName(name); err != nil {
			return asUsageError(err)
		}
	}
	o := f.options()
	o.Allowed = f.ask.may
	client, err := registry.New(o)
	if err != nil {
		return usagef("--ca-file: %v", withoutOpen(err))
	}
	for _, name := range names {
		f.ask.named(name)
	}
	over := a.waits("registries", dockersWord)
	wanted, err := imagesNamed(ctx, names, archs)
	over()
	if err != nil {
		return err
	}
	ofFiles, err := a.imagesIn(ctx, f, archs)
	if err != nil {
		return err
	}
	return a.auditWanted(ctx, f, client, append(wanted, ofFiles...))
}

// dockersWord is what may take long as a credential helper asks someone.
const dockersWord = "docker's credentials for the images"

func imagesNamed(ctx context.Context, names []string, archs []platform.Arch) (wanted []image.Wanted, err error) {
	for _, name := range names {
		w, err := image.WantedByUser(ctx, name, archs)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, w)
	}
	return wanted, nil
}

// imagesIn are the images of the manifests and of the cluster that the flags name.
func (a *app) imagesIn(ctx context.Context, f imageAuditFlags, archs []platform.Arch) ([]image.Wanted, error) {
	in, err := a.clusterOf(ctx, workloadFlags{files: f.files, kubeconfig: f.kubeconfig})
	if err != nil {
		return nil, err
	}
	f.ask.inventory, f.ask.cluster = in.registries, in.kubeconfig != nil
	sources, err := a.sources(in.files)
	if err != nil {
		return nil, err
	}
	set, err := workload.Read(sources, workload.ReadOptions{})
	if err != nil {
		return nil, asUsageError(err)
	}
	over := a.waits("registries", dockersWord)
	out := podimages.OfManifests(ctx, set, archs)
	over()
	for _, w := range out {
		f.ask.named(w.Image)
	}
	if in.kubeconfig == nil {
		return out, nil
	}
	if len(f.archs) == 0 {
		archs = nil
	}
	over = a.waits("cluster", "the API server to say what runs, and in which images")
	wanted, missing, err := a.Front.ClusterImages(ctx, in.kubeconfig, archs)
	over()
	for _, m := range missing {
		fmt.Fprintf(a.Stderr, "warning: %s: nothing is known of those\n", report.OneLine(m))
	}
	return append(out, wanted...), err
}

// auditWanted asks, and writes what came of it.
func (a *app) auditWanted(ctx context.Context, f imageAuditFlags, client *registry.Client, wanted []image.Wanted) error {
	cache, err := f.openCache()
	if err != nil {
		return err
	}
	asker := &image.Asker{Registry: client, Cache: cache, IndexOnly: f.indexOnly}
	if f.programs {
		asker.Starter = &image.Starter{Registry: client}
	}
	over := a.waits("registries", "what they say of "+report.Count(len(wanted), "image"))
	rows, err := asker.Audit(ctx, wanted)
	over()
	f.ask.hint(a.Stderr)
	if err != nil {
		return err
	}
	if cache != nil {
		if err := cache.Save(); err != nil {
			fmt.Fprintf(a.Stderr, "warning: what digests stand for could not be kept: %v\n", err)
		}
	}
	if a.global.output == report.SARIF {
		err = sarif.Write(a.Stdout, a.Version.Version, auditRules, auditResults(rows))
	} else {
		err = a.write(rows, func(w io.Writer) error { return writeAudit(w, rows, client.Stats(), a.color(w)) })
	}
	if err != nil {
		return err
	}
	absent, broken, unknown := 0, 0, 0
	for _, r := range rows {
		switch {
		case r.Verdict == image.VerdictWrong || r.Verdict == image.VerdictMissing:
			broken++
		case r.Level() == image.LevelError:
			absent++
		case r.Level() == image.LevelWarning:
			unknown++
		}
	}
	what := fmt.Sprintf("%s not there for an architecture, %s unknown", are(absent, "image"), are(unknown, "image"))
	if broken > 0 {
		what += fmt.Sprintf(", what pods start does not start in %s", report.Count(broken, "image"))
	}
	return f.failOn.check(absent+broken, unknown, what)
}

// auditRules are the verdicts that are findings.
var auditRules = []sarif.Rule{
	{ID: "image-" + string(image.VerdictNo), Title: "An image that is not made for an architecture", Level: "error", Help: "Build it for that architecture, too, or keep its pods off."},
	{ID: "image-" + string(image.VerdictListed), Title: "An image that the index names and the registry does not have", Level: "error", Help: "Push it again: a clean-up of what has no tag may have deleted it."},
	{ID: "image-" + string(image.VerdictWrong), Title: "A program that does not start on an architecture", Level: "error", Help: "Build the image again for that architecture, or keep its pods off."},
	{ID: "image-" + string(image.VerdictMissing), Title: "A program that the image does not have", Level: "error", Help: "Name one that it has: hybridctl image inspect tells what it starts by itself."},
	{ID: "image-" + string(image.VerdictUnknown), Title: "An image of which the registry tells nothing", Level: "warning", Help: "Log in, or look into the registry."},
}

func auditResults(rows []image.Row) []sarif.Result {
	var out []sarif.Result
	for _, r := range rows {
		if r.Level() == "" {
			continue
		}
		places := r.Where
		if len(places) == 0 {
			places = []image.Place{{Object: r.Image}}
		}
		for _, p := range places {
			out = append(out, sarif.Result{
				Rule: "image-" + string(r.Verdict), Level: string(r.Level()), Message: fmt.Sprintf("%s for %s: %s: %s", r.Image, r.Arch, r.Verdict, report.OneLine(r.Reason)),
				File: p.File, Line: p.Line, Column: p.Column, Logical: p.Object, Fingerprint: strings.Join([]string{p.Object, p.Path, r.Image, r.Arch.String()}, " "),
			})
		}
	}
	return out
}

func are(n int, noun string) string {
	verb := "are"
	if n == 1 {
		verb = "is"
	}
	return report.Count(n, noun) + " " + verb
}

func containsFold(all []string, s string) bool {
	for _, one := range all {
		if strings.EqualFold(one, s) {
			return true
		}
	}
	return false
}

func writeAudit(w io.Writer, rows []image.Row, stats registry.Stats, color bool) error {
	var b bytes.Buffer
	t := report.NewTable("IMAGE", "ARCH", "VERDICT", "REASON")
	for _, r := range rows {
		style := report.Good
		switch {
		case r.Level() == image.LevelError:
			style = report.Bad
		case r.Verdict != image.VerdictYes:
			style = report.Notice
		}
		t.Row(report.C(r.Image), report.C(r.Arch.String()), report.Cell{Text: string(r.Verdict), Style: style}, report.C(r.Reason))
		if r.Level() == "" {
			continue
		}
		for _, place := range r.Where {
			t.Note(place.String())
		}
	}
	if err := t.Write(&b, color); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\n%s\n", report.Count(int(stats.Requests), "request"))
	_, err := w.Write(b.Bytes())
	return err
}
