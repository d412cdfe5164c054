package plan

import (
	"slices"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Candidates returns the hosts of the inventory that are to become nodes, in its order: those without a node, and those that an earlier
// run began with and did not finish. names restricts them; nil = all.
func Candidates(c *inventory.Cluster, nodes []facts.Node, unfinished func(host string) bool, names []string) []inventory.Host {
	there := map[string]bool{}
	for _, n := range nodes {
		there[n.Name] = true
	}
	var out []inventory.Host
	for _, h := range c.Managed() {
		if names != nil && !slices.Contains(names, h.Name) {
			continue
		}
		if !there[h.Name] || unfinished(h.Name) {
			out = append(out, h)
		}
	}
	return out
}

// OfArch returns the hosts that have the architecture. A host that was not reached stays when the inventory does not say that it has
// another, so that it is not forgotten.
func OfArch(hosts []inventory.Host, observed []facts.Host, arch platform.Arch) []inventory.Host {
	is := map[string]facts.Host{}
	for _, f := range observed {
		is[f.Name] = f
	}
	var out []inventory.Host
	for _, h := range hosts {
		f := is[h.Name]
		if f.Err == nil && f.Arch == arch || f.Err != nil && (h.Arch == "" || h.Arch == arch) {
			out = append(out, h)
		}
	}
	return out
}
