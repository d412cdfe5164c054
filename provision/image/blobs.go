package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxDocument bounds manifests, indexes and configs, which are read whole; container runtimes refuse larger ones too.
const maxDocument = 8 << 20

// opener opens a blob; an absent one is an error that is fs.ErrNotExist.
type opener func(v1.Hash) (io.ReadCloser, error)

// document reads a small blob whole and verifies its digest.
func (open opener) document(d v1.Descriptor) ([]byte, error) {
	if d.Size > maxDocument {
		return nil, fmt.Errorf("blob %s is too large for a manifest, an index or a config", d.Digest)
	}
	r, err := open(d.Digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if got, _, err := v1.SHA256(bytes.NewReader(raw)); err != nil || got != d.Digest {
		return nil, fmt.Errorf("blob %s is damaged: its content has another digest", d.Digest)
	}
	return raw, nil
}

// stored is an image whose blobs an opener finds: the core that the library completes to a v1.Image.
type stored struct {
	open      opener
	mediaType types.MediaType
	raw       []byte
	manifest  *v1.Manifest
	config    []byte
}

// newStored reads the manifest and the config that desc leads to.
func newStored(open opener, desc v1.Descriptor) (v1.Image, error) {
	raw, err := open.document(desc)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("image manifest %s: %w", desc.Digest, err)
	}
	config, err := open.document(m.Config)
	if err != nil {
		return nil, fmt.Errorf("config of image %s: %w", desc.Digest, err)
	}
	return partial.CompressedToImage(stored{open: open, mediaType: desc.MediaType, raw: raw, manifest: m, config: config})
}

func (s stored) MediaType() (types.MediaType, error) { return s.mediaType, nil }
func (s stored) RawManifest() ([]byte, error)        { return s.raw, nil }
func (s stored) RawConfigFile() ([]byte, error)      { return s.config, nil }

func (s stored) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, l := range s.manifest.Layers {
		if l.Digest == h {
			return storedLayer{s.open, l}, nil
		}
	}
	return nil, fmt.Errorf("the image has no layer %s", h)
}

type storedLayer struct {
	open opener
	desc v1.Descriptor
}

func (l storedLayer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l storedLayer) Size() (int64, error)                { return l.desc.Size, nil }
func (l storedLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l storedLayer) Compressed() (io.ReadCloser, error)  { return l.open(l.desc.Digest) }

// ReadContext is a reader that ends with the context, whose error it then returns.
func ReadContext(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// sha256Hash turns "sha256:<hex>" into a hash and refuses every other algorithm, as nothing here could verify it.
func sha256Hash(s string) (v1.Hash, error) {
	h, err := v1.NewHash(s)
	if err != nil || h.Algorithm != "sha256" {
		return v1.Hash{}, errors.New("not a sha256 digest: " + s)
	}
	return h, nil
}
