package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// record is what a bundle was made of; its name is the key of the set.
type record struct {
	Kubernetes string   `json:"kubernetes"`
	Manifest   string   `json:"manifest"` // sha256 of bundle.json
	Files      []string `json:"files"`    // sha256 of what was fetched and is not in the bundle itself: archives
}

// key identifies a set with every sum and digest decided; "" = some are not.
func (f *fetcher) key(set catalogue.Set) (string, error) {
	type part struct{ Component, Name, Version, Digest, Arch, Programs string }
	parts := []part{}
	for _, file := range set.Files {
		sum, err := f.known(file)
		if err != nil || sum == "" {
			return "", err
		}
		programs, err := json.Marshal([]any{file.Programs, file.AllPrograms})
		if err != nil {
			return "", err
		}
		parts = append(parts, part{file.Component, file.Name, file.Version, sum, string(file.Arch), string(programs)})
	}
	for _, i := range set.Images {
		digest, _, err := f.wanted(i)
		if err != nil || digest == "" {
			return "", err
		}
		parts = append(parts, part{Component: i.Component, Name: i.Ref, Digest: digest})
	}
	for _, p := range set.Programs {
		for _, a := range sorted(p.Files) {
			sum, _, err := f.program(context.Background(), p.Files[a])
			if err != nil {
				return "", err
			}
			parts = append(parts, part{Component: p.Component, Name: p.Ref, Digest: sum, Arch: string(a)})
		}
	}
	raw, err := json.Marshal(map[string]any{"kubernetes": set.Kubernetes, "archs": set.Archs, "parts": parts, "form": 1})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])[:32], nil
}

// program is a program of hybridctl's own: its sum, and where it lies.
func (f *fetcher) program(ctx context.Context, name string) (sum, path string, err error) {
	path, err = f.o.Program(name)
	if err != nil {
		return "", "", err
	}
	sum, _, err = digestOf(ctx, path)
	if err != nil {
		return "", "", noProgram(path, err)
	}
	return sum, path, nil
}

// ownPrograms looks for the programs of hybridctl's own of a set, at program, and reads none. Errors: ErrProgram.
func ownPrograms(set catalogue.Set, program func(name string) (string, error)) error {
	for _, p := range set.Programs {
		for _, a := range sorted(p.Files) {
			path, err := program(p.Files[a])
			if err == nil {
				_, err = os.Stat(path)
			}
			if err != nil {
				return noProgram(cmp.Or(path, p.Files[a]), err)
			}
		}
	}
	return nil
}

func noProgram(path string, err error) error {
	if why := errors.Unwrap(err); why != nil {
		err = why
	}
	return hint.With(failf(ErrProgram, "hybridctl's own program %s is not there: %v", path, err),
		"it belongs beside the hybridctl executable; unpack the whole release there, or run make build")
}

func besideExecutable(name string) (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", failf(ErrInput, "where hybridctl's own programs lie is not known: %v", err)
	}
	return filepath.Join(filepath.Dir(self), name), nil
}

func (f *fetcher) dir(key string) string {
	if f.o.Dir != "" {
		return f.o.Dir
	}
	return f.cache.path("bundles", key)
}

// complete returns a bundle of the set that is there already, and whole: every file's size and time are looked at, and, with read, those
// that were written to since are read.
func (f *fetcher) complete(ctx context.Context, set catalogue.Set, read bool) (dir string, ok bool, err error) {
	key, err := f.key(set)
	if err != nil || key == "" {
		return "", false, err
	}
	dir = f.dir(key)
	var r record
	raw, err := os.ReadFile(f.cache.path("records", key+".json"))
	if err != nil || json.Unmarshal(raw, &r) != nil {
		return "", false, nil
	}
	manifest, _, err := digestOf(ctx, filepath.Join(dir, bundle.ManifestFile))
	if err != nil || manifest != r.Manifest {
		return "", false, nil
	}
	b, err := bundle.Open(dir)
	if err != nil {
		return "", false, nil
	}
	if !read {
		return dir, true, nil
	}
	whole, err := f.untouched(ctx, b)
	if whole && err == nil {
		now := f.o.Now()
		_ = os.Chtimes(f.cache.path("records", key+".json"), now, now) // GC asks when it was used last; a cache that only reads has no GC
	}
	return dir, whole && err == nil, err
}

// untouched looks at every file of a bundle that was made here.
func (f *fetcher) untouched(ctx context.Context, b *bundle.Bundle) (bool, error) {
	files := map[string]string{}
	for _, bin := range b.Manifest.Binaries {
		files[filepath.Join(b.Dir, filepath.FromSlash(bin.Path))] = bin.SHA256
	}
	dir := filepath.Join(b.Dir, bundle.LayoutDir, "blobs", "sha256")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, nil
	}
	for _, e := range entries {
		files[filepath.Join(dir, e.Name())] = e.Name()
	}
	for path, want := range files {
		info, err := os.Stat(path)
		if err != nil {
			return false, nil
		}
		if isVerified(info.ModTime()) {
			continue
		}
		sum, _, err := digestOf(ctx, path)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil || sum != want {
			if !f.damaged {
				f.note("", "the bundle "+b.Dir+" was damaged, and is made again")
			}
			f.damaged = true
			return false, nil
		}
		if err := stamp(path, info.ModTime()); err != nil {
			continue // another user's: it is read again the next time
		}
	}
	return true, nil
}

func (f *fetcher) remember(key, dir string, r record) error {
	manifest, err := os.ReadFile(filepath.Join(dir, bundle.ManifestFile))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(manifest)
	r.Manifest = hex.EncodeToString(sum[:])
	slices.Sort(r.Files)
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(f.cache.path("records", key+".json"), append(raw, '\n'), nil)
}

func sorted(files map[platform.Arch]string) []platform.Arch {
	var archs []platform.Arch
	for a := range files {
		archs = append(archs, a)
	}
	slices.Sort(archs)
	return archs
}
