package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/inventory/edit"
	"github.com/hybridctl/hybridctl/provision/inventory/foreign"
	"github.com/hybridctl/hybridctl/provision/report"
)

// importFlags say what the other tool's inventory does not.
type importFlags struct {
	out, name, version, bundle, endpoint string
}

// importDocument is what inventory import writes as JSON and YAML.
type importDocument struct {
	File      string             `json:"file,omitempty"` // what was written
	Hosts     int                `json:"hosts"`
	Inventory string             `json:"inventory"`
	Left      []foreign.Leftover `json:"left"` // what has no counterpart
}

func newInventoryImport(a *app) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make an inventory of one of Ansible or k0sctl",
		Long: `import reads an inventory of Ansible (kubespray's groups, in either format) or a k0sctl file, and writes the inventory that says the
same. Whatever has no counterpart is reported on stderr, with its line. Where FILE names no version of Kubernetes, it is the bundle's, and
without a bundle the newest of hybridctl's catalogue.`,
		Example: `  hybridctl inventory import hosts.ini --out inventory.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s wants one file", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.importInventory(args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.out, "out", "", "the file to write, which must not be there yet (default stdout)")
	flags.StringVar(&f.name, "name", "", "the cluster's name (default the file's, or what it says)")
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "kubernetes-version" { // as it was called once
			name = "kubernetes"
		}
		return pflag.NormalizedName(name)
	})
	flags.StringVar(&f.version, "kubernetes", "", "the version of Kubernetes (default what the file says, else the bundle's, else the newest of hybridctl's catalogue)")
	flags.StringVar(&f.bundle, "bundle", "", bundleUsage)
	flags.StringVar(&f.endpoint, "endpoint", "", "host:port of the API server, needed with several control-plane hosts")
	return cmd
}

func (a *app) importInventory(file string, f importFlags) error {
	data, err := inventory.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return hint.With(usagef("%s: no such file", file), "name an inventory of Ansible or k0sctl")
	}
	if err != nil {
		return asUsageError(err)
	}
	draft, err := foreign.Read(file, data)
	draft.Left = append(draft.Left, besides(file)...)
	var text []byte
	if err == nil {
		text, err = f.document(&draft, file)
	}
	if a.global.output == report.Text || err != nil { // a refusal is understood by what was left out
		for _, l := range draft.Left {
			fmt.Fprintln(a.Stderr, report.OneLine(l.String()))
		}
	}
	if err != nil {
		return err
	}
	doc := importDocument{File: f.out, Hosts: len(draft.Cluster.Spec.Hosts), Inventory: string(text), Left: append([]foreign.Leftover{}, draft.Left...)}
	if f.out != "" {
		if err := create(f.out, text); err != nil {
			return err
		}
	}
	return a.write(doc, doc.text)
}

// document is the new inventory's text. Its problems are reported with the places that they come from: the new file does not exist yet.
func (f importFlags) document(draft *foreign.Draft, file string) ([]byte, error) {
	if err := f.complete(draft, file); err != nil {
		return nil, err
	}
	text, err := inventory.Show(&draft.Cluster, false)
	if err != nil {
		return nil, err
	}
	text = append([]byte("# Made of "+report.OneLine(filepath.Base(file))+" by hybridctl inventory import.\n"), text...)
	_, err = inventory.Parse(cmp.Or(f.out, "inventory.yaml"), text)
	var problems *inventory.Problems
	if errors.As(err, &problems) {
		for i := range problems.List {
			problems.List[i] = draft.Place(file, problems.List[i])
		}
	}
	if err != nil {
		return nil, flagsFor(problems, fmt.Errorf("nothing was written, as the inventory made of it would have these problems:\n%w", err))
	}
	return text, nil
}

// flagsFor adds to an error the flags that say what the other tool's file does not.
func flagsFor(problems *inventory.Problems, err error) error {
	if problems == nil {
		return err
	}
	for _, p := range problems.List {
		switch p.Path {
		case "spec.kubernetes.endpoint":
			err = hint.With(err, "--endpoint HOST:PORT gives it")
		case "spec.kubernetes.version":
			err = hint.With(err, "--kubernetes VERSION takes another version")
		}
	}
	return err
}

// besides are the folders where Ansible would look for more variables.
func besides(file string) []foreign.Leftover {
	var left []foreign.Leftover
	for _, name := range []string{"group_vars", "host_vars"} {
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), name)); err == nil {
			left = append(left, foreign.Leftover{File: file, What: name + " beside it", Why: "is not read"})
		}
	}
	return left
}

func create(file string, text []byte) error {
	if file == "-" {
		return hint.With(usagef("an inventory is a file, and - names none"), "name one with --out FILE")
	}
	err := edit.Create(file, text)
	if errors.Is(err, fs.ErrExist) {
		return isThere(file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return hint.With(usagef("there is no folder %s for %s", filepath.Dir(file), file), "make it, or name another file with --out")
	}
	return err
}

func isThere(file string) error {
	return hint.With(usagef("%s is there already", file), "name another file with --out, or move it away")
}

// complete fills in what the file did not say.
func (f importFlags) complete(draft *foreign.Draft, file string) error {
	c := &draft.Cluster
	base := strings.ToLower(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
	c.Metadata.Name = cmp.Or(f.name, c.Metadata.Name, strings.ReplaceAll(base, "_", "-"))
	c.Spec.Bundle = cmp.Or(f.bundle, bundleBeside(f.out))
	k := &c.Spec.Kubernetes
	k.Endpoint = cmp.Or(f.endpoint, k.Endpoint)
	k.Version = cmp.Or(f.version, k.Version)
	switch {
	case k.Version != "":
		return nil
	case c.Spec.Bundle == "":
		k.Version = catalogue.Embedded().Versions()[0]
		draft.Left = append(draft.Left, foreign.Leftover{File: file, What: "version of Kubernetes",
			Why: "is not named; " + k.Version + ", the newest of hybridctl's catalogue, is written (another: --kubernetes)"})
		return nil
	}
	dir, err := bundleDirOf(f.out, c.Spec.Bundle)
	if err != nil {
		return err
	}
	b, err := bundle.Open(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, bundle.ErrNotBundle) {
		return hint.With(usagef("%s names no version of Kubernetes, and %s is no bundle that does", file, dir), "give --kubernetes VERSION, or another --bundle")
	}
	if err != nil {
		return err
	}
	k.Version = b.Manifest.KubernetesVersion
	return nil
}

// bundleUsage is the help of --bundle where an inventory is made of what there is.
const bundleUsage = "the bundle, relative to the new inventory's folder (default ./bundle where one is there, else none: hybridctl fetches what it needs)"

// bundleBeside is how the new inventory out names the bundle in its folder; "" = none is there.
func bundleBeside(out string) string {
	const name = "./bundle"
	dir, err := bundleDirOf(out, name)
	if err == nil {
		_, err = bundle.Open(dir)
	}
	if err != nil {
		return ""
	}
	return name
}

// bundleDirOf is the bundle of the new inventory out as this process finds it.
func bundleDirOf(out, name string) (string, error) {
	dir, wrong, mend := inventory.ResolvePath(name, filepath.Dir(out))
	if wrong != "" {
		return "", hint.With(usagef("--bundle: %s", wrong), "%s", mend)
	}
	return dir, nil
}

func (d importDocument) text(w io.Writer) error {
	if d.File == "" {
		_, err := io.WriteString(w, d.Inventory)
		return err
	}
	_, err := fmt.Fprintf(w, "%s: written, %s\n", d.File, report.Count(d.Hosts, "host"))
	return err
}
