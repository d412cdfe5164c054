package survey

import (
	"slices"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
)

// Initialised reports whether a host is a finished control plane of ours; where its marker cannot be read, whether it is a node.
func Initialised(f facts.Host) bool {
	for _, k := range []plan.Kind{plan.Init, plan.Join} {
		if f.Markers[string(k)].State == host.MarkerDone || f.BadMarker(string(k)) && f.Kubeadm.KubeletConf {
			return true
		}
	}
	return false
}

// Trusts reports whether a kubeconfig trusts the authority that the bootstrap host has now: hosts may have been reset and initialised
// again since it was kept. A host that has none, or was not asked, contradicts nothing.
func Trusts(kubeconfig []byte, bootstrap facts.Host) bool {
	now := bootstrap.Kubeadm.CACertHash
	if now == "" {
		return true
	}
	hashes, err := kube.CAHashes(kubeconfig)
	return err == nil && slices.Contains(hashes, now)
}

// Serving are the names of the inventory's control planes that are Ready and not among those that move.
func Serving(c *inventory.Cluster, nodes []kube.Node, moving []string) (names []string) {
	for _, n := range nodes {
		if _, ours := c.Host(n.Name); ours && n.ControlPlane && n.Ready && !slices.Contains(moving, n.Name) {
			names = append(names, n.Name)
		}
	}
	return names
}
