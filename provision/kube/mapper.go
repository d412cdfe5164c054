package kube

import (
	"context"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// mapper remembers which resources the API server has. It asks again when a kind is not found and the memory is older than the
// question's notBefore, so that many unknown kinds at once cost one discovery.
type mapper struct {
	mu    sync.Mutex
	known meta.RESTMapper
	asked time.Time
}

// resource is the client for the object's kind and namespace, and the object's namespace filled in.
// A meta.NoMatch error: the API server does not know the kind.
func (c *Client) resource(ctx context.Context, object *unstructured.Unstructured, notBefore time.Time) (dynamic.ResourceInterface, error) {
	mapping, err := c.mapping(ctx, object, notBefore)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return c.dynamic.Resource(mapping.Resource), nil
	}
	if object.GetNamespace() == "" {
		object.SetNamespace(metav1.NamespaceDefault)
	}
	return c.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
}

func (c *Client) mapping(ctx context.Context, object *unstructured.Unstructured, notBefore time.Time) (*meta.RESTMapping, error) {
	kind := object.GroupVersionKind()
	m := &c.mapper
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known != nil {
		mapping, err := m.known.RESTMapping(kind.GroupKind(), kind.Version)
		if err == nil || !meta.IsNoMatchError(err) || !m.asked.Before(notBefore) {
			return mapping, err
		}
	}
	asked := time.Now()
	if err := c.do(ctx, "ask which kinds the API server has", c.discover); err != nil {
		return nil, err
	}
	m.asked = asked
	return m.known.RESTMapping(kind.GroupKind(), kind.Version)
}

// discover fills the mapper, under its lock. Discovery takes no context, so its requests get one on their way out.
func (c *Client) discover(ctx context.Context) error {
	bounded := &http.Client{Transport: withContext{ctx, c.http.Transport}}
	client, err := discovery.NewDiscoveryClientForConfigAndClient(c.config, bounded)
	if err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(client)
	if err != nil {
		return err
	}
	c.mapper.known = restmapper.NewDiscoveryRESTMapper(groups)
	return nil
}

type withContext struct {
	ctx  context.Context
	next http.RoundTripper
}

func (t withContext) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.next.RoundTrip(req.WithContext(t.ctx))
}
