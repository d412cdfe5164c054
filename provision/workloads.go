package provision

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// KnownImages asks the registries of all images of a set what they are made for, each image once, with docker's credentials.
func KnownImages(ctx context.Context, set *workload.Set, archs []platform.Arch) (workload.Known, error) {
	client, err := registry.New(registry.Options{})
	if err != nil {
		return nil, err
	}
	asker := &image.Asker{Registry: client}
	images := map[string]bool{}
	for _, t := range set.Templates() {
		for _, i := range t.Images() {
			images[i] = true
		}
	}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(16)
	known := map[string]workload.ImageFacts{}
	for i := range images {
		g.Go(func() error {
			facts := workload.ImageFacts{}
			wanted, err := image.WantedByUser(ctx, i, archs)
			if err != nil {
				facts.Err = err
			} else {
				a := asker.Ask(ctx, i, wanted.Keys, archs)
				facts = workload.ImageFacts{Archs: a.Archs(), Single: a.Err == nil && !a.Index, Login: a.Login(), Err: a.Err}
			}
			mu.Lock()
			defer mu.Unlock()
			known[i] = facts
			return nil
		})
	}
	_ = g.Wait() // nothing returns an error
	return func(i string) workload.ImageFacts { return known[i] }, ctx.Err()
}

// Running is what runs in a cluster, as its API server has it.
type Running struct {
	Set     *workload.Set
	World   workload.World // without Known
	Archs   []platform.Arch
	Missing []string // what the user may not list: nothing is known of it
}

// WorkloadsOf reads what runs in the cluster of a kubeconfig, whoever made it. The kubeconfig's server has to be reachable from here.
func WorkloadsOf(ctx context.Context, kubeconfig []byte, o workload.ReadOptions) (Running, error) {
	client, err := kube.New(kubeconfig, kube.Options{})
	if err != nil {
		return Running{}, err
	}
	defer client.Close()
	m, err := client.Manifests(ctx)
	if err != nil {
		return Running{}, err
	}
	r := Running{Set: &workload.Set{}, Missing: m.Missing, World: workload.World{Nodes: m.Nodes, Claims: m.Claims, Volumes: m.Volumes}}
	for _, list := range m.Workloads {
		if err := r.Set.Add(list, o); err != nil {
			return Running{}, fmt.Errorf("what the API server answers cannot be read: %w", err)
		}
	}
	r.Archs = workload.ArchsOf(m.Nodes)
	return r, nil
}
