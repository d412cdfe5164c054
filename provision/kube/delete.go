package kube

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hybridctl/hybridctl/provision/report"
)

// Delete removes the objects of the YAML documents, as DeleteObjects does.
func (c *Client) Delete(ctx context.Context, manifests []byte) ([]ObjectChange, error) {
	objects, err := Objects(manifests)
	if err != nil {
		return nil, err
	}
	return c.DeleteObjects(ctx, objects)
}

// DeleteObjects removes objects, in reverse order, and does not wait until they are gone; what depends on them follows in the background.
// Objects that are not there are Unchanged, and so are namespaces that others made: what is in them may be theirs. It goes on after
// errors and returns all of them.
func (c *Client) DeleteObjects(ctx context.Context, objects []Object) ([]ObjectChange, error) {
	var changes []ObjectChange
	var errs []error
	started := time.Now()
	for _, o := range slices.Backward(objects) {
		object := o.unstructured()
		action, err := c.deleteObject(ctx, object, started)
		changes, errs = append(changes, changeOf(object, action)), append(errs, err)
	}
	return changes, errors.Join(errs...)
}

func (c *Client) deleteObject(ctx context.Context, object *unstructured.Unstructured, started time.Time) (report.Action, error) {
	resource, err := c.resource(ctx, object, started)
	if meta.IsNoMatchError(err) {
		return report.Unchanged, nil
	}
	if err != nil {
		return report.Failed, err
	}
	action, background := report.Deleted, metav1.DeletePropagationBackground
	err = c.do(ctx, "delete "+changeOf(object, "").String(), func(ctx context.Context) error {
		if object.GroupVersionKind().GroupKind() == namespaceKind {
			there, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
			if err == nil && slices.ContainsFunc(there.GetManagedFields(), madeByAnother) {
				action = report.Unchanged
				return nil
			}
		}
		err := resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: &background})
		if apierrors.IsNotFound(err) {
			action = report.Unchanged
			return nil
		}
		return err
	})
	if err != nil {
		return report.Failed, err
	}
	return action, nil
}

// beforeFirstApply is the API server's name for what no client is known to have set, apimachinery's managedfields.
const beforeFirstApply = "before-first-apply"

// madeByAnother reports whether the entry is that of another client which created the namespace: the creator has the label that the API server adds. Others, as
// controllers that annotate every namespace, have not.
func madeByAnother(m metav1.ManagedFieldsEntry) bool {
	return m.Manager != FieldManager && m.Manager != beforeFirstApply && m.FieldsV1 != nil && strings.Contains(m.FieldsV1.String(), `"f:`+corev1.LabelMetadataName+`"`)
}
