package kube

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Object names an object of the cluster.
type Object struct {
	APIVersion string
	Kind       string
	Namespace  string // empty for objects of the whole cluster
	Name       string
}

// String is kind/namespace/name, or kind/name.
func (o Object) String() string { return ObjectChange{o.Kind, o.Namespace, o.Name, ""}.String() }

func (o Object) unstructured() *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(o.APIVersion)
	object.SetKind(o.Kind)
	object.SetNamespace(o.Namespace)
	object.SetName(o.Name)
	return object
}

func objectOf(object *unstructured.Unstructured) Object {
	return Object{object.GetAPIVersion(), object.GetKind(), object.GetNamespace(), object.GetName()}
}

// Objects names the objects of the YAML documents, in Apply's order. ErrInvalid: they are none.
func Objects(manifests []byte) ([]Object, error) {
	objects, err := parseManifests(manifests)
	if err != nil {
		return nil, err
	}
	var out []Object
	for _, object := range objects {
		out = append(out, objectOf(object))
	}
	return out, nil
}

// Kind is a kind of objects, of one namespace alone where that is named.
type Kind struct{ APIVersion, Kind, Namespace string }

// Owned lists the objects of those kinds that fit the selector of labels and that FieldManager applied, whoever else has changed them since: in the order of
// the kinds, then by namespace and name. others fit it as well, and are not known to be its own: another made or applied them, or they were restored from a backup.
// Kinds that the API server does not have have none. It costs one request for each kind, all at once.
func (c *Client) Owned(ctx context.Context, kinds []Kind, selector string) (owned, others []Object, err error) {
	found, foreign, errs := make([][]Object, len(kinds)), make([][]Object, len(kinds)), make([]error, len(kinds))
	started := time.Now()
	var all sync.WaitGroup
	for i, kind := range kinds {
		all.Go(func() { found[i], foreign[i], errs[i] = c.ownedOf(ctx, kind, selector, started) })
	}
	all.Wait()
	return slices.Concat(found...), slices.Concat(foreign...), errors.Join(errs...)
}

func (c *Client) ownedOf(ctx context.Context, kind Kind, selector string, started time.Time) (owned, others []Object, err error) {
	mapping, err := c.mapping(ctx, Object{APIVersion: kind.APIVersion, Kind: kind.Kind}.unstructured(), started)
	if meta.IsNoMatchError(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	err = c.do(ctx, "list what there is of "+kind.Kind, func(ctx context.Context) error {
		list, err := c.dynamic.Resource(mapping.Resource).Namespace(kind.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return err
		}
		owned, others = nil, nil
		for i := range list.Items {
			object := &list.Items[i]
			named := Object{kind.APIVersion, kind.Kind, object.GetNamespace(), object.GetName()}
			switch {
			case object.GetDeletionTimestamp() != nil:
			case isOurs(object):
				owned = append(owned, named)
			default:
				others = append(others, named)
			}
		}
		return nil
	})
	for _, list := range [][]Object{owned, others} {
		slices.SortFunc(list, func(a, b Object) int { return strings.Compare(a.String(), b.String()) })
	}
	return owned, others, err
}

// isOurs reports whether FieldManager applied the object, and made it. One that another client made is not, even with our labels.
func isOurs(object *unstructured.Unstructured) bool {
	managers := object.GetManagedFields()
	i := slices.IndexFunc(managers, func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == FieldManager && m.Operation == metav1.ManagedFieldsOperationApply
	})
	if i < 0 {
		return false
	}
	if object.GroupVersionKind().GroupKind() == namespaceKind {
		return !slices.ContainsFunc(managers, madeByAnother)
	}
	ours, known := fieldsOf(managers[i])
	return known && !slices.ContainsFunc(managers, func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager != FieldManager && m.Subresource == "" && (ownedByIt(m, ours) || madeBefore(m, managers[i], object.GetCreationTimestamp()))
	})
}

// owns are the fields of a manager, as nested as the API server has them; "." is the map or the item itself.
type owns map[string]owns

func fieldsOf(m metav1.ManagedFieldsEntry) (of owns, known bool) {
	if m.FieldsV1 == nil {
		return nil, true
	}
	return of, json.Unmarshal(m.FieldsV1.GetRawBytes(), &of) == nil
}

// declared are annotations of those who have an object in manifests of their own.
var declared = []string{corev1.LastAppliedConfigAnnotation, "meta.helm.sh/release-name"}

// ownedByIt reports whether the entry is that of a client whose object it is, too. An apply by force takes from others the fields that differ, and
// leaves them what it shares with them, and what never changes, as a secret's type. Who has changed or added something since has that alone.
func ownedByIt(m metav1.ManagedFieldsEntry, ours owns) bool {
	theirs, known := fieldsOf(m)
	if _, typed := theirs["f:type"]; !known || typed || shared(theirs, ours) {
		return true
	}
	annotations := theirs["f:metadata"]["f:annotations"]
	return slices.ContainsFunc(declared, func(name string) bool { _, has := annotations["f:"+name]; return has })
}

// madeBefore reports whether the entry is of the moment in which the object was made, and ours is of a later one.
func madeBefore(m, ours metav1.ManagedFieldsEntry, made metav1.Time) bool {
	return m.Time != nil && ours.Time != nil && m.Time.Equal(&made) && ours.Time.After(made.Time)
}

// shared reports whether others have a field that we have, or the map that we fill.
func shared(theirs, ours owns) bool {
	for name, within := range theirs {
		filled, both := ours[name]
		if !both || name == "." {
			continue
		}
		if _, itself := within["."]; itself || len(within) == 0 || shared(within, filled) {
			return true
		}
	}
	return false
}
