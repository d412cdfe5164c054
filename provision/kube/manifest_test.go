package kube

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseManifests_Order(t *testing.T) {
	objects, err := parseManifests([]byte(`# a comment alone
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hook}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: net}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: net}}
- {apiVersion: v1, kind: Namespace, metadata: {name: net}}
---
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec: {group: example.com, names: {kind: Thing}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, object := range objects {
		got = append(got, changeOf(object, "").String())
	}
	want := []string{"Namespace/net", "CustomResourceDefinition/things.example.com", "DaemonSet/net/agent", "ConfigMap/net/b", "ValidatingWebhookConfiguration/hook"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	defined := definedKinds(objects)
	if len(defined) != 1 || !defined[thingKind] {
		t.Errorf("defined kinds: %v", defined)
	}
}

func TestParseManifests_Refuses(t *testing.T) {
	good := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n"
	tests := []struct{ name, manifest, want string }{
		{"nothing", "# only a comment\n", "holds no object"},
		{"not YAML", good + "a: [", "manifest document 2: "},
		{"a key twice", good + "apiVersion: v1\nkind: ConfigMap\nkind: Secret\nmetadata: {name: a}", "manifest document 2: "},
		{"no kind", good + "apiVersion: v1\nmetadata: {name: a}", "manifest document 2: "},
		{"no apiVersion", good + "kind: Namespace\nmetadata: {name: a}", `manifest document 2: "Namespace/a" has no apiVersion or no kind`},
		{"no name", good + "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: a}", "manifest document 2: ConfigMap has no metadata.name"},
	}
	for _, tt := range tests {
		_, err := parseManifests([]byte(tt.manifest))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want ErrInvalid with %q", tt.name, err, tt.want)
		}
	}
}
