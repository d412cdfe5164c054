package image

import (
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// LayoutFile is the content of every layout's oci-layout.
const LayoutFile = `{"imageLayoutVersion":"1.0.0"}` + "\n"

// Named is an image under its full name.
type Named struct {
	Ref   string
	Image Image
}

// ArchiveIndex is the index.json of an archive with these images, each named so that a container runtime stores it under its
// reference. A reference given twice stands once.
func ArchiveIndex(images []Named) ([]byte, error) {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	seen := map[string]bool{}
	for _, n := range images {
		if seen[n.Ref] {
			continue
		}
		seen[n.Ref] = true
		desc, err := n.Image.descriptor()
		if err != nil {
			return nil, err
		}
		desc.Annotations = map[string]string{NameAnnotation: n.Ref, RefAnnotation: n.Ref}
		index.Manifests = append(index.Manifests, desc)
	}
	return json.Marshal(index)
}
