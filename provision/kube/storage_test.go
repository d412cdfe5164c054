package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridctl/hybridctl/provision/report"
)

func TestApply_ClassWithOtherParametersIsMadeAnew(t *testing.T) {
	c, ctx, name := sharedClient(t), testContext(t), fresh("class")
	manifest := func(pool, policy string) []byte {
		return []byte("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: " + name + "}\nprovisioner: x.example\nparameters: {pool: " + pool + "}\nreclaimPolicy: " + policy)
	}
	for _, step := range []struct {
		pool, policy string
		diff, apply  report.Action
	}{
		{"a", "Delete", report.Created, report.Created},
		{"a", "Delete", report.Unchanged, report.Unchanged},
		{"b", "Delete", report.Configured, report.Created},
		{"b", "Retain", report.Configured, report.Created},
		{"b", "Retain", report.Unchanged, report.Unchanged},
	} {
		diff, err := c.Diff(ctx, manifest(step.pool, step.policy))
		if err != nil || diff[0].Action != step.diff {
			t.Fatalf("%+v: diff %v, error %v", step, diff, err)
		}
		done, err := c.Apply(ctx, manifest(step.pool, step.policy), ApplyOptions{Force: true})
		if err != nil || done[0].Action != step.apply {
			t.Fatalf("%+v: apply %v, error %v", step, done, err)
		}
		class, err := c.storage.StorageClasses().Get(ctx, name, metav1.GetOptions{})
		if err != nil || class.Parameters["pool"] != step.pool {
			t.Fatalf("%+v: %v, error %v", step, class.Parameters, err)
		}
	}

	// What is wrong in another way must not cost the class that is there.
	if done, err := c.Apply(ctx, manifest("c", "Recycle"), ApplyOptions{Force: true}); !errors.Is(err, ErrInvalid) {
		t.Errorf("apply %v, error %v", done, err)
	}
	if class, err := c.storage.StorageClasses().Get(ctx, name, metav1.GetOptions{}); err != nil || class.Parameters["pool"] != "b" {
		t.Errorf("%v, error %v", class, err)
	}
}

func TestVolumes(t *testing.T) {
	c, ctx, name, driver := sharedClient(t), testContext(t), fresh("volume"), fresh("driver")+".example"
	for _, v := range []struct {
		name, driver, claim string
		policy              corev1.PersistentVolumeReclaimPolicy
	}{{name + "-b", driver, "db", "Retain"}, {name + "-a", driver, "", "Delete"}, {name + "-c", "other.example", "", "Delete"}} {
		pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: v.name}, Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: v.policy, StorageClassName: "fast",
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: v.driver, VolumeHandle: "h-" + v.name,
				VolumeAttributes: map[string]string{"clusterID": "x"}}}}}
		if v.claim != "" {
			pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "default", Name: v.claim}
			pv.Spec.CSI.NodeStageSecretRef = &corev1.SecretReference{Namespace: "ceph-csi", Name: "user"}
			pv.Spec.CSI.ControllerExpandSecretRef = pv.Spec.CSI.NodeStageSecretRef
			pv.Annotations = map[string]string{"volume.kubernetes.io/provisioner-deletion-secret-name": "admin", "volume.kubernetes.io/provisioner-deletion-secret-namespace": "ceph-csi"}
		}
		if _, err := c.core.PersistentVolumes().Create(ctx, pv, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Volumes(ctx, []string{driver})
	if err != nil {
		t.Fatal(err)
	}
	attributes := map[string]string{"clusterID": "x"}
	want := []Volume{
		{Name: name + "-a", Driver: driver, Handle: "h-" + name + "-a", Class: "fast", Attributes: attributes},
		{Name: name + "-b", Driver: driver, Handle: "h-" + name + "-b", Class: "fast", Claim: "default/db", Retained: true, Attributes: attributes,
			Secrets: []string{"ceph-csi/admin", "ceph-csi/user"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWaitDetached(t *testing.T) {
	c, ctx, name := sharedClient(t), testContext(t), fresh("attached")
	for volume, node := range map[string]string{name + "-b": name, name + "-a": name, name + "-c": name + "-x"} {
		a := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: volume}, Spec: storagev1.VolumeAttachmentSpec{
			Attacher: "driver.example", NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &volume}}}
		if _, err := c.storage.VolumeAttachments().Create(ctx, a, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	var waiting *NotReadyError
	if err := c.WaitDetached(short, name, WaitOptions{}); !errors.As(err, &waiting) || !errors.Is(err, context.DeadlineExceeded) ||
		len(waiting.Missing) != 2 || waiting.Missing[0].Object != "persistentvolume "+name+"-a" {
		t.Errorf("while they are attached: %v", err)
	}
	deleted := make(chan error, 1)
	go func() {
		deleted <- errors.Join(c.storage.VolumeAttachments().Delete(ctx, name+"-a", metav1.DeleteOptions{}),
			c.storage.VolumeAttachments().Delete(ctx, name+"-b", metav1.DeleteOptions{}))
	}()
	if err := c.WaitDetached(ctx, name, WaitOptions{}); err != nil {
		t.Errorf("one is attached to another node: %v", err)
	}
	if err := <-deleted; err != nil {
		t.Error(err)
	}
}

func TestWaitCSINodes(t *testing.T) {
	c, ctx, node := sharedClient(t), testContext(t), fresh("csinode")
	register := func(drivers ...string) {
		n := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: node}}
		for _, d := range drivers {
			n.Spec.Drivers = append(n.Spec.Drivers, storagev1.CSINodeDriver{Name: d, NodeID: node})
		}
		_ = c.storage.CSINodes().Delete(ctx, node, metav1.DeleteOptions{})
		if _, err := c.storage.CSINodes().Create(ctx, n, metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
	}
	var told []string
	err := c.WaitCSINodes(ctx, []string{node}, []string{"a.example", "b.example"}, WaitOptions{Progress: func(m []Missing) {
		told = append(told, m[0].String())
		switch len(m) {
		case 2:
			register("a.example")
		case 1:
			if strings.Contains(m[0].Object, "b.example") {
				register("a.example", "b.example")
			}
		}
	}})
	if err != nil || len(told) < 2 || told[0] != "driver a.example on "+node+": has not registered with the kubelet yet" {
		t.Errorf("told %q, error %v", told, err)
	}
}

func TestHasKind(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	for _, test := range []struct {
		version, kind string
		want          bool
	}{{"storage.k8s.io/v1", "StorageClass", true}, {"snapshot.storage.k8s.io/v1", "VolumeSnapshotThing", false}} {
		if got, err := c.HasKind(ctx, test.version, test.kind); err != nil || got != test.want {
			t.Errorf("%s: %v, error %v", test.kind, got, err)
		}
	}
}
