package kube

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestOwned: what others made is not ours, even when it has the label, and neither is what has another one.
func TestOwned(t *testing.T) {
	c, ctx, ns, label := sharedClient(t), testContext(t), fresh("owned"), fresh("label")
	manifest := `{apiVersion: v1, kind: Namespace, metadata: {name: ` + ns + `, labels: {app: ` + label + `}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: ` + ns + `, labels: {app: ` + label + `}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: ` + ns + `, labels: {app: ` + label + `}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: unlabelled, namespace: ` + ns + `}}
---
{apiVersion: v1, kind: Secret, metadata: {name: not-asked-for, namespace: ` + ns + `, labels: {app: ` + label + `}}}
`
	if _, err := c.Apply(ctx, []byte(manifest), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs", Labels: map[string]string{"app": label}}}
	if _, err := c.core.ConfigMaps(ns).Create(ctx, theirs, metav1.CreateOptions{FieldManager: FieldManager}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns + "-theirs"}}, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(ctx, []byte("{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"-theirs, labels: {app: "+label+"}}}"), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	kinds := []Kind{{APIVersion: "v1", Kind: "Namespace"}, {APIVersion: "v1", Kind: "ConfigMap"}, {APIVersion: "snapshot.storage.k8s.io/v1", Kind: "NoSuchKind"}}
	got, others, err := c.Owned(ctx, kinds, "app="+label)
	want := []Object{{"v1", "Namespace", "", ns}, {"v1", "ConfigMap", ns, "a"}, {"v1", "ConfigMap", ns, "b"}}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v, %v, want %v", err, got, want)
	}
	if want := []Object{{"v1", "Namespace", "", ns + "-theirs"}, {"v1", "ConfigMap", ns, "theirs"}}; !slices.Equal(others, want) {
		t.Errorf("others %v, want %v", others, want)
	}
	if in, _, err := c.Owned(ctx, []Kind{{APIVersion: "v1", Kind: "ConfigMap", Namespace: ns}}, ""); err != nil || !slices.Equal(in, want[1:]) {
		t.Errorf("of a namespace alone: %v, %v", in, err)
	}
	if in, _, err := c.Owned(ctx, []Kind{{APIVersion: "v1", Kind: "ConfigMap", Namespace: ns + "-theirs"}}, ""); err != nil || len(in) > 0 {
		t.Errorf("of another namespace: %v, %v", in, err)
	}
	if _, err := c.DeleteObjects(ctx, got[1:]); err != nil {
		t.Fatal(err)
	}
	if got, _, err := c.Owned(ctx, kinds, "app="+label); err != nil || !slices.Equal(got, want[:1]) {
		t.Errorf("what was deleted is listed: %v, %v", got, err)
	}
}
