package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image"
)

// part is one file of a bundle, as it stands in the tar.
type part struct {
	name   string
	size   int64
	mode   int64
	sha256 string // hex
}

// Export writes the bundle into one uncompressed tar, which Open, Verify and Import take: bundle.json, then the other files by their names,
// without times and owners. The same bundle always gives the same bytes. What does not belong to the bundle is left out.
//
// It writes file.part and renames it when all of it is there and on the disk. One that an interrupted Export left is read: what is whole and
// right in it stays, and the rest is written. Every file is verified while it is read; a file that is something else than a bundle is not replaced.
// Errors: ErrDamaged, ErrNotBundle (something else is in the way), others of the file system.
func Export(ctx context.Context, dir, file string, o CreateOptions) error {
	b, err := Open(dir)
	if err != nil {
		return err
	}
	if err := b.mayReplace(file); err != nil {
		return err
	}
	parts, err := b.parts()
	if err != nil {
		return err
	}
	e := &exporter{ctx: ctx, b: b, parts: parts, progress: o.Progress, state: Progress{Doing: "export"}}
	for _, p := range parts {
		e.state.Total += p.size
	}
	return e.write(file)
}

// mayReplace refuses a file that is there and is no bundle, or is this very one.
func (b *Bundle) mayReplace(file string) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return inTheWay(sentencef(ErrNotBundle, "%s is in the way: %v", file, errors.Unwrap(err)))
	}
	if own, err := os.Stat(b.Dir); err == nil && os.SameFile(own, info) {
		return hint.With(sentencef(ErrNotBundle, "%s is the bundle itself", file), "export it to another file")
	}
	if info.IsDir() {
		return inTheWay(sentencef(ErrNotBundle, "%s is not replaced: it is a directory", file))
	}
	if _, err := Open(file); errors.Is(err, ErrNotBundle) {
		return inTheWay(sentencef(ErrNotBundle, "%s is not replaced: it is no bundle", file))
	}
	return nil
}

// parts lists the files of the bundle in the order of the tar.
func (b *Bundle) parts() ([]part, error) {
	var parts []part
	for _, name := range []string{ManifestFile, LayoutDir + "/index.json", LayoutDir + "/oci-layout"} {
		raw, err := fs.ReadFile(b.fsys, name)
		if err != nil {
			return nil, sentencef(ErrDamaged, "bundle %s is damaged: %v", b.Dir, plainError(err))
		}
		parts = append(parts, part{name, int64(len(raw)), 0o644, hexSum(raw)})
	}
	for _, bin := range b.Manifest.Binaries {
		parts = append(parts, part{bin.Path, bin.Size, 0o755, bin.SHA256})
	}
	blobs, err := b.allBlobs()
	if err != nil {
		return nil, err
	}
	for _, blob := range blobs {
		sum := strings.TrimPrefix(blob.Digest, "sha256:")
		parts = append(parts, part{LayoutDir + "/blobs/sha256/" + sum, blob.Size, 0o644, sum})
	}
	slices.SortFunc(parts[1:], func(x, y part) int { return strings.Compare(x.name, y.name) })
	return parts, nil
}

// allBlobs lists the blobs of all images, each once, the indexes among them.
func (b *Bundle) allBlobs() ([]image.Blob, error) {
	var all []image.Blob
	seen := map[string]bool{}
	add := func(blobs ...image.Blob) {
		for _, blob := range blobs {
			if !seen[blob.Digest] {
				seen[blob.Digest] = true
				all = append(all, blob)
			}
		}
	}
	for _, i := range b.Manifest.Images {
		info, err := fs.Stat(b.fsys, LayoutDir+"/blobs/"+strings.Replace(i.Digest, ":", "/", 1))
		if err != nil {
			return nil, sentencef(ErrDamaged, "bundle %s is damaged: image %s: %v", b.Dir, i.Ref, plainError(err))
		}
		add(image.Blob{Digest: i.Digest, Size: info.Size()})
		for _, a := range i.Archs {
			blobs, err := b.blobs(i, a)
			if err != nil {
				return nil, sentencef(ErrDamaged, "bundle %s is damaged: image %s: %v", b.Dir, i.Ref, err)
			}
			add(blobs...)
		}
	}
	return all, nil
}

