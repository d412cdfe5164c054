package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hybridctl/hybridctl/provision/report"
)

// appliedAnnotation remembers on the node itself which of its labels and taints are ours, so that those that are no longer
// wanted can be told from other people's, also after the state directory was lost.
const appliedAnnotation = "hybridctl.dev/applied"

// applied is the annotation's value.
type applied struct {
	Labels []string `json:"labels,omitempty"` // keys
	Taints []string `json:"taints,omitempty"` // key:Effect
}

// ApplyNode sets our labels and taints (key[=value]:Effect) on the node and removes those that ApplyNode set earlier and that
// are no longer wanted; other people's stay. Nothing is written when all is in place. Created means the first time.
// ErrNotFound: the node has not joined. ErrInvalid: a label or taint is malformed.
func (c *Client) ApplyNode(ctx context.Context, name string, labels map[string]string, taints []string) (report.Action, error) {
	want, err := parseTaints(taints)
	if err != nil {
		return report.Failed, err
	}
	action := report.Failed
	err = c.do(ctx, "label and taint node "+name, func(ctx context.Context) (err error) {
		action, err = c.applyNode(ctx, name, labels, want)
		return err
	})
	return action, err
}

// applyNode reads and writes until nothing else has written in between: kubelets and controllers do so all the time.
func (c *Client) applyNode(ctx context.Context, name string, labels map[string]string, taints []corev1.Taint) (report.Action, error) {
	for {
		node, err := c.core.Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return report.Failed, err
		}
		patch := nodePatch(node, labels, taints)
		if patch == nil {
			return report.Unchanged, nil
		}
		_, err = c.core.Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
		switch {
		case apierrors.IsConflict(err):
			continue
		case err != nil:
			return report.Failed, err
		case node.Annotations[appliedAnnotation] == "":
			return report.Created, nil
		}
		return report.Configured, nil
	}
}

// nodePatch is the merge patch that puts labels, taints and our memory of them in place; nil when they are. The patch names
// the resourceVersion it was made from, because a list of taints can only be replaced whole.
func nodePatch(node *corev1.Node, labels map[string]string, taints []corev1.Taint) []byte {
	before := readApplied(node.Annotations[appliedAnnotation])
	metadata := map[string]any{}
	if changed := labelChanges(node.Labels, labels, before.Labels); len(changed) > 0 {
		metadata["labels"] = changed
	}
	if note := writeApplied(labels, taints); note != node.Annotations[appliedAnnotation] {
		metadata["annotations"] = map[string]any{appliedAnnotation: orNil(note)}
	}
	patch := map[string]any{"metadata": metadata}
	if wanted := mergeTaints(node.Spec.Taints, taints, before.Taints); !slices.EqualFunc(wanted, node.Spec.Taints, sameTaint) {
		patch["spec"] = map[string]any{"taints": wanted}
	} else if len(metadata) == 0 {
		return nil
	}
	metadata["resourceVersion"] = node.ResourceVersion
	return mustMarshal(patch)
}

// mustMarshal is for values that are made of strings, lists and maps alone, which always marshal.
func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// labelChanges maps keys to new values, or to nil for those to be removed.
func labelChanges(there, want map[string]string, ours []string) map[string]any {
	changes := map[string]any{}
	for key, value := range want {
		if old, ok := there[key]; !ok || old != value {
			changes[key] = value
		}
	}
	for _, key := range ours {
		_, wanted := want[key]
		if _, ok := there[key]; ok && !wanted {
			changes[key] = nil
		}
	}
	return changes
}

// mergeTaints keeps other people's taints, in their order, and ours that are still wanted, and adds what is missing.
func mergeTaints(there, want []corev1.Taint, ours []string) []corev1.Taint {
	var merged []corev1.Taint
	for _, taint := range there {
		i := slices.IndexFunc(want, func(w corev1.Taint) bool { return taintID(w) == taintID(taint) })
		switch {
		case i >= 0 && want[i].Value == taint.Value:
			merged = append(merged, taint) // as it is: it may carry the time it was added
		case i < 0 && !slices.Contains(ours, taintID(taint)):
			merged = append(merged, taint)
		}
	}
	for _, taint := range want {
		if !slices.ContainsFunc(merged, func(m corev1.Taint) bool { return taintID(m) == taintID(taint) }) {
			merged = append(merged, taint)
		}
	}
	return merged
}

// NodeInPlace reports whether ApplyNode would find nothing to do. A malformed taint is not in place.
func NodeInPlace(node Node, labels map[string]string, taints []string) bool {
	want, err := parseTaints(taints)
	if err != nil {
		return false
	}
	there, err := parseTaints(node.Taints)
	if err != nil {
		return false
	}
	return nil == nodePatch(&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Labels: node.Labels, Annotations: map[string]string{appliedAnnotation: node.Applied}},
		Spec:       corev1.NodeSpec{Taints: there},
	}, labels, want)
}

func readApplied(annotation string) applied {
	var a applied
	if err := json.Unmarshal([]byte(annotation), &a); err != nil {
		return applied{} // absent or damaged by hand: then nothing is known to be ours, and nothing is removed
	}
	return a
}

func writeApplied(labels map[string]string, taints []corev1.Taint) string {
	if len(labels)+len(taints) == 0 {
		return ""
	}
	a := applied{Labels: slices.Sorted(maps.Keys(labels))}
	for _, taint := range taints {
		a.Taints = append(a.Taints, taintID(taint))
	}
	slices.Sort(a.Taints)
	return string(mustMarshal(a))
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// taintID is what makes a taint the same one: a node has at most one value for it.
func taintID(t corev1.Taint) string { return t.Key + ":" + string(t.Effect) }

func sameTaint(a, b corev1.Taint) bool { return taintID(a) == taintID(b) && a.Value == b.Value }

func parseTaints(texts []string) ([]corev1.Taint, error) {
	var taints []corev1.Taint
	for _, text := range texts {
		taint, err := parseTaint(text)
		if err != nil {
			return nil, err
		}
		taints = append(taints, taint)
	}
	return taints, nil
}

// parseTaint reads key[=value]:Effect.
func parseTaint(text string) (corev1.Taint, error) {
	id, effect, found := strings.Cut(text, ":")
	key, value, _ := strings.Cut(id, "=")
	switch corev1.TaintEffect(effect) {
	case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
	default:
		found = false
	}
	if !found || key == "" {
		text := fmt.Sprintf("taint %q is not key[=value]:Effect with NoSchedule, PreferNoSchedule or NoExecute", text)
		return corev1.Taint{}, &failure{kind: ErrInvalid, text: text}
	}
	return corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)}, nil
}
