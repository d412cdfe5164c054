package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hybridctl/hybridctl/provision/report"
)

var thingKind = schema.GroupKind{Group: "example.com", Kind: "Thing"}

// network is a manifest like a pod network's: objects of its own namespace come before it, one is of a kind it defines itself.
const network = `
apiVersion: v1
kind: ConfigMap
metadata: {name: net-cfg, namespace: NS}
data: {mtu: "1450"}
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: first, namespace: NS}
spec: {size: 3}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: NS}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers: [{name: agent, image: "registry.test/agent:v1"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NS}
rules: [{apiGroups: [""], resources: [nodes], verbs: [get]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: NS}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Thing, plural: things, singular: thing}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer}}}}
`

// actions are the changes as "object action", in order.
func actions(changes []ObjectChange) []string {
	var texts []string
	for _, change := range changes {
		texts = append(texts, change.String()+" "+string(change.Action))
	}
	return texts
}

// all gives every object of the network manifest the same action, but for those that are told.
func all(ns string, action report.Action, other map[string]report.Action) []string {
	var texts []string
	for _, name := range []string{"Namespace/" + ns, "CustomResourceDefinition/things.example.com", "ConfigMap/" + ns + "/net-cfg",
		"Thing/" + ns + "/first", "DaemonSet/" + ns + "/agent", "ClusterRole/" + ns} {
		is := action
		if told, ok := other[strings.SplitN(name, "/", 2)[0]]; ok {
			is = told
		}
		texts = append(texts, name+" "+string(is))
	}
	return texts
}

