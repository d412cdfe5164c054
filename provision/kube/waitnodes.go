package kube

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// WaitNodesReady returns when every named node has joined and has been Ready for the whole window.
// NotReadyError names those that were not, with the kubelet's reason.
func (c *Client) WaitNodesReady(ctx context.Context, names []string, o WaitOptions) error {
	settled := newSettling(o.Window)
	return c.await(ctx, "nodes", o, func(stores []*viewStore) check {
		return func(now time.Time) ([]Missing, time.Duration) {
			return nodesMissing(names, listOf[corev1.Node](stores[0]), settled, now)
		}
	}, sourceOf(c.core.Nodes(), &corev1.Node{}, "", trimNode))
}

func nodesMissing(names []string, nodes []*corev1.Node, settled *settling, now time.Time) (missing []Missing, settle time.Duration) {
	byName := map[string]*corev1.Node{}
	for _, node := range nodes {
		byName[node.Name] = node
	}
	for _, name := range names {
		reason := nodeProblem(byName[name])
		if reason != "" {
			settled.lost(name)
		} else {
			since := nodeReady(byName[name]).LastTransitionTime
			left := settled.left(name, since.String(), since.Time, now)
			if left == 0 {
				continue
			}
			reason, settle = settled.unsettled("Ready"), sooner(settle, left)
		}
		missing = append(missing, Missing{Object: "node " + name, Node: name, Reason: reason})
	}
	return missing, settle
}

// nodeProblem is why a node is not Ready; "" when it is.
func nodeProblem(node *corev1.Node) string {
	if node == nil {
		return "has not joined"
	}
	ready := nodeReady(node)
	switch {
	case ready == nil:
		return "its kubelet has not reported yet"
	case ready.Status == corev1.ConditionTrue:
		return ""
	case ready.Message != "":
		return oneLine(ready.Message)
	}
	return "not Ready, without a reason"
}

// trimNode keeps what waits look at: with hundreds of nodes their lists of images would be most of the memory.
func trimNode(object runtime.Object) bool {
	node, ok := object.(*corev1.Node)
	if ok {
		node.ManagedFields, node.Annotations = nil, nil
		node.Status = corev1.NodeStatus{Conditions: node.Status.Conditions}
	}
	return ok
}

// maxReason bounds what a container or kubelet may add to a message.
const maxReason = 240

// oneLine puts a message on one line of bearable length.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxReason {
		return string(runes[:maxReason]) + "…"
	}
	return text
}
