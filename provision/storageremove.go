package provision

import (
	"context"
	"errors"
	"fmt"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// StorageRemoveOptions are StorageRemove's own.
type StorageRemoveOptions struct {
	Options
	Force bool // also when volumes would stay in Ceph that nobody can use any more
	// TakeOut takes the storage out of the inventory when it is gone from the cluster.
	TakeOut func() error
}

// StorageRemove takes ceph-csi out of the running cluster: its classes, drivers and secrets. Nothing is changed in Ceph, or on a host.
// Errors: ErrVolumes, ErrRefused, ErrDeclined, ErrLocked, ErrBundle, context.Canceled, or others for the user; it may be run again.
func StorageRemove(ctx context.Context, o StorageRemoveOptions) (Result, error) {
	o.Options = o.withDefaults()
	r := Result{Cluster: o.Cluster.Metadata.Name}
	if len(o.Cluster.Spec.Storage.Ceph) == 0 {
		return r, fmt.Errorf("%w: %s has no spec.storage.ceph: there is nothing to remove", ErrRefused, o.Cluster.Path)
	}
	_, s, end, err := begin(o.Options)
	if err != nil {
		return r, err
	}
	defer end()
	s.joining = &joining{} // no host is asked
	reading, cancel := o.stoppable(ctx)
	defer cancel()
	manifest, err := s.surveyStorageRemoval(reading, o.Force)
	if err != nil {
		return r, err
	}
	r.Plan = plan.Plan{Cluster: r.Cluster, Part: true, Notes: []string{fmt.Sprintf(
		"ceph-csi is taken out of cluster %s: its classes, drivers, secrets and, if nobody else made it, the namespace %s; nothing in Ceph is changed", r.Cluster, o.Cluster.Spec.Storage.CSI.Namespace)}}
	if o.Ask != nil && !o.Ask(r.Plan) {
		return r, ErrDeclined
	}
	lock, err := s.lock(reading)
	if err != nil {
		return r, err
	}
	gone, err := s.api.Delete(ctx, manifest)
	for _, c := range gone {
		r.Changes = append(r.Changes, report.Change{Step: c.String(), Kind: string(plan.CSI), Action: c.Action})
	}
	if err = errors.Join(err, lock.giveBack(ctx)); err != nil || o.TakeOut == nil {
		return r, err
	}
	return r, o.TakeOut()
}

// surveyStorageRemoval finds out what there is to take away, and refuses what must not be.
func (s *session) surveyStorageRemoval(ctx context.Context, force bool) ([]byte, error) {
	if err := s.openBundle(); err != nil {
		return nil, err
	}
	in, err := s.files()
	if err != nil {
		return nil, err
	}
	if _, _, err := s.reachCluster(ctx); err != nil {
		return nil, err
	}
	if !force {
		if err := s.refuseOrphans(ctx, "ceph-csi goes"); err != nil {
			return nil, err
		}
	}
	if in.API.Snapshots, err = s.api.HasKind(ctx, "snapshot.storage.k8s.io/v1", "VolumeSnapshotClass"); err != nil {
		return nil, err
	}
	manifest := plan.CSIManifest(in)
	if manifest == nil {
		return nil, fmt.Errorf("%w: it has no images of ceph-csi, so that it is not known what was installed", ErrBundle)
	}
	return manifest, nil
}
