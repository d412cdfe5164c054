package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Manifests are objects of a cluster as JSON, and what of them could not be listed.
type Manifests struct {
	Workloads [][]byte // everything that makes pods, pods, and service accounts; each is a List
	Missing   []string // "pods: forbidden …": nothing is known of these
	Nodes     []corev1.Node
	Claims    []corev1.PersistentVolumeClaim
	Volumes   []corev1.PersistentVolume
}

// Manifests lists what runs in all namespaces, as the API server has it. Kinds that the user may not list are in Missing; the error is about a
// server that does not answer.
func (c *Client) Manifests(ctx context.Context) (Manifests, error) {
	var out Manifests
	all := metav1.ListOptions{}
	lists := []struct {
		kind, version string
		list          func(context.Context) (runtime.Object, error)
	}{
		{"DeploymentList", "apps/v1", func(ctx context.Context) (runtime.Object, error) { return c.apps.Deployments("").List(ctx, all) }},
		{"StatefulSetList", "apps/v1", func(ctx context.Context) (runtime.Object, error) { return c.apps.StatefulSets("").List(ctx, all) }},
		{"DaemonSetList", "apps/v1", func(ctx context.Context) (runtime.Object, error) { return c.apps.DaemonSets("").List(ctx, all) }},
		{"ReplicaSetList", "apps/v1", func(ctx context.Context) (runtime.Object, error) { return c.apps.ReplicaSets("").List(ctx, all) }},
		{"ReplicationControllerList", "v1", func(ctx context.Context) (runtime.Object, error) {
			return c.core.ReplicationControllers("").List(ctx, all)
		}},
		{"JobList", "batch/v1", func(ctx context.Context) (runtime.Object, error) { return c.batch.Jobs("").List(ctx, all) }},
		{"CronJobList", "batch/v1", func(ctx context.Context) (runtime.Object, error) { return c.batch.CronJobs("").List(ctx, all) }},
		{"PodList", "v1", func(ctx context.Context) (runtime.Object, error) { return c.core.Pods("").List(ctx, all) }},
		{"ServiceAccountList", "v1", func(ctx context.Context) (runtime.Object, error) { return c.core.ServiceAccounts("").List(ctx, all) }},
		{"NodeList", "v1", func(ctx context.Context) (runtime.Object, error) { return c.core.Nodes().List(ctx, all) }},
		{"PersistentVolumeClaimList", "v1", func(ctx context.Context) (runtime.Object, error) {
			return c.core.PersistentVolumeClaims("").List(ctx, all)
		}},
		{"PersistentVolumeList", "v1", func(ctx context.Context) (runtime.Object, error) { return c.core.PersistentVolumes().List(ctx, all) }},
	}
	for _, l := range lists {
		var object runtime.Object
		err := c.do(ctx, "list "+l.kind, func(ctx context.Context) (err error) {
			object, err = l.list(ctx)
			return err
		})
		switch {
		case errors.Is(err, ErrForbidden):
			out.Missing = append(out.Missing, fmt.Sprintf("%s: %v", l.kind, err))
			continue
		case err != nil:
			return out, err
		}
		switch list := object.(type) {
		case *corev1.NodeList:
			out.Nodes = list.Items
		case *corev1.PersistentVolumeClaimList:
			out.Claims = list.Items
		case *corev1.PersistentVolumeList:
			out.Volumes = list.Items
		default:
			text, err := listJSON(object, l.version, l.kind)
			if err != nil {
				return out, err
			}
			out.Workloads = append(out.Workloads, text)
		}
	}
	return out, nil
}

// listJSON writes a list with the kinds of its items, which the API server leaves out.
func listJSON(list runtime.Object, version, kind string) ([]byte, error) {
	of := schema.FromAPIVersionAndKind(version, strings.TrimSuffix(kind, "List"))
	err := meta.EachListItem(list, func(item runtime.Object) error {
		item.GetObjectKind().SetGroupVersionKind(of)
		return nil
	})
	if err != nil {
		return nil, err
	}
	list.GetObjectKind().SetGroupVersionKind(of.GroupVersion().WithKind(kind))
	return json.Marshal(list)
}
