package image

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/registry"
)

// origin is where an image's content lies: a layout, an archive or a repository. What is not there is fs.ErrNotExist.
type origin interface {
	// manifest reads a manifest or an index and verifies its digest.
	manifest(ctx context.Context, h v1.Hash, claimed types.MediaType) (document, error)
	// small reads a config and verifies its digest.
	small(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// blob streams a layer, which the reader verifies.
	blob(ctx context.Context, h v1.Hash) (io.ReadCloser, error)
}

func (open opener) manifest(_ context.Context, h v1.Hash, claimed types.MediaType) (document, error) {
	if h.Algorithm != "sha256" {
		return document{}, errors.New("not a sha256 digest: " + h.String())
	}
	raw, err := open.document(v1.Descriptor{Digest: h})
	if err != nil {
		return document{}, err
	}
	return parseDocument(raw, claimed)
}

func (open opener) small(_ context.Context, d v1.Descriptor) ([]byte, error) { return open.document(d) }

func (open opener) blob(_ context.Context, h v1.Hash) (io.ReadCloser, error) { return open(h) }

// remote is a repository as an origin.
type remote struct{ *registry.Repo }

func (r remote) manifest(ctx context.Context, h v1.Hash, claimed types.MediaType) (document, error) {
	d, err := r.Manifest(ctx, h.String())
	if err != nil {
		return document{}, absent(err)
	}
	if claimed == "" {
		claimed = types.MediaType(d.Media)
	}
	return parseDocument(d.Raw, claimed)
}

func (r remote) small(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if d.Data != nil { // the manifest brings it along (image-spec, descriptor "data")
		if got, _, err := v1.SHA256(bytes.NewReader(d.Data)); err == nil && got == d.Digest {
			return d.Data, nil
		}
	}
	raw, err := r.Small(ctx, d.Digest.String())
	return raw, absent(err)
}

func (r remote) blob(ctx context.Context, h v1.Hash) (io.ReadCloser, error) {
	b, err := r.Blob(ctx, h.String())
	return b, absent(err)
}

// gone is a registry's word that it does not have something; it is fs.ErrNotExist.
type gone struct{ error }

func (g gone) Unwrap() error        { return g.error }
func (g gone) Is(target error) bool { return target == fs.ErrNotExist }

func absent(err error) error {
	if registry.IsNotFound(err) {
		return gone{err}
	}
	return err
}

// Set is what a reference leads to: an image, or an index with the images in it.
type Set struct {
	Ref    string // as it was asked for
	Name   string // of the entry of a layout or archive; "" = it has none
	Digest string
	Media  string // media type
	Images []Entry
	Others []Other // entries that are no images

	origin origin
	remote bool
}

// Entry is one image of a set, whatever platform it is for.
type Entry struct {
	Digest  string
	Claimed *v1.Platform // by the index; nil = it does not say, or there is none
	Err     error        // why it could not be read: then only the fields above are there

	doc    document
	config *v1.ConfigFile
	raw    []byte // of the config
	from   origin
	desc   v1.Descriptor // of the index that names it
}

// Other is an entry of an index that is no image.
type Other struct {
	Digest  string
	What    string // "attestation", "artifact"
	Subject string // the image that an attestation is about

	desc v1.Descriptor
	from origin
}

// maxEntries bounds the images that one reference leads to.
const maxEntries = 256

// collect reads what a document leads to. Entries of which the index says that they are for a platform that is not wanted are left out.
func (s *Set) collect(ctx context.Context, d document, want func(*v1.Platform) bool) error {
	return s.walk(ctx, d, v1.Descriptor{Digest: d.hash, MediaType: d.media, Size: int64(len(d.raw))}, want, nil)
}

// walk goes down from a descriptor; above are the indexes on the way to it.
func (s *Set) walk(ctx context.Context, d document, desc v1.Descriptor, want func(*v1.Platform) bool, above []v1.Descriptor) error {
	depth := len(above)
	if d.index == nil {
		return s.image(ctx, d, desc, above)
	}
	if depth == maxDepth {
		return fmt.Errorf("index %s: too many indexes within one another", d.hash)
	}
	for _, m := range d.index.Manifests {
		switch {
		case isAttestation(m):
			s.Others = append(s.Others, Other{Digest: m.Digest.String(), What: "attestation", Subject: m.Annotations["vnd.docker.reference.digest"], desc: m, from: s.origin})
			continue
		case m.ArtifactType != "" && m.Platform == nil && !m.MediaType.IsIndex() && !isConfigType(m.ArtifactType):
			s.Others = append(s.Others, Other{Digest: m.Digest.String(), What: "artifact", desc: m, from: s.origin})
			continue
		case m.Platform != nil && want != nil && !want(m.Platform): // of an index within as well: nodes do not look into it
			continue
		case len(s.Images) == maxEntries:
			return fmt.Errorf("index %s: more than %d images are not looked at", d.hash, maxEntries)
		}
		child, err := s.origin.manifest(ctx, m.Digest, m.MediaType)
		if err == nil {
			err = s.walk(ctx, child, m, want, append(above[:depth:depth], desc))
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.Images = append(s.Images, Entry{Digest: m.Digest.String(), Claimed: m.Platform, Err: err, desc: m, from: s.origin})
		}
	}
	return nil
}

// errNoImage marks what is something else: an artifact.
var errNoImage = errors.New("is no image")

// isConfigType reports whether an index's word for what an entry is stands for an image after all: some builders write the config's type.
func isConfigType(artifact string) bool {
	return artifact == string(types.OCIConfigJSON) || artifact == string(types.DockerConfigJSON)
}

// errUnfindable marks an image that no node finds: an index on the way to it is for another platform.
var errUnfindable = errors.New("no node finds it")

func (s *Set) image(ctx context.Context, d document, desc v1.Descriptor, above []v1.Descriptor) error {
	listed := len(above) > 0
	if isArtifact(d.image) {
		if !listed {
			return fmt.Errorf("%s %w but an artifact (%s)", d.hash, errNoImage, d.image.Config.MediaType)
		}
		s.Others = append(s.Others, Other{Digest: d.hash.String(), What: "artifact", desc: desc, from: s.origin})
		return nil
	}
	if err := sha256Only(d.image); err != nil {
		return fmt.Errorf("image %s: %w", d.hash, err)
	}
	raw, err := s.origin.small(ctx, d.image.Config)
	if err != nil {
		return fmt.Errorf("config of image %s: %w", d.hash, err)
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("config of image %s: %w", d.hash, err)
	}
	e := Entry{Digest: d.hash.String(), doc: d, config: config, raw: raw, from: s.origin, desc: desc}
	if listed {
		e.Claimed = desc.Platform
	}
	for _, index := range above {
		if index.Platform != nil && !samePlatform(*index.Platform, e.Platform()) {
			return fmt.Errorf("%w: it is for %s, and the index %s that leads to it is marked as for %s", errUnfindable, PlatformString(e.Platform()), index.Digest, PlatformString(*index.Platform))
		}
	}
	s.Images = append(s.Images, e)
	return nil
}

func sha256Only(m *v1.Manifest) error {
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if d.Digest.Algorithm != "sha256" {
			return errors.New("not a sha256 digest: " + d.Digest.String())
		}
		if d.Size < 0 {
			return fmt.Errorf("blob %s has a size below zero", d.Digest)
		}
	}
	return nil
}

