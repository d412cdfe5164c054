package plan

import (
	"slices"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// restarting are the steps that may restart a runtime, a kubelet or an API server.
var restarting = []Kind{Runtime, Registries, Kubernetes, Files}

// mostRestarts is how many workers restart their container runtime or kubelet at a time, at most; of few workers it is a fifth, and one of the
// control planes, always.
const mostRestarts = 10

// roll lets nodes that are at work restart containerd, kubelet and kube-apiserver one after another: a control plane when the one before it is done, and a worker
// when the one a few places before it is. That is an order of this run and no dependency: the next one knows nothing of it. Where one fails, those behind it in its row are left as they are. Hosts that are no nodes yet are not held up.
func (b *builder) roll(steps []Step) {
	restarts := map[string][]int{} // the steps of a host, by where they stand
	var planes, workers []string
	for i, s := range steps {
		if !slices.Contains(restarting, s.Kind) || !s.pending() || !b.works(s.Host) {
			continue
		}
		if restarts[s.Host] == nil {
			if h, _ := b.in.Cluster.Host(s.Host); h.Role == inventory.ControlPlane {
				planes = append(planes, s.Host)
			} else {
				workers = append(workers, s.Host)
			}
		}
		restarts[s.Host] = append(restarts[s.Host], i)
	}
	inRow := func(hosts []string, rows int) {
		for at := rows; at < len(hosts); at++ {
			for _, i := range restarts[hosts[at]] {
				for _, before := range restarts[hosts[at-rows]] {
					steps[i].Behind = append(steps[i].Behind, steps[before].ID)
				}
			}
		}
	}
	inRow(planes, 1)
	inRow(workers, max(1, min(mostRestarts, b.workers()/5)))
}

// works reports whether a host is a node already.
func (b *builder) works(name string) bool {
	_, listed := b.nodes[name]
	return listed || slices.ContainsFunc([]Kind{Init, Join}, func(k Kind) bool {
		f := b.facts[name]
		return f.Markers[string(k)].State == host.MarkerDone || f.BadMarker(string(k))
	})
}

func (b *builder) workers() int {
	n := 0
	for _, h := range b.in.Cluster.Spec.Hosts {
		if h.Role == inventory.Worker {
			n++
		}
	}
	return n
}
