package bundle

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Parts are what Compose makes a bundle of: files that someone fetched and keeps by their digests.
type Parts struct {
	KubernetesVersion string
	Binaries          []Binary // without Path, which Compose sets
	Images            []PartImage
	Programs          []PartProgram
	// File is where the file with a digest, "sha256:…", lies.
	File func(digest string) string
}

// PartImage is an image whose index is kept byte for byte; Blobs are all that the bundle is to hold of it, the index among them.
type PartImage struct {
	Image
	Blobs []string
}

// PartProgram is an image that is made of a static executable for each architecture.
type PartProgram struct {
	Component, Ref string
	Files          map[platform.Arch]string
}

// Compose makes the bundle dir of files that are there already: by hard links where that can be, else by copies. It builds beside dir,
// verifies the result like Verify, and puts it in place by renaming, as Create does.
// Errors: ErrSource (a part is not what it is taken for), ErrNotBundle (dir is something else), others of the file system.
func Compose(ctx context.Context, p Parts, dir string, o CreateOptions) (b *Bundle, err error) {
	beside, err := buildAside(dir)
	if err != nil {
		return nil, onDisk(dir, err)
	}
	defer func() { err = onDisk(dir, errors.Join(err, beside.discard())) }()
	m := &maker{ctx: ctx, dir: beside.path, progress: o.Progress}
	manifest := Manifest{APIVersion: APIVersion, Kind: Kind, KubernetesVersion: p.KubernetesVersion}
	if manifest.Binaries, err = m.place(p); err != nil {
		return nil, err
	}
	if manifest.Images, err = m.layout(p); err != nil {
		return nil, err
	}
	if err := manifest.check(); err != nil {
		return nil, sentencef(ErrSource, "no bundle can be made: %v", err)
	}
	if err := m.save(manifest); err != nil {
		return nil, err
	}
	if err := m.verify(dir); err != nil {
		return nil, err
	}
	if err := beside.commit(); err != nil {
		return nil, err
	}
	return Open(dir)
}

// place puts the binaries in their places.
func (m *maker) place(p Parts) ([]Binary, error) {
	var out []Binary
	for _, b := range p.Binaries {
		if !fileName.MatchString(b.Name) || !fileName.MatchString(b.Component) {
			return nil, sentencef(ErrSource, "the binary %q of the component %q has a name with other characters than letters, digits and . _ + -",
				b.Name, b.Component)
		}
		b.Path = binaryPath(b)
		to := filepath.Join(m.dir, filepath.FromSlash(b.Path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return nil, err
		}
		if err := image.Link(p.File("sha256:"+b.SHA256), to); err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func (m *maker) layout(p Parts) ([]Image, error) {
	layout, err := image.CreateLayout(filepath.Join(m.dir, LayoutDir))
	if err != nil {
		return nil, err
	}
	var out []Image
	for _, i := range p.Images {
		if err := layout.Take(i.Ref, i.Digest, i.Blobs, p.File); err != nil {
			return nil, err
		}
		out = append(out, i.Image)
	}
	for _, program := range p.Programs {
		found := foundImage{component: program.Component, ref: program.Ref}
		ref, err := image.ParseRef(program.Ref)
		if err != nil {
			return nil, sentencef(ErrSource, "%q is %v", program.Ref, err)
		}
		for _, a := range sortedArchs(program.Files) {
			img, err := image.FromProgram(a, path.Base(ref.Repository), program.Files[a])
			if err != nil {
				return nil, err
			}
			found.images = append(found.images, img)
		}
		img, err := m.addImage(layout, found)
		if err != nil {
			return nil, err
		}
		out = append(out, img)
	}
	return out, layout.Save()
}

func (m *maker) save(manifest Manifest) error {
	raw, err := manifest.encode()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.dir, ManifestFile), raw, 0o644)
}
