package proof

import (
	"fmt"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// storageClasses are the classes of volumes that the inventory names, as check S9 proves them, or why there are none.
func storageClasses(c *inventory.Cluster, b *bundle.Bundle) (classes []conformance.StorageClass, none string) {
	storage := c.Spec.Storage
	if len(storage.Ceph) == 0 {
		return nil, "no Ceph storage in the inventory"
	}
	if _, ok := b.Image(bundle.CephCSI); !ok && storage.CSI.Images.Driver == "" {
		return nil, "no ceph-csi image in the bundle"
	}
	without := map[string]string{}
	for _, h := range c.Spec.Hosts {
		if !storage.Mounts(h) {
			without[h.Name] = fmt.Sprintf("ceph-csi is not wanted on %s (spec.storage.csi.nodeSelector)", h.Name)
		}
	}
	for _, ceph := range storage.Ceph {
		if r := ceph.RBD; r.Wanted() {
			classes = append(classes, conformance.StorageClass{Name: r.StorageClass, Driver: conformance.RBD, Grows: r.AllowExpansion,
				Retains: r.ReclaimPolicy == inventory.ReclaimRetain, Namespace: storage.CSI.Namespace, Without: without})
		}
		if f := ceph.CephFS; f.Wanted() {
			classes = append(classes, conformance.StorageClass{Name: f.StorageClass, Driver: conformance.CephFS, Grows: f.AllowExpansion,
				Retains: f.ReclaimPolicy == inventory.ReclaimRetain, Namespace: storage.CSI.Namespace, Without: without})
		}
	}
	return classes, ""
}