func hexSum(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// exporter writes one bundle.
type exporter struct {
	ctx      context.Context // of the one Export it lives for
	b        *Bundle
	parts    []part
	progress func(Progress)
	state    Progress
}

func (e *exporter) write(file string) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return e.explain(file, err)
	}
	f, err := os.OpenFile(file+".part", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return e.explain(file, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	taken, err := lock(f, file+".part")
	if err != nil {
		return e.explain(file, err)
	}
	if !taken {
		return fmt.Errorf("another run is writing %s", file)
	}
	done, at, err := e.kept(f)
	if err == nil {
		err = f.Truncate(at)
	}
	if err == nil {
		_, err = f.Seek(at, io.SeekStart)
	}
	if err != nil {
		return err
	}
	if err := e.rest(f, e.parts[done:]); err != nil {
		return e.explain(file, err)
	}
	if err := f.Sync(); err != nil {
		return e.explain(file, err)
	}
	return os.Rename(file+".part", file)
}

// explain says what a disk without room means for the run.
func (e *exporter) explain(file string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return hint.With(fmt.Errorf("%s: no room for the bundle's %d bytes; %s.part has its beginning", file, e.state.Total, file), "make room there, and run it again: it goes on from there")
	}
	return onDisk(file, err)
}

// kept reads what an interrupted run left, and tells how many parts of it are whole and right, and where they end.
func (e *exporter) kept(f *os.File) (done int, at int64, err error) {
	for _, p := range e.parts {
		header, err := p.header()
		if err != nil {
			return 0, 0, err
		}
		size := int64(len(header)) + padded(p.size)
		r := io.NewSectionReader(f, at, size)
		there := make([]byte, len(header))
		if _, err := io.ReadFull(r, there); err != nil || !bytes.Equal(there, header) {
			break
		}
		sum := sha256.New()
		if _, err := io.CopyN(sum, image.ReadContext(e.ctx, r), p.size); err != nil || hex.EncodeToString(sum.Sum(nil)) != p.sha256 {
			break
		}
		if padding, err := io.ReadAll(r); err != nil || int64(len(padding)) != padded(p.size)-p.size || len(bytes.Trim(padding, "\x00")) > 0 {
			break
		}
		done, at = done+1, at+size
		e.wrote(int(p.size))
	}
	return done, at, e.ctx.Err()
}

const tarBlock = 512

func padded(size int64) int64 { return (size + tarBlock - 1) / tarBlock * tarBlock }

// header is the part's header as it stands in the tar.
func (p part) header() ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(p.tar())
	return b.Bytes(), err
}

func (p part) tar() *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: p.name, Size: p.size, Mode: p.mode, ModTime: time.Unix(0, 0), Format: tar.FormatGNU}
}

// rest writes parts and the tar's end.
func (e *exporter) rest(w io.Writer, parts []part) error {
	t := tar.NewWriter(w)
	for _, p := range parts {
		if err := t.WriteHeader(p.tar()); err != nil {
			return err
		}
		if err := e.b.copyPart(e.ctx, t, p, e.wrote); err != nil {
			return err
		}
	}
	return t.Close()
}

// copyPart writes a file of the bundle, and verifies it while it is read.
func (b *Bundle) copyPart(ctx context.Context, w io.Writer, p part, wrote func(int)) error {
	f, err := b.fsys.Open(p.name)
	if err != nil {
		return sentencef(ErrDamaged, "bundle %s is damaged: %v", b.Dir, plainError(err))
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum, counter(wrote)), io.LimitReader(image.ReadContext(ctx, f), p.size))
	if err != nil {
		return err
	}
	if n != p.size || hex.EncodeToString(sum.Sum(nil)) != p.sha256 {
		return sentencef(ErrDamaged, "bundle %s is damaged: %s has another content than when the bundle was made", b.Dir, p.name)
	}
	return nil
}

func (e *exporter) wrote(n int) {
	e.state.Bytes += int64(n)
	if e.progress != nil {
		e.progress(e.state)
	}
}