// Platform is what the image's own config says that it is for.
func (e Entry) Platform() v1.Platform {
	return v1.Platform{OS: e.config.OS, Architecture: e.config.Architecture, Variant: e.config.Variant, OSVersion: e.config.OSVersion, OSFeatures: e.config.OSFeatures}
}

// exactly is its platform with what the index adds: many a config leaves out what tells two images apart.
func (e Entry) exactly() v1.Platform {
	is := e.Platform()
	if e.Claimed != nil && sameArch(*e.Claimed, is) {
		is.Variant, is.OSVersion = cmp.Or(is.Variant, e.Claimed.Variant), cmp.Or(is.OSVersion, e.Claimed.OSVersion)
	}
	return is
}

// Size is the sum of its config and layers, as they are stored and sent; a layer used twice counts once.
func (e Entry) Size() int64 {
	sum, seen := e.doc.image.Config.Size, map[v1.Hash]bool{}
	for _, l := range e.doc.image.Layers {
		if !seen[l.Digest] {
			seen[l.Digest] = true
			sum += l.Size
		}
	}
	return sum
}

func (e Entry) packed(ctx context.Context) []packed {
	var out []packed
	for _, l := range e.doc.image.Layers {
		out = append(out, packed{digest: l.Digest.String(), size: l.Size, open: func() (io.ReadCloser, error) { return e.from.blob(ctx, l.Digest) }})
	}
	return out
}
