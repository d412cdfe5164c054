package plan

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/render"
)

const cephFSID = "4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b"

// withCeph puts storage into the input: a Ceph cluster with both kinds of volumes, and the images for it, which no node has yet
// counted among its own.
func withCeph(in *Input) {
	in.Cluster.Spec.Storage.Ceph = inventory.CephClusters{{FSID: cephFSID, Monitors: []string{"10.99.0.5:6789"},
		RBD:    inventory.CephRBD{Pool: "kube", User: "csi-rbd", KeyFile: "k", StorageClass: "ceph-rbd", Default: true},
		CephFS: inventory.CephFS{FSName: "kubefs", User: "csi-fs", KeyFile: "k", StorageClass: "ceph-fs"}}}
	inventory.Default(in.Cluster)
	for _, c := range bundle.StorageComponents {
		in.Bundle.Images = append(in.Bundle.Images, bundle.Image{Component: c, Ref: "registry.example/" + c + ":v3.15.0"})
	}
	in.CephKeys = map[string]inventory.Secret{"0.rbd": "not-a-key", "0.cephfs": "not-a-key-either"}
}

func cephInput(change func(*Input)) Input {
	in := fresh()
	withCeph(&in)
	if change != nil {
		change(&in)
	}
	return in
}

func csiOf(t *testing.T, in Input) (CSIInputs, Step) {
	t.Helper()
	s, ok := mustBuild(t, in).Step(ClusterID(CSI))
	if !ok {
		t.Fatal("no step")
	}
	return s.Inputs.(CSIInputs), s
}

func TestBuild_Ceph(t *testing.T) {
	golden.Check(t, "ceph.txt", planText(mustBuild(t, cephInput(func(in *Input) { in.Cluster.Spec.Storage.Ceph[0].RBD.FSType = "xfs" }))))
	in, s := csiOf(t, cephInput(nil))
	if !reflect.DeepEqual(in.Drivers, []string{"rbd.csi.ceph.com", "cephfs.csi.ceph.com"}) || !reflect.DeepEqual(in.ClusterIDs, []string{cephFSID}) ||
		!reflect.DeepEqual(in.Provisioners, []string{"ceph-csi-rbd-provisioner", "ceph-csi-cephfs-provisioner"}) || s.Action != Create {
		t.Errorf("got %+v", in)
	}
}

// Nodes that are there would look for the images elsewhere while they are on their way; nodes that join have them before.
func TestBuild_CephComesAfterTheImagesOfItsNodes(t *testing.T) {
	in := finished(t)
	withCeph(&in)
	in.Bundle.Images[len(in.Bundle.Images)-1].Manifests = testBundle().Images[0].Manifests
	in.API.Nodes, in.Hosts[1].Kubeadm.KubeletConf = in.API.Nodes[:1], false // arm-1 was reset
	_, s := csiOf(t, in)
	if want := []ID{"cluster/cni", "arm-1/node", "x86-1/images"}; !reflect.DeepEqual(s.DependsOn, want) {
		t.Errorf("depends on %v, want %v", s.DependsOn, want)
	}
}

// A plan is printed and saved: no key may be in it, and yet another key must be seen.
// A key that only a program of the inventory tells is not known to who merely looks: the step may be anything.
func TestBuild_CephKeyOfAProgram(t *testing.T) {
	_, step := csiOf(t, cephInput(func(in *Input) {
		rbd := &in.Cluster.Spec.Storage.Ceph[0].RBD
		rbd.KeyFile, rbd.KeyCommand = "", []string{"pass", "show", "ceph"}
		delete(in.CephKeys, "0.rbd")
	}))
	if step.Action != Unknown || step.Reason != "the key of client.csi-rbd comes from a program (keyCommand), which is run by up and not by plan" {
		t.Errorf("%s: %s", step.Action, step.Reason)
	}
}

func TestBuild_CephKeysAreNotInThePlan(t *testing.T) {
	p := mustBuild(t, cephInput(nil))
	b, err := json.Marshal(p)
	if err != nil || strings.Contains(string(b), "not-a-key") || strings.Contains(string(b), "bm90LWEta2V5") {
		t.Errorf("error %v; the plan holds a key: %s", err, b)
	}
	_, s := csiOf(t, cephInput(nil))
	_, other := csiOf(t, cephInput(func(in *Input) { in.CephKeys["0.cephfs"] = "another" }))
	if s.Digest == other.Digest {
		t.Error("another key does not change the digest")
	}
	if in, _ := csiOf(t, cephInput(nil)); !strings.Contains(string(in.Manifest), "bm90LWEta2V5") {
		t.Error("the objects lack the key")
	}
}

