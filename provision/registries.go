package provision

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
)

// registryPatience bounds what registries may take for all images together, and registryAtOnce how many images one is asked for at a time.
const (
	registryPatience = 30 * time.Second
	registryAtOnce   = 8
	// registryOnePatience is for one request, of which registryTries are made where that may help.
	registryOnePatience = 5 * time.Second
	registryTries       = 2
)

// toldOf is what a registry told of an image: for which architectures it is made, or why that is not known.
type toldOf struct {
	archs []platform.Arch
	err   error
}

// askRegistries asks for each image where its name says that it is, the first ones first. Registries are far away, and their answers do not
// depend on each other: none waits for another.
func (s *session) askRegistries(ctx context.Context, images []string) map[string]toldOf {
	ctx, cancel := context.WithTimeout(ctx, s.registryPatience)
	defer cancel()
	ask := s.askRegistry
	if ask == nil {
		ask = s.registryAsker()
	}
	byRegistry := map[string][]string{}
	for _, i := range images {
		byRegistry[image.RegistryOf(i)] = append(byRegistry[image.RegistryOf(i)], i)
	}
	var mu sync.Mutex
	told := map[string]toldOf{}
	var all sync.WaitGroup
	for registry, of := range byRegistry {
		all.Go(func() {
			var g errgroup.Group
			g.SetLimit(registryAtOnce)
			for _, i := range of {
				g.Go(func() error {
					archs, err := ask(ctx, i)
					if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
						err = fmt.Errorf("%s told nothing of it within the %v that registries have for all images", registry, s.registryPatience)
					}
					mu.Lock()
					defer mu.Unlock()
					told[i] = toldOf{archs, err}
					return nil
				})
			}
			_ = g.Wait() // nothing returns an error
		})
	}
	all.Wait()
	return told
}

// registryAsker asks the registries that may be: the well-known ones, and those of the inventory and of the bundle. Images of others come
// from whoever may make pods, and their names would have this machine ask any host. It asks as nobody in particular.
func (s *session) registryAsker() func(context.Context, string) ([]platform.Arch, error) {
	client, err := registry.New(registry.Options{Allowed: s.mayAsk(), AtOnce: registryAtOnce, Patience: registryOnePatience, Tries: registryTries})
	asker := &image.Asker{Registry: client}
	return func(ctx context.Context, name string) ([]platform.Arch, error) {
		if err != nil {
			return nil, err
		}
		answer := asker.Ask(ctx, name, nil, platform.All())
		if errors.Is(answer.Err, registry.ErrNotAsked) {
			return nil, fmt.Errorf("%w: it is no registry of the inventory, and none that is well known (--audit-registry %s asks it)", answer.Err, image.RegistryOf(name))
		}
		return answer.Archs(), answer.Err
	}
}

// mayAsk are the registries that the audit may ask.
func (s *session) mayAsk() func(string) bool {
	known := map[string]bool{}
	spec := s.Cluster.Spec
	for _, name := range append([]string{spec.Conformance.Registry.Image}, s.AuditRegistries...) {
		known[image.RegistryOf(name)], known[name] = true, true
	}
	for _, i := range spec.Storage.WantedImages() {
		known[image.RegistryOf(i.Ref)] = true
	}
	for _, i := range s.bundle.Manifest.Images {
		known[image.RegistryOf(i.Ref)] = true
	}
	return func(host string) bool { return known[host] || registry.WellKnown(host) }
}
