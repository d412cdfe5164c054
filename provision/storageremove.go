package provision

import (
	"context"
	"errors"
	"fmt"
)

// StorageRemoveOptions are StorageRemove's own.
type StorageRemoveOptions struct {
	Options
	Force bool // also when volumes would stay in Ceph that no one can use any more
	// MayTakeOut finds out whether TakeOut will do; nil = no one asks.
	MayTakeOut func() error
	// TakeOut takes the storage out of the inventory when it is gone from the cluster.
	TakeOut func() error
}

// StorageRemove takes ceph-csi out of the running cluster: every class, driver and secret that hybridctl applied, also of an inventory that
// has no storage any more. Nothing is changed in Ceph, or on a host.
// Errors: ErrVolumes, ErrRefused, ErrDeclined, ErrLocked, context.Canceled, or others for the user; it may be run again.
func StorageRemove(ctx context.Context, o StorageRemoveOptions) (Result, error) {
	o.Options = o.withDefaults()
	result := Result{Cluster: o.Cluster.Metadata.Name}
	r, err := begin(ctx, o.Options)
	if err != nil {
		return result, err
	}
	defer r.end()

	objects, p, err := r.desk.Storage(r.reading, o.Force)
	if err != nil {
		return result, err
	}
	if o.MayTakeOut != nil {
		if err := o.MayTakeOut(); err != nil {
			return result, fmt.Errorf("%w, and nothing was done: %w", ErrRefused, err)
		}
	}
	result.Plan = p
	if err := r.confirm(p); err != nil {
		return result, err
	}
	changes, failed, err := r.executor.DeleteStorage(ctx, objects)
	result.Changes = changes
	if err = errors.Join(failed, err); err != nil || o.TakeOut == nil {
		return result, err
	}
	return result, o.TakeOut()
}
