package podimages

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// KnownOptions say how registries are asked about the images of workloads.
type KnownOptions struct {
	Registry registry.Options
	Archs    []platform.Arch // that pods may land on
	// Children asks whether the images that an index names are there, too: a request more for each architecture.
	Children bool
}

// Known asks the registries of all images of a set what they are made for: each image once for each login that pods have for it. The
// error is of the options, or the context's end.
func Known(ctx context.Context, set *workload.Set, o KnownOptions) (workload.Known, error) {
	client, err := registry.New(o.Registry)
	if err != nil {
		return nil, err
	}
	asker := &image.Asker{Registry: client, IndexOnly: !o.Children}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(16)
	known := map[string]workload.ImageFacts{}
	for _, w := range distinct(OfManifests(ctx, set, nil)) {
		g.Go(func() error {
			answer := asker.Ask(ctx, w.Image, w.Keys, o.Archs)
			mu.Lock()
			defer mu.Unlock()
			known[w.Image] = alsoKnown(known, w, answer, o)
			return nil
		})
	}
	_ = g.Wait() // nothing returns an error
	return func(i string) workload.ImageFacts { return known[i] }, ctx.Err()
}

// distinct leaves out what would be asked twice.
func distinct(all []image.Wanted) []image.Wanted {
	asked := map[string]bool{}
	return slices.DeleteFunc(all, func(w image.Wanted) bool {
		id := w.Image
		for _, k := range w.Keys {
			id += "\x00" + k.ID()
		}
		twice := asked[id]
		asked[id] = true
		return twice
	})
}

// alsoKnown adds an answer to what is known of an image: of two logins, the one that was let in tells more, and that another was not stays known.
func alsoKnown(known map[string]workload.ImageFacts, w image.Wanted, a image.Answer, o KnownOptions) workload.ImageFacts {
	facts := workload.ImageFacts{Single: a.Err == nil && !a.Index, Login: a.Login(), Err: a.Err}
	if a.Err != nil && w.Why != "" {
		facts.Err = fmt.Errorf("%w; %s", a.Err, w.Why)
	}
	for _, arch := range platform.All() {
		v, _ := a.For(arch)
		if v == image.VerdictYes || v == image.VerdictListed && !o.Children {
			facts.Archs = append(facts.Archs, arch)
		}
	}
	other, is := known[w.Image]
	if is && other.Err == nil {
		facts, other = other, facts
	}
	facts.Login = facts.Login || other.Login
	return facts
}

// Starts looks into the images of a set for what containers start in them, each when it is asked for. The error is of the options.
func Starts(ctx context.Context, set *workload.Set, o registry.Options) (workload.Starts, error) {
	client, err := registry.New(o)
	if err != nil {
		return nil, err
	}
	starter := &image.Starter{Registry: client}
	all := distinct(OfManifests(ctx, set, nil))
	return func(name string, s workload.Start, arch platform.Arch) (wrong, unknown string) {
		for _, w := range all {
			if w.Image != name {
				continue
			}
			one := starter.Look(ctx, name, w.Keys, arch, []image.Start{image.Start(s)})[0]
			if wrong, unknown = one.Wrong, one.Unknown; !one.Unread {
				break
			}
		}
		return wrong, unknown
	}, nil
}
