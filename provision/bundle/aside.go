package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hybridctl/hybridctl/provision/filelock"
)

// aside is a directory beside the one it will become. It has a fixed name and is locked while it is in use, so that what a killed
// run left is cleared by the next one, and two runs at once do not meet.
type aside struct {
	path   string // where it is built
	target string // what it becomes
	old    string // where the one before goes for a moment
	lock   *os.File
	done   bool // committed: path may be another run's by now
}

// buildAside refuses a target that is something else than a bundle, and gives an empty directory beside it.
func buildAside(dir string) (*aside, error) {
	target, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real // the link stays, what it points to is replaced
	}
	parent, base := filepath.Split(target)
	a := &aside{path: filepath.Join(parent, "."+base+".new"), target: target, old: filepath.Join(parent, "."+base+".old")}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	if err := a.acquire(); err != nil {
		return nil, err
	}
	if err := errors.Join(a.recover(), Replaceable(target), empty(a.path)); err != nil {
		return nil, errors.Join(err, a.discard())
	}
	return a, nil
}

// acquire makes and locks the directory.
func (a *aside) acquire() error {
	if err := os.Mkdir(a.path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(a.path)
	if err != nil {
		return err
	}
	taken, err := lock(f, a.path)
	if err == nil && !taken {
		err = fmt.Errorf("another run is making the bundle %s", a.target)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	a.lock = f
	return nil
}

// lock is not taken when another run has the file or directory, or had it when f was opened and has renamed it since. An error is the file
// system's, as of one that has no locks.
func lock(f *os.File, path string) (taken bool, err error) {
	if taken, err = filelock.Try(f, filelock.Exclusive); !taken {
		return false, err
	}
	locked, errLocked := f.Stat()
	there, errThere := os.Stat(path)
	return errLocked == nil && errThere == nil && os.SameFile(locked, there), nil
}

// recover ends a replacement that was killed between its two renames. What is there under the name of the one before, and is no bundle, is
// another's; and while it is not known whether the one after is there, the one before may be all that there is.
func (a *aside) recover() error {
	switch _, err := os.Lstat(a.old); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if _, err := looksLikeOne(a.old); err != nil { // it has no manifest any more when its deletion was cut off
		return err
	}
	switch _, err := os.Stat(a.target); {
	case errors.Is(err, fs.ErrNotExist):
		return os.Rename(a.old, a.target)
	case err != nil:
		return inTheWay(sentencef(ErrNotBundle, "%s is in the way: %v", a.target, errors.Unwrap(err)))
	}
	return os.RemoveAll(a.old)
}

// Replaceable returns nil when a bundle may be made at dir: nothing is there, or an empty directory, or a bundle. Errors: ErrNotBundle.
func Replaceable(dir string) error {
	manifest, err := looksLikeOne(dir)
	if err != nil || manifest {
		return err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return inTheWay(sentencef(ErrNotBundle, "%s is not replaced: it is not a bundle, as it has no %s", dir, ManifestFile))
	}
	return nil
}

// looksLikeOne refuses a directory that holds what is no part of a bundle, also a bundle.json of another's; manifest says that it has one of a
// bundle. Nothing there is no error.
func looksLikeOne(dir string) (manifest bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, inTheWay(sentencef(ErrNotBundle, "%s is in the way: %v", dir, errors.Unwrap(err)))
	}
	known := []string{ManifestFile, LayoutDir, "bin"}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			return false, inTheWay(sentencef(ErrNotBundle, "%s is not replaced: it holds %s, which is no part of a bundle", dir, e.Name()))
		}
	}
	f, err := os.Open(filepath.Join(dir, ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, inTheWay(sentencef(ErrNotBundle, "%s is not replaced: its %s cannot be read: %v", dir, ManifestFile, errors.Unwrap(err)))
	}
	defer f.Close()
	if !isManifest(f) && !isCutOff(dir) {
		return false, inTheWay(sentencef(ErrNotBundle, "%s is not replaced: its %s is not that of a bundle", dir, ManifestFile))
	}
	return true, nil
}

// isCutOff reports whether the bundle.json of a directory is no JSON document, as one that a power cut left, beside a layout of images: then it is
// a bundle's. Another's bundle.json is a document.
func isCutOff(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	_, layout := os.Stat(filepath.Join(dir, LayoutDir, "oci-layout"))
	return err == nil && !json.Valid(text) && layout == nil
}

// empty clears what a killed run left.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// commit puts the new directory in the place of the old one.
func (a *aside) commit() error {
	err := os.Rename(a.target, a.old)
	had := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(a.path, a.target); err != nil {
		if had {
			err = errors.Join(err, os.Rename(a.old, a.target))
		}
		return err
	}
	a.done = true
	return os.RemoveAll(a.old)
}

// discard removes what was not committed and gives up the lock.
func (a *aside) discard() error {
	if a.done {
		return a.lock.Close()
	}
	return errors.Join(os.RemoveAll(a.path), a.lock.Close())
}
