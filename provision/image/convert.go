package image

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// toDocker and toOCI are the same content under the other family's types.
var (
	toDocker = map[types.MediaType]types.MediaType{
		types.OCIManifestSchema1: types.DockerManifestSchema2, types.OCIConfigJSON: types.DockerConfigJSON,
		types.OCILayer: types.DockerLayer, types.OCIUncompressedLayer: types.DockerUncompressedLayer,
		types.OCIRestrictedLayer: types.DockerForeignLayer,
	}
	toOCI = map[types.MediaType]types.MediaType{}
)

func init() {
	for oci, docker := range toDocker {
		toOCI[docker] = oci
	}
}

// build makes the manifest of a child as it will be: its own bytes where nothing has to change.
func (c *Child) build(format Format, a *Assembly) error {
	c.media, c.raw, c.manifest, c.Digest, c.Bytes = c.entry.doc.media, c.entry.doc.raw, c.entry.doc.image, c.entry.Digest, c.entry.Size()
	m := c.entry.doc.image.DeepCopy()
	m.MediaType = c.entry.doc.media
	var err error
	switch format {
	case FormatDocker:
		c.Converted, err = convert(m, toDocker, types.DockerManifestSchema2)
	case FormatOCI:
		c.Converted, err = convert(m, toOCI, types.OCIManifestSchema1)
	}
	if err != nil {
		return fmt.Errorf("%w: %s (%s): %w", ErrRefused, c.From, c.Platform, err)
	}
	if c.Converted && format == FormatDocker {
		if lost := withoutAnnotations(m); lost {
			a.Notes = append(a.Notes, c.Platform+": its annotations are left behind, as Docker's format has none")
		}
	}
	if err := c.rewrite(m); err != nil {
		return err
	}
	if !c.Converted && !c.Rewritten {
		return nil
	}
	if c.raw, err = json.Marshal(m); err != nil {
		return err
	}
	hash, _, err := v1.SHA256(bytes.NewReader(c.raw))
	c.media, c.manifest, c.Was, c.Digest = m.MediaType, m, c.entry.Digest, hash.String()
	return err
}

// convert changes the types of a manifest, its config and its layers; false when they are of the wanted family already.
func convert(m *v1.Manifest, to map[types.MediaType]types.MediaType, want types.MediaType) (bool, error) {
	changed := false
	replace := func(what string, t *types.MediaType) error {
		if other, ok := to[*t]; ok {
			*t, changed = other, true
			return nil
		}
		for _, there := range to {
			if there == *t {
				return nil
			}
		}
		switch {
		case *t == types.OCILayerZStd && want == types.DockerManifestSchema2:
			return fmt.Errorf("%s is packed with zstd, which Docker's format does not have: build it with gzip (buildx: compression=gzip,force-compression=true)", what)
		case want == types.DockerManifestSchema2:
			return fmt.Errorf("%s is of the type %q, which Docker's format does not have", what, *t)
		case *t == types.OCILayerZStd:
			return nil
		}
		return fmt.Errorf("%s is of the type %q, which has no counterpart", what, *t)
	}
	if err := replace("its manifest", &m.MediaType); err != nil {
		return false, err
	}
	if err := replace("its config", &m.Config.MediaType); err != nil {
		return false, err
	}
	for i := range m.Layers {
		if err := replace("its layer "+m.Layers[i].Digest.String(), &m.Layers[i].MediaType); err != nil {
			return false, err
		}
	}
	return changed, nil
}

// withoutAnnotations takes away what Docker's format has no place for; false when there was nothing.
func withoutAnnotations(m *v1.Manifest) bool {
	lost := len(m.Annotations) > 0
	m.Annotations, m.Subject = nil, nil
	for _, d := range append([]*v1.Descriptor{&m.Config}, pointers(m.Layers)...) {
		lost = lost || len(d.Annotations) > 0
		d.Annotations, d.Data, d.ArtifactType = nil, nil, ""
	}
	return lost
}

func pointers(all []v1.Descriptor) []*v1.Descriptor {
	var out []*v1.Descriptor
	for i := range all {
		out = append(out, &all[i])
	}
	return out
}

// rewrite makes the config say what the image is for, when it says something else. All else in it stays.
func (c *Child) rewrite(m *v1.Manifest) error {
	is := c.entry.Platform()
	if fits(is, c.platform) {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(c.entry.raw, &fields); err != nil {
		return fmt.Errorf("%s: its config cannot be read: %w", c.From, err)
	}
	for key, value := range map[string]string{"os": c.platform.OS, "architecture": c.platform.Architecture, "variant": c.platform.Variant, "os.version": c.platform.OSVersion} {
		if value == "" {
			delete(fields, key)
			continue
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return err
		}
		fields[key] = raw
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	hash, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	c.config, c.Rewritten = raw, true
	m.Config.Digest, m.Config.Size, m.Config.Data = hash, size, nil
	return nil
}
