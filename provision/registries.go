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
)

// registryPatience bounds what registries may take for all images together, and registryAtOnce how many images one is asked for at a time.
const (
	registryPatience = 30 * time.Second
	registryAtOnce   = 8
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
					archs, err := s.askRegistry(ctx, i)
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
