package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// layer writes one image layer as an uncompressed tar: an emulated machine has nothing to inflate, and its digest is its diff ID.
// The first error sticks; close reports it.
type layer struct {
	tar  *tar.Writer
	file *os.File
	sum  func() string
	made map[string]bool // directories written so far
	err  error
}

func newLayer(dir string) (*layer, error) {
	f, err := os.CreateTemp(dir, "layer-*")
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	l := &layer{file: f, made: map[string]bool{}, sum: func() string { return hex.EncodeToString(h.Sum(nil)) }}
	l.tar = tar.NewWriter(io.MultiWriter(f, h))
	return l, nil
}

func (l *layer) header(h tar.Header) {
	if l.err == nil {
		h.ModTime = time.Unix(0, 0)
		l.err = l.tar.WriteHeader(&h)
	}
}

// parents writes the directories above name, each once.
func (l *layer) parents(name string) {
	for i, c := range name {
		if dir := name[:i]; c == '/' && !l.made[dir] {
			l.made[dir] = true
			mode := int64(0o755)
			if dir == "tmp" {
				mode = 0o1777
			}
			l.header(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: mode})
		}
	}
}

func (l *layer) dir(name string) { l.parents(name + "/") }

func (l *layer) link(name, target string) {
	l.parents(name)
	l.header(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

func (l *layer) text(name, body string) {
	l.parents(name)
	l.header(tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))})
	if l.err == nil {
		_, l.err = io.WriteString(l.tar, body)
	}
}

// add copies a file of the build machine; a symbolic link stays one.
func (l *layer) add(from, name string) {
	if l.err != nil {
		return
	}
	st, err := os.Lstat(from)
	if err != nil {
		l.err = err
		return
	}
	if st.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		l.err = err
		l.link(name, target)
		return
	}
	in, err := os.Open(from)
	if err != nil {
		l.err = err
		return
	}
	defer in.Close()
	l.parents(name)
	l.header(tar.Header{Name: name, Mode: int64(st.Mode().Perm()), Size: st.Size()})
	if l.err == nil {
		_, l.err = io.Copy(l.tar, in)
	}
}

// addMatching copies the files of dir whose name starts with one of the prefixes ("" means all).
func (l *layer) addMatching(dir, name string, prefixes ...string) {
	entries, err := os.ReadDir(dir)
	if err != nil && l.err == nil {
		l.err = err
	}
	for _, e := range entries {
		for _, p := range prefixes {
			if !e.IsDir() && strings.HasPrefix(e.Name(), p) {
				l.add(filepath.Join(dir, e.Name()), name+"/"+e.Name())
				break
			}
		}
	}
}

// close moves the layer among the blobs.
func (l *layer) close(blobs string) (descriptor, error) {
	if err := l.tar.Close(); l.err == nil {
		l.err = err
	}
	st, err := l.file.Stat()
	if l.err == nil {
		l.err = err
	}
	if err := l.file.Close(); l.err == nil {
		l.err = err
	}
	if l.err != nil {
		return descriptor{}, l.err
	}
	if err := os.Chmod(l.file.Name(), 0o644); err != nil {
		return descriptor{}, err
	}
	d := descriptor{MediaType: typeLayer, Digest: "sha256:" + l.sum(), Size: st.Size()}
	return d, os.Rename(l.file.Name(), filepath.Join(blobs, l.sum()))
}
