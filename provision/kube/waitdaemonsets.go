package kube

import (
	"context"
	"path"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// templateLabel is what the DaemonSet controller writes on pods: the generation of the template they were made from.
const templateLabel = "pod-template-generation"

// WaitDaemonSets returns when every DaemonSet that wants a pod on one of the nodes has a Ready one there, of its present
// template, which has not restarted within the window, and those that the options name want one on each of them. NotReadyError tells DaemonSet,
// node, pod and what it waits for.
func (c *Client) WaitDaemonSets(ctx context.Context, nodes []string, o WaitOptions) error {
	settled := newSettling(o.Window)
	return c.await(ctx, "DaemonSet pods", o, func(stores []*viewStore) check {
		return func(now time.Time) ([]Missing, time.Duration) {
			picture := daemons{
				sets:  listOf[appsv1.DaemonSet](stores[0]),
				pods:  podsByPlace(listOf[corev1.Pod](stores[1])),
				nodes: map[string]*corev1.Node{},
				named: o.DaemonSets,
			}
			for _, node := range listOf[corev1.Node](stores[2]) {
				picture.nodes[node.Name] = node
			}
			return picture.missing(nodes, settled, now)
		}
	},
		sourceOf(c.apps.DaemonSets(metav1.NamespaceAll), &appsv1.DaemonSet{}, "", trimSet),
		sourceOf(c.core.Pods(metav1.NamespaceAll), &corev1.Pod{}, "", trimPod("DaemonSet")),
		sourceOf(c.core.Nodes(), &corev1.Node{}, "", trimNode))
}

// place is where a DaemonSet has its pods.
type place struct {
	set  types.UID
	node string
}

// daemons is everything WaitDaemonSets looks at, at one moment.
type daemons struct {
	sets  []*appsv1.DaemonSet
	pods  map[place][]*corev1.Pod
	nodes map[string]*corev1.Node
	named []string // WaitOptions.DaemonSets
}

func (d daemons) missing(names []string, settled *settling, now time.Time) (missing []Missing, settle time.Duration) {
	for _, name := range names {
		node := d.nodes[name]
		if node == nil {
			missing = append(missing, Missing{Object: "node " + name, Node: name, Reason: nodeProblem(nil)})
			continue
		}
		for _, pattern := range d.named {
			if reason := d.unwanted(pattern, node); reason != "" {
				missing = append(missing, Missing{Object: "daemonset " + pattern + " on " + name, Node: name, Reason: reason})
			}
		}
		for _, set := range d.sets {
			key := set.Namespace + "/" + set.Name + " on " + name
			if !runsOn(set, node) {
				settled.lost(key)
				continue
			}
			reason, left := daemonProblem(set, d.pods[place{set.UID, name}], key, settled, now)
			if reason != "" {
				missing = append(missing, Missing{Object: "daemonset " + key, Node: name, Reason: reason})
				settle = sooner(settle, left)
			}
		}
	}
	return missing, settle
}

// unwanted is why no DaemonSet of a pattern wants a pod on a node; empty when one does.
func (d daemons) unwanted(pattern string, node *corev1.Node) string {
	reason := "there is no such DaemonSet"
	for _, set := range d.sets {
		if ok, err := path.Match(pattern, set.Namespace+"/"+set.Name); err != nil || !ok {
			continue
		}
		if runsOn(set, node) {
			return ""
		}
		reason = "it wants no pod there: its node selector or affinity, or a taint that it does not tolerate, keeps it away"
	}
	return reason
}

// daemonProblem tells what is wrong with a DaemonSet at one place; left is how long only time is missing.
func daemonProblem(set *appsv1.DaemonSet, pods []*corev1.Pod, key string, settled *settling, now time.Time) (reason string, left time.Duration) {
	if set.Status.ObservedGeneration < set.Generation {
		settled.lost(key)
		return "its controller has not seen its present form yet", 0
	}
	reason = "no pod yet"
	for _, pod := range pods {
		problem := podProblem(pod)
		if problem == "" && !isCurrent(set, pod) {
			problem = "is of an older template"
		}
		if problem == "" {
			state, since := podState(pod)
			if left = settled.left(key, state, since, now); left == 0 {
				return "", 0
			}
			return "pod " + pod.Name + ": " + settled.unsettled("Ready without a restart"), left
		}
		reason = "pod " + pod.Name + ": " + problem
	}
	settled.lost(key)
	return reason, 0
}

// isCurrent reports whether a pod is of the DaemonSet's present template, or need not be.
func isCurrent(set *appsv1.DaemonSet, pod *corev1.Pod) bool {
	want := set.Annotations[appsv1.DeprecatedTemplateGeneration]
	return set.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType || want == "" || pod.Labels[templateLabel] == want
}

// podsByPlace sorts pods by DaemonSet and node; the order at one place does not change by itself.
func podsByPlace(pods []*corev1.Pod) map[place][]*corev1.Pod {
	places := map[place][]*corev1.Pod{}
	for _, pod := range pods {
		owner := metav1.GetControllerOf(pod)
		if owner == nil {
			continue
		}
		at := place{owner.UID, nodeOfPod(pod)}
		places[at] = append(places[at], pod)
	}
	for _, at := range places {
		slices.SortFunc(at, func(a, b *corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	}
	return places
}

// nodeOfPod is the node a pod is on or, before the scheduler has put it there, the one its controller made it for.
func nodeOfPod(pod *corev1.Pod) string {
	if pod.Spec.NodeName != "" || pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil ||
		pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return pod.Spec.NodeName
	}
	for _, term := range pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, field := range term.MatchFields {
			if field.Key == "metadata.name" && len(field.Values) == 1 {
				return field.Values[0]
			}
		}
	}
	return ""
}

func trimSet(object runtime.Object) bool {
	set, ok := object.(*appsv1.DaemonSet)
	if ok {
		set.ManagedFields = nil
	}
	return ok
}
