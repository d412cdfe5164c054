package render

import (
	"bytes"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/hybridctl/hybridctl/provision/golden"
)

// ceph is one Ceph cluster with both kinds of volumes, as an inventory without further wishes has it.
func ceph() CephCSI {
	const fsid = "4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b"
	return CephCSI{
		Namespace: "ceph-csi", KubeletDir: "/var/lib/kubelet", Replicas: 2,
		Images: CephImages{Driver: "registry.example/cephcsi:v3.15.0", Provisioner: "registry.example/csi-provisioner:v6.3.0",
			Attacher: "registry.example/csi-attacher:v4.13.0", Registrar: "registry.example/csi-node-driver-registrar:v2.17.0"},
		Clusters: []CephCluster{{ClusterID: fsid, Monitors: []string{"10.99.0.5:6789"}, SubvolumeGroup: "csi"}},
		Classes: []CephClass{
			{Type: RBD, Class: "ceph-rbd", Default: true, ClusterID: fsid, User: "csi-rbd", Key: "not-a-key", ReclaimPolicy: "Delete", MountOptions: []string{"discard"},
				Parameters: []NameValue{{"pool", "kube"}, {"imageFeatures", "layering,exclusive-lock"}, {"csi.storage.k8s.io/fstype", "ext4"}}},
			{Type: CephFS, Class: "ceph-cephfs", ClusterID: fsid, User: "csi-cephfs", Key: "not-a-key-either", ReclaimPolicy: "Retain",
				Parameters: []NameValue{{"fsName", "kubefs"}}},
		},
	}
}

// cephFull has everything an inventory can ask for.
func cephFull() CephCSI {
	c := ceph()
	c.Namespace, c.KubeletDir = "storage", "/data/kubelet"
	c.Images.Resizer, c.Images.Snapshotter = "registry.example/csi-resizer:v2.3.0", "registry.example/csi-snapshotter:v8.4.0"
	c.HoldsMounts, c.AdminFields, c.Snapshots = true, true, true
	c.NodeSelector = map[string]string{"storage": "yes", "example.com/ceph": "true"}
	c.Tolerations = []Taint{{Key: "dedicated", Value: "storage", Effect: "NoSchedule"}, {Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}}
	c.Clusters[0].Monitors, c.Clusters[0].KernelMountOptions = []string{"10.99.0.5:3300", "10.99.0.6:3300"}, "ms_mode=prefer-crc"
	c.Clusters = append(c.Clusters, CephCluster{ClusterID: "far", Monitors: []string{"10.98.0.5:6789"}})
	for i := range c.Classes {
		c.Classes[i].AllowExpansion = true
	}
	return c
}

// rbdOnly has one driver, and an image for snapshots on a cluster that does not know any.
func rbdOnly() CephCSI {
	c := ceph()
	c.Classes, c.Replicas, c.Images.Snapshotter = c.Classes[:1], 1, "registry.example/csi-snapshotter:v8.4.0"
	return c
}

func TestCephManifest(t *testing.T) {
	for name, c := range map[string]CephCSI{"ceph.yaml": ceph(), "ceph-full.yaml": cephFull(), "ceph-rbd.yaml": rbdOnly()} {
		t.Run(name, func(t *testing.T) {
			body := CephManifest(c)
			golden.Check(t, name, body)
			for _, document := range bytes.Split(body, []byte("\n---\n")) {
				if err := yaml.UnmarshalStrict(document, &map[string]any{}); err != nil {
					t.Errorf("%v in:\n%s", err, document)
				}
			}
		})
	}
}
