package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// archive gives random access to the files of an uncompressed tar: it remembers where each begins, and reads nothing before it
// is asked for.
type archive struct {
	f       *os.File
	members map[string]member
}

type member struct {
	offset, size int64
	link         string // another member's name, for symbolic and hard links
}

func openArchive(name string) (*archive, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	a := &archive{f: f, members: map[string]member{}}
	if err := a.scan(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return a, nil
}

// Close closes the file.
func (a *archive) Close() error { return a.f.Close() }

func (a *archive) scan() error {
	magic := make([]byte, 4)
	if n, _ := io.ReadFull(a.f, magic); n == 4 && (bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) || bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd})) {
		return errors.New("the archive is compressed; unpack it to a plain .tar first")
	}
	if _, err := a.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for t := tar.NewReader(a.f); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("not a whole tar archive: %w", err)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			offset, err := a.f.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			a.members[name] = member{offset: offset, size: h.Size}
		case tar.TypeSymlink:
			a.members[name] = member{link: path.Join(path.Dir(name), h.Linkname)}
		case tar.TypeLink:
			a.members[name] = member{link: path.Clean(h.Linkname)}
		}
	}
}

// open opens a member, through links.
func (a *archive) open(name string) (io.ReadCloser, error) {
	for range 10 {
		m, ok := a.members[name]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		if m.link == "" {
			return io.NopCloser(bufio.NewReaderSize(io.NewSectionReader(a.f, m.offset, m.size), 64<<10)), nil
		}
		name = m.link
	}
	return nil, fmt.Errorf("%s: a loop of links", name)
}

// entries reads the table of contents. `docker save` of today writes both kinds; the OCI one has the digests.
func (a *archive) entries() ([]entry, error) {
	if _, ok := a.members["oci-layout"]; ok {
		return layoutEntries(a.open)
	}
	if _, ok := a.members["manifest.json"]; ok {
		return dockerEntries(a.open)
	}
	return nil, errors.New("neither an OCI archive nor a docker archive: it holds no oci-layout and no manifest.json")
}
