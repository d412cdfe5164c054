package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"
)

// WaitDeployment returns when all replicas of the Deployment are of its present template and available.
// NotReadyError tells how many are not, and what one of its pods waits for. Window is not used.
func (c *Client) WaitDeployment(ctx context.Context, namespace, name string, o WaitOptions) error {
	object := "deployment " + namespace + "/" + name
	return c.await(ctx, "deployment", o, func(stores []*viewStore) check {
		return func(time.Time) ([]Missing, time.Duration) {
			reason := "does not exist"
			for _, deployment := range listOf[appsv1.Deployment](stores[0]) {
				reason = deploymentProblem(deployment, listOf[corev1.Pod](stores[1]))
			}
			if reason == "" {
				return nil, 0
			}
			return []Missing{{Object: object, Reason: reason}}, 0
		}
	},
		sourceOf(c.apps.Deployments(namespace), &appsv1.Deployment{}, named(name), nil),
		sourceOf(c.core.Pods(namespace), &corev1.Pod{}, "", trimPod("ReplicaSet")))
}

func named(name string) string { return fields.OneTermEqualSelector("metadata.name", name).String() }

// deploymentProblem is why a Deployment is not complete; "" when it is.
func deploymentProblem(d *appsv1.Deployment, pods []*corev1.Pod) string {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	status := d.Status
	switch {
	case status.ObservedGeneration < d.Generation:
		return "its controller has not seen its present form yet"
	case status.UpdatedReplicas == want && status.Replicas == want && status.AvailableReplicas == want:
		return ""
	}
	reason := fmt.Sprintf("%d of %d replicas available", status.AvailableReplicas, want)
	for _, condition := range status.Conditions {
		if condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue {
			return oneLine(reason + ": " + condition.Message)
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return reason
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	for _, pod := range pods {
		if problem := podProblem(pod); problem != "" && selector.Matches(labels.Set(pod.Labels)) {
			return reason + ": pod " + pod.Name + ": " + problem
		}
	}
	return reason
}

// waitEstablished returns when the API server serves a new definition's kind.
func (c *Client) waitEstablished(ctx context.Context, resource dynamic.ResourceInterface, name string) error {
	return c.waitOne(ctx, "definition", resource, name, func(object *unstructured.Unstructured) string {
		if object == nil {
			return "does not exist"
		}
		conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
		reason := "not established yet"
		for _, entry := range conditions {
			condition, _ := entry.(map[string]any)
			switch {
			case condition["type"] == "Established" && condition["status"] == "True":
				return ""
			case condition["type"] == "NamesAccepted" && condition["status"] == "False":
				reason = oneLine(fmt.Sprint("its names are not accepted: ", condition["message"]))
			}
		}
		return reason
	})
}

// waitGone returns when this very object is there no more.
func (c *Client) waitGone(ctx context.Context, resource dynamic.ResourceInterface, old *unstructured.Unstructured) error {
	return c.waitOne(ctx, "deletion", resource, old.GetName(), func(object *unstructured.Unstructured) string {
		if object == nil || object.GetUID() != old.GetUID() {
			return ""
		}
		return "is still being deleted"
	})
}

// waitOne watches one object until it has no problem; it is given nil when the object does not exist.
func (c *Client) waitOne(ctx context.Context, what string, resource dynamic.ResourceInterface, name string, problem func(*unstructured.Unstructured) string) error {
	return c.await(ctx, what, WaitOptions{}, func(stores []*viewStore) check {
		return func(time.Time) ([]Missing, time.Duration) {
			var object *unstructured.Unstructured
			if found := listOf[unstructured.Unstructured](stores[0]); len(found) > 0 {
				object = found[0]
			}
			if reason := problem(object); reason != "" {
				return []Missing{{Object: name, Reason: reason}}, 0
			}
			return nil, 0
		}
	}, sourceOf(resource, &unstructured.Unstructured{}, named(name), nil))
}
