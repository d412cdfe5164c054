package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

// DrainPod is a pod that a drain evicts.
type DrainPod struct {
	Namespace, Name, UID string
	Unmanaged            bool     // no controller recreates it elsewhere
	LocalData            []string // volumes whose content goes with it
	Abandoned            bool     // its node is not Ready: no one ends it there, and it is deleted with the node; to have asked is enough
}

func (p DrainPod) String() string { return p.Namespace + "/" + p.Name }

// Loses tells what is lost for good when the pod is evicted; "" when nothing is.
func (p DrainPod) Loses() string {
	switch {
	case p.Unmanaged:
		return "pod " + p.String() + " belongs to no controller: nothing recreates it"
	case len(p.LocalData) > 0:
		return "pod " + p.String() + " has local data (emptyDir " + strings.Join(p.LocalData, ", ") + ")"
	}
	return ""
}

// DrainPods lists the pods that a drain of the node evicts: all but those of DaemonSets, the node's own static pods, and pods that have
// ended.
func (c *Client) DrainPods(ctx context.Context, node string) ([]DrainPod, error) {
	var out []DrainPod
	err := c.do(ctx, "list the pods of node "+node, func(ctx context.Context) error {
		list, err := c.core.Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
		if err != nil {
			return err
		}
		out = nil
		for i := range list.Items {
			if p, evicted := drainPodOf(&list.Items[i]); evicted {
				out = append(out, p)
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b DrainPod) int { return strings.Compare(a.String(), b.String()) })
	return out, err
}

// cephCSI is the name that ceph-csi's pods have as a label, Kubernetes' recommended one.
const cephCSI = "ceph-csi"

func drainPodOf(p *corev1.Pod) (DrainPod, bool) {
	owner := metav1.GetControllerOf(p)
	_, static := p.Annotations[corev1.MirrorPodAnnotationKey]
	ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	if static || ended || owner != nil && owner.Kind == "DaemonSet" {
		return DrainPod{}, false
	}
	out := DrainPod{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Unmanaged: owner == nil}
	for _, v := range p.Spec.Volumes {
		if v.EmptyDir != nil && p.Labels["app.kubernetes.io/name"] != cephCSI { // its sockets, and keys that it is given again
			out.LocalData = append(out.LocalData, v.Name)
		}
	}
	return out, true
}

// Cordon keeps new pods off the node. ErrNotFound: there is none.
func (c *Client) Cordon(ctx context.Context, node string) error {
	return c.do(ctx, "cordon node "+node, func(ctx context.Context) error {
		_, err := c.core.Nodes().Patch(ctx, node, types.MergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{FieldManager: FieldManager})
		return err
	})
}

// drainPause is between two looks at pods that may not go yet.
const drainPause = 2 * time.Second

// Drain evicts the pods, so that PodDisruptionBudgets are respected, and waits until they are gone. progress is told of
// each that is not; nil = no one is. ErrNotReady: the context ended first; the error names who is left, and why.
func (c *Client) Drain(ctx context.Context, pods []DrainPod, progress func([]Missing)) error {
	said := map[string]string{} // the API server's last word on each pod
	for {
		var left []Missing
		for _, p := range pods {
			reason, err := c.evict(ctx, p)
			switch {
			case err != nil && ctx.Err() == nil && !Transient(err):
				return fmt.Errorf("evict pod %s: %w", p, err)
			case err != nil && said[p.UID] != "":
				reason = said[p.UID]
			case err != nil:
				reason = err.Error()
			default:
				said[p.UID] = reason
			}
			if reason != "" {
				left = append(left, Missing{Object: "pod " + p.String(), Reason: reason})
			}
		}
		if len(left) == 0 {
			return nil
		}
		if progress != nil {
			progress(left)
		}
		if err := sleep(ctx, drainPause); err != nil {
			if errors.Is(err, context.Canceled) {
				return err
			}
			return &NotReadyError{What: "drain", Missing: left, Cause: err}
		}
	}
}

// evict asks for a pod's eviction, and tells why the pod is still there; "" when it is gone, or another has its name.
func (c *Client) evict(ctx context.Context, p DrainPod) (reason string, err error) {
	uid := types.UID(p.UID)
	err = c.attempt(ctx, func(ctx context.Context) error {
		there, err := c.core.Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err), err == nil && there.UID != uid:
			return nil
		case err != nil:
			return err
		case there.DeletionTimestamp != nil && p.Abandoned:
			return nil
		case there.DeletionTimestamp != nil:
			reason = "is being deleted"
			return nil
		}
		// Without client-go's own retries, which would hide for minutes that a budget is in the way.
		err = c.core.RESTClient().Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("eviction").MaxRetries(0).
			Body(&policyv1.Eviction{
				ObjectMeta:    metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace},
				DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
			}).Do(ctx).Error()
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case apierrors.IsConflict(err):
			reason = statusText(err) // something changed: the next look shows whether it is gone, or another
			return nil
		case apierrors.IsTooManyRequests(err):
			reason = statusText(err) // a PodDisruptionBudget: later it may be allowed
			return nil
		}
		if err == nil {
			reason = "is being evicted"
		}
		return err
	})
	return reason, err
}

// DeleteNode deletes the Node object. One that is not there is no error.
func (c *Client) DeleteNode(ctx context.Context, name string) error {
	return c.do(ctx, "delete node "+name, func(ctx context.Context) error {
		err := c.core.Nodes().Delete(ctx, name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}
