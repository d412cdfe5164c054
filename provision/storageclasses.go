package provision

import (
	"fmt"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// storageClasses are the classes of volumes that the inventory names, as check S9 proves them, or why there are none.
func (s *session) storageClasses() (classes []conformance.StorageClass, none string) {
	storage := s.Cluster.Spec.Storage
	if len(storage.Ceph) == 0 {
		return nil, "no Ceph storage in the inventory"
	}
	if _, ok := s.bundle.Image(bundle.CephCSI); !ok && storage.CSI.Images.Driver == "" {
		return nil, "no ceph-csi image in the bundle"
	}
	without := map[string]string{}
	for _, h := range s.Cluster.Spec.Hosts {
		if !storage.Mounts(h) {
			without[h.Name] = fmt.Sprintf("ceph-csi is not wanted on %s (spec.storage.csi.nodeSelector)", h.Name)
		}
	}
	for _, c := range storage.Ceph {
		if r := c.RBD; r.Wanted() {
			classes = append(classes, conformance.StorageClass{Name: r.StorageClass, Driver: conformance.RBD, Grows: r.AllowExpansion,
				Retains: r.ReclaimPolicy == inventory.ReclaimRetain, Namespace: storage.CSI.Namespace, Without: without})
		}
		if f := c.CephFS; f.Wanted() {
			classes = append(classes, conformance.StorageClass{Name: f.StorageClass, Driver: conformance.CephFS, Grows: f.AllowExpansion,
				Retains: f.ReclaimPolicy == inventory.ReclaimRetain, Namespace: storage.CSI.Namespace, Without: without})
		}
	}
	return classes, ""
}
