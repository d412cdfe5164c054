package kube

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/hybridctl/hybridctl/provision/report"
)

// ObjectChange is what was done, or would be done, to one object of a manifest.
type ObjectChange struct {
	Kind      string
	Namespace string // empty for objects of the whole cluster
	Name      string
	Action    report.Action
}

// String is kind/namespace/name, or kind/name.
func (o ObjectChange) String() string {
	if o.Namespace == "" {
		return o.Kind + "/" + o.Name
	}
	return o.Kind + "/" + o.Namespace + "/" + o.Name
}

// parseManifests reads YAML documents, lists taken apart, into objects in the order in which they can be created.
func parseManifests(manifests []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for n := 1; ; n++ {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var found []*unstructured.Unstructured
		if err == nil {
			found, err = parseDocument(document)
		}
		if err != nil {
			return nil, &failure{ErrInvalid, fmt.Sprintf("manifest document %d: %v", n, err), err}
		}
		objects = append(objects, found...)
	}
	if len(objects) == 0 {
		return nil, &failure{kind: ErrInvalid, text: "the manifest holds no object"}
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return stage(a) - stage(b) })
	return objects, nil
}

func parseDocument(document []byte) ([]*unstructured.Unstructured, error) {
	json, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(bytes.TrimSpace(json), []byte("null")) { // only comments
		return nil, nil
	}
	decoded, err := runtime.Decode(unstructured.UnstructuredJSONScheme, json)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	switch decoded := decoded.(type) {
	case *unstructured.UnstructuredList:
		for i := range decoded.Items {
			objects = append(objects, &decoded.Items[i])
		}
	case *unstructured.Unstructured:
		objects = append(objects, decoded)
	}
	for _, object := range objects {
		switch {
		case object.GetAPIVersion() == "" || object.GetKind() == "":
			return nil, fmt.Errorf("%q has no apiVersion or no kind", object.GetKind()+"/"+object.GetName())
		case object.GetName() == "":
			return nil, fmt.Errorf("%s has no metadata.name", object.GetKind())
		}
	}
	return objects, nil
}

var (
	crdKind       = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
	namespaceKind = schema.GroupKind{Kind: "Namespace"}
)

// stage orders kinds: what others live in or are made of first, what can refuse others last. Within a stage the manifest's own
// order stands.
func stage(object *unstructured.Unstructured) int {
	switch kind := object.GroupVersionKind().GroupKind(); {
	case kind == crdKind, kind == namespaceKind:
		return 0
	case kind.Group == "admissionregistration.k8s.io":
		return 2
	}
	return 1
}

// definedKinds are the kinds that the manifest's own CustomResourceDefinitions bring.
func definedKinds(objects []*unstructured.Unstructured) map[schema.GroupKind]bool {
	kinds := map[schema.GroupKind]bool{}
	for _, object := range objects {
		if object.GroupVersionKind().GroupKind() == crdKind {
			group, _, _ := unstructured.NestedString(object.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind")
			kinds[schema.GroupKind{Group: group, Kind: kind}] = true
		}
	}
	return kinds
}
