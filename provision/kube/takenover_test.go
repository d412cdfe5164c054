package kube

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// TestIsOurs_ByTheFieldManagers has fields as an API server keeps them.
func TestIsOurs_ByTheFieldManagers(t *testing.T) {
	const (
		labels   = `"f:metadata":{"f:labels":{"f:app":{}}}`
		ourClass = `{"manager":"hybridctl","operation":"Apply","fieldsV1":{` + labels + `,"f:provisioner":{},"f:parameters":{"f:pool":{}}}}`
		ourData  = `{"manager":"hybridctl","operation":"Apply","fieldsV1":{` + labels + `,"f:data":{"f:key":{}}}}`
		ourPods  = `{"manager":"hybridctl","operation":"Apply","fieldsV1":{` + labels + `,"f:spec":{"f:selector":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:image":{}}}}}}}}`
	)
	for name, c := range map[string]struct {
		managers string
		ours     bool
	}{
		"ours":           {ourClass, true},
		"another's":      {`{"manager":"hybridctl","operation":"Update","fieldsV1":{"f:provisioner":{}}}`, false},
		"created before": {ourClass + `,{"manager":"kubectl-create","operation":"Update","fieldsV1":{"f:provisioner":{},"f:reclaimPolicy":{}}}`, false},
		"applied before": {ourClass + `,{"manager":"argocd","operation":"Apply","fieldsV1":{"f:provisioner":{}}}`, false},
		// all that it said has been taken from it, but for the maps that it made
		"other data before":   {ourData + `,{"manager":"kubectl-create","operation":"Update","fieldsV1":{"f:data":{}}}`, false},
		"more data before":    {ourData + `,{"manager":"kubectl-create","operation":"Update","fieldsV1":{"f:data":{".":{},"f:other":{}}}}`, false},
		"other labels before": {ourData + `,{"manager":"kubectl-create","operation":"Update","fieldsV1":{"f:metadata":{"f:labels":{}}}}`, false},
		"a map added since":   {ourData + `,{"manager":"kubectl-edit","operation":"Update","fieldsV1":{"f:binaryData":{".":{},"f:more":{}}}}`, true},
		"another kind before": {ourData + `,{"manager":"helm","operation":"Update","fieldsV1":{"f:type":{}}}`, false},
		"no one known before": {ourData + `,{"manager":"before-first-apply","operation":"Update","fieldsV1":{"f:data":{".":{},"f:other":{}}}}`, false},
		"pods before":         {ourPods + `,{"manager":"helm","operation":"Update","fieldsV1":{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{}}}}}}}}`, false},
		"applied by kubectl":  {ourData + `,{"manager":"kubectl-client-side-apply","operation":"Update","fieldsV1":{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}}`, false},
		"made by another": {strings.Replace(ourData, "{", `{"time":"2026-01-01T00:01:00Z",`, 1) +
			`,{"manager":"kubectl-create","operation":"Update","time":"2026-01-01T00:00:00Z","fieldsV1":{"f:metadata":{"f:labels":{"f:team":{}}}}}`, false},
		"labelled since": {strings.Replace(ourData, "{", `{"time":"2026-01-01T00:01:00Z",`, 1) +
			`,{"manager":"kubectl-label","operation":"Update","time":"2026-01-01T00:00:30Z","fieldsV1":{"f:metadata":{"f:labels":{"f:team":{}}}}}`, true},
		"labelled at once": {strings.Replace(ourData, "{", `{"time":"2026-01-01T00:00:00Z",`, 1) +
			`,{"manager":"labels-all","operation":"Update","time":"2026-01-01T00:00:00Z","fieldsV1":{"f:metadata":{"f:labels":{"f:team":{}}}}}`, true},
		"annotated since":   {ourClass + `,{"manager":"kubectl-annotate","operation":"Update","fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:team":{}}}}}`, true},
		"edited since":      {ourClass + `,{"manager":"kubectl-edit","operation":"Update","fieldsV1":{"f:allowVolumeExpansion":{}}}`, true},
		"a key added since": {ourData + `,{"manager":"kubectl-edit","operation":"Update","fieldsV1":{"f:data":{"f:more":{}}}}`, true},
		"pods restarted since": {ourPods + `,{"manager":"kubectl-rollout","operation":"Update","fieldsV1":{"f:spec":{"f:template":{"f:metadata":{"f:annotations":{".":{},"f:kubectl.kubernetes.io/restartedAt":{}}}}}}}` +
			`,{"manager":"kube-controller-manager","operation":"Update","subresource":"status","fieldsV1":{"f:status":{"f:replicas":{}},"f:spec":{".":{}}}}`, true},
		"fields that cannot be read": {ourClass + `,{"manager":"odd","operation":"Update","fieldsV1":[]}`, false},
	} {
		var fields []metav1.ManagedFieldsEntry
		if err := json.Unmarshal([]byte("["+c.managers+"]"), &fields); err != nil {
			t.Fatal(name, err)
		}
		object := &unstructured.Unstructured{}
		object.SetAPIVersion("v1")
		object.SetKind("Secret")
		object.SetCreationTimestamp(metav1.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		object.SetManagedFields(fields)
		if isOurs(object) != c.ours {
			t.Errorf("%s: ours %t", name, !c.ours)
		}
	}
}

// What was there before, and an apply took over by force, stays another's; what another has changed since is ours.
func TestOwned_WhatWasTakenOverIsAnothers(t *testing.T) {
	c, ctx, ns, label := sharedClient(t), testContext(t), fresh("taken"), fresh("label")
	if _, err := c.Apply(ctx, []byte("{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}"), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	by := metav1.CreateOptions{FieldManager: "kubectl-create"}
	if _, err := c.core.ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "before"}, Data: map[string]string{"key": "theirs"}}, by); err != nil {
		t.Fatal(err)
	}
	if _, err := c.core.Secrets(ns).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "before"}, Data: map[string][]byte{"key": []byte("theirs")}}, by); err != nil {
		t.Fatal(err)
	}
	var manifest string
	for _, kind := range []string{"ConfigMap", "Secret"} {
		for _, name := range []string{"before", "edited"} {
			manifest += "---\n{apiVersion: v1, kind: " + kind + ", metadata: {name: " + name + ", namespace: " + ns + ", labels: {app: " + label + "}}, data: {key: b3Vycw==}}\n"
		}
	}
	for range 2 {
		if _, err := c.Apply(ctx, []byte(manifest), ApplyOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		edit := []byte(`{"metadata":{"annotations":{"x":"y"}},"data":{"key":"dGhlaXJz","more":"dGhlaXJz"}}`)
		if _, err := c.core.ConfigMaps(ns).Patch(ctx, "edited", types.MergePatchType, edit, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.core.Secrets(ns).Patch(ctx, "edited", types.MergePatchType, edit, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
			t.Fatal(err)
		}
		got, others, err := c.Owned(ctx, []Kind{{APIVersion: "v1", Kind: "ConfigMap"}, {APIVersion: "v1", Kind: "Secret"}}, "app="+label)
		if want := []Object{{"v1", "ConfigMap", ns, "edited"}, {"v1", "Secret", ns, "edited"}}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v, want %v", err, got, want)
		}
		if want := []Object{{"v1", "ConfigMap", ns, "before"}, {"v1", "Secret", ns, "before"}}; !slices.Equal(others, want) {
			t.Errorf("others %v, want %v", others, want)
		}
	}
}
