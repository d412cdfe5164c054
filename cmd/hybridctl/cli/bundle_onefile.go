package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/report"
)

// bundleExport is what bundle export writes as JSON and YAML.
type bundleExport struct {
	Bundle string `json:"bundle"`
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
}

func newBundleExport(a *app) *cobra.Command {
	var f clusterFlags
	cmd := &cobra.Command{
		Use:   "export FILE.tar [BUNDLE]",
		Short: "Write a bundle, the inventory's by default, into one file",
		Long: `export writes a bundle into one file, to carry it to where the cluster will be: "spec.bundle: FILE.tar" uses it in place, and import unpacks
it. Every file is verified while it is read, and the same bundle always gives the same bytes. It is written to FILE.tar.part and renamed
when it is whole; an export that was interrupted goes on where it was.`,
		Args: fileAndDir("the file to write"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := bundleDir(args[1:], f.inventory)
			if err != nil {
				return err
			}
			return a.bundleExport(cmd.Context(), dir, args[0])
		},
	}
	f.registerInventory(cmd)
	return cmd
}

// fileAndDir is for verbs that take a file, and a bundle or directory if need be.
func fileAndDir(file string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < 1 || len(args) > 2 {
			return usagef("%s wants %s, and takes one bundle's directory at most", cmd.CommandPath(), file)
		}
		return nil
	}
}

func (a *app) bundleExport(ctx context.Context, dir, file string) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	sink, done := a.bundleProgress()
	err := bundle.Export(ctx, dir, file, bundle.CreateOptions{Progress: making(sink)})
	done()
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	doc := bundleExport{Bundle: dir, File: file, Bytes: info.Size()}
	return a.write(doc, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: written, %s\n", file, report.Bytes(doc.Bytes))
		return err
	})
}

func newBundleImport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE.tar [DIR]",
		Short: "Unpack a bundle in one file",
		Long: `import unpacks what export wrote into the bundle DIR ("bundle" in the current directory by default). All of it is verified before it takes
DIR's place: a file that is damaged, or holds anything that no bundle holds, leaves DIR as it was. A bundle that is there already is replaced,
any other directory is left alone.`,
		Args: fileAndDir("the file to unpack"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.bundleImport(cmd.Context(), args[0], append(args, "bundle")[1])
		},
	}
	return cmd
}

func (a *app) bundleImport(ctx context.Context, file, dir string) error {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	sink, done := a.bundleProgress()
	b, err := bundle.Import(ctx, file, dir, bundle.CreateOptions{Progress: making(sink)})
	done()
	if err != nil {
		return err
	}
	return a.write(b.Manifest, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "bundle %s: %s\n", dir, contents(b))
		return err
	})
}

// bundleDifferences is what bundle diff writes as JSON and YAML.
type bundleDifferences struct {
	Before      string              `json:"before"`
	After       string              `json:"after"`
	Kubernetes  [2]string           `json:"kubernetes"` // version before and after
	Differences []bundle.Difference `json:"differences"`
}

func newBundleDiff(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "diff BEFORE AFTER",
		Short: "Show what two bundles do not have in common",
		Long: `diff compares two bundles, each a directory or one file, by what their tables of contents say: binaries and images by name, version, digest
and architecture. It ends with 0 when they hold the same, and with 10 when they do not.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("%s wants two bundles", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.bundleDiff(args[0], args[1]) },
	}
}

func (a *app) bundleDiff(before, after string) error {
	old, err := bundle.Open(before)
	if err != nil {
		return err
	}
	now, err := bundle.Open(after)
	if err != nil {
		return err
	}
	doc := bundleDifferences{
		Before: before, After: after, Kubernetes: [2]string{old.Manifest.KubernetesVersion, now.Manifest.KubernetesVersion},
		Differences: append([]bundle.Difference{}, bundle.Diff(old, now)...),
	}
	same := len(doc.Differences) == 0 && doc.Kubernetes[0] == doc.Kubernetes[1]
	err = a.write(doc, func(w io.Writer) error {
		if same {
			_, err := fmt.Fprintf(w, "%s and %s hold the same\n", before, after)
			return err
		}
		return doc.text(w, a.color(w))
	})
	if err == nil && !same {
		err = errChanges
	}
	return err
}

func (d bundleDifferences) text(w io.Writer, color bool) error {
	if k := d.Kubernetes; k[0] != k[1] {
		if _, err := fmt.Fprintf(w, "Kubernetes %s before, %s after\n\n", k[0], k[1]); err != nil {
			return err
		}
	}
	t := report.NewTable("WHAT", "KIND", "COMPONENT", "NAME", "ARCH", "BEFORE", "AFTER")
	for _, one := range d.Differences {
		arch := "index"
		if one.Arch != "" || one.Kind == "binary" {
			arch = one.Arch.String()
		}
		t.Row(report.C(one.What), report.C(one.Kind), report.C(one.Component), report.C(one.Name), report.C(arch), report.C(shortContent(one.Before)), report.C(shortContent(one.After)))
	}
	return t.Write(w, color)
}

// shortContent is a version with the beginning of its digest: "v1.36.3 0a1b2c3d4e5f".
func shortContent(c *bundle.Content) string {
	const prefix, digits = len("sha256:"), 12
	if c == nil {
		return "-"
	}
	digest := c.Digest
	if len(digest) > prefix+digits {
		digest = digest[prefix : prefix+digits]
	}
	return c.Version + " " + digest
}
