package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/image"
)

// What an archive may be at most. The largest of today's, containerd's, is a fifth of it.
const (
	maxUnpacked = 1 << 30
	maxMembers  = 10000
)

// unpack takes the wanted programs out of a file that was fetched, into the cache, and returns them as binaries of the bundle.
func (f *fetcher) unpack(ctx context.Context, file catalogue.File, sum string) ([]bundle.Binary, error) {
	in, err := os.Open(f.cache.file(sum))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if whole := wholeFile(file); whole != "" {
		info, err := in.Stat()
		if err != nil {
			return nil, err
		}
		return []bundle.Binary{binaryOf(file, whole, sum, info.Size())}, nil
	}
	u := &unpacker{fetcher: f, file: file, there: map[string]bool{}}
	if err := u.read(ctx, in); err != nil {
		if isEnd(ctx, err) {
			return nil, ctx.Err()
		}
		if sentence := writing(file.String(), f.cache.dir, progress{0, -1}, err); sentence != nil {
			return nil, sentence
		}
		return nil, failf(ErrContent, "%s: the archive %s %v", file, file.Base(), err)
	}
	return u.out, nil
}

// wholeFile is the program's name when the file itself is the program; "" = it is an archive.
func wholeFile(file catalogue.File) string {
	if len(file.Programs) == 1 && file.Programs[0].Path == "" && !file.AllPrograms {
		return file.Programs[0].Name
	}
	return ""
}

func binaryOf(file catalogue.File, name, sum string, size int64) bundle.Binary {
	return bundle.Binary{Component: file.Component, Name: name, Version: file.Version, Arch: file.Arch, SHA256: sum, Size: size}
}

// unpacker reads one archive. Nothing in it decides where anything is written: what is wanted goes into the cache under its digest.
type unpacker struct {
	*fetcher
	file  catalogue.File
	there map[string]bool // names that came
	out   []bundle.Binary
}

// read says in a sentence's end what is wrong.
func (u *unpacker) read(ctx context.Context, in io.Reader) error {
	plain, err := uncompressed(in)
	if err != nil {
		return err
	}
	bounded := &io.LimitedReader{R: image.ReadContext(ctx, plain), N: u.maxUnpacked + 1}
	t := tar.NewReader(bounded)
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case bounded.N <= 0:
			return fmt.Errorf("unpacks to more than %d MiB, and is refused", u.maxUnpacked>>20)
		case err == io.EOF:
			return u.whole()
		case err != nil:
			return fmt.Errorf("cannot be read: %w", err)
		case n == maxMembers:
			return fmt.Errorf("holds more than %d files, and is refused", maxMembers)
		}
		if err := u.member(ctx, h, t); err != nil {
			if bounded.N <= 0 {
				return fmt.Errorf("unpacks to more than %d MiB, and is refused", u.maxUnpacked>>20)
			}
			return err
		}
	}
}

// uncompressed reads gzip, and tar as it is.
func uncompressed(in io.Reader) (io.Reader, error) {
	magic := make([]byte, 2)
	n, err := io.ReadFull(in, magic)
	if err != nil {
		return nil, errors.New("is empty")
	}
	in = io.MultiReader(bytes.NewReader(magic[:n]), in)
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return in, nil
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return z, nil
}

// member takes a wanted program, and refuses names that lead out of the archive wherever they stand.
func (u *unpacker) member(ctx context.Context, h *tar.Header, body io.Reader) error {
	name := path.Clean(h.Name)
	if path.IsAbs(h.Name) || !fs.ValidPath(name) {
		return fmt.Errorf("holds the path %q, which leads out of it, and is refused", h.Name)
	}
	as, wanted := u.wants(name, h)
	if !wanted {
		return nil
	}
	if h.Typeflag != tar.TypeReg {
		return fmt.Errorf("holds %s as a link or a special file and not as a file, and is refused", name)
	}
	if u.there[as] {
		return fmt.Errorf("holds %s twice, and is refused", as)
	}
	u.there[as] = true
	sum, size, err := u.store(ctx, body)
	if err != nil {
		return err
	}
	u.out = append(u.out, binaryOf(u.file, as, sum, size))
	return nil
}

// wants is the program that a member is, on the host.
func (u *unpacker) wants(name string, h *tar.Header) (as string, wanted bool) {
	if u.file.AllPrograms {
		executable := h.Typeflag == tar.TypeReg && h.Mode&0o111 != 0
		link := h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink
		return path.Base(name), executable || link
	}
	i := slices.IndexFunc(u.file.Programs, func(p catalogue.Program) bool { return path.Clean(p.Path) == name })
	if i < 0 {
		return "", false
	}
	return u.file.Programs[i].Name, true
}

// whole says which programs did not come.
func (u *unpacker) whole() error {
	var lacks []string
	for _, p := range u.file.Programs {
		if !u.there[p.Name] {
			lacks = append(lacks, p.Path)
		}
	}
	switch {
	case len(lacks) > 0:
		return fmt.Errorf("does not hold %s", strings.Join(lacks, ", "))
	case len(u.out) == 0:
		return errors.New("holds no program")
	}
	return nil
}

// store writes a program into the cache.
func (u *unpacker) store(ctx context.Context, body io.Reader) (sum string, size int64, err error) {
	to, err := os.CreateTemp(u.cache.path("sha256"), ".program.*")
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, remove(to.Name())) }()
	h := sha256.New()
	size, err = copyTo(ctx, io.MultiWriter(to, h), body)
	if err = errors.Join(err, to.Chmod(0o755), to.Close()); err != nil {
		return "", 0, err
	}
	sum = hexOf(h)
	if err := os.Chtimes(to.Name(), sinceStart(), sinceStart()); err != nil {
		return "", 0, err
	}
	return sum, size, os.Rename(to.Name(), u.cache.file(sum))
}
