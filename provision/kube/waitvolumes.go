package kube

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// WaitNoVolumes returns when no PersistentVolume belongs to a claim of the namespace any more; with a claim's name, to that one. The
// API server drops a volume when its driver says that what it stood for is gone. NotReadyError tells which are left, and why.
func (c *Client) WaitNoVolumes(ctx context.Context, namespace, claim string, o WaitOptions) error {
	return c.await(ctx, "volumes", o, func(stores []*viewStore) check {
		return func(time.Time) (missing []Missing, _ time.Duration) {
			for _, v := range listOf[corev1.PersistentVolume](stores[0]) {
				ref := v.Spec.ClaimRef
				if ref == nil || ref.Namespace != namespace || claim != "" && ref.Name != claim {
					continue
				}
				reason := "is still there"
				if v.Status.Message != "" {
					reason += ": " + oneLine(v.Status.Message)
				}
				missing = append(missing, Missing{Object: "persistentvolume " + v.Name + " of " + ref.Namespace + "/" + ref.Name, Reason: reason})
			}
			return missing, 0
		}
	}, sourceOf(c.core.PersistentVolumes(), &corev1.PersistentVolume{}, "", func(runtime.Object) bool { return true }))
}
