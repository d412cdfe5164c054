package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// What the layers of one image may unpack to: this much, and as often what they are packed. An image of ten gigabytes passes, and ten
// megabytes of nothing do not.
var freely int64 = 1 << 30

const (
	expansion = 8
	maxWindow = 128 << 20 // memory that a zstd frame may ask for: what `zstd --ultra -22` writes
)

// packed is a layer as it is stored.
type packed struct {
	digest string
	size   int64 // -1 = not known
	open   func() (io.ReadCloser, error)
}

// layer is what was read of one.
type layer struct {
	diffID  string
	changes []change // nil when there are too many to keep
}

// maxKept is how many changes of a layer are kept for other images with the same layer.
const maxKept = 20_000

// budget is what reading one image has cost so far.
type budget struct{ packed, unpacked int64 }

var errBomb = errors.New("it unpacks to out of all proportion to its size: a bomb")

func (b *budget) over() error {
	if b.unpacked > freely+expansion*b.packed {
		return errBomb
	}
	return nil
}

// read streams a layer once, hands on its changes, and verifies its digest.
func (p packed) read(ctx context.Context, b *budget, see func(change) error) (layer, error) {
	r, err := p.open()
	if err != nil {
		return layer{}, err
	}
	defer r.Close()
	stored := &measured{r: ReadContext(ctx, r), sum: sha256.New(), count: &b.packed}
	plain, done, err := unpack(stored)
	if err != nil {
		return layer{}, err
	}
	defer done()
	content := &measured{r: plain, sum: sha256.New(), count: &b.unpacked, over: b.over}
	out := layer{changes: []change{}}
	err = readTar(tar.NewReader(content), func(c change) error {
		if out.changes != nil {
			if out.changes = append(out.changes, c); len(out.changes) > maxKept {
				out.changes = nil
			}
		}
		return see(c)
	})
	if err != nil {
		return layer{}, err
	}
	for _, rest := range []io.Reader{content, stored} { // padding after the end counts for the digests
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return layer{}, err
		}
	}
	if p.size >= 0 && stored.n != p.size {
		return layer{}, fmt.Errorf("it has %d bytes, not %d", stored.n, p.size)
	}
	if stored.digest() != p.digest {
		return layer{}, errors.New("it is damaged: its content has another digest")
	}
	out.diffID = content.digest()
	return out, nil
}

// unpack tells by the first bytes how a layer is packed, as container runtimes do.
func unpack(r io.Reader) (plain io.Reader, done func(), err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, _ := in.Peek(4) // a shorter one is no archive either, and the tar reader says so
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		return z, func() {}, err
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return in, func() {}, nil
}

// measured is a reader that counts and sums up what passes.
type measured struct {
	r     io.Reader
	sum   hash.Hash
	n     int64
	count *int64       // of all layers together
	over  func() error // whether that is too much; nil = it never is
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.sum.Write(p[:n])
	m.n += int64(n)
	*m.count += int64(n)
	if m.over != nil && m.over() != nil {
		return n, m.over()
	}
	return n, err
}

func (m *measured) digest() string { return "sha256:" + hex.EncodeToString(m.sum.Sum(nil)) }

func readTar(t *tar.Reader, see func(change) error) error {
	f := newForward(bytes.NewReader(nil))
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(h.Name) > maxPath || len(h.Linkname) > maxPath {
			return fmt.Errorf("it has a path of %d bytes, more than any system takes", max(len(h.Name), len(h.Linkname)))
		}
		c := change{name: clean(h.Name)}
		dir, base := path.Split(c.name)
		switch {
		case base == ".wh..wh..opq":
			c.how, c.name = empties, path.Clean("/" + dir)[1:]
		case strings.HasPrefix(base, ".wh."):
			c.how, c.name = removes, dir+base[len(".wh."):]
		default:
			c.file.kind = isPlain
			switch h.Typeflag {
			case tar.TypeDir:
				c.file.kind = isDir
			case tar.TypeSymlink:
				c.file.kind, c.file.text = isLink, h.Linkname
			case tar.TypeLink:
				c.hardlink = clean(h.Linkname)
			case tar.TypeReg, tar.TypeGNUSparse:
				f.reset(t)
				c.file = fileOf(f, h.Mode&0o111 != 0)
				if f.err != nil {
					return f.err
				}
			}
		}
		if err := see(c); err != nil {
			return err
		}
	}
}

// clean is a path within the image, whichever way out of it the name points.
func clean(name string) string { return path.Clean("/" + name)[1:] }

// maxShebang is what the kernel reads of a script's first line (BINPRM_BUF_SIZE in include/uapi/linux/binfmts.h).
const maxShebang = 256

// fileOf looks at a regular file.
func fileOf(f *forward, runnable bool) node {
	n := node{kind: isPlain, runnable: runnable}
	head := f.head
	switch b, err := readBinary(f); {
	case err == nil:
		n.kind, n.binary = isELF, &b
	case !runnable:
	case bytes.HasPrefix(head, []byte("#!")):
		line, _, _ := bytes.Cut(head[2:min(len(head), maxShebang)], []byte("\n"))
		n.kind, n.text = isScript, string(line)
	case len(head) == 0:
		n.kind = isEmpty
	case isWords(head):
		n.kind = isText
	}
	return n
}

// isWords reports whether the head of a file is text.
func isWords(head []byte) bool {
	if len(head) > maxShebang {
		head = head[:maxShebang]
		for i := 0; i < utf8.UTFMax && !utf8.Valid(head); i++ {
			head = head[:len(head)-1] // a character may have been cut
		}
	}
	return utf8.Valid(head) && bytes.IndexByte(head, 0) < 0
}
