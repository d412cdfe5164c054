package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A volume that its class retains is told to go with its claim, by the one field alone; the wait ends when it is gone.
func TestWaitNoVolumes(t *testing.T) {
	c, ctx, name := sharedClient(t), testContext(t), fresh("volume")
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity: corev1.ResourceList{"storage": resource.MustParse("1Gi")}, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"},
		PersistentVolumeReclaimPolicy: "Retain", ClaimRef: &corev1.ObjectReference{Namespace: name, Name: "data"},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "x.example", VolumeHandle: name}},
	}}
	if _, err := c.core.PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	manifest := []byte("apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: " + name + "}\nspec: {persistentVolumeReclaimPolicy: Delete}")
	if _, err := c.Apply(ctx, manifest, ApplyOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Volumes(ctx, []string{"x.example"})
	if err != nil || len(got) != 1 || got[0].Retained || got[0].Claim != name+"/data" {
		t.Fatalf("%+v, %v", got, err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := c.WaitNoVolumes(short, name, "data", WaitOptions{}); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "persistentvolume "+name+" of "+name+"/data") {
		t.Errorf("while it is there: %v", err)
	}
	for _, other := range [][2]string{{name, "other"}, {"other", ""}} {
		if err := c.WaitNoVolumes(ctx, other[0], other[1], WaitOptions{}); err != nil {
			t.Errorf("%v: %v", other, err)
		}
	}
	if err := c.core.PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.removeFinalizers(ctx, name); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitNoVolumes(ctx, name, "", WaitOptions{}); err != nil {
		t.Error(err)
	}
}

// removeFinalizers does what the volume's controllers would, which do not run here.
func (c *Client) removeFinalizers(ctx context.Context, volume string) error {
	v, err := c.core.PersistentVolumes().Get(ctx, volume, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	v.Finalizers = nil
	_, err = c.core.PersistentVolumes().Update(ctx, v, metav1.UpdateOptions{})
	return err
}
