package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// headSize is how much of an executable is kept: an ELF header, or a script's first line.
const headSize = 256

// file is what is kept of one file of an image.
type file struct {
	dir        bool
	link       string // target of a symbolic link
	executable bool   // a regular file that may be run
	head       []byte // of an executable
}

// change is one entry of a layer, in the order of the tar.
type change struct {
	name     string // clean, without a leading slash
	file     file
	hardlink string
}

// layer is what a layer does to the files beneath it.
type layer struct {
	diffID  string
	removed []string // whiteouts
	emptied []string // opaque directories
	changes []change
}

// readLayer streams a layer once; no file's content is kept but the head of executables.
func readLayer(ctx context.Context, l v1.Layer) (layer, error) {
	r, err := l.Uncompressed()
	if err != nil {
		return layer{}, err
	}
	defer r.Close()
	sum := sha256.New()
	stream := io.TeeReader(readContext(ctx, r), sum)
	out, err := readTar(tar.NewReader(stream))
	if err != nil {
		return layer{}, err
	}
	if _, err := io.Copy(io.Discard, stream); err != nil { // padding after the end counts for the digest
		return layer{}, err
	}
	out.diffID = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return out, nil
}

func readTar(t *tar.Reader) (layer, error) {
	var out layer
	for {
		h, err := t.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return layer{}, err
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		dir, base := path.Split(name)
		if base == ".wh..wh..opq" {
			out.emptied = append(out.emptied, path.Clean(dir))
			continue
		}
		if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
			out.removed = append(out.removed, dir+hidden)
			continue
		}
		c := change{name: name}
		switch h.Typeflag {
		case tar.TypeDir:
			c.file.dir = true
		case tar.TypeSymlink:
			c.file.link = h.Linkname
		case tar.TypeLink:
			c.hardlink = strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
		case tar.TypeReg:
			if h.Mode&0o111 != 0 {
				c.file.executable = true
				if c.file.head, err = readHead(t); err != nil {
					return layer{}, err
				}
			}
		}
		out.changes = append(out.changes, c)
	}
}

func readHead(r io.Reader) ([]byte, error) {
	head := make([]byte, headSize)
	n, err := io.ReadFull(r, head)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n:n], err
}

// tree is the file system a container of an image sees, by clean path without a leading slash.
type tree map[string]file

// apply puts a layer on top.
func (t tree) apply(l layer) error {
	for _, dir := range l.emptied {
		t.empty(dir)
	}
	for _, name := range l.removed {
		t.remove(name)
	}
	for _, c := range l.changes {
		f := c.file
		if c.hardlink != "" {
			target, ok := t[t.place(c.hardlink)]
			if !ok {
				return fmt.Errorf("%s is a hard link to %s, which is missing", c.name, c.hardlink)
			}
			f = target
		}
		name := t.place(c.name)
		if old, ok := t[name]; ok && old.dir && !f.dir {
			t.remove(name)
		}
		t[name] = f
	}
	return nil
}

// place tells where a runtime unpacks a name: its folder may be a symbolic link of a lower layer.
func (t tree) place(name string) string {
	dir, base := path.Split(name)
	if real, err := t.resolve("/" + dir); err == nil {
		return path.Join(real, base)
	}
	return name
}

func (t tree) remove(name string) {
	delete(t, name)
	t.empty(name)
}

func (t tree) empty(dir string) {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	for name := range t {
		if strings.HasPrefix(name, prefix) {
			delete(t, name)
		}
	}
}

// maxLinks bounds symbolic links, as the kernel does.
const maxLinks = 40

var errLinkLoop = errors.New("is reached only through a loop of symbolic links")

// resolve follows the symbolic links of an absolute path within the image. The result need not exist.
func (t tree) resolve(name string) (string, error) {
	at, rest, links := "", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = strings.TrimPrefix(path.Dir("/"+at), "/")
			continue
		}
		next := path.Join(at, part)
		link := t[next].link
		if link == "" {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", errLinkLoop
		}
		if path.IsAbs(link) {
			at = ""
		}
		rest = append(strings.Split(link, "/"), rest...)
	}
	return at, nil
}
