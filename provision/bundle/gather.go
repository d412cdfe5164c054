package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// gatherer looks at the files that bundle.yaml names, and makes the list of what is to be copied. Nothing is written.
type gatherer struct {
	dir      string
	archs    []platform.Arch
	problems *problems
	sources  map[string]*image.Source // open layouts and archives, by path
	broken   map[string]bool          // those that were reported as unreadable
	refused  map[Need]bool            // binaries that were reported; without a name: a directory that may hold any of the component's

	binaries []foundBinary
	images   []foundImage
}

// foundBinary is a file that will be a binary of the bundle; its digest is taken while it is copied.
type foundBinary struct {
	Binary
	from string
}

// foundImage is an image with its content for each architecture.
type foundImage struct {
	component, ref string
	images         []image.Image
}

// close ends the use of every image found.
func (g *gatherer) close() error {
	var errs []error
	for _, s := range g.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

func (g *gatherer) gather(ctx context.Context, s source) {
	for i, b := range s.Binaries {
		g.binary(b, fmt.Sprintf("binaries[%d]", i))
	}
	var lacks []Need
	for _, n := range neededBinaries {
		if !slices.ContainsFunc(g.binaries, func(b foundBinary) bool { return b.Component == n.Component && b.Name == n.Name }) && !g.refused[n] && !g.refused[Need{Component: n.Component}] {
			lacks = append(lacks, n)
		}
	}
	g.problems.lackBinaries(lacks)
	for i, img := range s.Images {
		g.image(ctx, img, fmt.Sprintf("images[%d]", i))
	}
}

func (g *gatherer) binary(b sourceBinary, field string) {
	for _, a := range sortedArchs(pathsByArch(g.dir, b.Files)) {
		at := pathsByArch(g.dir, b.Files)[a]
		g.file(Binary{Component: b.Component, Name: b.Name, Version: b.Version, Arch: a}, at.path, field+".files."+at.key)
	}
	g.directories(b, field+".directories")
}

// directories takes every executable of each architecture's directory; the names must be the same for all architectures.
func (g *gatherer) directories(b sourceBinary, field string) {
	dirs := pathsByArch(g.dir, b.Directories)
	names := map[string][]platform.Arch{}
	for _, a := range sortedArchs(dirs) {
		found, err := executables(dirs[a].path)
		if err != nil {
			g.refused[Need{Component: b.Component}] = true
			g.problems.unreadable(field+"."+dirs[a].key, err)
			return
		}
		for _, name := range found {
			names[name] = append(names[name], a)
			bin := Binary{Component: b.Component, Name: name, Version: b.Version, Arch: a}
			g.file(bin, filepath.Join(dirs[a].path, name), field+"."+dirs[a].key)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, a := range sortedArchs(dirs) {
			if !slices.Contains(names[name], a) {
				g.problems.add(field+"."+dirs[a].key, "%s has no %s, which the directory for %s has", dirs[a].path, name, names[name][0])
			}
		}
	}
}

// executables lists the regular files with an x bit, through symbolic links.
func executables(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, plainError(err)
	}
	var names []string
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, plainError(err)
		}
		if info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s holds no executable file", dir)
	}
	return names, nil
}

