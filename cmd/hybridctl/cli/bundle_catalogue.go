package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// catalogueDocument is what bundle catalogue writes as JSON and YAML.
type catalogueDocument struct {
	Catalogue string            `json:"catalogue,omitempty"` // the file; absent for hybridctl's own
	Sets      []catalogue.Set   `json:"sets"`                // one for each Kubernetes version; with --kubernetes that one alone
	Entries   []catalogue.Entry `json:"entries,omitempty"`   // all that is known; not with --kubernetes
}

func newBundleCatalogue(a *app) *cobra.Command {
	var version, file string
	cmd := &cobra.Command{
		Use:   "catalogue",
		Short: "Show which Kubernetes versions there are files for, from where, and with which sums",
		Long: `catalogue shows what hybridctl knows of upstream's files: for each Kubernetes version the set that goes with it, and with --kubernetes the
address and sha256 of every file of that set, and its images. --catalogue reads one of your own, of the same form, instead.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.bundleCatalogue(version, file) },
	}
	cmd.Flags().StringVar(&version, "kubernetes", "", "the set of that version alone, with every address and sum")
	cmd.Flags().StringVar(&file, "catalogue", "", "a catalogue of your own: `FILE`")
	_ = cmd.MarkFlagFilename("catalogue", "yaml", "yml") // the flag is there
	return cmd
}

// openCatalogue reads the user's catalogue, or gives hybridctl's own.
func openCatalogue(file string) (*catalogue.Catalogue, error) {
	if file == "" {
		return catalogue.Embedded(), nil
	}
	return catalogue.Read(file)
}

func (a *app) bundleCatalogue(version, file string) error {
	c, err := openCatalogue(file)
	if err != nil {
		return err
	}
	doc := catalogueDocument{Catalogue: file}
	versions := []string{version}
	if version == "" {
		versions, doc.Entries = c.Versions(), c.Entries()
	}
	for _, v := range versions {
		s, err := c.Set(v, c.Archs(v), c.Optional()...)
		if err != nil {
			return err
		}
		doc.Sets = append(doc.Sets, s)
	}
	return a.write(doc, func(w io.Writer) error {
		if version != "" {
			return writeSet(w, doc.Sets[0], a.color(w))
		}
		return doc.text(w, a.color(w))
	})
}

// text shows the sets, a line each, and beneath them what is known and in no set.
func (d catalogueDocument) text(w io.Writer, color bool) error {
	components := []string{bundle.Containerd, bundle.Runc, bundle.CNIPlugins, bundle.Crictl, bundle.Etcd, bundle.CoreDNS, bundle.Pause, bundle.Flannel, bundle.CephCSI}
	head := []string{"KUBERNETES", "ARCHITECTURES"}
	for _, c := range components {
		head = append(head, strings.ToUpper(c))
	}
	t := report.NewTable(head...)
	for _, s := range d.Sets {
		has := versionsOf(s)
		cells := []report.Cell{report.C(s.Kubernetes), report.C(commaArchs(s.Archs))}
		for _, c := range components {
			cells = append(cells, report.C(cmp.Or(has[c], "-")))
		}
		t.Row(cells...)
		for _, n := range s.Notes {
			t.Note("note: " + n)
		}
	}
	if err := t.Write(w, color); err != nil {
		return err
	}
	unused := report.NewTable("IN NO SET", "VERSION", "SOURCE", "WHY")
	for _, e := range d.Entries {
		if !e.Default {
			unused.Row(report.C(e.Name), report.C(e.Version), report.C(e.Source), report.C(e.Note))
		}
	}
	if unused.Len() == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return unused.Write(w, color)
}

// versionsOf tells the version of each component of a set; of images it is the tag.
func versionsOf(s catalogue.Set) map[string]string {
	has := map[string]string{}
	for _, f := range s.Files {
		has[f.Component] = f.Version
	}
	for _, i := range s.Images {
		has[i.Component] = i.Ref[strings.LastIndex(i.Ref, ":")+1:]
	}
	return has
}

func commaArchs(archs []platform.Arch) string {
	var names []string
	for _, a := range archs {
		names = append(names, a.String())
	}
	return strings.Join(names, ", ")
}

// writeSet shows one set: files, images, and the images that are made here.
func writeSet(w io.Writer, s catalogue.Set, color bool) error {
	if _, err := fmt.Fprintf(w, "Kubernetes %s for %s\n", s.Kubernetes, commaArchs(s.Archs)); err != nil {
		return err
	}
	for _, n := range s.Notes {
		if _, err := fmt.Fprintf(w, "note: %s\n", report.OneLine(n)); err != nil {
			return err
		}
	}
	files := report.NewTable("FILE", "VERSION", "ARCH", "ADDRESS", "SHA256")
	for _, f := range s.Files {
		files.Row(report.C(f.Name), report.C(f.Version), report.C(f.Arch.String()), report.C(f.URL), report.C(f.SHA256))
	}
	images := report.NewTable("IMAGE", "NAME", "DIGEST")
	for _, i := range s.Images {
		images.Row(report.C(i.Component), report.C(i.Ref), report.C(cmp.Or(i.Digest, "that of the first fetch")))
	}
	for _, p := range s.Programs {
		images.Row(report.C(p.Component), report.C(p.Ref), report.C("made of a program that comes with hybridctl"))
	}
	for _, t := range []*report.Table{files, images} {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := t.Write(w, color); err != nil {
			return err
		}
	}
	return nil
}
