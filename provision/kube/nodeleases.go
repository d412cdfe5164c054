package kube

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeLeases are when each node's kubelet last renewed its lease, by its own clock. A kubelet does that every ten seconds, while its node stays
// Ready for some 40 seconds after it has died (node-monitor-grace-period). Clocks differ: what tells is that the time changes.
func (c *Client) NodeLeases(ctx context.Context) (map[string]time.Time, error) {
	renewed := map[string]time.Time{}
	err := c.do(ctx, "list the nodes' leases", func(ctx context.Context) error {
		list, err := c.coordination.Leases(corev1.NamespaceNodeLease).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		clear(renewed)
		for _, l := range list.Items {
			if l.Spec.RenewTime != nil {
				renewed[l.Name] = l.Spec.RenewTime.Time
			}
		}
		return nil
	})
	return renewed, err
}
