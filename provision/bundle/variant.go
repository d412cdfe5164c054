package bundle

import (
	"context"
	"io"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Variant returns a writer of an image that the bundle does not hold: the layers of component's image for the architecture holds,
// under a config that claims another one, with a label that makes its digest new. Conformance uses it to show what a node does with an
// image it has never seen, and with one that lies.
func (b *Bundle) Variant(component string, holds, claims platform.Arch, ref string, labels map[string]string) (func(context.Context, io.Writer) error, error) {
	i, ok := b.Image(component)
	if !ok || i.Manifests[holds] == "" {
		return nil, sentencef(ErrDamaged, "bundle %s has no image of component %s for %s", b.Dir, component, holds)
	}
	img, err := b.layout.Image(i.Manifests[holds])
	if err != nil {
		return nil, sentencef(ErrDamaged, "bundle %s is damaged: image %s: %v", b.Dir, i.Ref, err)
	}
	variant, err := img.As(claims, labels)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, w io.Writer) error {
		return image.WriteArchive(ctx, w, []image.Named{{Ref: ref, Image: variant}})
	}, nil
}
