package bundle

import (
	"cmp"
	"slices"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Item is one line of a bundle's list: a binary or an image with all its architectures.
type Item struct {
	Kind      string                  `json:"kind"` // binary or image
	Component string                  `json:"component,omitempty"`
	Name      string                  `json:"name"`    // file name, or repository with registry
	Version   string                  `json:"version"` // of a binary; the tag of an image
	Archs     []platform.Arch         `json:"archs"`
	Sizes     map[platform.Arch]int64 `json:"sizes"` // bytes; images share layers, so their sizes do not add up
}

// List tells what the bundle holds: binaries by component and name, then images by name.
func (b *Bundle) List() ([]Item, error) {
	var items []Item
	for _, bin := range b.Manifest.Binaries {
		at := slices.IndexFunc(items, func(i Item) bool {
			return i.Component == bin.Component && i.Name == bin.Name && i.Version == bin.Version
		})
		if at < 0 {
			at = len(items)
			items = append(items, Item{Kind: "binary", Component: bin.Component, Name: bin.Name, Version: bin.Version,
				Sizes: map[platform.Arch]int64{}})
		}
		items[at].Sizes[bin.Arch] = bin.Size
	}
	for _, i := range b.Manifest.Images {
		item, err := b.imageItem(i)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	for i := range items {
		items[i].Archs = sortedArchs(items[i].Sizes)
	}
	slices.SortStableFunc(items, func(x, y Item) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Component, y.Component), cmp.Compare(x.Name, y.Name))
	})
	return items, nil
}

func (b *Bundle) imageItem(i Image) (Item, error) {
	item := Item{Kind: "image", Component: i.Component, Name: i.Ref, Sizes: map[platform.Arch]int64{}}
	if ref, err := image.ParseRef(i.Ref); err == nil {
		item.Name, item.Version = ref.Repository, ref.Tag
	}
	for _, a := range i.Archs {
		img, err := b.layout.Image(i.Manifests[a])
		if err != nil {
			return Item{}, sentencef(ErrDamaged, "bundle %s is damaged: image %s: %v", b.Dir, i.Ref, err)
		}
		if item.Sizes[a], err = img.Size(); err != nil {
			return Item{}, err
		}
	}
	return item, nil
}
