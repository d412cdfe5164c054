package kube

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Create makes the objects of the YAML documents, one request each: for objects with names that are new. One that is there already is
// taken for ours, since a request that was not answered may have been carried out; use Apply where that may not be. It stops at the
// first error. ErrInvalid: the manifest is at fault.
func (c *Client) Create(ctx context.Context, manifests []byte) error {
	objects, err := parseManifests(manifests)
	if err != nil {
		return err
	}
	started := time.Now()
	for _, object := range objects {
		resource, err := c.resource(ctx, object, started)
		if err != nil {
			return noSuchKind(err, object)
		}
		err = c.do(ctx, "create "+changeOf(object, "").String(), func(ctx context.Context) error {
			_, err := resource.Create(ctx, object, metav1.CreateOptions{FieldManager: FieldManager, FieldValidation: metav1.FieldValidationStrict})
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
