package kube

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestPodTemplates(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	const manifests = `
apiVersion: v1
kind: Namespace
metadata: {name: templates-test}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: templates-test}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      nodeSelector: {disk: ssd}
      tolerations: [{key: k, operator: Exists, effect: NoSchedule}]
      initContainers: [{name: first, image: "first:1"}]
      containers: [{name: main, image: "main:1"}]
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions: [{key: arch, operator: In, values: [x]}]
              matchFields: [{key: metadata.name, operator: NotIn, values: [elsewhere]}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: templates-test}
spec:
  schedule: "0 0 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "nightly:1"}]}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: templates-test}
spec:
  selector: {matchLabels: {a: c}}
  template: {metadata: {labels: {a: c}}, spec: {containers: [{name: main, image: "web:1"}]}}
`
	if err := c.Create(ctx, []byte(manifests)); err != nil {
		t.Fatal(err)
	}
	all, err := c.PodTemplates(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]PodTemplate{}
	for _, o := range all {
		if o.Namespace == "templates-test" {
			found[o.Kind+" "+o.Name] = o
		}
	}
	if len(found) != 3 || !slices.Equal(found["CronJob nightly"].Images, []string{"nightly:1"}) || found["Deployment web"].Required != nil {
		t.Errorf("found %+v", found)
	}
	d := found["DaemonSet agent"]
	if !d.Daemon || d.Selector["disk"] != "ssd" || !slices.Equal(d.Images, []string{"first:1", "main:1"}) || d.Tolerations[0].Key != "k" || len(d.Tolerations) < 2 {
		t.Errorf("DaemonSet %+v", d)
	}
	if len(d.Required) != 1 || len(d.Required[0]) != 2 || d.Required[0][0].Key != "arch" || !d.Required[0][1].Field {
		t.Errorf("required %+v", d.Required)
	}
}

func TestPodTemplates_OfControllers(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	ns := fresh("controlled")
	doc := func(kind, version, name, owner, spec string) string {
		if owner != "" {
			owner = ", ownerReferences: [{" + owner + ", controller: true}]"
		}
		return "\n---\n{apiVersion: " + version + ", kind: " + kind + ", metadata: {name: " + name + ", namespace: " + ns + owner + "}, spec: {" + spec + "}}"
	}
	set := func(replicas int, image string) string {
		return fmt.Sprintf("replicas: %d, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: main, image: %q}]}}", replicas, image)
	}
	const job = `template: {spec: {restartPolicy: Never, containers: [{name: main, image: "job:1"}]}}`
	rollout, scaled := "apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: web, uid: u1", "apiVersion: keda.sh/v1alpha1, kind: ScaledJob, name: queue, uid: u2"
	manifest := "{apiVersion: v1, kind: Namespace, metadata: {name: " + ns + "}}" +
		doc("ReplicaSet", "apps/v1", "of-deployment", "apiVersion: apps/v1, kind: Deployment, name: d, uid: u3", set(1, "never:1")) +
		doc("ReplicaSet", "apps/v1", "web-2", rollout, set(2, "web:2")) +
		doc("ReplicaSet", "apps/v1", "alone", "", set(0, "alone:1")) +
		doc("ReplicaSet", "apps/v1", "other", "apiVersion: apps.example/v1, kind: Deployment, name: other, uid: u4", set(1, "other:1")) +
		doc("ReplicationController", "v1", "old", "", `replicas: 1, selector: {a: b}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: main, image: "old:1"}]}}`) +
		doc("Job", "batch/v1", "of-cron", "apiVersion: batch/v1, kind: CronJob, name: c, uid: u5", job) +
		doc("Job", "batch/v1", "queue-1", scaled, job)
	if err := c.Create(ctx, []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	all, err := c.PodTemplates(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, o := range all {
		if o.Namespace == ns {
			found = append(found, o.Kind+" "+o.Name+": "+strings.Join(o.Images, ","))
		}
	}
	slices.Sort(found)
	want := []string{"Deployment.apps.example other: other:1", "ReplicaSet alone: alone:1", "ReplicationController old: old:1",
		"Rollout.argoproj.io web: web:2", "ScaledJob.keda.sh queue: job:1"}
	if !slices.Equal(found, want) {
		t.Errorf("found %q\nwant  %q", found, want)
	}
}

func TestCurrent(t *testing.T) {
	none, one, yes := int32(0), int32(1), true
	set := func(name string, uid types.UID, day int64, wanted *int32, has int32) podSet {
		meta := metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(day*86400, 0)}
		if uid != "" {
			meta.OwnerReferences = []metav1.OwnerReference{{UID: uid, Controller: &yes}}
		}
		return podSet{meta: meta, wanted: wanted, has: has}
	}
	var got []string
	for _, s := range current([]podSet{
		set("old", "a", 1, &none, 0), set("older with pods", "a", 1, &none, 1), set("gone back to", "a", 2, &one, 0), set("newest", "a", 3, &none, 0),
		set("scaled to none", "b", 1, &none, 0), set("nobody's", "", 1, &none, 0), set("of one", "a", 1, nil, 0),
	}) {
		got = append(got, s.meta.Name)
	}
	if want := []string{"older with pods", "gone back to", "newest", "scaled to none", "nobody's", "of one"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNodeImages(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	name := fresh("node-with-images")
	n, err := c.core.Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Status.Images = []corev1.ContainerImage{{Names: []string{name + "@sha256:1", name + ":1"}}}
	if _, err := c.core.Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	images, err := c.NodeImages(ctx)
	if err != nil || len(images[name]) != 1 || !slices.Equal(images[name][0], []string{name + "@sha256:1", name + ":1"}) {
		t.Errorf("%v, %v", images, err)
	}
	_ = c.core.Nodes().Delete(ctx, name, metav1.DeleteOptions{})
}
