package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/inventory/edit"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

func newStorage(a *app) *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use:   "storage",
		Short: "Take ceph-csi out of the running cluster",
	})
	cmd.AddCommand(newStorageRemove(a))
	return cmd
}

type storageRemoveFlags struct {
	clusterFlags
	yes, force bool
}

func newStorageRemove(a *app) *cobra.Command {
	var f storageRemoveFlags
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Take ceph-csi out of the running cluster, and storage out of the inventory",
		Long: `remove deletes what up installed for Ceph: classes, drivers, their rights and secrets, also when the inventory no longer has storage. It
refuses while volumes of these drivers exist: without the drivers they can no longer be mounted or deleted. Nothing is changed in Ceph.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.storageRemove(cmd.Context(), f) },
	}
	f.register(cmd)
	f.registerBreakLock(cmd)
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&f.force, "force", false, "also while volumes exist, which stay in Ceph")
	return cmd
}

func (a *app) storageRemove(ctx context.Context, f storageRemoveFlags) error {
	if err := mayConfirm(a.Terminal, f.clusterFlags, f.yes, "the removal of storage on", "--yes agrees beforehand"); err != nil {
		return err
	}
	s, err := a.open(ctx, f.clusterFlags)
	if err != nil {
		return err
	}
	defer s.close()
	o := provision.StorageRemoveOptions{Options: s.options, Force: f.force}
	takenOut := ""
	if len(s.options.Cluster.Spec.Storage.Ceph) > 0 {
		o.MayTakeOut = func() error { return mayTakeStorageOut(f.inventory) }
		o.TakeOut = func() error { return takeStorageOut(f.inventory) }
		takenOut = "; spec.storage was taken out of " + f.inventory
	}
	o.Ask = func(p plan.Plan) bool { return s.confirmRemoval(ctx, p, f.yes) }
	done := s.announceStop()
	result, err := a.Front.StorageRemove(ctx, o)
	done()
	s.close()
	return a.writeResult(result, err, func(w io.Writer) error {
		if err != nil {
			return nil
		}
		gone := 0
		for _, c := range result.Changes {
			if c.Action == report.Deleted {
				gone++
			}
		}
		_, werr := fmt.Fprintf(w, "ceph-csi left cluster %s, %s deleted%s\n", result.Cluster, report.Count(gone, "object"), takenOut)
		return werr
	})
}

// mayTakeStorageOut finds out whether the inventory can be had without storage.
func mayTakeStorageOut(inventory string) error {
	file, err := openInventory(inventory)
	if err != nil {
		return err
	}
	if _, err := file.Apply(edit.Unset("spec.storage")); err != nil {
		return fmt.Errorf("storage could not be taken out of %s, which has to be mended first, with storage left in: %w", inventory, asEditError(err))
	}
	return file.Writable()
}

// takeStorageOut takes storage out of the inventory when it has left the cluster.
func takeStorageOut(inventory string) error {
	file, err := openInventory(inventory)
	if err != nil {
		return err
	}
	if _, err := file.Apply(edit.Unset("spec.storage")); err != nil {
		return fmt.Errorf("ceph-csi has left the cluster, but storage stands in %s still, and the next up installs it again: %w", inventory, asEditError(err))
	}
	return file.Write()
}
