package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

func newInventory(a *app) *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "inventory",
		Short: "Show, check and edit inventories",
	})
	cmd.AddCommand(
		newInventoryShow(a), newInventoryLs(a), newInventorySchema(a), newInventoryValidate(a), newInventoryImport(a),
		newInventoryAdd(a), newInventoryRm(a), newInventoryRename(a), newInventorySet(a), newInventoryUnset(a), newInventoryFmt(a),
	)
	return cmd
}

func newInventoryShow(a *app) *cobra.Command {
	var f clusterFlags
	var defaults bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Write the inventory as hybridctl understands it",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := loadInventory(f.inventory)
			if err != nil {
				return err
			}
			doc, err := inventory.Show(c, defaults)
			if err != nil {
				return err
			}
			return a.writeYAML(doc)
		},
	}
	f.registerInventory(cmd)
	cmd.Flags().BoolVar(&defaults, "defaults", false, "fill in what the inventory leaves to hybridctl")
	return cmd
}

func newInventorySchema(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Write the JSON schema of inventories, for editors and for reading",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			doc, err := inventory.Schema()
			if err != nil {
				return err
			}
			return a.writeJSON(doc)
		},
	}
}

// inventoryDocument is what inventory validate writes as JSON and YAML.
type inventoryDocument struct {
	File     string             `json:"file"`
	Cluster  string             `json:"cluster,omitempty"`
	Hosts    int                `json:"hosts,omitempty"`
	Problems []inventoryProblem `json:"problems"`
}

type inventoryProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"` // of the field: spec.hosts[2].address
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func newInventoryValidate(a *app) *cobra.Command {
	var f clusterFlags
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check an inventory without connecting anywhere",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return a.validate(f.inventory) },
	}
	f.registerInventory(cmd)
	return cmd
}

// validate writes problems as data when data was asked for; the error then says on stderr what is wrong, as everywhere.
func (a *app) validate(file string) error {
	c, err := loadInventory(file)
	doc := inventoryDocument{File: file, Problems: []inventoryProblem{}}
	var problems *inventory.Problems
	switch {
	case err == nil:
		doc.Cluster, doc.Hosts = c.Metadata.Name, len(c.Spec.Hosts)
	case errors.As(err, &problems):
		for _, p := range problems.List {
			doc.Problems = append(doc.Problems, inventoryProblem(p))
		}
	default:
		return err
	}
	werr := a.write(doc, func(w io.Writer) error {
		if err != nil {
			return nil // the error itself is the text
		}
		_, werr := fmt.Fprintf(w, "%s: cluster %s, %s, no problems\n", doc.File, doc.Cluster, report.Count(doc.Hosts, "host"))
		return werr
	})
	if err == nil {
		err = werr
	}
	return err
}
