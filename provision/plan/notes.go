package plan

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// ReplacedNotes say, before the user is asked, what is deleted of nodes whose hosts were reinstalled.
func ReplacedNotes(leaving []Leaver) []string {
	var out []string
	for _, l := range leaving {
		note := fmt.Sprintf("%s: its old node is deleted (machine-id %s)", l.Host.Name, l.Node.MachineID)
		if l.Member.ID != 0 {
			note += ", and its old etcd member removed"
		}
		out = append(out, note)
	}
	return out
}

// renamedNotes tell of this cluster's nodes whose marks have another name for it: the run writes its own there, and so does every run of another
// inventory that has the other name still.
func renamedNotes(in Input) (notes []string) {
	named := map[string][]string{} // hosts, by the name in their marks
	for _, f := range in.Hosts {
		m := f.Belongs
		node := f.Err == nil && f.Kubeadm.KubeletConf && m.CA != "" && m.CA == f.Kubeadm.CACertHash
		if node && m.Name != "" && m.Name != in.Cluster.Metadata.Name {
			named[m.Name] = append(named[m.Name], f.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		slices.Sort(named[name])
		notes = append(notes, fmt.Sprintf("%s: marked as of cluster %s, which by its authority is this one (metadata.name: %s): the name is written again; where another inventory calls it %[2]s still, give both one name",
			report.Some(named[name], 10), name, in.Cluster.Metadata.Name))
	}
	return notes
}

// ForgottenNotes say which of those nodes were deleted.
func ForgottenNotes(leaving []Leaver, changes []report.Change) (notes []string) {
	for _, l := range leaving {
		if slices.ContainsFunc(changes, func(c report.Change) bool {
			return c.Step == string(HostID(l.Host.Name, Node)) && c.Action == report.Deleted
		}) {
			notes = append(notes, fmt.Sprintf("the old node %s was deleted (machine-id %s): its host was reinstalled", l.Host.Name, l.Node.MachineID))
		}
	}
	return notes
}

// LeftNotes say what is left to do for the hosts that have left the cluster: all that were to leave but for those that are unfinished.
func LeftNotes(c *inventory.Cluster, leaving []Leaver, unfinished []string, o LeavingOptions) (notes []string) {
	for _, l := range leaving {
		name := l.Host.Name
		if slices.Contains(unfinished, name) {
			continue
		}
		if !o.Offline && c.Spec.CNI.Provider != inventory.CNIFlannel {
			notes = append(notes, name+": a pod network other than flannel may have left links, rules and programs in its kernel: a restart of the host clears them")
		}
		if o.Path == "" {
			notes = append(notes, fmt.Sprintf("%s is still in %s: take it out there, or the next up or scale-out joins it again", name, c.Path))
		}
	}
	return notes
}

// NothingToJoin is why no host joins; asked are the hosts that were named, nil = none was. A node that is not Ready may be of a host that was
// reinstalled: it is a node still, and does not join by itself.
func NothingToJoin(c *inventory.Cluster, nodes []facts.Node, asked []string) string {
	why := "every host of the inventory is a node already"
	if len(asked) > 0 {
		why = report.Some(asked, 10) + ": in the cluster already"
	}
	var others []string
	for _, h := range c.Spec.Hosts {
		there := slices.ContainsFunc(nodes, func(n facts.Node) bool { return n.Name == h.Name })
		if !there && !h.IsManaged() && (len(asked) == 0 || slices.Contains(asked, h.Name)) {
			others = append(others, h.Name)
		}
	}
	if len(others) > 0 {
		why = fmt.Sprintf("%s: the cluster has no such node, and hybridctl does not manage the host (managed: false) and joins none that it may not set up", report.Some(others, 10))
	}
	var away []string
	for _, n := range nodes {
		h, ok := c.Host(n.Name)
		if ok && h.IsManaged() && !n.Ready && (len(asked) == 0 || slices.Contains(asked, n.Name)) {
			away = append(away, n.Name)
		}
	}
	if len(away) > 0 {
		slices.Sort(away)
		why += fmt.Sprintf("; not Ready: %s; a host that was reinstalled joins again with hybridctl scale-out --replace %s", report.Some(away, 10), away[0])
	}
	return why
}
