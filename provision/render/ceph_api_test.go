package render

import (
	"bytes"
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// snapshotClasses is as much of the definition as a class needs.
const snapshotClasses = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: volumesnapshotclasses.snapshot.storage.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes-csi/external-snapshotter/pull/814"}
spec:
  group: snapshot.storage.k8s.io
  scope: Cluster
  names: {kind: VolumeSnapshotClass, plural: volumesnapshotclasses, singular: volumesnapshotclass}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        required: [driver, deletionPolicy]
        properties:
          driver: {type: string}
          deletionPolicy: {type: string, enum: [Delete, Retain]}
          parameters: {type: object, additionalProperties: {type: string}}
`

// TestCephManifest_AnAPIServerTakesIt: every object passes strict validation, and is the same the second time.
func TestCephManifest_AnAPIServerTakesIt(t *testing.T) {
	c, err := kube.New(kubetest.Shared(t).Kubeconfig(), kube.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for name, data := range map[string]CephCSI{"usual": ceph(), "full": cephFull()} {
		for i := range data.Classes {
			data.Classes[i].Class += "-" + name
		}
		manifest := CephManifest(data)
		if data.Snapshots {
			manifest = bytes.Join([][]byte{[]byte(snapshotClasses), manifest}, []byte("---\n"))
		}
		changes, err := c.Apply(ctx, manifest, kube.ApplyOptions{Force: true})
		if err != nil {
			t.Fatalf("%s: %v\n%v", name, err, changes)
		}
		if want := bytes.Count(manifest, []byte("\nkind: ")); len(changes) != want {
			t.Errorf("%s: %d objects applied, the manifest has %d", name, len(changes), want)
		}
		var kinds []kube.Kind
		for _, k := range CephKinds {
			kinds = append(kinds, kube.Kind{APIVersion: k.APIVersion, Kind: k.Kind})
		}
		owned, _, err := c.Owned(ctx, kinds, CephSelector)
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := kube.Objects(CephManifest(data))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range wanted {
			if !slices.Contains(owned, o) {
				t.Errorf("%s: %s would not be found when it has left the inventory", name, o)
			}
		}
		again, err := c.Diff(ctx, manifest)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range again {
			if o.Action != report.Unchanged {
				t.Errorf("%s, once more: %s is %s", name, o, o.Action)
			}
		}
	}
}
