package image

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Listing is a manifest or an index as it was read, and what it leads to.
type Listing struct {
	Digest   string // of the document itself
	Media    string
	Index    bool
	Children map[platform.Arch]Blob // of an index: the image manifest for each supported architecture
	Others   []string               // of an index: the platforms it names besides
	Content  []Blob                 // of a manifest: its config, then its layers from bottom to top, each once
}

// ReadListing reads a manifest or an index that came by that media type ("" = it is not known). The error says in a sentence's end why it
// is not one that can be used: an index within an index, two images for one architecture, layers that lie outside of registries.
func ReadListing(raw []byte, media string) (Listing, error) {
	d, err := parseDocument(raw, types.MediaType(media))
	if err != nil {
		return Listing{}, err
	}
	l := Listing{Digest: d.hash.String(), Media: string(d.media), Index: d.index != nil}
	if l.Index {
		return l, l.children(d.index)
	}
	if isArtifact(d.image) {
		return l, fmt.Errorf("it is no image but an artifact (%s)", d.image.Config.MediaType)
	}
	return l, l.content(d.image)
}

func (l *Listing) children(index *v1.IndexManifest) error {
	l.Children = map[platform.Arch]Blob{}
	for _, m := range index.Manifests {
		if isAttestation(m) {
			continue
		}
		if m.MediaType.IsIndex() {
			return fmt.Errorf("it holds another index, %s, which is not taken", m.Digest)
		}
		if m.Platform == nil {
			continue // a signature or the like; what it would be for, only its config tells
		}
		arch, ok := platform.OfImage(m.Platform.Architecture, m.Platform.Variant)
		if !ok || m.Platform.OS != "linux" {
			if name := PlatformString(*m.Platform); !slices.Contains(l.Others, name) {
				l.Others = append(l.Others, name)
			}
			continue
		}
		if m.Digest.Algorithm != "sha256" || m.Size <= 0 || m.Size > maxDocument {
			return fmt.Errorf("its entry for %s has the digest %s and %d bytes, which cannot be", arch, m.Digest, m.Size)
		}
		if other, twice := l.Children[arch]; twice && other.Digest != m.Digest.String() {
			return fmt.Errorf("it names two images for %s", arch)
		}
		l.Children[arch] = Blob{Digest: m.Digest.String(), Size: m.Size}
	}
	return nil
}

func (l *Listing) content(m *v1.Manifest) error {
	if err := sha256Only(m); err != nil {
		return err
	}
	seen := map[v1.Hash]bool{}
	for i, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if i > 0 && !d.MediaType.IsDistributable() {
			return fmt.Errorf("its layer %s lies outside of registries", d.Digest)
		}
		if !seen[d.Digest] {
			seen[d.Digest] = true
			l.Content = append(l.Content, Blob{Digest: d.Digest.String(), Size: d.Size})
		}
	}
	return nil
}

// Has says for which platforms an index holds images, for people: "amd64, linux/s390x".
func (l Listing) Has() string {
	var names []string
	for _, a := range platform.All() {
		if _, ok := l.Children[a]; ok {
			names = append(names, a.String())
		}
	}
	if names = append(names, l.Others...); len(names) == 0 {
		return "no platform"
	}
	return strings.Join(names, ", ")
}