// file checks one executable and puts it on the list.
func (g *gatherer) file(b Binary, from, field string) {
	f, err := os.Open(from)
	if err != nil {
		g.refused[Need{b.Component, b.Name}] = true
		g.problems.unreadable(field, plainError(err))
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err == nil {
		err = checkELF(f, b.Arch)
	}
	if err == nil && !fileName.MatchString(b.Name) {
		err = errors.New("has a name with other characters than letters, digits and . _ + -")
	}
	if err != nil {
		g.refused[Need{b.Component, b.Name}] = true
		g.problems.add(field, "%s %v", from, err)
		return
	}
	b.Path, b.Size = binaryPath(b), info.Size()
	if slices.ContainsFunc(g.binaries, func(other foundBinary) bool { return other.Path == b.Path }) {
		g.problems.add(field, "the binary %s of the component %s for %s stands twice", b.Name, b.Component, b.Arch)
		return
	}
	g.binaries = append(g.binaries, foundBinary{b, from})
}

// checkELF says in a sentence's end why a file is not an executable of that architecture.
func checkELF(r io.Reader, a platform.Arch) error {
	m, err := image.Machine(r)
	if errors.Is(err, image.ErrNotExecutable) {
		return errors.New("is not an ELF executable")
	}
	if err != nil {
		return err
	}
	return image.CheckMachine(m, a)
}

func (g *gatherer) image(ctx context.Context, i sourceImage, field string) {
	found := foundImage{component: i.Component, ref: i.Ref}
	if i.Path != "" {
		path := join(g.dir, i.Path)
		images, ok := g.find(ctx, i, path, field+".path")
		for _, a := range g.archs {
			if img, has := images[a]; has {
				found.images = append(found.images, img)
			} else if ok {
				g.problems.add(field+".path", "%s holds the image for %s, not for %s", path, archList(images), a)
			}
		}
	}
	paths := pathsByArch(g.dir, i.Paths)
	for _, a := range sortedArchs(paths) {
		at := field + ".paths." + paths[a].key
		images, ok := g.find(ctx, i, paths[a].path, at)
		if img, has := images[a]; has {
			found.images = append(found.images, img)
		} else if ok {
			g.problems.add(at, "%s holds the image for %s, not for %s", paths[a].path, archList(images), a)
		}
	}
	programs := pathsByArch(g.dir, i.Programs)
	for _, a := range sortedArchs(programs) {
		if img, ok := g.program(i, a, programs[a].path, field+".programs."+programs[a].key); ok {
			found.images = append(found.images, img)
		}
	}
	g.images = append(g.images, found)
}

// program makes an image of an executable, which is called as the image is.
func (g *gatherer) program(i sourceImage, a platform.Arch, file, field string) (image.Image, bool) {
	f, err := os.Open(file)
	if err != nil {
		g.problems.unreadable(field, plainError(err))
		return image.Image{}, false
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		g.problems.add(field, "%s is not a regular file", file)
		return image.Image{}, false
	}
	if err := checkELF(f, a); err != nil {
		g.problems.add(field, "%s %v", file, err)
		return image.Image{}, false
	}
	ref, err := image.ParseRef(i.Ref)
	if err != nil {
		return image.Image{}, false // said already
	}
	img, err := image.FromProgram(a, path.Base(ref.Repository), file)
	if err != nil {
		g.problems.add(field, "%v", plainError(err))
	}
	return img, err == nil
}

func (g *gatherer) find(ctx context.Context, i sourceImage, path, field string) (map[platform.Arch]image.Image, bool) {
	s := g.sources[path]
	if s == nil {
		if g.broken[path] {
			return nil, false // said once
		}
		var err error
		if s, err = image.Open(path); err != nil {
			g.broken[path] = true
			g.problems.unreadable(field, err)
			return nil, false
		}
		g.sources[path] = s
	}
	name := i.Name
	if name == "" {
		name = i.Ref
	}
	images, err := s.Find(ctx, name, i.Name == "")
	if err != nil {
		g.problems.add(field, "%v", err)
		return nil, false
	}
	return images, true
}

func archList(images map[platform.Arch]image.Image) string {
	if len(images) == 0 {
		return "no supported architecture"
	}
	var names []string
	for _, a := range sortedArchs(images) {
		names = append(names, a.String())
	}
	return strings.Join(names, " and ")
}

func sortedArchs[V any](m map[platform.Arch]V) []platform.Arch { return slices.Sorted(maps.Keys(m)) }

// plainError shortens "open /a/b: no such file or directory" to what a user reads.
func plainError(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Path, pe.Err)
	}
	return err
}
