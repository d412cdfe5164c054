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
		entries = append(entries, entry{
			names:  item.RepoTags,
			images: func(ctx context.Context) ([]Image, error) { return item.images(ctx, f) },
			set:    func(ctx context.Context) (document, origin, error) { return item.set(ctx, f) },
		})
	}
	return entries, nil
}

func (d dockerItem) images(ctx context.Context, f files) ([]Image, error) {
	s, err := d.stored(ctx, f)
	if err != nil {
		return nil, err
	}
	img, err := partial.CompressedToImage(s)
	if err != nil {
		return nil, err
	}
	i, err := newImage(img)
	return []Image{i}, err
}

// set is the image with an opener that finds all of it, also the manifest that the archive does not have.
func (d dockerItem) set(ctx context.Context, f files) (document, origin, error) {
	s, err := d.stored(ctx, f)
	if err != nil {
		return document{}, nil, err
	}
	doc, err := parseDocument(s.raw, s.mediaType)
	if err != nil {
		return document{}, nil, err
	}
	return doc, opener(func(h v1.Hash) (io.ReadCloser, error) {
		switch h {
		case doc.hash:
			return io.NopCloser(bytes.NewReader(s.raw)), nil
		case s.manifest.Config.Digest:
			return io.NopCloser(bytes.NewReader(s.config)), nil
		}
		return s.open(h)
	}), nil
}

// stored writes the OCI manifest that a docker archive does not have. The layers stay as they are.
func (d dockerItem) stored(ctx context.Context, f files) (stored, error) {
	s, err := d.read(ctx, f)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("the archive is not whole: %w", err)
	}
	return s, err
}

func (d dockerItem) read(ctx context.Context, f files) (stored, error) {
	config, err := f.read(d.Config)
	if err != nil {
		return stored{}, err
	}
	hash, size, err := v1.SHA256(bytes.NewReader(config))
	if err != nil {
		return stored{}, err
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: size, Digest: hash}, Layers: []v1.Descriptor{}}
	where := map[v1.Hash]string{}
	for _, name := range d.Layers {
		l, err := describeLayer(ctx, f, name)
		if err != nil {
			return stored{}, err
		}
		where[l.Digest] = name
		m.Layers = append(m.Layers, l)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return stored{}, err
	}
	open := func(h v1.Hash) (io.ReadCloser, error) {
		name, ok := where[h]
		if !ok {
			return nil, absentBlob{h}
		}
		return f(name)
	}
	return stored{open: open, mediaType: m.MediaType, raw: raw, manifest: &m, config: config}, nil
}

func describeLayer(ctx context.Context, f files, name string) (v1.Descriptor, error) {
	r, err := f(name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer r.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return v1.Descriptor{}, err
	}
	media := types.OCIUncompressedLayer
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		media = types.OCILayer
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		media = types.OCILayerZStd
	}
	hash, size, err := v1.SHA256(ReadContext(ctx, io.MultiReader(bytes.NewReader(head[:n]), r)))
	return v1.Descriptor{MediaType: media, Size: size, Digest: hash}, err
}