func TestCSIManifest_FollowsTheInventory(t *testing.T) {
	for _, c := range []struct {
		name          string
		change        func(*Input)
		with, without []string
	}{
		{"usual", nil, []string{"image: \"registry.example/ceph-csi:v3.15.0\"", "replicas: 1", "key: \"node-role.kubernetes.io/control-plane\""}, // its only worker is tainted
			[]string{"ms_mode", "adminID", "csi-resizer", "VolumeSnapshotClass", "mounter"}},
		{"tolerations", func(in *Input) { in.Cluster.Spec.Storage.CSI.Tolerations = []string{"dedicated=db:NoSchedule"} },
			[]string{"key: \"dedicated\""}, []string{"node-role.kubernetes.io/control-plane"}},
		{"two workers", func(in *Input) {
			in.Cluster.Spec.Hosts = append(in.Cluster.Spec.Hosts, inventory.Host{Name: "b", Role: inventory.Worker}, inventory.Host{Name: "c", Role: inventory.Worker}, inventory.Host{Name: "d", Role: inventory.Worker})
		}, []string{"replicas: 2"}, []string{"replicas: 1"}},
		{"second protocol", func(in *Input) { in.Cluster.Spec.Storage.Ceph[0].MSMode = "secure" },
			[]string{`mapOptions: "krbd:ms_mode=secure"`, `kernelMountOptions: "ms_mode=secure"`, `"kernelMountOptions": "ms_mode=secure"`}, nil},
		{"rbd-nbd", func(in *Input) {
			c := &in.Cluster.Spec.Storage.Ceph[0]
			c.MSMode, c.RBD.Mounter, c.RBD.MapOptions = "secure", inventory.MounterNBD, []string{"try-netlink"}
		}, []string{`mounter: "rbd-nbd"`, `mapOptions: "nbd:try-netlink"`, "type: OnDelete"}, []string{"krbd"}},
		{"old driver", func(in *Input) { in.Cluster.Spec.Storage.CSI.DriverVersion = "3.13.1" }, []string{"adminID: Y3NpLWZz"}, nil},
		{"driver of unknown age", func(in *Input) { in.Cluster.Spec.Storage.CSI.Images.Driver = "x.example/cephcsi:canary" }, []string{"adminID: Y3NpLWZz", "x.example/cephcsi:canary"}, nil},
		{"expansion", func(in *Input) { in.Cluster.Spec.Storage.Ceph[0].CephFS.AllowExpansion = true }, []string{"csi-resizer:v3.15.0", "allowVolumeExpansion: true"}, nil},
		{"snapshots", func(in *Input) { in.API.Snapshots = true }, []string{"kind: VolumeSnapshotClass", "csi-snapshotter:v3.15.0"}, nil},
		{"data pool", func(in *Input) { in.Cluster.Spec.Storage.Ceph[0].CephFS.Pool = "ec" }, []string{`pool: "ec"`}, nil},
		{"no features", func(in *Input) { in.Cluster.Spec.Storage.Ceph[0].RBD.ImageFeatures = []string{} }, nil, []string{"imageFeatures"}},
		{"one driver", func(in *Input) { in.Cluster.Spec.Storage.Ceph[0].CephFS = inventory.CephFS{} }, []string{"rbd.csi.ceph.com"}, []string{"cephfs"}},
	} {
		in := cephInput(c.change)
		got := string(CSIManifest(in))
		for _, w := range c.with {
			if !strings.Contains(got, w) {
				t.Errorf("%s: lacks %s", c.name, w)
			}
		}
		for _, w := range c.without {
			if strings.Contains(got, w) {
				t.Errorf("%s: has %s", c.name, w)
			}
		}
		if s, _ := csiOf(t, in); string(s.Manifest) != got {
			t.Errorf("%s: the step has other objects", c.name)
		}
	}
}

func TestBuild_CephWithoutImages(t *testing.T) {
	in := cephInput(func(in *Input) { in.Bundle = testBundle() })
	p := mustBuild(t, in)
	if _, ok := p.Step(ClusterID(CSI)); ok || CSIManifest(in) != nil {
		t.Error("it is installed")
	}
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "ceph-csi is not installed: the bundle has no image for ceph-csi, csi-provisioner") {
		t.Errorf("notes: %s", notes)
	}
	in = cephInput(func(in *Input) {
		in.API.Snapshots = true
		in.Bundle.Images = in.Bundle.Images[:len(in.Bundle.Images)-1]
	})
	if notes := strings.Join(mustBuild(t, in).Notes, "\n"); !strings.Contains(notes, "no VolumeSnapshotClass") {
		t.Errorf("notes: %s", notes)
	}
}

// Images of storage are large: hosts of a cluster without storage do not get them.
func TestBuild_CephImagesOnlyWithStorage(t *testing.T) {
	for storage, want := range map[bool]int{true: 1, false: 0} {
		in := cephInput(func(in *Input) {
			for i := range in.Bundle.Images {
				in.Bundle.Images[i].Manifests = testBundle().Images[0].Manifests
			}
			if !storage {
				in.Cluster.Spec.Storage = inventory.Storage{}
			}
		})
		s, _ := mustBuild(t, in).Step(HostID("x86-1", Images))
		n := 0
		for _, i := range s.Inputs.(ImagesInputs).Images {
			if strings.Contains(i.Ref, bundle.CephCSI) {
				n++
			}
		}
		if n != want {
			t.Errorf("storage %v: %d", storage, n)
		}
	}
}

func TestProvisionerNames(t *testing.T) {
	if got := render.CephFS.Provisioner(); !strings.Contains(string(CSIManifest(cephInput(nil))), "kind: Deployment\nmetadata:\n  name: "+got+"\n") {
		t.Errorf("no Deployment %s", got)
	}
}
