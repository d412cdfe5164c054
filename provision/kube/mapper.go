package kube

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// mapper remembers which resources the API server has. It asks again when a kind is not found and the memory is older than the
// question's notBefore, so that many unknown kinds at once cost one discovery.
type mapper struct {
	mu     sync.Mutex
	known  meta.RESTMapper
	failed map[schema.GroupVersion]error // groups of which the API server did not say what they have
	asked  time.Time
}

// find looks a kind up. A meta.NoMatch error: the API server does not know it. Any other: it did not say.
func (m *mapper) find(kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	mapping, err := m.known.RESTMapping(kind.GroupKind(), kind.Version)
	if why := m.failed[kind.GroupVersion()]; why != nil && meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("the API server does not say what there is of %s: %w", kind.GroupVersion(), why)
	}
	return mapping, err
}

// everywhere are kinds that every API server has.
var everywhere = []schema.GroupVersionKind{{Version: "v1", Kind: "Namespace"}, {Group: "apps", Version: "v1", Kind: "DaemonSet"}}

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
		mapping, err := m.find(kind)
		if err == nil || meta.IsNoMatchError(err) && !m.asked.Before(notBefore) {
			return mapping, err
		}
	}
	asked := time.Now()
	var mapping *meta.RESTMapping
	var none error
	err := c.do(ctx, "ask which kinds the API server has", func(ctx context.Context) error {
		err := c.discover(ctx)
		if err == nil {
			mapping, err = m.find(kind)
		}
		if none = nil; meta.IsNoMatchError(err) {
			none, err = err, nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	m.asked = asked
	return mapping, none
}

// discover fills the mapper, under its lock. Discovery takes no context, so its requests get one on their way out.
func (c *Client) discover(ctx context.Context) error {
	bounded := &http.Client{Transport: withContext{ctx, c.http.Transport}}
	client, err := discovery.NewDiscoveryClientForConfigAndClient(c.config, bounded)
	if err != nil {
		return err
	}
	partial := &partialDiscovery{DiscoveryInterface: client}
	groups, err := restmapper.GetAPIGroupResources(partial)
	if err != nil {
		return err
	}
	c.mapper.known, c.mapper.failed = restmapper.NewDiscoveryRESTMapper(groups), partial.failed
	for _, kind := range everywhere {
		if _, err := c.mapper.find(kind); meta.IsNoMatchError(err) {
			c.mapper.known = nil
			return fmt.Errorf("what answers at %s is no whole API server: it does not even have the kind %s", c.server, kind.Kind)
		}
	}
	return nil
}

// partialDiscovery notes the groups of which the API server did not say what they have: client-go leaves them out. One that it does not have any
// more by the time it is asked is not among them.
type partialDiscovery struct {
	discovery.DiscoveryInterface
	failed map[schema.GroupVersion]error
}

func (d *partialDiscovery) ServerGroupsAndResources() ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	groups, resources, err := d.DiscoveryInterface.ServerGroupsAndResources()
	d.failed, _ = discovery.GroupDiscoveryFailedErrorGroups(err)
	maps.DeleteFunc(d.failed, func(_ schema.GroupVersion, why error) bool { return apierrors.IsNotFound(why) })
	return groups, resources, err
}

type withContext struct {
	ctx  context.Context
	next http.RoundTripper
}

func (t withContext) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.next.RoundTrip(req.WithContext(t.ctx))
}
