package execution

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// unmarked are the hosts that are nodes of this cluster, as their kubelet's authority says, and whose mark does not say so: clusters that
// stand longer than there are marks, and those that were given another name. Where the API server is not known, no one is.
func (x *Executor) unmarked(hosts survey.Hosts) (names []string) {
	if x.Server.API == nil {
		return nil
	}
	own := x.Server.API.CAHashes()
	for _, h := range x.Cluster.Managed() {
		f := hosts.Fact(h.Name)
		node := f.Err == nil && f.Kubeadm.KubeletConf && survey.Initialised(f) && slices.Contains(own, f.Kubeadm.CACertHash)
		if node && (f.Belongs.Name != x.Cluster.Metadata.Name || !slices.Contains(own, f.Belongs.CA)) {
			names = append(names, h.Name)
		}
	}
	return names
}

// markNodes writes onto the hosts that are nodes already of which cluster they are. It is no change of the cluster.
func (x *Executor) markNodes(ctx context.Context, seen survey.Seen, stop <-chan struct{}) error {
	if ctx.Err() != nil {
		return nil // the run was abandoned, which is told already
	}
	var all sync.WaitGroup
	unmarked := x.unmarked(seen.Hosts)
	if len(unmarked) > 0 {
		defer x.Waiting("marks to be written on " + report.Some(unmarked, 5))()
	}
	errs := make([]error, len(unmarked))
	slots := make(chan struct{}, x.Parallel)
	for i, name := range unmarked {
		select {
		case <-stop: // the next run writes what is left
			continue
		case slots <- struct{}{}:
		}
		if x.lost() { // stop may be late
			break
		}
		all.Go(func() { // ends with the command on its host
			defer func() { <-slots }()
			h, err := x.host(seen, name)
			if err == nil {
				err = h.WriteClusterMark(ctx, host.ClusterMark{CA: seen.Hosts[name].Kubeadm.CACertHash, Name: x.Cluster.Metadata.Name})
			}
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
