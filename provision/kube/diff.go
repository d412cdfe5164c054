package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hybridctl/hybridctl/provision/report"
)

// diffParallel bounds how many objects Diff asks for at once.
const diffParallel = 16

// Diff tells what Apply with Force would do, and changes nothing: one read and one server-side dry run for each object, all at
// once. Objects of a namespace or a kind that the manifest itself brings are Created. The order is Apply's.
func (c *Client) Diff(ctx context.Context, manifests []byte) ([]ObjectChange, error) {
	objects, err := parseManifests(manifests)
	if err != nil {
		return nil, err
	}
	changes, errs := make([]ObjectChange, len(objects)), make([]error, len(objects))
	defined, started := definedKinds(objects), time.Now()
	slots := make(chan struct{}, diffParallel)
	var all sync.WaitGroup
	for i, object := range objects { // at once, because each costs two round trips and nothing else
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			var action report.Action
			action, errs[i] = c.diffObject(ctx, object, started, defined[object.GroupVersionKind().GroupKind()])
			changes[i] = changeOf(object, action)
		})
	}
	all.Wait()
	return changes, errors.Join(errs...)
}

func (c *Client) diffObject(ctx context.Context, object *unstructured.Unstructured, started time.Time, isDefined bool) (report.Action, error) {
	what := "compare " + changeOf(object, "").String()
	resource, err := c.resource(ctx, object, started)
	if meta.IsNoMatchError(err) && isDefined {
		return report.Created, nil
	}
	if err != nil {
		return report.Failed, fmt.Errorf("%s: %w", what, noSuchKind(err, object))
	}
	before, err := c.live(ctx, resource, object.GetName())
	if err != nil {
		return report.Failed, fmt.Errorf("%s: %w", what, err)
	}
	var after *unstructured.Unstructured
	refused := false
	err = c.do(ctx, what, func(ctx context.Context) (err error) {
		after, err = patch(ctx, resource, object, ApplyOptions{FieldManager: FieldManager, Force: true}, true)
		if before == nil && (apierrors.IsNotFound(err) || terminating(err)) {
			err = nil // its namespace is not there yet, or still going
		}
		refused = immutable(object, err) // Apply replaces it
		return err
	})
	switch {
	case before != nil && refused:
		return report.Configured, nil
	case err != nil:
		return report.Failed, err
	case before == nil || before.GetDeletionTimestamp() != nil:
		return report.Created, nil
	}
	return compare(before, after), nil
}
