package kube

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Untaint removes the taints of that key from the node. None there is no error. ErrNotFound: there is no such node.
func (c *Client) Untaint(ctx context.Context, node, key string) error {
	return c.do(ctx, "remove taint "+key+" from node "+node, func(ctx context.Context) error {
		for {
			n, err := c.core.Nodes().Get(ctx, node, metav1.GetOptions{})
			if err != nil {
				return err
			}
			left := slices.DeleteFunc(slices.Clone(n.Spec.Taints), func(t corev1.Taint) bool { return t.Key == key })
			if len(left) == len(n.Spec.Taints) {
				return nil
			}
			patch := mustMarshal(map[string]any{
				"metadata": map[string]any{"resourceVersion": n.ResourceVersion}, "spec": map[string]any{"taints": left},
			})
			_, err = c.core.Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
			if !apierrors.IsConflict(err) { // another client wrote in between: look again
				return err
			}
		}
	})
}
