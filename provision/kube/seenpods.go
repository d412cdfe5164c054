package kube

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SeenPods is what the cluster's pods tell of images.
type SeenPods struct {
	// Templates are of pods that have not ended and whose controller makes them itself, as custom resources do:
	// PodTemplates has none of them. A pod that no one controls is not made again.
	Templates []PodTemplate
	// Ran are the nodes on which a container of an image is Ready, or ended well, by the image's name in the pod.
	Ran map[string][]string
}

// knownMakers are the controllers whose pods PodTemplates has the templates of, and a kubelet's own pods.
var knownMakers = []schema.GroupKind{
	{Group: "apps", Kind: "DaemonSet"}, {Group: "apps", Kind: "ReplicaSet"}, {Group: "apps", Kind: "StatefulSet"}, {Group: "batch", Kind: "Job"},
	{Kind: "ReplicationController"}, {Kind: "Node"}, {},
}

// SeenPods lists the pods of all namespaces once.
func (c *Client) SeenPods(ctx context.Context) (SeenPods, error) {
	var seen SeenPods
	err := c.do(ctx, "list the pods", func(ctx context.Context) error {
		list, err := c.core.Pods("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		seen = SeenPods{Ran: map[string][]string{}}
		for i := range list.Items {
			seen.add(&list.Items[i])
		}
		return nil
	})
	return seen, err
}

func (s *SeenPods) add(p *corev1.Pod) {
	ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	if !ended && p.DeletionTimestamp == nil && !slices.Contains(knownMakers, controllerOf(p)) {
		t := controlledTemplate("Pod", p.ObjectMeta, p.Spec)
		t.Required = unpinned(t.Required)
		s.Templates = append(s.Templates, t)
	}
	images := map[string]string{}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		images[c.Name] = c.Image
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		well := c.Ready || c.State.Terminated != nil && c.State.Terminated.ExitCode == 0
		if i := images[c.Name]; well && !slices.Contains(s.Ran[i], p.Spec.NodeName) {
			s.Ran[i] = append(s.Ran[i], p.Spec.NodeName)
		}
	}
}

// unpinned leaves out what ties a pod to the one node that its controller made it for: the next pod is for another.
func unpinned(terms [][]NodeRequirement) [][]NodeRequirement {
	var out [][]NodeRequirement
	for _, term := range terms {
		term = slices.DeleteFunc(slices.Clone(term), func(r NodeRequirement) bool { return r.Field })
		if len(term) == 0 {
			return nil
		}
		out = append(out, term)
	}
	return out
}
