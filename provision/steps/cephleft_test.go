package steps

import (
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/render"
)

func TestCephLeft(t *testing.T) {
	rbd, fs := render.RBD.DriverName(), render.CephFS.DriverName()
	of := func(kind, namespace, name string) kube.Object {
		return kube.Object{Kind: kind, Namespace: namespace, Name: name}
	}
	oldSpace := []kube.Object{of("Namespace", "", "old"), of("ConfigMap", "old", "ceph-csi-config"), of("Secret", "old", "ceph-csi-fast"), of("ServiceAccount", "old", "ceph-csi-rbd-provisioner"), of("DaemonSet", "old", "ceph-csi-rbd-nodeplugin")}
	driver := []kube.Object{of("Secret", "ns", "ceph-csi-rbd-2"), of("CSIDriver", "", rbd), of("Deployment", "ns", "ceph-csi-rbd-provisioner"), of("StorageClass", "", "ceph-csi-rbd-2")}
	for name, c := range map[string]struct {
		left, wanted []kube.Object
		volumes      []kube.Volume
		kept         []kube.Object
		of           []string
	}{
		"no volumes":                 {left: driver},
		"a driver without its class": {left: driver, volumes: []kube.Volume{{Name: "v", Driver: rbd}}, kept: driver[1:3], of: []string{"v"}},
		"a snapshot whose volume is gone": {left: append(slices.Clone(driver), of("VolumeSnapshotClass", "", "snap")),
			volumes: []kube.Volume{{Name: "s", Driver: rbd, Class: "snap", Snapshot: true, Secrets: []string{"ns/ceph-csi-rbd-2"}}},
			kept:    []kube.Object{driver[0], driver[1], driver[2], of("VolumeSnapshotClass", "", "snap")}, of: []string{"s"}},
		"volumes of the other driver":   {left: driver, volumes: []kube.Volume{{Name: "v", Driver: fs, Class: "other"}}},
		"a class named like the driver": {left: driver, volumes: []kube.Volume{{Name: "v", Class: "ceph-csi-rbd-2", Secrets: []string{"ns/ceph-csi-rbd-2"}}}, kept: []kube.Object{driver[0], driver[3]}, of: []string{"v"}},
		"another namespace": {left: oldSpace, wanted: []kube.Object{of("CSIDriver", "", rbd)},
			volumes: []kube.Volume{{Name: "v", Driver: rbd, Secrets: []string{"old/ceph-csi-fast"}}}, kept: oldSpace[:3], of: []string{"v"}},
		"another namespace, no volumes": {left: oldSpace, wanted: []kube.Object{of("CSIDriver", "", rbd)}},
		"the driver goes, in a namespace of its own": {left: oldSpace, volumes: []kube.Volume{{Name: "v", Driver: rbd}, {Name: "w", Driver: rbd}},
			kept: []kube.Object{oldSpace[0], oldSpace[1], oldSpace[3], oldSpace[4]}, of: []string{"v", "w"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := cephLeft(c.left, c.wanted, c.volumes)
			gone := slices.DeleteFunc(slices.Clone(c.left), func(o kube.Object) bool { return slices.Contains(c.kept, o) })
			var names []string
			for _, v := range got.Of {
				names = append(names, v.Name)
			}
			if !slices.Equal(got.Kept, c.kept) || !slices.Equal(got.Gone, gone) || !slices.Equal(names, c.of) {
				t.Errorf("kept %v of %v, gone %v", got.Kept, names, got.Gone)
			}
		})
	}
}
