package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/cmd/hybridctl/progress"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/report"
)

func newBundle(a *app) *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "bundle",
		Short: "Make, check, compare and carry bundles: the files that a cluster is built from",
	})
	cmd.AddCommand(newBundleCatalogue(a), newBundleCreate(a), newBundleVerify(a), newBundleList(a), newBundleDiff(a), newBundleExport(a), newBundleImport(a))
	cmd.AddCommand(newBundleFetch(a), newBundlePush(a), newBundleGC(a))
	return cmd
}

func newBundleCreate(a *app) *cobra.Command {
	var source string
	var from sourceFlags
	cmd := &cobra.Command{
		Use:   "create [DIR]",
		Short: "Make a bundle from local files and OCI archives",
		Long: `create makes the bundle DIR ("bundle" in the current directory by default) of what a file names: binaries, OCI layouts and archives.
What the file names by its address, https:// with a sha256 or registry://, is fetched first, as bundle fetch does.
A bundle that is there already is replaced once the new one is whole; any other directory is left alone.`,
		Args: atMostOneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.bundleCreate(cmd.Context(), source, from, append(args, "bundle")[0])
		},
	}
	cmd.Flags().StringVarP(&source, "file", "f", "bundle.yaml", "what the bundle is made of")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml") // the flag is there
	from.register(cmd)
	return cmd
}

func (a *app) bundleCreate(ctx context.Context, source string, from sourceFlags, dir string) (err error) {
	if _, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) {
		return hint.With(usagef("%s: no such file", source), `-f FILE names what the bundle is made of; "hybridctl bundle fetch" makes one without a file`)
	}
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	sink, done := a.bundleProgress()
	remote := &lazyRemote{from: from, lock: lockBeside(dir), sink: sink}
	defer func() { err = errors.Join(err, remote.close()) }()
	b, err := bundle.Create(ctx, source, dir, bundle.CreateOptions{Remote: remote, Progress: making(sink)})
	done()
	if err != nil {
		return err
	}
	if o, err := from.options(); err == nil {
		warnOfIdle(a.Stderr, o.Sources, remote.places)
	}
	return a.write(b.Manifest, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "bundle %s: %s\n", dir, contents(b))
		return err
	})
}

// bundleProgress shows how far the making of a bundle is, until done is called.
func (a *app) bundleProgress() (sink report.Sink, done func()) {
	view := progress.New(progress.Options{
		Out: a.Stderr, Live: a.canDraw(a.Stderr), JSON: a.global.logFormat == logJSON, Color: a.color(a.Stderr),
	})
	sink, over := a.silence(view, "bundle", "the bundle's files to be read and written")
	return sink, func() {
		over()
		view.Close()
	}
}

// making shows what package bundle tells.
func making(sink report.Sink) func(bundle.Progress) {
	return func(p bundle.Progress) {
		sink.Event(report.Event{Kind: report.Progress, Host: "bundle", Step: p.Doing, Bytes: p.Bytes, Total: p.Total})
	}
}

// contents says what a bundle holds: "Kubernetes v1.36.3, 26 binaries and 9 images for amd64, arm64".
func contents(b *bundle.Bundle) string {
	return fmt.Sprintf("Kubernetes %s, %d binaries and %d images for %s",
		b.Manifest.KubernetesVersion, len(b.Manifest.Binaries), len(b.Manifest.Images), commaArchs(b.Archs()))
}

// bundleDir is the bundle a verb is about: the one named, or else the inventory's.
func bundleDir(args []string, inventoryFile string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	c, err := loadInventory(inventoryFile)
	if err != nil {
		return "", err
	}
	if c.Spec.Bundle == "" {
		return "", hint.With(usagef("%s names no bundle", inventoryFile), `name one on the command line; "hybridctl bundle fetch" makes it`)
	}
	return c.Spec.Bundle, nil
}

func atMostOneDir(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes one directory at most, but %d were given", cmd.CommandPath(), len(args))
	}
	return nil
}

// bundleFindings is what bundle verify writes as JSON and YAML.
type bundleFindings struct {
	Bundle   string           `json:"bundle"`
	Findings []bundle.Finding `json:"findings"`
}

func newBundleVerify(a *app) *cobra.Command {
	var f clusterFlags
	cmd := &cobra.Command{
		Use:   "verify [BUNDLE]",
		Short: "Read a whole bundle, the inventory's by default, and check every file in it",
		Args:  atMostOneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := bundleDir(args, f.inventory)
			if err != nil {
				return err
			}
			return a.bundleVerify(cmd.Context(), dir)
		},
	}
	f.registerInventory(cmd)
	return cmd
}

func (a *app) bundleVerify(ctx context.Context, dir string) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	over := a.waits("bundle", "its files to be read")
	findings, err := bundle.Verify(ctx, dir)
	over()
	if err != nil {
		return err
	}
	doc := bundleFindings{Bundle: dir, Findings: append([]bundle.Finding{}, findings...)}
	err = a.write(doc, func(w io.Writer) error {
		for _, f := range findings {
			if _, err := fmt.Fprintln(w, report.OneLine(f.String())); err != nil {
				return err
			}
		}
		if len(findings) > 0 {
			return nil
		}
		_, err := fmt.Fprintf(w, "bundle %s is good\n", dir)
		return err
	})
	if err == nil && len(findings) > 0 {
		err = fmt.Errorf("bundle %s has %s", dir, report.Count(len(findings), "problem"))
	}
	return err
}

// bundleList is what bundle list writes as JSON and YAML.
type bundleList struct {
	Bundle            string        `json:"bundle"`
	KubernetesVersion string        `json:"kubernetesVersion"`
	Items             []bundle.Item `json:"items"`
}

func newBundleList(a *app) *cobra.Command {
	var f clusterFlags
	cmd := &cobra.Command{
		Use:   "list [BUNDLE]",
		Short: "Show what a bundle, the inventory's by default, holds",
		Args:  atMostOneDir,
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := bundleDir(args, f.inventory)
			if err != nil {
				return err
			}
			return a.bundleList(dir)
		},
	}
	f.registerInventory(cmd)
	return cmd
}

func (a *app) bundleList(dir string) error {
	b, err := bundle.Open(dir)
	if err != nil {
		return err
	}
	items, err := b.List()
	if err != nil {
		return err
	}
	doc := bundleList{Bundle: dir, KubernetesVersion: b.Manifest.KubernetesVersion, Items: items}
	return a.write(doc, func(w io.Writer) error { return doc.text(w, a.color(w)) })
}

func (d bundleList) text(w io.Writer, color bool) error {
	t := report.NewTable("KIND", "COMPONENT", "NAME", "VERSION", "SIZE")
	for _, i := range d.Items {
		var sizes []string
		for _, arch := range i.Archs {
			sizes = append(sizes, arch.String()+" "+report.Bytes(i.Sizes[arch]))
		}
		t.Row(report.C(i.Kind), report.C(i.Component), report.C(i.Name), report.C(i.Version), report.C(strings.Join(sizes, ", ")))
	}
	if _, err := fmt.Fprintf(w, "bundle %s: Kubernetes %s\n\n", d.Bundle, d.KubernetesVersion); err != nil {
		return err
	}
	return t.Write(w, color)
}
