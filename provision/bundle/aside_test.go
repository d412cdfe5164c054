package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAside_TheNextRunKeepsItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	first, err := buildAside(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(first.path, ManifestFile), []byte(`{"apiVersion": "`+APIVersion+`", "kind": "`+Kind+`"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := first.commit(); err != nil {
		t.Fatal(err)
	}
	second, err := buildAside(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(second.path); err != nil {
		t.Errorf("the first run took the second one's directory away: %v", err)
	}
	if err := second.discard(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ManifestFile)); err != nil {
		t.Errorf("the bundle is gone: %v", err)
	}
}

// The bundle of before stays while it is not known whether another took its place, and so does what has its name and is none.
func TestAside_TheOneBeforeIsKept(t *testing.T) {
	const manifest = `{"apiVersion": "` + APIVersion + `", "kind": "` + Kind + `"}`
	for name, c := range map[string]struct {
		old  string // its bundle.json; "" = its deletion was cut off
		make func(dir string) error
		want string // "" = it goes
	}{
		"another is there":         {manifest, func(dir string) error { return os.Mkdir(dir, 0o755) }, ""},
		"and half of it is gone":   {"", func(dir string) error { return os.Mkdir(dir, 0o755) }, ""},
		"it is not known":          {manifest, func(dir string) error { return os.Symlink(filepath.Base(dir), dir) }, "is in the way: too many levels"},
		"what was there is no one": {"{}", func(dir string) error { return os.Mkdir(dir, 0o755) }, "is not that of a bundle"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "bundle")
			old := filepath.Join(filepath.Dir(dir), ".bundle.old")
			err := errors.Join(os.MkdirAll(filepath.Join(old, "bin"), 0o755), c.make(dir))
			if c.old != "" {
				err = errors.Join(err, os.WriteFile(filepath.Join(old, ManifestFile), []byte(c.old), 0o644))
			}
			if err != nil {
				t.Fatal(err)
			}
			a, err := buildAside(dir)
			if err == nil {
				err = a.discard()
			}
			_, there := os.Stat(old)
			if c.want == "" && (err != nil || there == nil) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || there != nil) {
				t.Errorf("%v; the one before: %v", err, there)
			}
		})
	}
}

func TestLock_DirectoryRenamedSinceItWasOpened(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, ".bundle.new")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(os.Rename(path, filepath.Join(parent, "bundle")), os.Mkdir(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	if taken, err := lock(f, path); taken || err != nil {
		t.Errorf("the finished bundle is taken for the directory to build in: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if taken, err := lock(f, path); taken || !errors.Is(err, syscall.EBADF) { // what cannot be locked is not another's
		t.Errorf("a closed file: %t, %v", taken, err)
	}
}
