package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

// private makes the directory, or closes it and our files in it to others.
func private(dir string, files ...string) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	if err := restrict(dir, dirMode); err != nil {
		return err
	}
	if err := hide(dir); err != nil {
		return err
	}
	for _, name := range files {
		if err := restrict(filepath.Join(dir, name), fileMode); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// stateFolder is what lies beside an inventory, and inventories lie in repositories.
const stateFolder = ".hybridctl"

// hide has git pass over the directory, or over the folder of all of them where it lies in that one. What is there already stays.
func hide(dir string) error {
	if abs, err := filepath.Abs(dir); err == nil && filepath.Base(filepath.Dir(abs)) == stateFolder {
		dir = filepath.Dir(abs)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".gitignore"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("# State of hybridctl: it holds keys of clusters.\n*\n")
	return errors.Join(err, f.Close())
}

func restrict(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() == mode {
		return err
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("%s has mode %04o, it must have %04o, and that cannot be changed: %w", path, info.Mode().Perm(), mode, err)
	}
	return nil
}

// replace writes the file so that, whatever happens, the old or the new content is there, whole.
func replace(path string, content []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes renames and removals in the directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// remove removes the file for good, if it is there.
func remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
