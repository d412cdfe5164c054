package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// The annotations that name an entry of index.json.
const (
	// NameAnnotation is the container runtime's: the full name under which it stores an imported image.
	NameAnnotation = "io.containerd.image.name"
	// RefAnnotation is the OCI layout's own: a full name or only a tag.
	RefAnnotation = "org.opencontainers.image.ref.name"
)

// Source is a file or directory with images: an OCI layout, an OCI archive or a docker archive.
type Source struct {
	path    string
	entries []entry
	close   func() error
}

// entry is one line of the source's table of contents.
type entry struct {
	hash   string   // the digest of its document; "" = not known before it is read
	names  []string // none, or the best one first
	images func(context.Context) ([]Image, error)
	set    func(context.Context) (document, origin, error) // the same, as it is: not held against anything yet
}

// Open opens a directory (OCI layout) or a tar file (OCI archive or docker archive, told apart by what is in it).
// The error is for the user and names the path.
func Open(path string) (*Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	if info.IsDir() {
		entries, err := layoutEntries(dirFile(path))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not an OCI image layout: it lacks oci-layout or index.json", path)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return &Source{path, entries, func() error { return nil }}, nil
	}
	if !info.Mode().IsRegular() { // a pipe is no archive: what lies behind is looked for first
		return nil, fmt.Errorf("%s is neither a folder nor a regular file", path)
	}
	a, err := openArchive(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	entries, err := a.entries()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(err, a.Close()))
	}
	return &Source{path, entries, a.Close}, nil
}

// Close ends the use of the source and of every Image that came from it.
func (s *Source) Close() error { return s.close() }

// Find returns the image of that name for each supported architecture the source holds it for. With orOnly, a source that holds
// a single image gives that one, whatever it is called.
func (s *Source) Find(ctx context.Context, name string, orOnly bool) (map[platform.Arch]Image, error) {
	var found []entry
	names := map[string]bool{}
	for _, e := range s.entries {
		if slices.ContainsFunc(e.names, func(n string) bool { return sameName(n, name) }) {
			found = append(found, e)
		}
		names[e.best()] = true
	}
	if len(found) == 0 && orOnly && len(names) == 1 {
		found = s.entries
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s holds no image %s%s", s.path, name, listed(names))
	}
	images := map[platform.Arch]Image{}
	for _, e := range found {
		some, err := e.images(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.path, err)
		}
		for _, i := range some {
			if other, ok := images[i.Arch]; ok && other.Digest != i.Digest {
				return nil, fmt.Errorf("%s holds two images %s for %s: %s and %s", s.path, name, i.Arch, other.Digest, i.Digest)
			}
			images[i.Arch] = i
		}
	}
	return images, nil
}

func (e entry) best() string {
	if len(e.names) == 0 {
		return ""
	}
	return e.names[0]
}

func listed(names map[string]bool) string {
	var list []string
	for n := range names {
		if n != "" {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return ""
	}
	slices.Sort(list)
	return " (it holds: " + strings.Join(list, ", ") + ")"
}

// sameName compares names as people mean them: nginx:1 is docker.io/library/nginx:1.
func sameName(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := name.NewTag(a)
	y, errY := name.NewTag(b)
	return errX == nil && errY == nil && x.Name() == y.Name()
}

// files opens a file of a layout by its slash-separated name.
type files func(name string) (io.ReadCloser, error)

func dirFile(dir string) files {
	return func(name string) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, filepath.FromSlash(name))) }
}

// blob opens blobs where a layout has them.
func (f files) blob(h v1.Hash) (io.ReadCloser, error) {
	r, err := f("blobs/" + h.Algorithm + "/" + h.Hex)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absentBlob{h}
	}
	return r, err
}

// absentBlob says which blob is missing; it is fs.ErrNotExist.
type absentBlob struct{ hash v1.Hash }

func (a absentBlob) Error() string        { return "blob " + a.hash.String() + " is missing" }
func (a absentBlob) Is(target error) bool { return target == fs.ErrNotExist }

func (f files) read(name string) ([]byte, error) {
	r, err := f(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxDocument))
}

// readLayout reads oci-layout and index.json.
func readLayout(f files) (*v1.IndexManifest, error) {
	if _, err := f.read("oci-layout"); err != nil {
		return nil, err
	}
	raw, err := f.read("index.json")
	if err != nil {
		return nil, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	return index, nil
}

func layoutEntries(f files) ([]entry, error) {
	index, err := readLayout(f)
	if err != nil {
		return nil, err
	}
	if len(index.Manifests) == 0 {
		return nil, errors.New("index.json lists no image")
	}
	var entries []entry
	for _, desc := range index.Manifests {
		e := entry{
			hash:   desc.Digest.String(),
			images: func(context.Context) ([]Image, error) { return resolve(f.blob, desc, 0) },
			set: func(ctx context.Context) (document, origin, error) {
				from := opener(f.blob)
				d, err := from.manifest(ctx, desc.Digest, desc.MediaType)
				return d, from, err
			},
		}
		for _, key := range []string{NameAnnotation, RefAnnotation} {
			if n := desc.Annotations[key]; n != "" {
				e.names = append(e.names, n)
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}
