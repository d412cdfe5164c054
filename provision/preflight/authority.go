package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// Authority is the cluster's own certificate authorities, by the word of its kubeconfig.
type Authority struct {
	Hashes  []string // pins, "sha256:<hex>": any of them is the cluster's
	Unknown error    // why they are not known
}

// MayReset refuses to reset a host in the name of a cluster that it is not known to be of. What the host has to lose are a node's files: one
// that trusts no authority, or has no mark of hybridctl's, is nobody's node that would be reset. The error says what it has, and why that is
// not known to be this cluster's.
func (a Authority) MayReset(f facts.Host) error {
	k := f.Kubeadm
	switch {
	case f.Err != nil, k.CACertHash == "", len(f.Markers) == 0, slices.Contains(a.Hashes, k.CACertHash):
		return nil
	case a.Unknown != nil:
		return fmt.Errorf("%s is a node of a cluster (%s) that trusts the cluster CA %s, and which one is this cluster's is not known: %w",
			f.Name, cmp.Or(k.Server, "API server unknown"), k.CACertHash, a.Unknown)
	}
	return fmt.Errorf("%s is a node of another cluster (%s): it trusts the cluster CA %s, this cluster's is %s",
		f.Name, cmp.Or(k.Server, "API server unknown"), k.CACertHash, strings.Join(a.Hashes, ", "))
}

// Agrees refuses to work with hosts of which some are of the cluster that the kept kubeconfig is of, and others of another one. Where all of
// them agree on another authority, they were initialised again since it was kept.
func (a Authority) Agrees(c *inventory.Cluster, hosts []facts.Host) error {
	if a.Unknown != nil {
		return nil // the hosts are compared with each other
	}
	var ours, others []string
	for _, f := range hosts {
		switch k := f.Kubeadm; {
		case f.Err != nil, k.CACertHash == "", len(f.Markers) == 0:
		case slices.Contains(a.Hashes, k.CACertHash):
			ours = append(ours, f.Name)
		default:
			others = append(others, f.Name)
		}
	}
	first := c.Bootstrap().Name
	if len(others) == 0 || len(ours) == 0 && slices.Contains(others, first) {
		return nil
	}
	slices.Sort(others)
	return fmt.Errorf("%s: of another cluster than the kubeconfig that is kept (its cluster CA is %s); if that cluster is not needed: kubeadm reset on the host; "+
		"else take it out of the inventory: hybridctl inventory rm %s", list(others), strings.Join(a.Hashes, ", "), others[0])
}
