package steps

import (
	"context"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
)

// applyCSI applies ceph-csi's objects. The driver reads monitors and keys at every call, so that changed ones need no restart, and no
// volume that is mounted feels them.
func (x *Steps) applyCSI(ctx context.Context, s plan.Step, _ *host.Host) (string, error) {
	in, ok := s.Inputs.(plan.CSIInputs)
	if !ok {
		return "", fmt.Errorf("inputs of kind %T", s.Inputs)
	}
	api, err := x.env.Kube(ctx)
	if err != nil {
		return "", err
	}
	if err := keepsClusterIDs(ctx, api, in); err != nil {
		return "", err
	}
	changes, err := api.Apply(ctx, in.Manifest, kube.ApplyOptions{Force: true})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("ceph-csi: %d of %d objects changed", changed(changes), len(changes)), nil
}

// keepsClusterIDs refuses to take away the cluster ID that a volume has in its name: nothing could mount or delete it any more.
func keepsClusterIDs(ctx context.Context, api API, in plan.CSIInputs) error {
	volumes, err := api.Volumes(ctx, in.Drivers)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if id := v.Attributes["clusterID"]; id != "" && !slices.Contains(in.ClusterIDs, id) {
			return fmt.Errorf("the volume %s (%s) is of the cluster ID %s, which the inventory has no more: write clusterID: %[3]s at its Ceph cluster in spec.storage.ceph, or delete such volumes first",
				v.Name, v.Claim, id)
		}
	}
	return nil
}
