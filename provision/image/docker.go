package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// dockerItem is one image in the manifest.json of `docker save`.
type dockerItem struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func dockerEntries(f files) ([]entry, error) {
	raw, err := f.read("manifest.json")
	if err != nil {
		return nil, err
	}
	var items []dockerItem
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	if len(items) == 0 {
		return nil, errors.New("manifest.json lists no image")
	}
	var entries []entry
	for _, item := range items {
		entries = append(entries, entry{names: item.RepoTags, images: func(ctx context.Context) ([]Image, error) { return item.images(ctx, f) }})
	}
	return entries, nil
}

func (d dockerItem) images(ctx context.Context, f files) ([]Image, error) {
	img, err := d.image(ctx, f)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the archive is not whole: %w", err)
	}
	if err != nil {
		return nil, err
	}
	i, err := newImage(img)
	return []Image{i}, err
}

// image writes the OCI manifest that a docker archive does not have. The layers stay as they are.
func (d dockerItem) image(ctx context.Context, f files) (v1.Image, error) {
	config, err := f.read(d.Config)
	if err != nil {
		return nil, err
	}
	hash, size, err := v1.SHA256(bytes.NewReader(config))
	if err != nil {
		return nil, err
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: size, Digest: hash}, Layers: []v1.Descriptor{}}
	where := map[v1.Hash]string{}
	for _, name := range d.Layers {
		l, err := describeLayer(ctx, f, name)
		if err != nil {
			return nil, err
		}
		where[l.Digest] = name
		m.Layers = append(m.Layers, l)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	open := func(h v1.Hash) (io.ReadCloser, error) { return f(where[h]) }
	return partial.CompressedToImage(stored{open: open, mediaType: m.MediaType, raw: raw, manifest: &m, config: config})
}

func describeLayer(ctx context.Context, f files, name string) (v1.Descriptor, error) {
	r, err := f(name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer r.Close()
	head := make([]byte, 2)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return v1.Descriptor{}, err
	}
	media := types.OCIUncompressedLayer
	if bytes.Equal(head, []byte{0x1f, 0x8b}) {
		media = types.OCILayer
	}
	hash, size, err := v1.SHA256(readContext(ctx, io.MultiReader(bytes.NewReader(head[:n]), r)))
	return v1.Descriptor{MediaType: media, Size: size, Digest: hash}, err
}
