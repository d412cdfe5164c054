package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// document is a manifest or an index, told apart by what stands in it: descriptors leave the media type out, or are wrong.
type document struct {
	media types.MediaType
	raw   []byte
	hash  v1.Hash
	index *v1.IndexManifest // one of the two
	image *v1.Manifest
}

// ErrSchema1 says that an image is of the oldest of Docker's formats.
var ErrSchema1 = errors.New("it is of Docker's schema 1, which containerd refuses since 2.0: pull it with an old docker, and push it again")

// parseDocument reads a manifest or an index; claimed is the media type by which it came, or "".
func parseDocument(raw []byte, claimed types.MediaType) (document, error) {
	var head struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return document{}, fmt.Errorf("it is no manifest: %w", err)
	}
	hash, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return document{}, err
	}
	d := document{media: head.MediaType, raw: raw, hash: hash}
	isIndex, isImage := present(head.Manifests), present(head.Config) || present(head.Layers)
	switch {
	case head.SchemaVersion == 1 || head.FSLayers != nil || claimed.IsSchema1():
		return document{}, ErrSchema1
	case isIndex && isImage: // CVE-2021-41190: what it is would depend on who reads it
		return document{}, errors.New("it is a manifest and an index at once, and so refused")
	case isIndex:
		d.index = &v1.IndexManifest{}
		err = json.Unmarshal(raw, d.index)
		d.media = firstOf(d.media, claimed, types.OCIImageIndex)
	case isImage:
		d.image = &v1.Manifest{}
		err = json.Unmarshal(raw, d.image)
		d.media = firstOf(d.media, claimed, types.OCIManifestSchema1)
	default:
		return document{}, errors.New("it is neither a manifest nor an index")
	}
	if err != nil {
		return document{}, fmt.Errorf("it cannot be read: %w", err)
	}
	if isIndex != d.media.IsIndex() || isImage != d.media.IsImage() {
		return document{}, fmt.Errorf("it calls itself %q, and is something else", d.media)
	}
	return d, nil
}

// firstOf is the first media type that is one of a manifest or an index.
func firstOf(all ...types.MediaType) types.MediaType {
	for _, m := range all {
		if m != "" && m != "application/json" && m != "text/plain" && m != "application/octet-stream" {
			return m
		}
	}
	return ""
}

func present(field json.RawMessage) bool { return field != nil && string(field) != "null" }

// isArtifact reports whether a manifest is of something else than an image to run: a signature, an attestation, a chart, a model.
func isArtifact(m *v1.Manifest) bool {
	switch m.Config.MediaType {
	case types.OCIConfigJSON, types.DockerConfigJSON, "":
	default:
		return true
	}
	for _, l := range m.Layers {
		if l.MediaType == "application/vnd.in-toto+json" {
			return true
		}
	}
	return false
}

// isAttestation reports whether an entry of an index is what BuildKit says of another entry.
func isAttestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}
