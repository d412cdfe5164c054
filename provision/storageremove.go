package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// StorageRemoveOptions are StorageRemove's own.
type StorageRemoveOptions struct {
	Options
	Force bool // also when volumes would stay in Ceph that nobody can use any more
	// MayTakeOut finds out whether TakeOut will do; nil = nobody asks.
	MayTakeOut func() error
	// TakeOut takes the storage out of the inventory when it is gone from the cluster.
	TakeOut func() error
}

// StorageRemove takes ceph-csi out of the running cluster: every class, driver and secret that hybridctl applied, also of an inventory that
// has no storage any more. Nothing is changed in Ceph, or on a host.
// Errors: ErrVolumes, ErrRefused, ErrDeclined, ErrLocked, context.Canceled, or others for the user; it may be run again.
func StorageRemove(ctx context.Context, o StorageRemoveOptions) (Result, error) {
	o.Options = o.withDefaults()
	r := Result{Cluster: o.Cluster.Metadata.Name}
	_, s, end, err := begin(o.Options)
	if err != nil {
		return r, err
	}
	defer end()
	s.joining = &joining{} // no host is asked
	reading, cancel := o.stoppable(ctx)
	defer cancel()
	objects, err := s.surveyStorageRemoval(reading, o.Force)
	if err != nil {
		return r, err
	}
	if o.MayTakeOut != nil {
		if err := o.MayTakeOut(); err != nil {
			return r, fmt.Errorf("%w, and nothing was done: %w", ErrRefused, err)
		}
	}
	r.Plan = plan.Plan{Cluster: r.Cluster, Part: true, Notes: []string{fmt.Sprintf("ceph-csi is taken out of cluster %s: %s%s; nothing in Ceph is changed",
		r.Cluster, report.Count(len(objects), "object"), among(objects))}}
	if o.Ask != nil && !o.Ask(r.Plan) {
		return r, ErrDeclined
	}
	lock, err := s.lock(reading)
	if err != nil {
		return r, err
	}
	gone, err := s.api.DeleteObjects(ctx, objects)
	for _, c := range gone {
		r.Changes = append(r.Changes, report.Change{Step: c.String(), Kind: string(plan.CSI), Action: c.Action})
	}
	if err = errors.Join(err, lock.giveBack(ctx)); err != nil || o.TakeOut == nil {
		return r, err
	}
	return r, o.TakeOut()
}

// among names what people know of the objects.
func among(objects []kube.Object) string {
	var names []string
	for _, o := range objects {
		if slices.Contains([]string{"Namespace", "CSIDriver", "StorageClass"}, o.Kind) {
			names = append(names, o.String())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return ", among them " + some(names)
}

// surveyStorageRemoval finds out what there is to take away, and refuses what must not be.
func (s *session) surveyStorageRemoval(ctx context.Context, force bool) ([]kube.Object, error) {
	if _, _, err := s.reachCluster(ctx); err != nil {
		return nil, err
	}
	if !force {
		if err := s.refuseOrphans(ctx, "ceph-csi goes"); err != nil {
			return nil, err
		}
	}
	objects, err := steps.CephObjects(ctx, s.api)
	if err == nil && len(objects) == 0 && len(s.Cluster.Spec.Storage.Ceph) == 0 {
		err = fmt.Errorf("%w: %s has no spec.storage.ceph, and the cluster no ceph-csi of hybridctl's: there is nothing to remove", ErrRefused, s.Cluster.Path)
	}
	return objects, err
}
