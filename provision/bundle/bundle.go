package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Bundle is an open bundle. It is safe for concurrent use.
type Bundle struct {
	Manifest Manifest
	Dir      string // where it lies: a directory, or the one file of Export

	fsys   fs.FS
	layout *image.Layout
}

// Open reads bundle.json and looks whether every file it leads to is there with the right size; Verify reads them all. The bundle is a
// directory, or one file that Export wrote, which is read in place.
// Errors: ErrNotBundle, ErrDamaged.
func Open(dir string) (*Bundle, error) {
	fsys, err := files(dir)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(fsys, dir)
	if err != nil {
		return nil, err
	}
	layout, err := openLayout(fsys)
	if err != nil {
		return nil, sentencef(ErrDamaged, "bundle %s is damaged: %s: %v", dir, LayoutDir, plainError(err))
	}
	b := &Bundle{Manifest: m, Dir: dir, fsys: fsys, layout: layout}
	if problems := b.look(); len(problems) > 0 {
		return nil, sentencef(ErrDamaged, "bundle %s is damaged: %s", dir, some(problems))
	}
	return b, nil
}

func openLayout(fsys fs.FS) (*image.Layout, error) {
	sub, err := fs.Sub(fsys, LayoutDir)
	if err != nil {
		return nil, err
	}
	return image.OpenLayout(sub)
}

// look finds files that are missing or have the wrong size.
func (b *Bundle) look() []string {
	var problems []string
	for _, bin := range b.Manifest.Binaries {
		info, err := fs.Stat(b.fsys, bin.Path)
		switch {
		case err != nil:
			problems = append(problems, bin.Path+" is missing")
		case info.Size() != bin.Size:
			problems = append(problems, fmt.Sprintf("%s has %d bytes, not %d", bin.Path, info.Size(), bin.Size))
		}
	}
	for _, i := range b.Manifest.Images {
		for _, a := range i.Archs {
			blobs, err := b.blobs(i, a)
			if err != nil {
				problems = append(problems, fmt.Sprintf("image %s for %s: %v", i.Ref, a, err))
			}
			for _, blob := range blobs {
				if err := b.layout.Check(blob); err != nil {
					problems = append(problems, fmt.Sprintf("image %s for %s: %v", i.Ref, a, err))
				}
			}
		}
	}
	return problems
}

// some joins the first few of a list that may be long.
func some(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, "; ")
	}
	return fmt.Sprintf("%s; and %d more (hybridctl bundle verify lists them all)", strings.Join(list[:most], "; "), len(list)-most)
}

func (b *Bundle) blobs(i Image, a platform.Arch) ([]image.Blob, error) {
	img, err := b.layout.Image(i.Manifests[a])
	if err != nil {
		return nil, err
	}
	return img.Blobs()
}

// Archs lists the architectures that the bundle holds anything for; Missing reports whether it is enough.
func (b *Bundle) Archs() []platform.Arch {
	var archs []platform.Arch
	for _, bin := range b.Manifest.Binaries {
		archs = append(archs, bin.Arch)
	}
	for _, i := range b.Manifest.Images {
		archs = append(archs, i.Archs...)
	}
	slices.Sort(archs)
	return slices.Compact(archs)
}

// Binaries returns the binaries of one architecture and of those components (of all when none is named), in the manifest's order.
func (b *Bundle) Binaries(arch platform.Arch, components ...string) []Binary {
	var found []Binary
	for _, bin := range b.Manifest.Binaries {
		if bin.Arch == arch && (len(components) == 0 || slices.Contains(components, bin.Component)) {
			found = append(found, bin)
		}
	}
	return found
}

// OpenBinary opens a binary's file. What is read is not verified here: whoever sends it compares sha256 at the far end.
func (b *Bundle) OpenBinary(bin Binary) (io.ReadSeekCloser, error) {
	f, err := openSeeker(b.fsys, bin.Path)
	if err != nil {
		return nil, sentencef(ErrDamaged, "bundle %s is damaged: %v", b.Dir, plainError(err))
	}
	return f, nil
}

// openSeeker opens a file of a bundle; those of directories and of tars can seek.
func openSeeker(fsys fs.FS, name string) (io.ReadSeekCloser, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	seeker, ok := f.(io.ReadSeekCloser)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is a directory", name), f.Close())
	}
	return seeker, nil
}

// Image returns the image of a component.
func (b *Bundle) Image(component string) (Image, bool) {
	return b.image(func(i Image) bool { return component != "" && i.Component == component })
}

// ImageByRef returns the image of that full name.
func (b *Bundle) ImageByRef(ref string) (Image, bool) {
	return b.image(func(i Image) bool { return i.Ref == ref })
}

func (b *Bundle) image(is func(Image) bool) (Image, bool) {
	n := slices.IndexFunc(b.Manifest.Images, is)
	if n < 0 {
		return Image{}, false
	}
	return b.Manifest.Images[n], true
}
