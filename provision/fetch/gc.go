package fetch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/filelock"
	"github.com/hybridctl/hybridctl/provision/hint"
)

// Freed is one thing that GC deleted, or would delete.
type Freed struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"` // that the disk gets back
	Why   string `json:"why"`
}

// GCOptions say what goes.
type GCOptions struct {
	Cache  string // as Options.Cache
	DryRun bool
	// Unused deletes bundles that no run has used for so long; 0 = none.
	Unused time.Duration
	Now    func() time.Time // nil = the clock
}

// GC deletes what no bundle of the cache uses: files, beginnings of files, what came in their place, and bundles that cannot be used. A cache
// that is not there has nothing.
// Errors: ErrInput (another run is using the cache, or a bundle of it is of another hybridctl), ErrDisk, or others of the file system.
func GC(ctx context.Context, o GCOptions) ([]Freed, error) {
	dir, err := cacheDir(o.Cache)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	g := &collector{cache: cache{dir}, o: o, used: map[string]bool{}}
	f, err := os.OpenFile(g.cache.path("use"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, cmp.Or(writing("the cache", dir, progress{0, -1}, err), err)
	}
	defer f.Close()
	taken, err := filelock.Try(f, filelock.Exclusive)
	if err != nil {
		return nil, err
	}
	if !taken {
		return nil, hint.With(failf(ErrInput, "another run is using the cache %s", dir), "run it again when that is done")
	}
	err = g.bundles(ctx)
	if err == nil { // else it is not known what is used
		err = g.files(ctx)
	}
	if err != nil {
		if sentence := writing("the cache", dir, progress{0, -1}, err); sentence != nil {
			return g.freed, sentence
		}
		return g.freed, err
	}
	return g.freed, ctx.Err()
}

type collector struct {
	cache cache
	o     GCOptions
	used  map[string]bool // sums, in hex
	freed []Freed
}

// bundles lists what they use, and deletes those that are of no use.
func (g *collector) bundles(ctx context.Context) error {
	entries, err := os.ReadDir(g.cache.path("bundles"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if strings.HasPrefix(e.Name(), ".") {
			continue // one that is being made
		}
		path, record := g.cache.path("bundles", e.Name()), g.cache.path("records", e.Name()+".json")
		b, why, err := g.look(path, record)
		if err != nil {
			return failf(ErrInput, "%v: it is left alone, and what it uses is not known", err)
		}
		if why != "" {
			if err := g.free(path, why); err != nil {
				return err
			}
			continue
		}
		if err := g.uses(b, record); err != nil {
			return err
		}
	}
	return nil
}

// look opens a bundle, or says why it goes. The error is of one that could not be looked at: that it is of no use is not known.
func (g *collector) look(path, record string) (b *bundle.Bundle, why string, err error) {
	b, err = bundle.Open(path)
	if err != nil {
		_, there := os.Stat(filepath.Join(path, bundle.ManifestFile))
		if errors.Is(err, bundle.ErrNotBundle) && there == nil { // a newer hybridctl's, or another user's
			return nil, "", err
		}
		if err := readable(path); err != nil {
			return nil, "", err
		}
		return nil, "is no whole bundle", nil
	}
	if g.o.Unused > 0 {
		used, err := lastUse(path, record)
		if err != nil {
			return nil, "", fmt.Errorf("when the bundle %s was used is not known: %w", path, err)
		}
		if g.o.Now().Sub(used) > g.o.Unused {
			return nil, "is a bundle that no one has used since", nil
		}
	}
	return b, "", nil
}

// readable is nil when everything below a path can be read: what is missing there is missing.
func readable(path string) error {
	return filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && e.Type()&fs.ModeSymlink != 0: // a disk that is not mounted, perhaps
			return fmt.Errorf("%s is a link to what is not there", path)
		case err != nil:
			return err
		}
		defer f.Close()
		if _, err := f.Read(make([]byte, 1)); e.Type().IsRegular() && err != io.EOF {
			return err
		}
		return nil
	})
}

// lastUse is when a bundle was used: every use touches its record, and one without a record was used when it was made.
func lastUse(path, record string) (time.Time, error) {
	info, err := os.Stat(record)
	if errors.Is(err, fs.ErrNotExist) {
		info, err = os.Stat(path)
	}
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

func (g *collector) uses(b *bundle.Bundle, file string) error {
	for _, bin := range b.Manifest.Binaries {
		g.used[bin.SHA256] = true
	}
	entries, err := os.ReadDir(filepath.Join(b.Dir, bundle.LayoutDir, "blobs", "sha256"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		g.used[e.Name()] = true
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var r record
	if err != nil || json.Unmarshal(raw, &r) != nil {
		return err // an archive may have to be fetched again
	}
	for _, sum := range r.Files {
		g.used[sum] = true
	}
	return nil
}

// files deletes what no bundle uses.
func (g *collector) files(ctx context.Context) error {
	entries, err := os.ReadDir(g.cache.path("sha256"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		name := e.Name()
		path := g.cache.path("sha256", name)
		switch base, ext, _ := strings.Cut(name, "."); {
		case ext == "" && !g.used[name]:
			err = g.free(path, "no bundle of the cache uses it")
		case ext == "part":
			err = g.free(path, "is the beginning of a file")
		case ext == "wrong":
			err = g.free(path, "came in the place of "+base)
		case base == "":
			err = g.free(path, "was left by a run that ended before its time")
		}
	}
	return err
}

func (g *collector) free(path, why string) error {
	size, err := sizeOf(path)
	if err != nil {
		return err
	}
	if !g.o.DryRun {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	g.freed = append(g.freed, Freed{Path: path, Bytes: size, Why: why})
	return nil
}

// sizeOf counts the bytes of files that have no other name: of others the disk gets nothing back.
func sizeOf(path string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil && links(info) == 1 {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// Sum is what all of it comes to.
func Sum(freed []Freed) int64 {
	var sum int64
	for _, f := range freed {
		sum += f.Bytes
	}
	return sum
}
