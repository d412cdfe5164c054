package steps

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/render"
)

// applyCSI applies ceph-csi's objects. The driver reads monitors and keys at every call, so that changed ones need no restart. A volume that
// is mounted keeps what it was mounted with.
func (x *Steps) applyCSI(ctx context.Context, s plan.Step, _ *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.CSIInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	if err := keepsVolumes(ctx, api, in); err != nil {
		return "", err
	}
	changes, err := api.Apply(ctx, in.Manifest, kube.ApplyOptions{Force: true})
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("ceph-csi: %d of %d objects changed", changed(changes), len(changes))
	gone, err := deleteLeft(ctx, api, in.Manifest)
	if gone > 0 {
		detail += fmt.Sprintf(", %d that left the inventory deleted", gone)
	}
	return detail, err
}

// defaultGroup is ceph-csi's own, of a Ceph cluster whose configuration names none.
const defaultGroup = "csi"

// keepsVolumes refuses what would take volumes from the driver: a cluster ID that they have in their names, the group of subvolumes where it
// looks for them, a protocol that they were made for. A driver that does not find a volume takes its deletion for done.
func keepsVolumes(ctx context.Context, api API, in plan.CSIInputs) error {
	volumes, err := api.StoredBy(ctx, []string{render.RBD.DriverName(), render.CephFS.DriverName()})
	if err != nil {
		return err
	}
	for _, v := range volumes {
		id := v.Attributes["clusterID"]
		i := slices.IndexFunc(in.Clusters, func(c render.CephCluster) bool { return c.ClusterID == id })
		switch {
		case id == "":
			continue
		case i < 0:
			return hint.With(fmt.Errorf("the volume %s (%s) is of the cluster ID %s, which the inventory has no more", v.Name, v.Claim, id),
				"write clusterID: %s at its Ceph cluster in spec.storage.ceph, or delete such volumes first", id)
		case v.Driver != render.CephFS.DriverName():
			continue
		}
		c := in.Clusters[i]
		if path, group := v.Attributes["subvolumePath"], cmp.Or(c.SubvolumeGroup, defaultGroup); path != "" && !strings.HasPrefix(path, "/volumes/"+group+"/") {
			return fmt.Errorf("the volume %s (%s) is %s in Ceph, outside of the subvolume group %s where the driver would look for it now; leave cephfs and its subvolumeGroup as they were, or delete such volumes first",
				v.Name, v.Claim, path, group)
		}
		if had := v.Attributes["kernelMountOptions"]; strings.Contains(had, "ms_mode=") && !strings.Contains(c.KernelMountOptions, "ms_mode=") {
			return fmt.Errorf("the volume %s (%s) is mounted with %s, which the legacy protocol of the inventory's monitors does not know: leave cephfs, port and msMode as they were, or delete such volumes first",
				v.Name, v.Claim, had)
		}
	}
	return nil
}
