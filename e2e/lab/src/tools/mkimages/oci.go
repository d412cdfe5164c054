package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
)

// The media types of the OCI image specification that are used here.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type config struct {
	platform
	Config struct {
		Entrypoint []string `json:"Entrypoint,omitempty"`
		Env        []string `json:"Env"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// store is an OCI image layout being written.
type store struct{ dir string }

func (s store) blobs() string { return filepath.Join(s.dir, "blobs", "sha256") }

// put writes a document as a blob.
func (s store) put(mediaType string, doc any) (descriptor, error) {
	b, err := json.Marshal(doc)
	if err != nil {
		return descriptor{}, err
	}
	sum := sha256.Sum256(b)
	name := hex.EncodeToString(sum[:])
	d := descriptor{MediaType: mediaType, Digest: "sha256:" + name, Size: int64(len(b))}
	return d, os.WriteFile(filepath.Join(s.blobs(), name), b, 0o644)
}

// image writes config and manifest of one architecture's image.
func (s store) image(arch string, entrypoint []string, layers []descriptor) (descriptor, error) {
	p := platform{Architecture: arch, OS: "linux"}
	c := config{platform: p}
	c.Config.Entrypoint = entrypoint
	c.Config.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin"}
	c.RootFS.Type = "layers"
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.Digest)
	}
	conf, err := s.put(typeConfig, c)
	if err != nil {
		return descriptor{}, err
	}
	d, err := s.put(typeManifest, manifest{2, typeManifest, conf, layers})
	d.Platform = &p
	return d, err
}

// finish writes the layout's own two files.
func (s store) finish(images []descriptor) error {
	b, err := json.MarshalIndent(index{2, typeIndex, images}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "index.json"), b, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}
