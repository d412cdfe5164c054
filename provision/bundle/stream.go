package bundle

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// member is one file of the image stream.
type member struct {
	name   string
	size   int64
	digest string // of a blob; "" for a body
	body   []byte
}

// WriteImages streams the images of one architecture as an OCI archive that `ctr images import -` takes. Each blob stands in it
// once, however many images use it, and not at all when its digest is in skip, the set of what the host's content store has.
//
// The host is to know each name as the manifest of its own architecture, not as the index of all: then nothing in its content
// store points to blobs that were never sent, and the image ID it reports is the entry of the index for its platform.
//
// What makes the archive an OCI layout comes last: one that is cut off, even between two files, where tar does not notice, is
// nothing that could be imported. Every blob is verified while it is read; a damaged one ends the stream with ErrDamaged.
func (b *Bundle) WriteImages(ctx context.Context, w io.Writer, arch platform.Arch, refs []string, skip map[string]bool) error {
	members, err := b.members(arch, refs, skip)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, m := range members {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: m.name, Size: m.size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatGNU}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if err := b.writeMember(ctx, t, m); err != nil {
			return err
		}
	}
	return t.Close()
}

func (b *Bundle) writeMember(ctx context.Context, w io.Writer, m member) error {
	if m.digest == "" {
		_, err := w.Write(m.body)
		return err
	}
	r, err := b.layout.OpenBlob(m.digest)
	if err != nil {
		return sentencef(ErrDamaged, "bundle %s is damaged: %v", b.Dir, err)
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(image.ReadContext(ctx, r), m.size))
	if err != nil {
		return err
	}
	if n != m.size || "sha256:"+hex.EncodeToString(sum.Sum(nil)) != m.digest {
		return sentencef(ErrDamaged, "bundle %s is damaged: blob %s has another content", b.Dir, m.digest)
	}
	return nil
}

// ImagesSize is the exact number of bytes that WriteImages writes for the same arguments.
func (b *Bundle) ImagesSize(arch platform.Arch, refs []string, skip map[string]bool) (int64, error) {
	const block = 512
	members, err := b.members(arch, refs, skip)
	size := int64(2 * block) // the end of a tar
	for _, m := range members {
		size += block + (m.size+block-1)/block*block
	}
	return size, err
}

// members lists the files of the stream in their order.
func (b *Bundle) members(arch platform.Arch, refs []string, skip map[string]bool) ([]member, error) {
	var named []image.Named
	var blobs []member
	sent := map[string]bool{}
	for _, ref := range refs {
		i, ok := b.ImageByRef(ref)
		if !ok {
			return nil, fmt.Errorf("the bundle has no image %s", ref)
		}
		if i.Manifests[arch] == "" {
			return nil, fmt.Errorf("the bundle has no image %s for %s", ref, arch)
		}
		img, err := b.layout.Image(i.Manifests[arch])
		if err != nil {
			return nil, sentencef(ErrDamaged, "bundle %s is damaged: image %s: %v", b.Dir, ref, err)
		}
		content, err := img.Blobs()
		if err != nil {
			return nil, sentencef(ErrDamaged, "bundle %s is damaged: image %s: %v", b.Dir, ref, err)
		}
		for _, blob := range content {
			if !sent[blob.Digest] && !skip[blob.Digest] {
				sent[blob.Digest] = true
				name := "blobs/" + strings.Replace(blob.Digest, ":", "/", 1)
				blobs = append(blobs, member{name: name, size: blob.Size, digest: blob.Digest})
			}
		}
		named = append(named, image.Named{Ref: ref, Image: img})
	}
	index, err := image.ArchiveIndex(named)
	if err != nil {
		return nil, err
	}
	return append(blobs, body("index.json", index), body("oci-layout", []byte(image.LayoutFile))), nil
}

func body(name string, content []byte) member {
	return member{name: name, size: int64(len(content)), body: content}
}
