package proposal

import (
	"context"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// Storage are the objects of ceph-csi that a removal deletes, with the plan that says so; it refuses what must not be. No host is asked.
// Errors: ErrRefused: there is nothing. ErrVolumes: volumes would stay in Ceph, and force does not say so.
func (d *Desk) Storage(ctx context.Context, force bool) ([]kube.Object, plan.Plan, error) {
	d.Fleet.Only()
	if _, err := d.Running(ctx); err != nil {
		return nil, plan.Plan{}, err
	}
	if !force {
		if err := d.noOrphans(ctx, "ceph-csi is deleted"); err != nil {
			return nil, plan.Plan{}, err
		}
	}
	objects, err := steps.CephObjects(ctx, d.API)
	if err == nil && len(objects) == 0 && len(d.Cluster.Spec.Storage.Ceph) == 0 {
		err = fmt.Errorf("%w: %s has no spec.storage.ceph, and the cluster no ceph-csi of hybridctl's: there is nothing to remove", ending.ErrRefused, d.Cluster.Path)
	}
	return objects, storagePlan(d.Cluster.Metadata.Name, objects), err
}

func storagePlan(cluster string, objects []kube.Object) plan.Plan {
	return plan.Plan{Cluster: cluster, Part: true, Notes: []string{fmt.Sprintf("ceph-csi is taken out of cluster %s: %s%s; nothing in Ceph is changed",
		cluster, report.Count(len(objects), "object"), among(objects))}}
}

// among names what people know of the objects.
func among(objects []kube.Object) string {
	var known []string
	for _, o := range objects {
		if slices.Contains([]string{"Namespace", "CSIDriver", "StorageClass"}, o.Kind) {
			known = append(known, o.String())
		}
	}
	if len(known) == 0 {
		return ""
	}
	return ", among them " + some(known)
}
