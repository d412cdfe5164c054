package kube

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

func TestImagesByArch(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	name := fresh("node-with-images")
	n, err := c.core.Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Status.NodeInfo.Architecture = "some"
	n.Status.Images = []corev1.ContainerImage{{Names: []string{name + "@sha256:1", name + ":1"}}}
	if _, err := c.core.Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	images, err := c.ImagesByArch(ctx)
	if err != nil || !slices.Equal(images[name+":1"], []string{"some"}) || !slices.Equal(images[name+"@sha256:1"], []string{"some"}) {
		t.Errorf("%v, %v", images, err)
	}
	_ = c.core.Nodes().Delete(ctx, name, metav1.DeleteOptions{})
}