func TestApply_DiffsAndDeletes(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	ns := fresh("net")
	manifest := strings.ReplaceAll(network, "NS", ns)
	changed := strings.Replace(strings.Replace(manifest, "agent:v1", "agent:v2", 1), "size: 3", "size: 4", 1)
	expect := func(what string, want []string, do func() ([]ObjectChange, error)) {
		t.Helper()
		got, err := do()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if diff := cmp.Diff(want, actions(got)); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
	diffs := func(m string) func() ([]ObjectChange, error) {
		return func() ([]ObjectChange, error) { return c.Diff(ctx, []byte(m)) }
	}
	applies := func(m string) func() ([]ObjectChange, error) {
		return func() ([]ObjectChange, error) { return c.Apply(ctx, []byte(m), ApplyOptions{}) }
	}
	two := map[string]report.Action{"DaemonSet": report.Configured, "Thing": report.Configured}

	expect("diff before", all(ns, report.Created, nil), diffs(manifest))
	if _, err := c.core.Namespaces().Get(ctx, ns, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Fatalf("Diff made the namespace: %v", err)
	}
	expect("apply", all(ns, report.Created, nil), applies(manifest))
	expect("apply again", all(ns, report.Unchanged, nil), applies(manifest))
	expect("diff after", all(ns, report.Unchanged, nil), diffs(manifest))
	expect("diff of a change", all(ns, report.Unchanged, two), diffs(changed))
	expect("apply after a diff", all(ns, report.Unchanged, nil), applies(manifest))
	expect("apply of a change", all(ns, report.Unchanged, two), applies(changed))
	expect("diff of the change", all(ns, report.Unchanged, nil), diffs(changed))

	// Someone edits an object of ours: that shows, and is mended.
	edit := []byte(`{"data":{"mtu":"9000"}}`)
	if _, err := c.core.ConfigMaps(ns).Patch(ctx, "net-cfg", types.MergePatchType, edit, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	edited := map[string]report.Action{"ConfigMap": report.Configured}
	expect("diff after an edit", all(ns, report.Unchanged, edited), diffs(changed))
	got, err := c.Apply(ctx, []byte(changed), ApplyOptions{})
	if !errors.Is(err, ErrConflict) || got[len(got)-1].Action != report.Failed || !strings.Contains(err.Error(), "ConfigMap/"+ns+"/net-cfg") {
		t.Errorf("apply without force: %v, %v; want ErrConflict", actions(got), err)
	}
	expect("apply with force", all(ns, report.Unchanged, edited), func() ([]ObjectChange, error) {
		return c.Apply(ctx, []byte(changed), ApplyOptions{Force: true})
	})

	remove := func() ([]ObjectChange, error) { return c.Delete(ctx, []byte(changed)) }
	deleted, err := remove()
	if err != nil {
		t.Fatal(err)
	}
	if deleted[0].Kind != "ClusterRole" || deleted[len(deleted)-1].Kind != "Namespace" {
		t.Errorf("not in reverse order: %v", actions(deleted))
	}
	for _, change := range deleted {
		if change.Action != report.Deleted {
			t.Errorf("%v: %s", change, change.Action)
		}
	}
	if again, err := remove(); err != nil || again[0].Action != report.Unchanged {
		t.Errorf("deleting again: %v, %v", actions(again), err)
	}
}

// A manifest with a status, or a controller that writes one meanwhile, must not look like a change.
func TestCompare_LooksAtTheContentAlone(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	name := fresh("status")
	manifest := []byte(`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: ` + name + `, namespace: default}, spec: {selector: {matchLabels: {a: b}},
 template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}`)
	if _, err := c.Apply(ctx, manifest, ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	objects, err := parseManifests(manifest)
	if err != nil {
		t.Fatal(err)
	}
	resource, err := c.resource(ctx, objects[0], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	before, err := c.live(ctx, resource, name)
	if err != nil {
		t.Fatal(err)
	}
	status := []byte(`{"status":{"numberReady":7}}`)
	after, err := resource.Patch(ctx, name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	if before.GetResourceVersion() == after.GetResourceVersion() || compare(before, after) != report.Unchanged {
		t.Errorf("a new status is %s", compare(before, after))
	}
	image := []byte(`{"spec":{"template":{"metadata":{"labels":{"x":"y"}}}}}`)
	if after, err = resource.Patch(ctx, name, types.MergePatchType, image, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if compare(before, after) != report.Configured {
		t.Error("a new label is unchanged")
	}
}

func TestApply_Refused(t *testing.T) {
	c := sharedClient(t)
	tests := []struct{ name, manifest, want string }{
		{"unknown field", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, dada: {x: y}}", "dada"},
		{"unknown kind", "{apiVersion: example.org/v1, kind: Nothing, metadata: {name: a}}", "the API server has no kind Nothing in example.org/v1"},
		{"invalid value", "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 99999999}]}}", "ports"},
	}
	for _, tt := range tests {
		for verb, do := range map[string]func() ([]ObjectChange, error){
			"apply": func() ([]ObjectChange, error) { return c.Apply(testContext(t), []byte(tt.manifest), ApplyOptions{}) },
			"diff":  func() ([]ObjectChange, error) { return c.Diff(testContext(t), []byte(tt.manifest)) },
		} {
			got, err := do()
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s, %s: %v; want ErrInvalid with %q on one line", tt.name, verb, err, tt.want)
			}
			if len(got) != 1 || got[0].Action != report.Failed {
				t.Errorf("%s, %s: %v", tt.name, verb, actions(got))
			}
		}
	}
}

// A definition whose names another one has is stored, but never served.
func TestApply_DefinitionThatIsNotEstablished(t *testing.T) {
	c := sharedClient(t)
	definition := func(plural string) []byte {
		return []byte(`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: ` + plural + `.clash.test},
 spec: {group: clash.test, scope: Cluster, names: {kind: Clash, plural: ` + plural + `},
 versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object}}}}}]}}`)
	}
	if _, err := c.Apply(testContext(t), definition("clashes"), ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := c.Apply(ctx, definition("others"), ApplyOptions{})
	if !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "others.clash.test: its names are not accepted: ") || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("err = %v", err)
	}
	_, err = c.Apply(testContext(t), []byte("{apiVersion: clash.test/v1, kind: Clash, metadata: {name: a}, spce: {}}"), ApplyOptions{})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "spce") {
		t.Errorf("a field that the definition does not have: %v", err)
	}
}

// What is on its way out must be gone before it is applied, or it would vanish right after.
func TestApply_WaitsForWhatIsBeingDeleted(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	name := fresh("going")
	maps := c.core.ConfigMaps("default")
	old, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Finalizers: []string{"example.com/hold"}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	manifest := []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + "}, data: {a: b}}")

	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := c.Apply(short, manifest, ApplyOptions{}); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), name+": is still being deleted") {
		t.Errorf("while it is held: %v", err)
	}

	applied := make(chan error, 1)
	go func() { _, err := c.Apply(ctx, manifest, ApplyOptions{}); applied <- err }()
	release := []byte(`{"metadata":{"finalizers":null}}`)
	if _, err := maps.Patch(ctx, name, types.MergePatchType, release, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-applied; err != nil {
		t.Fatal(err)
	}
	if now, err := maps.Get(ctx, name, metav1.GetOptions{}); err != nil || now.UID == old.UID || now.Data["a"] != "b" {
		t.Errorf("the new one: %v, %v", now, err)
	}
}

// What is in a namespace that was there before is not ours to take away.
func TestDelete_KeepsNamespacesOfOthers(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	ours, theirs := fresh("ours"), fresh("theirs")
	manifest := []byte("{apiVersion: v1, kind: Namespace, metadata: {name: " + ours + ", labels: {a: b}}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: " + theirs + ", labels: {a: b}}}\n")
	if _, err := c.core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: theirs, Labels: map[string]string{"team": "db"}}}, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(ctx, manifest, ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.core.Namespaces().Patch(ctx, ours, types.MergePatchType, []byte(`{"metadata":{"annotations":{"x":"y"}}}`), metav1.PatchOptions{FieldManager: "annotates-all"}); err != nil {
		t.Fatal(err)
	}
	got, err := c.Delete(ctx, manifest)
	if err != nil || len(got) != 2 || got[0].Name != theirs || got[0].Action != report.Unchanged || got[1].Action != report.Deleted {
		t.Errorf("%v, %v", got, err)
	}
	if n, err := c.core.Namespaces().Get(ctx, theirs, metav1.GetOptions{}); err != nil || n.DeletionTimestamp != nil {
		t.Errorf("the others' namespace goes: %v", err)
	}
}
