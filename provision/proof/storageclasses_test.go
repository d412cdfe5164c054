package proof

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

func TestStorageClasses(t *testing.T) {
	ceph := inventory.Ceph{
		RBD:    inventory.CephRBD{Pool: "kube", StorageClass: "fast", AllowExpansion: true, ReclaimPolicy: inventory.ReclaimRetain},
		CephFS: inventory.CephFS{FSName: "fs", StorageClass: "shared"},
	}
	csi := inventory.CephCSI{Namespace: "ceph-csi", NodeSelector: map[string]string{"storage": "yes"}, Images: inventory.CephImages{Driver: "registry.example/cephcsi:v3.15.0"}}
	hosts := []inventory.Host{{Name: "a", Labels: map[string]string{"storage": "yes"}}, {Name: "b"}}
	without := map[string]string{"b": "ceph-csi is not wanted on b (spec.storage.csi.nodeSelector)"}
	for _, c := range []struct {
		name    string
		storage inventory.Storage
		want    []conformance.StorageClass
		none    string
	}{
		{name: "nothing is named", none: "no Ceph storage in the inventory"},
		{name: "no image", storage: inventory.Storage{Ceph: inventory.CephClusters{ceph}}, none: "no ceph-csi image in the bundle"},
		{name: "both drivers", storage: inventory.Storage{Ceph: inventory.CephClusters{ceph}, CSI: csi}, want: []conformance.StorageClass{
			{Name: "fast", Driver: conformance.RBD, Grows: true, Retains: true, Namespace: "ceph-csi", Without: without},
			{Name: "shared", Driver: conformance.CephFS, Namespace: "ceph-csi", Without: without},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, none := storageClasses(&inventory.Cluster{Spec: inventory.Spec{Hosts: hosts, Storage: c.storage}}, &bundle.Bundle{})
			if d := cmp.Diff(c.want, got); d != "" || none != c.none {
				t.Errorf("%s\n%q, want %q", d, none, c.none)
			}
		})
	}
}
