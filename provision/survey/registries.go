package survey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/report"
)

// RegistryPatience bounds what registries may take for all images together, unless the caller says otherwise.
const RegistryPatience = 30 * time.Second

// How one registry is asked.
const (
	registryAtOnce      = 8               // images at a time
	registryOnePatience = 5 * time.Second // for one request
	registryTries       = 2               // where another may help
)

// archs is what a registry told of an image: for which architectures it is made, or why that is not known.
type archs = Known[[]platform.Arch]

// Registries asks for each image where its name says that it is, the first ones first. Registries are far away, and their answers do
// not depend on each other: none waits for another.
func (r Reader) Registries(ctx context.Context, images []string) map[string]archs {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	ask := r.AskRegistry
	if ask == nil {
		ask = r.asker()
	}
	if len(images) > 0 {
		defer r.waits("what registries say of " + report.Count(len(images), "image"))()
	}
	byRegistry := map[string][]string{}
	for _, i := range images {
		byRegistry[image.RegistryOf(i)] = append(byRegistry[image.RegistryOf(i)], i)
	}
	var mu sync.Mutex
	told := map[string]archs{}
	var all sync.WaitGroup
	for from, of := range byRegistry {
		all.Go(func() {
			var g errgroup.Group
			g.SetLimit(registryAtOnce)
			for _, i := range of {
				g.Go(func() error {
					answer := r.askOne(ctx, ask, from, i)
					mu.Lock()
					defer mu.Unlock()
					told[i] = answer
					return nil
				})
			}
			_ = g.Wait() // nothing returns an error
		})
	}
	all.Wait()
	return told
}

func (r Reader) askOne(ctx context.Context, ask func(context.Context, string) ([]platform.Arch, error), registry, image string) archs {
	made, err := ask(ctx, image)
	switch {
	case err == nil:
		return Found(made)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Unknown[[]platform.Arch](fmt.Errorf("%s told nothing of it within the %v that registries have for all images", registry, r.Patience))
	}
	return Unknown[[]platform.Arch](err)
}

// asker asks the registries that may be: the well-known ones, and those of the inventory and of the bundle. Images of
// others come from whoever may make pods, and their names would have this machine ask any host. It asks without a
// login.
func (r Reader) asker() func(context.Context, string) ([]platform.Arch, error) {
	client, err := registry.New(registry.Options{Allowed: r.mayAsk(), AtOnce: registryAtOnce, Patience: registryOnePatience, Tries: registryTries})
	asker := &image.Asker{Registry: client}
	return func(ctx context.Context, name string) ([]platform.Arch, error) {
		if err != nil {
			return nil, err
		}
		answer := asker.Ask(ctx, name, nil, platform.All())
		if errors.Is(answer.Err, registry.ErrNotAsked) {
			return nil, hint.With(fmt.Errorf("%w: it is no registry of the inventory, and none that is well known", answer.Err), "--audit-registry %s asks it", remote.Quote(image.RegistryOf(name)))
		}
		return answer.Archs(), answer.Err
	}
}

// mayAsk are the registries that may be asked.
func (r Reader) mayAsk() func(string) bool {
	known := map[string]bool{}
	for _, host := range inventory.NamedRegistries(r.Cluster) {
		known[host] = true
	}
	for _, name := range r.OtherRegistries {
		known[image.RegistryOf(name)], known[name] = true, true
	}
	for _, i := range r.Bundle.Manifest.Images {
		known[image.RegistryOf(i.Ref)] = true
	}
	return func(host string) bool { return known[host] || registry.WellKnown(host) }
}
