package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// OpenLayout reads the table of contents of a layout, wherever it lies: fsys may be a directory, or part of an archive.
func OpenLayout(fsys fs.FS) (*Layout, error) {
	index, err := readLayout(inFS(fsys))
	if err != nil {
		return nil, err
	}
	return &Layout{fsys: fsys, index: *index}, nil
}

func inFS(fsys fs.FS) files {
	return func(name string) (io.ReadCloser, error) { return fsys.Open(name) }
}

// Refs tells the digest that index.json gives for each reference.
func (l *Layout) Refs() (map[string]string, error) {
	refs := map[string]string{}
	for _, d := range l.index.Manifests {
		ref := d.Annotations[NameAnnotation]
		if _, twice := refs[ref]; twice || ref == "" {
			return nil, fmt.Errorf("index.json: entry %s has no name, or the name of another one", d.Digest)
		}
		refs[ref] = d.Digest.String()
	}
	return refs, nil
}

// Index opens the images of an index. Those of claimed, the manifests by architecture, have to be there; of the others the layout may have
// none, as an index that is kept as it was lists more than was fetched. The error joins all that is wrong; the images are those that are good.
func (l *Layout) Index(digest string, claimed map[platform.Arch]string) ([]Image, error) {
	hash, err := sha256Hash(digest)
	if err != nil {
		return nil, err
	}
	index, err := readIndex(l.blob, v1.Descriptor{Digest: hash})
	if err != nil {
		return nil, err
	}
	var images []Image
	var problems []error
	must := slices.Collect(maps.Values(claimed))
	for _, d := range index.Manifests {
		if is := d.Digest.String(); !slices.Contains(must, is) && errors.Is(l.Check(Blob{Digest: is}), fs.ErrNotExist) {
			continue
		}
		i, err := l.Image(d.Digest.String())
		if err == nil {
			err = claimHolds(d, i)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		images = append(images, i)
	}
	return images, errors.Join(problems...)
}

// Image opens the image with that manifest.
func (l *Layout) Image(digest string) (Image, error) {
	hash, err := sha256Hash(digest)
	if err != nil {
		return Image{}, err
	}
	raw, err := opener(l.blob).document(v1.Descriptor{Digest: hash})
	if err != nil {
		return Image{}, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return Image{}, fmt.Errorf("image manifest %s: %w", digest, err)
	}
	desc := v1.Descriptor{Digest: hash, MediaType: m.MediaType}
	if m.MediaType == "" { // OCI leaves it to the descriptor; docker manifests always have it
		desc.MediaType = types.OCIManifestSchema1
	}
	img, err := newStored(l.blob, desc)
	if err != nil {
		return Image{}, err
	}
	return newImage(img)
}

// blob opens a blob; it satisfies opener.
func (l *Layout) blob(h v1.Hash) (io.ReadCloser, error) { return inFS(l.fsys).blob(h) }

// OpenBlob opens a blob of the layout.
func (l *Layout) OpenBlob(digest string) (io.ReadCloser, error) {
	h, err := sha256Hash(digest)
	if err != nil {
		return nil, err
	}
	return l.blob(h)
}

// Check tells what a look at the blob's file finds: that it is missing or has another size. It does not read it.
func (l *Layout) Check(b Blob) error {
	h, err := sha256Hash(b.Digest)
	if err != nil {
		return err
	}
	info, err := fs.Stat(l.fsys, "blobs/"+h.Algorithm+"/"+h.Hex)
	if errors.Is(err, fs.ErrNotExist) {
		return absentBlob{h}
	}
	if err != nil {
		return err
	}
	if info.Size() != b.Size {
		return fmt.Errorf("blob %s has %d bytes, not %d", b.Digest, info.Size(), b.Size)
	}
	return nil
}
