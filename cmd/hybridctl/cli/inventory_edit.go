package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory/edit"
	"github.com/hybridctl/hybridctl/provision/preflight"
)

// editFlags are those of the verbs that change an inventory.
type editFlags struct {
	clusterFlags
	dryRun bool
}

func (f *editFlags) register(cmd *cobra.Command) {
	f.registerInventory(cmd)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the difference and write nothing")
}

// editDocument is what the verbs that change an inventory write as JSON and YAML.
type editDocument struct {
	File    string `json:"file"`
	Changed bool   `json:"changed"` // whether the edit makes a difference
	Written bool   `json:"written"`
	Diff    string `json:"diff,omitempty"` // as diff -u writes it
}

func newInventorySet(a *app) *cobra.Command {
	var f editFlags
	cmd := &cobra.Command{
		Use:   "set PATH=VALUE...",
		Short: "Give fields of an inventory a value",
		Long: `set gives fields a value, and makes those that are not there. All other lines stay as they are, and what would not be a valid
inventory is not written. Items of lists are named by their name or number; the number after the last one adds an item. Lists and
mappings are written in brackets.`,
		Example: `  hybridctl inventory set spec.kubernetes.version=v1.36.4
  hybridctl inventory set 'spec.hosts[arm-1].labels.zone=a' 'spec.hosts[arm-1].labels[example.com/rack]=a1'
  hybridctl inventory set 'spec.preflight.ignore=[swap, memory]'`,
		Args: someArgs("PATH=VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var edits []edit.Edit
			for _, arg := range args {
				path, value, ok := cutAssignment(arg)
				if !ok {
					return hint.With(usagef("%q is not PATH=VALUE, as in spec.kubernetes.version=v1.36.3", arg), "%s unset takes a field out", cmd.Parent().CommandPath())
				}
				edits = append(edits, edit.Set(path, value))
			}
			return a.editInventory(f, edits...)
		},
	}
	f.register(cmd)
	return cmd
}

// cutAssignment cuts at the first = that is not in brackets.
func cutAssignment(arg string) (path, value string, ok bool) {
	depth := 0
	for i, c := range arg {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == '=' && depth == 0:
			return arg[:i], arg[i+1:], i > 0
		}
	}
	return "", "", false
}

func newInventoryUnset(a *app) *cobra.Command {
	var f editFlags
	cmd := &cobra.Command{
		Use:   "unset PATH...",
		Short: "Take fields out of an inventory",
		Long: `unset deletes fields, or items of lists, and what held them when that is empty then. Comments on lines of their own stay,
except those inside of what is deleted. Paths are those of set; numbers are those of the file as it is.`,
		Example: `  hybridctl inventory unset 'spec.hosts[arm-1].labels.zone'`,
		Args:    someArgs("PATH"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.editInventory(f, edit.UnsetAll(args)) },
	}
	f.register(cmd)
	return cmd
}

func newInventoryRm(a *app) *cobra.Command {
	var f editFlags
	cmd := &cobra.Command{
		Use:   "rm HOST...",
		Short: "Take hosts out of an inventory",
		Long: `rm takes hosts out of the inventory, and does nothing to the cluster: a host that is a node stays one. Comments on lines of their own
stay, except those inside of what is deleted.`,
		Args: someArgs("HOST"),
		RunE: func(_ *cobra.Command, args []string) error { return a.editInventory(f, each(args, edit.RemoveHost)...) },
	}
	f.register(cmd)
	return cmd
}

func newInventoryRename(a *app) *cobra.Command {
	var f editFlags
	cmd := &cobra.Command{
		Use:   "rename OLD NEW",
		Short: "Give a host of an inventory another name",
		Long: `rename gives a host another name, also where other hosts are reached through it. The name is the node's too: a host that has joined
the cluster keeps its old one there.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("%s wants two names, the old and the new one", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return a.editInventory(f, edit.RenameHost(args[0], args[1]))
		},
	}
	f.register(cmd)
	return cmd
}

func newInventoryFmt(a *app) *cobra.Command {
	var f editFlags
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "fmt",
		Short: "Tidy an inventory's white space and line ends",
		Long: `fmt takes away what cannot be seen: white space at the end of lines, needless empty lines, the line ends of other systems. Comments,
order, quotes and indentation are yours and stay.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			changed, err := a.edited(f, edit.Format())
			if err == nil && changed && exitCode {
				return errChanges
			}
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 10 when there is something to tidy")
	return cmd
}

func each(args []string, make func(string) edit.Edit) []edit.Edit {
	edits := []edit.Edit{}
	for _, arg := range args {
		edits = append(edits, make(arg))
	}
	return edits
}

// someArgs is for verbs that take at least one argument.
func someArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s wants at least one %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

func (a *app) editInventory(f editFlags, edits ...edit.Edit) error {
	_, err := a.edited(f, edits...)
	return err
}

// edited carries out edits, writes the file, and shows what they changed.
func (a *app) edited(f editFlags, edits ...edit.Edit) (changed bool, err error) {
	file, err := openInventory(f.inventory)
	if err != nil {
		return false, err
	}
	c, err := file.Apply(edits...)
	if err == nil {
		err = c.ValidatePreflightNames(preflight.Names())
	}
	if err != nil {
		return false, asEditError(err)
	}
	if !f.dryRun {
		if err := file.Write(); err != nil {
			return false, err
		}
	}
	doc := editDocument{File: file.Name, Changed: file.Changed(), Written: file.Changed() && !f.dryRun, Diff: file.Diff()}
	return doc.Changed, a.write(doc, doc.text)
}

func (d editDocument) text(w io.Writer) error {
	result := "nothing to change"
	switch {
	case d.Written:
		result = "written"
	case d.Changed:
		result = "not written, because of --dry-run"
	}
	_, err := fmt.Fprintf(w, "%s%s: %s\n", d.Diff, d.File, result)
	return err
}

// openInventory reads the inventory that is to be edited.
func openInventory(path string) (*edit.File, error) {
	file, err := edit.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noInventory(path)
	}
	if err != nil {
		return nil, asUsageError(err)
	}
	return file, nil
}

// asEditError makes errors about paths and hosts the user's; those about the text are already.
func asEditError(err error) error {
	if path := (*edit.PathError)(nil); errors.As(err, &path) {
		return asUsageError(err)
	}
	return err
}
