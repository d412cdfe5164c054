package fetch

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
)

// What a bundle of a newer hybridctl uses is not known to this one: neither goes.
func TestGC_BundleOfANewerHybridctl(t *testing.T) {
	w := newWorld(t, 10_000)
	cache := t.TempDir()
	manifest := filepath.Join(mustBundle(t, w.set, w.options(cache)), bundle.ManifestFile)
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(text, []byte(bundle.APIVersion), []byte("hybridctl.dev/v99"), 1)
	if err := os.Remove(manifest); err != nil { // it has other names
		t.Fatal(err)
	}
	imagetest.WriteFile(t, manifest, newer, 0o644)
	before := len(entries(t, cache, "sha256"))
	imagetest.WriteFile(t, filepath.Join(cache, "sha256", strings.Repeat("a", 64)), []byte("12345"), 0o644)
	freed, err := GC(t.Context(), GCOptions{Cache: cache})
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "hybridctl.dev/v99") || len(freed) > 0 || len(entries(t, cache, "sha256")) != before+1 {
		t.Errorf("%v, %v", freed, err)
	}
	if _, err := os.Stat(manifest); err != nil {
		t.Error(err)
	}
	if err := os.Remove(manifest); err != nil { // what has none is no bundle of anybody's
		t.Fatal(err)
	}
	if freed, err := GC(t.Context(), GCOptions{Cache: cache}); err != nil || len(freed) == 0 {
		t.Errorf("%v, %v", freed, err)
	}
}

// What cannot be read is not what no one uses: neither the bundle goes, nor what it may use. Only what is seen not to be whole does.
func TestGC_BundleThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(t *testing.T, bundle, records string)
		says string // "" = it goes
	}{
		"its manifest is a loop": {func(t *testing.T, dir, _ string) {
			file := filepath.Join(dir, bundle.ManifestFile)
			mustDo(t, os.Remove(file))
			mustDo(t, os.Symlink(bundle.ManifestFile, file))
		}, "too many levels"},
		"its images are a loop": {func(t *testing.T, dir, _ string) {
			file := filepath.Join(dir, bundle.LayoutDir, "index.json")
			mustDo(t, os.Remove(file))
			mustDo(t, os.Symlink("index.json", file))
		}, "too many levels"},
		"its directory is a loop": {func(t *testing.T, dir, _ string) {
			mustDo(t, os.RemoveAll(dir))
			mustDo(t, os.Symlink(filepath.Base(dir), dir))
		}, "too many levels"},
		"it lies on a disk that is not there": {func(t *testing.T, dir, _ string) {
			mustDo(t, os.RemoveAll(dir))
			mustDo(t, os.Symlink(filepath.Join(filepath.Dir(dir), ".none", "bundle"), dir))
		}, "is a link to what is not there"},
		"a program cannot be looked at": {func(t *testing.T, dir, _ string) {
			mustDo(t, os.RemoveAll(filepath.Join(dir, "bin")))
			mustDo(t, os.Symlink("bin", filepath.Join(dir, "bin")))
		}, "too many levels"},
		"when it was used is not known": {func(t *testing.T, dir, records string) {
			mustDo(t, os.RemoveAll(records))
			mustDo(t, os.Symlink("records", records))
		}, "too many levels"},
		"a file is missing": {func(t *testing.T, dir, _ string) {
			mustDo(t, os.RemoveAll(filepath.Join(dir, "bin")))
		}, ""},
		"it has no manifest": {func(t *testing.T, dir, _ string) { mustDo(t, os.Remove(filepath.Join(dir, bundle.ManifestFile))) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 10_000)
			cache := t.TempDir()
			dir := mustBundle(t, w.set, w.options(cache))
			c.harm(t, dir, filepath.Join(cache, "records"))
			before := len(entries(t, cache, "sha256"))
			freed, err := GC(t.Context(), GCOptions{Cache: cache, Unused: 1000 * time.Hour})
			_, there := os.Lstat(dir)
			if c.says == "" {
				if err != nil || there == nil {
					t.Errorf("%v, %v, the bundle: %v", freed, err, there)
				}
				return
			}
			if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.says) || len(freed) > 0 || there != nil || len(entries(t, cache, "sha256")) != before {
				t.Errorf("%v, %v, the bundle: %v", freed, err, there)
			}
		})
	}
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
