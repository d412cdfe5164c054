package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// Authority is the cluster's own certificate authorities, by the word of its kubeconfig.
type Authority struct {
	Hashes  []string // pins, "sha256:<hex>": any of them is the cluster's
	Unknown error    // why they are not known
}

// whose is what a host has of a cluster.
type whose struct {
	ca  string // the pin of the authority; "" = its mark cannot be read
	has string // in words
}

// clusterOf tells what a host has of a cluster; false where it is no one's, so that nothing is lost with it: it trusts no authority, or has no
// mark of hybridctl's, and no files of a node that hybridctl may have made. What its kubelet trusts counts before the mark, which may be of an authority that was replaced since.
func clusterOf(f facts.Host) (w whose, some bool) {
	k, m := f.Kubeadm, f.Belongs
	switch {
	case f.Err != nil:
		return whose{}, false
	case k.CACertHash != "" && (f.AnyMarker() || m.Marked):
		return whose{k.CACertHash, fmt.Sprintf("is a node of %%s (%s) that trusts the cluster CA %s", cmp.Or(k.Server, "API server unknown"), k.CACertHash)}, true
	case m.Marked && m.CA == "":
		return whose{"", fmt.Sprintf("has a mark that cannot be read (%s), of %%s", host.ClusterMarkFile)}, true
	case m.Marked:
		return whose{m.CA, fmt.Sprintf("bears the mark of %%s (%s, with the cluster CA %s)", m.Name, m.CA)}, true
	case f.AnyMarker() && (k.KubeletConf || k.AdminConf || k.Etcd):
		return whose{"", "has a node's files, and no cluster CA that can be read (" + host.CACert + "), of %s"}, true
	}
	return whose{}, false
}

// MayReset refuses to reset a host in the name of a cluster that it is not known to be of. What it has to lose are a node's files and what ran
// there. The error says what it has, and why that is not known to be this cluster's.
func (a Authority) MayReset(f facts.Host) error {
	w, some := clusterOf(f)
	switch {
	case !some, w.ca != "" && slices.Contains(a.Hashes, w.ca):
		return nil
	case a.Unknown != nil:
		return fmt.Errorf("%s %s, and which one is this cluster's is not known: %w", f.Name, fmt.Sprintf(w.has, "a cluster"), a.Unknown)
	case w.ca == "":
		return fmt.Errorf("%s %s", f.Name, fmt.Sprintf(w.has, "a cluster that is not known"))
	}
	return fmt.Errorf("%s %s; this cluster's is %s", f.Name, fmt.Sprintf(w.has, "another cluster"), strings.Join(a.Hashes, ", "))
}

// Agrees refuses to work with hosts of which some are of the cluster that the kept kubeconfig is of, and others of another one. Where all of
// them agree on another authority, they were initialised again since it was kept, unless their marks have another name. Where none is kept,
// the hosts are compared with each other, and the name in their marks with the cluster's. Of several hosts the first by name is told.
func (a Authority) Agrees(c *inventory.Cluster, hosts []facts.Host) error {
	hosts = slices.SortedFunc(slices.Values(hosts), func(f, g facts.Host) int { return strings.Compare(f.Name, g.Name) })
	if a.Unknown != nil {
		return namesAgree(c, hosts)
	}
	var ours, others []string
	for _, f := range hosts {
		switch w, some := clusterOf(f); {
		case !some, w.ca == "" && !f.Belongs.Marked: // nothing is compared
		case slices.Contains(a.Hashes, w.ca):
			ours = append(ours, f.Name)
		default:
			others = append(others, f.Name)
		}
	}
	first := c.Bootstrap().Name
	if len(others) == 0 {
		return nil
	}
	if len(ours) == 0 && slices.Contains(others, first) {
		return sameNames(c, hosts)
	}
	slices.Sort(others)
	return hint.With(fmt.Errorf("%s: of another cluster than the kubeconfig that is kept (its cluster CA is %s)", list(others), strings.Join(a.Hashes, ", ")),
		"if that cluster is not needed: kubeadm reset on the host, and rm -f %s; else take it out of the inventory: hybridctl inventory rm %s",
		host.ClusterMarkFile, others[0])
}

// sameNames refuses hosts that would have been initialised again, and whose marks have another cluster's name: they are that cluster's.
func sameNames(c *inventory.Cluster, hosts []facts.Host) error {
	for _, f := range hosts {
		if m := f.Belongs; f.Err == nil && m.Name != "" && m.Name != c.Metadata.Name {
			return hint.With(fmt.Errorf("%s bears the mark of cluster %s, and the kubeconfig that is kept is of cluster %s, with another authority", f.Name, m.Name, c.Metadata.Name),
				"see to the host's address in the inventory; if the cluster was made again under that name, write metadata.name: %s", m.Name)
		}
	}
	return nil
}

// namesAgree refuses hosts whose marks have another cluster's name.
func namesAgree(c *inventory.Cluster, hosts []facts.Host) error {
	for _, f := range hosts {
		if f.Err != nil {
			continue
		}
		if err := NameAgrees(c, f.Name, f.Belongs); err != nil {
			return err
		}
	}
	return nil
}

// NameAgrees refuses a host whose mark has another cluster's name, while no kubeconfig is kept that could tell whether it is this one under an
// earlier name.
func NameAgrees(c *inventory.Cluster, name string, m facts.Belonging) error {
	switch {
	case !m.Marked || m.Name == c.Metadata.Name:
		return nil
	case m.Name == "":
		return hint.With(fmt.Errorf("%s has a mark that cannot be read (%s), and no kubeconfig of cluster %s is kept here: whose host it is is not known",
			name, host.ClusterMarkFile, c.Metadata.Name), "look at the host, and delete that file if it is of this cluster or of none")
	}
	return hint.With(fmt.Errorf("%s bears the mark of cluster %s, and no kubeconfig of cluster %s is kept here", name, m.Name, c.Metadata.Name),
		"if they are one, write metadata.name: %s, or bring its state directory along; else the address in the inventory is another cluster's host's", m.Name)
}
