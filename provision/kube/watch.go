package kube

import (
	"context"
	"errors"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// source is one kind of object to watch.
type source struct {
	lister cache.ListWatch
	object runtime.Object            // an empty one
	trim   func(runtime.Object) bool // takes out what the wait does not look at; false = leave the object out
}

// listWatcher is what the typed clients and the dynamic one have in common.
type listWatcher[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// sourceOf watches what the client lists; fields is a field selector, "" for all.
func sourceOf[L runtime.Object](client listWatcher[L], object runtime.Object, fields string, trim func(runtime.Object) bool) source {
	return source{object: object, trim: trim, lister: cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = fields
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = fields
			return client.Watch(ctx, o)
		},
	}}
}

// view is a live picture of the sources: client-go's reflectors list, watch, and list again after a watch broke.
type view struct {
	client  *Client
	stores  []*viewStore
	changed chan struct{} // holds one: something changed since it was last taken
	done    sync.WaitGroup

	mu      sync.Mutex
	trouble []error // by source: why it is not live at the moment
}

// watch starts a view, which ends with ctx; then its done is to be waited for.
func (c *Client) watch(ctx context.Context, sources ...source) *view {
	v := &view{client: c, changed: make(chan struct{}, 1), trouble: make([]error, len(sources))}
	for i, s := range sources {
		store := &viewStore{Store: cache.NewStore(cache.MetaNamespaceKeyFunc), trim: s.trim, notify: v.notify}
		v.stores = append(v.stores, store)
		// Connection troubles should not leave a wait blind for half a minute, as the default would.
		pause := newBackoff(250*time.Millisecond, 4*time.Second)
		reflector := cache.NewReflectorWithOptions(v.observed(i, s.lister), s.object, store, cache.ReflectorOptions{Backoff: &pause})
		v.done.Go(func() { reflector.RunWithContext(ctx) }) // one for each kind, ends with ctx
	}
	return v
}

// observed notes whether the source's requests succeed.
func (v *view) observed(i int, lister cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := lister.ListWithContextFunc(ctx, o)
			v.note(ctx, i, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := lister.WatchFuncWithContext(ctx, o)
			v.note(ctx, i, err)
			return w, err
		},
	}
}

func (v *view) note(ctx context.Context, i int, err error) {
	if ctx.Err() != nil {
		return
	}
	v.mu.Lock()
	v.trouble[i] = v.client.explain(err)
	v.mu.Unlock()
	v.notify()
}

func (v *view) notify() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// live returns nil when every source has been listed and is watched, else what is in the way; fatal when that will not pass.
func (v *view) live() (trouble error, fatal bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, store := range v.stores {
		if err := v.trouble[i]; err != nil {
			return err, errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrUntrusted)
		}
		if !store.isListed() {
			return v.client.noAnswer("in time"), false
		}
	}
	return nil, false
}

// viewStore is a reflector's store that tells of changes, and keeps only what is looked at.
type viewStore struct {
	cache.Store
	trim   func(runtime.Object) bool
	notify func()

	mu     sync.Mutex
	listed bool
}

func (s *viewStore) isListed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listed
}

// Add is called for an object that appeared.
func (s *viewStore) Add(obj any) error { return s.put(obj, s.Store.Add) }

// Update is called for an object that changed.
func (s *viewStore) Update(obj any) error { return s.put(obj, s.Store.Update) }

func (s *viewStore) put(obj any, put func(any) error) error {
	defer s.notify()
	if !s.keep(obj) {
		return s.Store.Delete(obj)
	}
	return put(obj)
}

// Delete is called for an object that went.
func (s *viewStore) Delete(obj any) error {
	defer s.notify()
	return s.Store.Delete(obj)
}

// Replace is called with every list.
func (s *viewStore) Replace(list []any, version string) error {
	defer s.notify()
	kept := make([]any, 0, len(list))
	for _, obj := range list {
		if s.keep(obj) {
			kept = append(kept, obj)
		}
	}
	s.mu.Lock()
	s.listed = true
	s.mu.Unlock()
	return s.Store.Replace(kept, version)
}

func (s *viewStore) keep(obj any) bool {
	object, ok := obj.(runtime.Object)
	return ok && (s.trim == nil || s.trim(object))
}

// listOf is what a store holds.
func listOf[T any](s *viewStore) []*T {
	var list []*T
	for _, obj := range s.List() {
		if typed, ok := obj.(*T); ok {
			list = append(list, typed)
		}
	}
	return list
}
