package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/hybridctl/hybridctl/provision/report"
)

// FieldManager is the name under which hybridctl owns fields of objects.
const FieldManager = "hybridctl"

// ApplyOptions tell Apply how. The zero value works.
type ApplyOptions struct {
	FieldManager string // default FieldManager
	Force        bool   // take fields over that another manager owns
}

// Apply makes the objects of the YAML documents what they say, by server-side apply with strict validation: definitions and
// namespaces first, then the rest in the manifest's order. It stops at the first error and returns what was done until then,
// the failed object last. ErrInvalid: the manifest is at fault. ErrConflict: another manager owns a field.
func (c *Client) Apply(ctx context.Context, manifests []byte, o ApplyOptions) ([]ObjectChange, error) {
	objects, err := parseManifests(manifests)
	if err != nil {
		return nil, err
	}
	if o.FieldManager == "" {
		o.FieldManager = FieldManager
	}
	defined := definedKinds(objects)
	var changes []ObjectChange
	for _, object := range objects {
		action, err := c.applyObject(ctx, object, o, defined[object.GroupVersionKind().GroupKind()])
		changes = append(changes, changeOf(object, action))
		if err != nil {
			return changes, err
		}
	}
	return changes, nil
}

func changeOf(object *unstructured.Unstructured, action report.Action) ObjectChange {
	return ObjectChange{object.GetKind(), object.GetNamespace(), object.GetName(), action}
}

// applyObject applies one object; isNew says that its kind has been defined just now.
func (c *Client) applyObject(ctx context.Context, object *unstructured.Unstructured, o ApplyOptions, isNew bool) (report.Action, error) {
	what := "apply " + changeOf(object, "").String()
	resource, err := c.resourceOfNew(ctx, object, isNew)
	if err != nil {
		return report.Failed, fmt.Errorf("%s: %w", what, c.explain(err))
	}
	before, err := c.notTerminating(ctx, resource, object)
	if err != nil {
		return report.Failed, fmt.Errorf("%s: %w", what, err)
	}
	var after *unstructured.Unstructured
	err = c.do(ctx, what, func(ctx context.Context) (err error) {
		after, err = patch(ctx, resource, object, o, false)
		if before != nil && immutable(object, err) {
			after, err = replace(ctx, resource, before, object, o)
		}
		return err
	})
	if err != nil {
		return report.Failed, err
	}
	if object.GroupVersionKind().GroupKind() == crdKind {
		if err := c.waitEstablished(ctx, resource, object.GetName()); err != nil {
			return report.Failed, fmt.Errorf("%s: %w", what, err)
		}
	}
	return compare(before, after), nil
}

// resourceOfNew asks again and again for a kind whose definition is new: discovery follows it a moment later.
func (c *Client) resourceOfNew(ctx context.Context, object *unstructured.Unstructured, isNew bool) (dynamic.ResourceInterface, error) {
	pause, end := newBackoff(50*time.Millisecond, time.Second), time.Now().Add(c.retryFor)
	for {
		resource, err := c.resource(ctx, object, time.Now())
		if !isNew || !meta.IsNoMatchError(err) || time.Now().After(end) {
			return resource, noSuchKind(err, object)
		}
		if stopped := sleep(ctx, pause.Step()); stopped != nil {
			return nil, ended(stopped, noSuchKind(err, object))
		}
	}
}

func noSuchKind(err error, object *unstructured.Unstructured) error {
	if !meta.IsNoMatchError(err) {
		return err
	}
	return &failure{ErrInvalid, fmt.Sprintf("the API server has no kind %s in %s", object.GetKind(), object.GetAPIVersion()), err}
}

// notTerminating is the object as it is, nil when it is not there. One that is being deleted is waited for: applying to it
// would succeed, and the object be gone a moment later.
func (c *Client) notTerminating(ctx context.Context, resource dynamic.ResourceInterface, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live, err := c.live(ctx, resource, object.GetName())
	if err != nil || live == nil || live.GetDeletionTimestamp() == nil {
		return live, err
	}
	return nil, c.waitGone(ctx, resource, live)
}

// live reads an object; nil when it is not there.
func (c *Client) live(ctx context.Context, resource dynamic.ResourceInterface, name string) (*unstructured.Unstructured, error) {
	var live *unstructured.Unstructured
	err := c.do(ctx, "read it", func(ctx context.Context) (err error) {
		live, err = resource.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			live = nil
			return nil
		}
		return err
	})
	return live, err
}

// patch is a server-side apply. The dynamic client's own Apply knows no field validation.
func patch(ctx context.Context, resource dynamic.ResourceInterface, object *unstructured.Unstructured, o ApplyOptions, dryRun bool) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	options := metav1.PatchOptions{FieldManager: o.FieldManager, Force: &o.Force, FieldValidation: metav1.FieldValidationStrict}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return resource.Patch(ctx, object.GetName(), types.ApplyPatchType, body, options)
}

// compare tells what happened to an object between two reads of it. The resourceVersion says nothing: a dry run keeps it, and a
// controller that updates the status in between changes it.
func compare(before, after *unstructured.Unstructured) report.Action {
	switch {
	case before == nil || before.GetUID() != after.GetUID():
		return report.Created
	case equality.Semantic.DeepEqual(content(before), content(after)):
		return report.Unchanged
	}
	return report.Configured
}

// content is what an object says, without what the API server and controllers keep about it.
func content(object *unstructured.Unstructured) map[string]any {
	object = object.DeepCopy()
	for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
		unstructured.RemoveNestedField(object.Object, "metadata", field)
	}
	delete(object.Object, "status")
	return object.Object
}
