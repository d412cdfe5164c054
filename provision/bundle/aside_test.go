package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAside_TheNextRunKeepsItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	first, err := buildAside(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(first.path, ManifestFile), nil, 0o644); err != nil {
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
