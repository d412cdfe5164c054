package cli

import (
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// listedHost is what inventory ls writes of a host as JSON and YAML.
type listedHost struct {
	Name    string            `json:"name"`
	Role    string            `json:"role"`
	Arch    string            `json:"arch,omitempty"` // as declared
	Address string            `json:"address"`
	Port    int               `json:"port,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Taints  []string          `json:"taints,omitempty"`
}

func newInventoryLs(a *app) *cobra.Command {
	var f clusterFlags
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the hosts of an inventory",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := loadInventory(f.inventory)
			if err != nil {
				return err
			}
			return a.listHosts(c)
		},
	}
	f.registerInventory(cmd)
	return cmd
}

func (a *app) listHosts(c *inventory.Cluster) error {
	hosts := make([]listedHost, len(c.Spec.Hosts))
	t := report.NewTable("HOST", "ROLE", "ARCH", "ADDRESS", "LABELS")
	for i, h := range c.Spec.Hosts {
		hosts[i] = listedHost{h.Name, string(h.Role), string(h.Arch), h.Address, h.Port, h.Labels, h.Taints}
		address := h.Address
		if h.Port != 0 {
			address += ":" + strconv.Itoa(h.Port)
		}
		t.Row(report.C(h.Name), report.C(string(h.Role)), report.C(string(h.Arch)), report.C(address), report.C(labelsInOneLine(h.Labels)))
	}
	return a.write(hosts, func(w io.Writer) error { return t.Write(w, a.color(w)) })
}

func labelsInOneLine(labels map[string]string) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, key+"="+labels[key])
	}
	return strings.Join(words, ",")
}
