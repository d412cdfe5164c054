package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Volume is a PersistentVolume of a CSI driver, or a VolumeSnapshotContent.
type Volume struct {
	Name       string
	Driver     string
	Handle     string // the driver's name of it
	Class      string // its StorageClass, or VolumeSnapshotClass
	Claim      string // namespace/name, of a snapshot those of its VolumeSnapshot; empty = none
	Snapshot   bool
	Retained   bool              // what it stands for stays when it is deleted
	Attributes map[string]string // what the driver noted when it made it
	Secrets    []string          // namespace/name of the Secrets that the driver is given for it, sorted
}

// String is the volume's name, with its class and claim.
func (v Volume) String() string {
	of := "claim"
	if v.Snapshot {
		of = "snapshot"
	}
	return fmt.Sprintf("%s (%s, %s %s)", v.Name, v.Class, of, cmp.Or(v.Claim, "none"))
}

// Volumes lists the PersistentVolumes of those CSI drivers, sorted by name.
func (c *Client) Volumes(ctx context.Context, drivers []string) ([]Volume, error) {
	var out []Volume
	err := c.do(ctx, "list the volumes", func(ctx context.Context) error {
		list, err := c.core.PersistentVolumes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		out = nil
		for _, v := range list.Items {
			if s := v.Spec.CSI; s != nil && slices.Contains(drivers, s.Driver) {
				out = append(out, volumeOf(&v))
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

func volumeOf(v *corev1.PersistentVolume) Volume {
	s := v.Spec.CSI
	out := Volume{Name: v.Name, Driver: s.Driver, Handle: s.VolumeHandle, Class: v.Spec.StorageClassName,
		Retained: v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain, Attributes: maps.Clone(s.VolumeAttributes)}
	if claim := v.Spec.ClaimRef; claim != nil {
		out.Claim = claim.Namespace + "/" + claim.Name
	}
	out.Secrets = secretsOf(v)
	return out
}

// Where external-provisioner notes the Secret with which a volume is deleted.
const (
	deletionSecretName      = "volume.kubernetes.io/provisioner-deletion-secret-name"
	deletionSecretNamespace = "volume.kubernetes.io/provisioner-deletion-secret-namespace"
)

func secretsOf(v *corev1.PersistentVolume) []string {
	s := v.Spec.CSI
	deletion := &corev1.SecretReference{Namespace: v.Annotations[deletionSecretNamespace], Name: v.Annotations[deletionSecretName]}
	var out []string
	for _, ref := range []*corev1.SecretReference{deletion, s.ControllerPublishSecretRef, s.NodeStageSecretRef, s.NodePublishSecretRef, s.ControllerExpandSecretRef, s.NodeExpandSecretRef} {
		if ref != nil && ref.Name != "" {
			out = append(out, ref.Namespace+"/"+ref.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// WaitDetached returns when no PersistentVolume is attached to the node any more. They are until its kubelet has unmounted them and the
// driver has let the node go. NotReadyError tells which are left.
func (c *Client) WaitDetached(ctx context.Context, node string, o WaitOptions) error {
	return c.await(ctx, "volumes", o, func(stores []*viewStore) check {
		return func(time.Time) (missing []Missing, _ time.Duration) {
			for _, a := range listOf[storagev1.VolumeAttachment](stores[0]) {
				if pv := a.Spec.Source.PersistentVolumeName; a.Spec.NodeName == node && pv != nil {
					missing = append(missing, Missing{Object: "persistentvolume " + *pv, Node: node, Reason: "is still attached to " + node})
				}
			}
			return missing, 0
		}
	}, sourceOf(c.storage.VolumeAttachments(), &storagev1.VolumeAttachment{}, "", func(runtime.Object) bool { return true }))
}

// WaitCSINodes returns when every one of the nodes lists every one of the CSI drivers: from then on its kubelet can mount their volumes.
func (c *Client) WaitCSINodes(ctx context.Context, nodes, drivers []string, o WaitOptions) error {
	return c.await(ctx, "CSI drivers", o, func(stores []*viewStore) check {
		return func(time.Time) (missing []Missing, _ time.Duration) {
			lists := map[string][]string{}
			for _, n := range listOf[storagev1.CSINode](stores[0]) {
				for _, d := range n.Spec.Drivers {
					lists[n.Name] = append(lists[n.Name], d.Name)
				}
			}
			for _, node := range nodes {
				for _, driver := range drivers {
					if !slices.Contains(lists[node], driver) {
						missing = append(missing, Missing{Object: "driver " + driver + " on " + node, Node: node, Reason: "has not registered with the kubelet yet"})
					}
				}
			}
			return missing, 0
		}
	}, sourceOf(c.storage.CSINodes(), &storagev1.CSINode{}, "", nil))
}

// HasKind reports whether the API server has a kind, for instance of an optional definition.
func (c *Client) HasKind(ctx context.Context, apiVersion, kind string) (bool, error) {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	_, err := c.mapping(ctx, object, time.Time{})
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the kind %s: %w", kind, c.explain(err))
	}
	return true, nil
}

// classKind is a kind whose objects cannot be changed but in their metadata: what differs is replaced. Volumes keep a copy of what
// they were made with, so that this touches none.
var classKind = schema.GroupKind{Group: "storage.k8s.io", Kind: "StorageClass"}

// immutable reports whether the API server refuses to change an object that may be replaced. One that it refuses for another reason
// would be refused again.
func immutable(object *unstructured.Unstructured, err error) bool {
	var status apierrors.APIStatus
	if object.GroupVersionKind().GroupKind() != classKind || !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	causes := status.Status().Details.Causes
	return len(causes) > 0 && !slices.ContainsFunc(causes, func(c metav1.StatusCause) bool {
		return !strings.Contains(c.Message, "immutable") && !strings.Contains(c.Message, "are forbidden")
	})
}

// replace deletes an object and creates it again.
func replace(ctx context.Context, resource dynamic.ResourceInterface, old, object *unstructured.Unstructured, o ApplyOptions) (*unstructured.Unstructured, error) {
	uid := old.GetUID()
	err := resource.Delete(ctx, old.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	return patch(ctx, resource, object, o, false)
}
