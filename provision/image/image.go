// Package image knows multi-arch container images: it reads them from OCI layouts, OCI archives and docker archives, assembles an
// index with one manifest for each architecture, and looks into an image down to the ELF header of the program it runs.
// What an image is for is decided by its config and its bytes, never by what an index says of it. Registry alone opens connections, and
// believes what registries say. The package runs nothing, and is the only one that knows the OCI library.
package image

import (
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Image is the image of one architecture, wherever its blobs lie.
type Image struct {
	Arch   platform.Arch
	Digest string // of the image manifest

	img    v1.Image
	config *v1.ConfigFile
}

// Blob is one piece of content: a manifest, a config or a layer.
type Blob struct {
	Digest string
	Size   int64
}

// errOtherPlatform marks images that no supported host can run; an index may hold them besides those that are wanted.
var errOtherPlatform = errors.New("not a supported platform")

// newImage reads the config of img; the error says what it is for when no supported architecture is.
func newImage(img v1.Image) (Image, error) {
	digest, err := img.Digest()
	if err != nil {
		return Image{}, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return Image{}, fmt.Errorf("config of image %s: %w", digest, err)
	}
	if config.OS != "linux" {
		return Image{}, fmt.Errorf("image %s is for the operating system %q, not linux: %w", digest, config.OS, errOtherPlatform)
	}
	arch, err := platform.Parse(config.Architecture)
	if err != nil {
		return Image{}, fmt.Errorf("image %s: its config has an %v: %w", digest, err, errOtherPlatform)
	}
	return Image{Arch: arch, Digest: digest.String(), img: img, config: config}, nil
}

// Blobs lists all content of the image: its manifest, its config, its layers from bottom to top. A layer used twice stands once.
func (i Image) Blobs() ([]Blob, error) {
	raw, err := i.img.RawManifest()
	if err != nil {
		return nil, err
	}
	m, err := i.img.Manifest()
	if err != nil {
		return nil, err
	}
	blobs := []Blob{{i.Digest, int64(len(raw))}, {m.Config.Digest.String(), m.Config.Size}}
	seen := map[string]bool{}
	for _, l := range m.Layers {
		if d := l.Digest.String(); !seen[d] {
			seen[d] = true
			blobs = append(blobs, Blob{d, l.Size})
		}
	}
	return blobs, nil
}

// Size is the sum of the image's blobs, as they are stored and sent.
func (i Image) Size() (int64, error) {
	blobs, err := i.Blobs()
	var sum int64
	for _, b := range blobs {
		sum += b.Size
	}
	return sum, err
}

// descriptor is the image's entry in an index.
func (i Image) descriptor() (v1.Descriptor, error) {
	media, err := i.img.MediaType()
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, err := i.img.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	raw, err := i.img.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	p := &v1.Platform{OS: i.config.OS, Architecture: string(i.Arch), Variant: i.config.Variant}
	return v1.Descriptor{MediaType: media, Digest: digest, Size: int64(len(raw)), Platform: p}, nil
}
