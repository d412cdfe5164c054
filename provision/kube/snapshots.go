package kube

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// snapshotContents is the kind of what snapshots are on the storage's side, which an API server has when someone has
// installed it.
var snapshotContents = Kind{APIVersion: "snapshot.storage.k8s.io/v1", Kind: "VolumeSnapshotContent"}

// Where external-snapshotter notes the Secret with which a snapshot is deleted.
const (
	snapshotSecretName      = "snapshot.storage.kubernetes.io/deletion-secret-name"
	snapshotSecretNamespace = "snapshot.storage.kubernetes.io/deletion-secret-namespace"
)

// StoredBy lists the PersistentVolumes of those CSI drivers and then their snapshots, each sorted by name.
func (c *Client) StoredBy(ctx context.Context, drivers []string) ([]Volume, error) {
	volumes, err := c.Volumes(ctx, drivers)
	if err != nil {
		return nil, err
	}
	snapshots, err := c.snapshots(ctx, drivers)
	return append(volumes, snapshots...), err
}

func (c *Client) snapshots(ctx context.Context, drivers []string) ([]Volume, error) {
	mapping, err := c.mapping(ctx, Object{APIVersion: snapshotContents.APIVersion, Kind: snapshotContents.Kind}.unstructured(), time.Now())
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Volume
	err = c.do(ctx, "list the snapshots", func(ctx context.Context) error {
		list, err := c.dynamic.Resource(mapping.Resource).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		out = nil
		for i := range list.Items {
			v, err := snapshotOf(&list.Items[i])
			if err != nil {
				return err
			}
			if slices.Contains(drivers, v.Driver) {
				out = append(out, v)
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

func snapshotOf(object *unstructured.Unstructured) (Volume, error) {
	var content struct {
		Spec struct {
			Driver         string `json:"driver"`
			DeletionPolicy string `json:"deletionPolicy"`
			Class          string `json:"volumeSnapshotClassName"`
			Ref            struct {
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			} `json:"volumeSnapshotRef"`
		} `json:"spec"`
		Status struct {
			Handle string `json:"snapshotHandle"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &content); err != nil {
		return Volume{}, err
	}
	s := content.Spec
	v := Volume{Name: object.GetName(), Driver: s.Driver, Handle: content.Status.Handle, Class: s.Class, Snapshot: true, Retained: s.DeletionPolicy == "Retain"}
	if s.Ref.Name != "" {
		v.Claim = s.Ref.Namespace + "/" + s.Ref.Name
	}
	notes := object.GetAnnotations()
	if name := notes[snapshotSecretName]; name != "" {
		v.Secrets = []string{notes[snapshotSecretNamespace] + "/" + name}
	}
	return v, nil
}
