package image_test

import (
	"context"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

// BenchmarkAssemble counts what the vendors' recipe costs a registry: two images, of one layer each, of other repositories of the same registry. The
// goal is 20 requests and no byte up, and no byte up when it is done again.
func BenchmarkAssemble(b *testing.B) {
	for _, c := range []struct {
		name            string
		tokens, indexes bool // the sources are indexes of one platform each, as buildx pushes
		again           bool
	}{
		{name: "open"}, {name: "with tokens", tokens: true}, {name: "indexes of one platform", indexes: true}, {name: "indexes of one platform, with tokens", indexes: true, tokens: true},
		{name: "again", tokens: true, again: true},
	} {
		b.Run(c.name, func(b *testing.B) {
			var requests, up, layers int64
			for b.Loop() {
				s := registrytest.New(b)
				key := []registry.Credential(nil)
				if s.Tokens = c.tokens; c.tokens {
					s.Username, s.Password = "me", "secret"
					key = []registry.Credential{{Username: "me", Password: "secret", From: "the benchmark"}}
				}
				o := image.AssembleOptions{Target: s.Host() + "/team/app:1.5", TagChildren: true}
				for _, arch := range platform.All() {
					one := imagetest.Program(arch, "")
					if repository := "build/app-" + arch.String(); c.indexes {
						s.Index(b, repository, "1.5", imagetest.Index(map[platform.Arch]v1.Image{arch: one}))
					} else {
						s.Image(b, repository, "1.5", one)
					}
					o.Parts = append(o.Parts, image.PartFor(arch, s.Host()+"/build/app-"+arch.String()+":1.5"))
				}
				round := func() image.Pushed {
					places := &image.Places{Registry: plain(b), Keys: func(context.Context, name.Repository) ([]registry.Credential, error) { return key, nil }}
					made, err := image.Assemble(b.Context(), places, &image.Inspector{}, o)
					if err != nil {
						b.Fatal(err)
					}
					pushed, err := made.Push(b.Context(), places)
					if err != nil {
						b.Fatal(err)
					}
					return pushed
				}
				if c.again {
					round()
					s.Forget()
				}
				pushed := round()
				if pushed.Unchanged != c.again {
					b.Fatalf("%+v", pushed)
				}
				requests, up, layers = int64(s.Count("")), s.Up(), int64(pushed.Mounted)
			}
			b.ReportMetric(float64(requests), "requests")
			b.ReportMetric(float64(up), "bytes-up")
			b.ReportMetric(float64(layers), "mounts")
		})
	}
}
