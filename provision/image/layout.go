package image

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Layout is an OCI image layout in a directory whose index.json names one image index per reference.
type Layout struct {
	// Wrote, when set, hears of the bytes that Add copies.
	Wrote func(n int)

	dir   string // where Add writes
	fsys  fs.FS  // where blobs are read
	index v1.IndexManifest
}

// Index is one image index of a layout.
type Index struct {
	Ref    string
	Digest string
	// Manifests is the digest of the image manifest of each architecture.
	Manifests map[platform.Arch]string
}

// CreateLayout makes an empty layout; it is complete after Save.
func CreateLayout(dir string) (*Layout, error) {
	l := &Layout{dir: dir, fsys: os.DirFS(dir), index: v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}}
	return l, os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755)
}

// Add writes the blobs that are not there yet, and an index of the images under ref. One image per architecture.
func (l *Layout) Add(ctx context.Context, ref string, images []Image) (Index, error) {
	images = slices.SortedFunc(slices.Values(images), func(a, b Image) int { return cmp.Compare(a.Arch, b.Arch) })
	added := Index{Ref: ref, Manifests: map[platform.Arch]string{}}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, i := range images {
		if _, twice := added.Manifests[i.Arch]; twice {
			return Index{}, fmt.Errorf("two images for %s", i.Arch)
		}
		desc, err := i.descriptor()
		if err != nil {
			return Index{}, err
		}
		if err := l.write(ctx, i); err != nil {
			return Index{}, err
		}
		index.Manifests = append(index.Manifests, desc)
		added.Manifests[i.Arch] = i.Digest
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return Index{}, err
	}
	sum := sha256.Sum256(raw)
	hash := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	if err := l.writeBlob(ctx, hash, whole(raw)); err != nil {
		return Index{}, err
	}
	added.Digest = hash.String()
	l.index.Manifests = append(l.index.Manifests, v1.Descriptor{MediaType: types.OCIImageIndex, Digest: hash, Size: int64(len(raw)),
		Annotations: map[string]string{NameAnnotation: ref, RefAnnotation: ref}})
	return added, nil
}

// write copies the image's blobs, the manifest last.
func (l *Layout) write(ctx context.Context, i Image) error {
	return i.eachBlob(func(hash v1.Hash, _ int64, open func() (io.ReadCloser, error)) error {
		return l.writeBlob(ctx, hash, open)
	})
}

// eachBlob hands on the image's blobs with their sizes in bytes, the manifest last: what has the manifest has the whole image.
func (i Image) eachBlob(put func(hash v1.Hash, size int64, open func() (io.ReadCloser, error)) error) error {
	layers, err := i.img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		hash, err := layer.Digest()
		if err != nil {
			return err
		}
		size, err := layer.Size()
		if err != nil {
			return err
		}
		if err := put(hash, size, layer.Compressed); err != nil {
			return err
		}
	}
	config, err := i.img.RawConfigFile()
	if err != nil {
		return err
	}
	name, err := i.img.ConfigName()
	if err != nil {
		return err
	}
	manifest, err := i.img.RawManifest()
	if err != nil {
		return err
	}
	digest, err := sha256Hash(i.Digest)
	if err != nil {
		return err
	}
	if err := put(name, int64(len(config)), whole(config)); err != nil {
		return err
	}
	return put(digest, int64(len(manifest)), whole(manifest))
}

// writeBlob copies a blob and verifies its digest. One that is there was written, and verified, before.
func (l *Layout) writeBlob(ctx context.Context, hash v1.Hash, open func() (io.ReadCloser, error)) error {
	path := l.blobPath(hash)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := l.copyBlob(ctx, path, hash, open); err != nil {
		return errors.Join(fmt.Errorf("copy blob %s: %w", hash, err), os.RemoveAll(path))
	}
	return nil
}

func (l *Layout) copyBlob(ctx context.Context, path string, hash v1.Hash, open func() (io.ReadCloser, error)) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum, counter(l.Wrote)), ReadContext(ctx, r)); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != hash.Hex {
		return errors.New("it is damaged: its content has another digest")
	}
	return f.Close()
}

// Save writes index.json and oci-layout.
func (l *Layout) Save() error {
	slices.SortFunc(l.index.Manifests, func(a, b v1.Descriptor) int {
		return cmp.Compare(a.Annotations[NameAnnotation], b.Annotations[NameAnnotation])
	})
	raw, err := json.MarshalIndent(l.index, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(l.dir, "index.json"), append(raw, '\n'), 0o644),
		os.WriteFile(filepath.Join(l.dir, "oci-layout"), []byte(LayoutFile), 0o644))
}

func (l *Layout) blobPath(h v1.Hash) string { return filepath.Join(l.dir, "blobs", h.Algorithm, h.Hex) }

func whole(raw []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
}

// counter is a writer that only counts.
type counter func(n int)

func (c counter) Write(p []byte) (int, error) {
	if c != nil {
		c(len(p))
	}
	return len(p), nil
}
