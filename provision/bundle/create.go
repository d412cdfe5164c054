package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hybridctl/hybridctl/provision/image"
)

// CreateOptions are what a caller of Create may wish. The zero value works.
type CreateOptions struct {
	Progress func(Progress) // comes often, from the calling goroutine
	Remote   Remote         // fetches what the source names by its address; nil = nothing is fetched
}

// Progress tells how far Create is.
type Progress struct {
	Doing string // "copy", then "verify"; "export"; "import", then "verify"
	Bytes int64
	Total int64 // 0 while it is not known
}

// Create makes the bundle dir from bundle.yaml. It checks all inputs first and reports everything that is wrong at once; then it
// builds beside dir, verifies the result like Verify, and puts it in place by renaming. So dir is either what it was or the
// whole new bundle, and what Create made is what Verify accepts. An existing bundle is replaced, any other directory is not.
// Errors: ErrSource, ErrNotBundle (dir is something else), others of the file system.
func Create(ctx context.Context, sourceFile, dir string, o CreateOptions) (b *Bundle, err error) {
	s, p, err := loadSource(sourceFile)
	if err != nil {
		return nil, err
	}
	archs := s.archs(&problems{})
	if err := p.err(); err != nil && s.hasRemote() { // nothing is fetched for a source that is wrong
		return nil, err
	}
	if err := s.localize(ctx, o.Remote, archs); err != nil {
		return nil, err
	}
	base, err := filepath.Abs(filepath.Dir(sourceFile))
	if err != nil {
		return nil, err
	}
	g := &gatherer{dir: base, archs: archs, problems: p, sources: map[string]*image.Source{}, broken: map[string]bool{}, refused: map[Need]bool{}}
	defer func() { err = errors.Join(err, g.close()) }()
	g.gather(ctx, s)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	beside, err := buildAside(dir)
	if err != nil {
		return nil, onDisk(dir, err)
	}
	defer func() { err = onDisk(dir, errors.Join(err, beside.discard())) }()
	m := &maker{ctx: ctx, dir: beside.path, progress: o.Progress, copied: map[string]Binary{}}
	if err := m.make(g, s.KubernetesVersion); err != nil {
		return nil, err
	}
	if err := m.verify(sourceFile); err != nil {
		return nil, err
	}
	if err := beside.commit(); err != nil {
		return nil, err
	}
	return Open(dir)
}

// maker writes a bundle into an empty directory.
type maker struct {
	ctx      context.Context // of the one Create it lives for
	dir      string
	progress func(Progress)
	state    Progress
	copied   map[string]Binary // by the file they were copied from
}

func (m *maker) make(g *gatherer, version string) error {
	total, err := g.size()
	if err != nil {
		return err
	}
	m.state = Progress{Doing: "copy", Total: total}
	manifest := Manifest{APIVersion: APIVersion, Kind: Kind, KubernetesVersion: version}
	for _, b := range g.binaries {
		bin, err := m.copyBinary(b)
		if err != nil {
			return fmt.Errorf("copy %s: %w", b.from, err)
		}
		manifest.Binaries = append(manifest.Binaries, bin)
	}
	layout, err := image.CreateLayout(filepath.Join(m.dir, LayoutDir))
	if err != nil {
		return err
	}
	layout.Wrote = m.wrote
	for _, f := range g.images {
		img, err := m.addImage(layout, f)
		if err != nil {
			return fmt.Errorf("image %s: %w", f.ref, err)
		}
		manifest.Images = append(manifest.Images, img)
	}
	if err := layout.Save(); err != nil {
		return err
	}
	return m.save(manifest)
}

// copyBinary copies rather than links: a later build that writes into the same inode must not change the bundle.
func (m *maker) copyBinary(b foundBinary) (Binary, error) {
	to := filepath.Join(m.dir, filepath.FromSlash(b.Path))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return Binary{}, err
	}
	if same, ok := m.copied[b.from]; ok && os.Link(filepath.Join(m.dir, filepath.FromSlash(same.Path)), to) == nil {
		b.SHA256, b.Size = same.SHA256, same.Size // one program under several names is stored once
		m.wrote(int(b.Size))
		return b.Binary, nil
	}
	from, err := os.Open(b.from)
	if err != nil {
		return Binary{}, err
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return Binary{}, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum, counter(m.wrote)), image.ReadContext(m.ctx, from))
	if err != nil {
		return Binary{}, err
	}
	b.SHA256, b.Size = hex.EncodeToString(sum.Sum(nil)), n
	m.copied[b.from] = b.Binary
	return b.Binary, errors.Join(f.Chmod(0o755), f.Close())
}

func (m *maker) addImage(l *image.Layout, f foundImage) (Image, error) {
	added, err := l.Add(m.ctx, f.ref, f.images)
	if err != nil {
		return Image{}, err
	}
	return Image{Component: f.component, Ref: f.ref, Digest: added.Digest, Archs: sortedArchs(added.Manifests), Manifests: added.Manifests}, nil
}

func (m *maker) verify(sourceFile string) error {
	findings, err := m.look()
	if err != nil || len(findings) == 0 {
		return err
	}
	for i, f := range findings {
		findings[i] = sourceFile + ": " + f
	}
	return sentence{strings.Join(findings, "\n"), ErrSource}
}

// look reads what was made, and returns a line for everything that is wrong with it.
func (m *maker) look() ([]string, error) {
	m.state = Progress{Doing: "verify", Total: m.state.Bytes}
	findings, err := verify(m.ctx, m.dir, m.wrote)
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	return lines, err
}

func (m *maker) wrote(n int) {
	m.state.Bytes += int64(n)
	if m.progress != nil {
		m.progress(m.state)
	}
}

// size is how many bytes will be copied; manifests of indexes, a few hundred bytes each, are not counted.
func (g *gatherer) size() (int64, error) {
	var sum int64
	for _, b := range g.binaries {
		sum += b.Size
	}
	seen := map[string]bool{}
	for _, f := range g.images {
		for _, img := range f.images {
			blobs, err := img.Blobs()
			if err != nil {
				return 0, err
			}
			for _, blob := range blobs {
				if !seen[blob.Digest] {
					seen[blob.Digest] = true
					sum += blob.Size
				}
			}
		}
	}
	return sum, nil
}

// counter is a writer that only counts.
type counter func(n int)

func (c counter) Write(p []byte) (int, error) {
	c(len(p))
	return len(p), nil
}
