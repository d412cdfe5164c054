package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// FromProgram makes an image that holds one static executable as /name and runs it. The same file always gives the same image.
func FromProgram(arch platform.Arch, name, path string) (Image, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return Image{}, err
	}
	var layer bytes.Buffer
	t := tar.NewWriter(&layer)
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(program)), Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if err := t.WriteHeader(h); err != nil {
		return Image{}, err
	}
	if _, err := t.Write(program); err != nil {
		return Image{}, err
	}
	if err := t.Close(); err != nil {
		return Image{}, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return Image{}, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(base, l)
	if err != nil {
		return Image{}, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return Image{}, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created, config.History = "linux", string(arch), v1.Time{}, nil
	config.Config.Entrypoint = []string{"/" + name}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return Image{}, err
	}
	return newImage(img)
}

// As returns the same layers under another config: one that claims this architecture and has these labels besides its own. A label
// that never was gives a digest that never was. What the layers hold is not looked at.
func (i Image) As(arch platform.Arch, labels map[string]string) (Image, error) {
	config := i.config.DeepCopy()
	config.Architecture, config.Variant = string(arch), ""
	if config.Config.Labels == nil {
		config.Config.Labels = map[string]string{}
	}
	maps.Copy(config.Config.Labels, labels)
	img, err := mutate.ConfigFile(i.img, config)
	if err != nil {
		return Image{}, err
	}
	return newImage(img)
}

// WriteArchive writes images as an OCI archive, of which a container runtime stores each under its name. index.json comes last, so
// that an archive that is cut off is none.
func WriteArchive(ctx context.Context, w io.Writer, images []Named) error {
	t := tar.NewWriter(w)
	sent := map[v1.Hash]bool{}
	put := func(hash v1.Hash, size int64, open func() (io.ReadCloser, error)) error {
		if sent[hash] {
			return nil
		}
		sent[hash] = true
		return addMember(ctx, t, path.Join("blobs", hash.Algorithm, hash.Hex), size, open)
	}
	for _, n := range images {
		if err := n.Image.eachBlob(put); err != nil {
			return fmt.Errorf("image %s: %w", n.Ref, err)
		}
	}
	index, err := ArchiveIndex(images)
	if err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		body []byte
	}{{"index.json", index}, {"oci-layout", []byte(LayoutFile)}} {
		if err := addMember(ctx, t, m.name, int64(len(m.body)), whole(m.body)); err != nil {
			return err
		}
	}
	return t.Close()
}

func addMember(ctx context.Context, t *tar.Writer, name string, size int64, open func() (io.ReadCloser, error)) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatGNU}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(t, ReadContext(ctx, r))
	return err
}
