package image

import (
	"bytes"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// maxDepth bounds indexes within indexes.
const maxDepth = 4

// resolve returns the images of supported architectures that a descriptor leads to, through indexes.
func resolve(open opener, desc v1.Descriptor, depth int) ([]Image, error) {
	switch {
	case desc.MediaType.IsImage():
		img, err := newStored(open, desc)
		if err != nil {
			return nil, err
		}
		i, err := newImage(img)
		if err != nil {
			return nil, err
		}
		return []Image{i}, claimHolds(desc, i)
	case !desc.MediaType.IsIndex():
		return nil, fmt.Errorf("%s is neither an image nor an index but %q", desc.Digest, desc.MediaType)
	case depth == maxDepth:
		return nil, fmt.Errorf("index %s: too many indexes within one another", desc.Digest)
	}
	index, err := readIndex(open, desc)
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, m := range index.Manifests {
		if !wanted(m) {
			continue
		}
		some, err := resolve(open, m, depth+1)
		if errors.Is(err, absentBlob{m.Digest}) {
			continue // an archive of one platform often has the index of all
		}
		if m.Platform == nil && errors.Is(err, errOtherPlatform) {
			continue
		}
		if err != nil {
			return nil, err
		}
		images = append(images, some...)
	}
	return images, nil
}

func readIndex(open opener, desc v1.Descriptor) (*v1.IndexManifest, error) {
	raw, err := open.document(desc)
	if err != nil {
		return nil, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("image index %s: %w", desc.Digest, err)
	}
	return index, nil
}

// wanted passes over attestations and other platforms. An entry that does not say its platform is asked itself.
func wanted(d v1.Descriptor) bool {
	if d.Annotations["vnd.docker.reference.type"] != "" {
		return false
	}
	if d.Platform == nil {
		return true
	}
	_, err := platform.Parse(d.Platform.Architecture)
	return err == nil && d.Platform.OS == "linux"
}

// claimHolds compares what an index says of an image with the image's own config.
func claimHolds(d v1.Descriptor, i Image) error {
	if d.Platform == nil {
		return nil
	}
	if claimed, err := platform.Parse(d.Platform.Architecture); err == nil && claimed == i.Arch {
		return nil
	}
	return fmt.Errorf("image %s: the index says %s, its config says %s", i.Digest, d.Platform.Architecture, i.Arch)
}
