package kube

import (
	"reflect"
	"testing"
)

// snapshotDefinition is as much of external-snapshotter's as an API server needs to keep such objects.
const snapshotDefinition = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: volumesnapshotcontents.snapshot.storage.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes-csi/external-snapshotter/pull/814"}
spec:
  group: snapshot.storage.k8s.io
  scope: Cluster
  names: {kind: VolumeSnapshotContent, plural: volumesnapshotcontents, singular: volumesnapshotcontent}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

func TestStoredBy(t *testing.T) {
	c, ctx, driver := sharedClient(t), testContext(t), fresh("driver")+".example"
	if got, err := c.StoredBy(ctx, []string{driver}); err != nil || len(got) > 0 {
		t.Fatalf("where nobody knows snapshots: %v, %v", got, err)
	}
	if _, err := c.Apply(ctx, []byte(snapshotDefinition), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	const head = "---\napiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshotContent\n"
	pv, whole, bare, other := fresh("pv"), fresh("a"), fresh("b"), fresh("c")
	manifest := `{apiVersion: v1, kind: PersistentVolume, metadata: {name: ` + pv + `}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce],
  storageClassName: fast, persistentVolumeReclaimPolicy: Retain, csi: {driver: ` + driver + `, volumeHandle: h0}}}
` + head + `metadata: {name: ` + whole + `, annotations: {snapshot.storage.kubernetes.io/deletion-secret-name: key, snapshot.storage.kubernetes.io/deletion-secret-namespace: ns}}
spec: {driver: ` + driver + `, deletionPolicy: Retain, volumeSnapshotClassName: snap, volumeSnapshotRef: {namespace: team, name: db}, source: {volumeHandle: h0}}
status: {snapshotHandle: h1, restoreSize: 1073741824}
` + head + `metadata: {name: ` + bare + `}
spec: {driver: ` + driver + `, deletionPolicy: Delete, source: {snapshotHandle: h2}}
` + head + `metadata: {name: ` + other + `}
spec: {driver: another.example, deletionPolicy: Delete}
`
	if _, err := c.Apply(ctx, []byte(manifest), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := c.StoredBy(ctx, []string{driver})
	want := []Volume{
		{Name: pv, Driver: driver, Handle: "h0", Class: "fast", Retained: true},
		{Name: whole, Driver: driver, Handle: "h1", Class: "snap", Claim: "team/db", Snapshot: true, Retained: true, Secrets: []string{"ns/key"}},
		{Name: bare, Driver: driver, Snapshot: true},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v, want\n%+v", err, got, want)
	}
	if s := got[1].String(); s != whole+" (snap, snapshot team/db)" {
		t.Error(s)
	}
}
