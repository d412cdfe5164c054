package bundle

import (
	"context"
	"io"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Variant is an image that the bundle does not hold: the layers of a component's image for one architecture, under a config that
// claims one, with labels that make its digest new. Conformance uses it to show what a node does with an image it has never seen, and
// with one that lies.
type Variant struct {
	Ref           string
	Component     string
	Holds, Claims platform.Arch
	Labels        map[string]string
}

// WriteVariants writes variants as one OCI archive that `ctr images import -` takes.
func (b *Bundle) WriteVariants(ctx context.Context, w io.Writer, variants []Variant) error {
	var named []image.Named
	for _, v := range variants {
		i, ok := b.Image(v.Component)
		if !ok || i.Manifests[v.Holds] == "" {
			return sentencef(ErrDamaged, "bundle %s has no image of component %s for %s", b.Dir, v.Component, v.Holds)
		}
		img, err := b.layout.Image(i.Manifests[v.Holds])
		if err != nil {
			return sentencef(ErrDamaged, "bundle %s is damaged: image %s: %v", b.Dir, i.Ref, err)
		}
		variant, err := img.As(v.Claims, v.Labels)
		if err != nil {
			return err
		}
		named = append(named, image.Named{Ref: v.Ref, Image: variant})
	}
	return image.WriteArchive(ctx, w, named)
}
