package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Take names an index that is kept byte for byte, whether or not the layout has all that it lists, and takes the files of these blobs,
// the index's own among them, by Link. It does not read them: whoever makes the layout verifies it.
func (l *Layout) Take(ref, index string, blobs []string, file func(digest string) string) error {
	for _, digest := range blobs {
		hash, err := sha256Hash(digest)
		if err != nil {
			return err
		}
		if err := Link(file(digest), l.blobPath(hash)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	hash, err := sha256Hash(index)
	if err != nil {
		return err
	}
	raw, err := opener(l.blob).document(v1.Descriptor{Digest: hash})
	if err != nil {
		return err
	}
	doc, err := parseDocument(raw, "")
	if err != nil {
		return fmt.Errorf("index %s: %w", index, err)
	}
	media := doc.media
	if media == "" {
		media = types.OCIImageIndex
	}
	l.index.Manifests = append(l.index.Manifests, v1.Descriptor{MediaType: media, Digest: hash, Size: int64(len(raw)),
		Annotations: map[string]string{NameAnnotation: ref, RefAnnotation: ref}})
	return nil
}

// Link puts the file from at to as well: as a hard link where that can be, else as a copy with the same mode, which costs no room on
// file systems that share blocks. What is there already is fs.ErrExist.
func Link(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return duplicate(from, to)
}

func duplicate(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in) // copy_file_range, where the kernel has it
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}
