package edit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/hybridctl/hybridctl/provision/filelock"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// ErrChanged: someone else changed the file since it was read; nothing was written. The user runs the command again.
var ErrChanged = hint.With(errors.New("it was changed by another program in the meantime, and nothing was written"), "run the command again")

// File is an inventory file that is being edited.
type File struct {
	Name string // as the user named it

	path          string // behind symbolic links
	before, after []byte
	patience      time.Duration // with who writes beside it at the same time
}

// Open reads the file. The error is a *inventory.Problems.
func Open(name string) (*File, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, &inventory.Problems{List: []inventory.Problem{{File: name, Message: "is a pipe or a device, and cannot be edited", Hint: "name the file that has the inventory"}}}
	}
	text, err := inventory.Read(name)
	if err != nil {
		return nil, err
	}
	path, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	return &File{Name: name, path: path, before: text, after: text, patience: filelock.Patience}, nil
}

// Apply carries out edits, as the function Apply does, and returns the cluster that the file would then describe. Nothing is written
// yet.
func (f *File) Apply(edits ...Edit) (*inventory.Cluster, error) {
	text, err := Apply(f.Name, f.after, edits...)
	if err != nil {
		return nil, err
	}
	f.after = text
	return inventory.Parse(f.Name, text)
}

// Changed reports whether the edits make a difference.
func (f *File) Changed() bool { return !bytes.Equal(f.before, f.after) }

// Diff is the difference that the edits make, as diff -u writes it, without the secrets that stand in the file; "" for none.
func (f *File) Diff() string {
	if !f.Changed() {
		return ""
	}
	secrets := marks{}
	before, err := secrets.hide(f.Name, f.before)
	known := len(secrets)
	after, err2 := secrets.hide(f.Name, f.after)
	if err = cmp.Or(err, err2); err != nil {
		return fmt.Sprintf("%s: the difference is not shown: %v\n", f.Name, err)
	}
	d := diff.Diff(f.Name, before, f.Name, after)
	if _, rest, found := bytes.Cut(d, []byte("\n")); found { // its first line is a command that no one gave
		return string(secrets.say(rest, known))
	}
	return ""
}

// Write replaces the file in one step, with its mode and, when root writes, its owner. ErrChanged: it is no longer what was read.
func (f *File) Write() error {
	if !f.Changed() {
		return nil
	}
	if err := f.replace(); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	return nil
}

// Writable finds out whether Write can replace the file as things are now; nothing stays. ErrChanged: it is no longer what was read.
func (f *File) Writable() error {
	info, err := f.unchanged()
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	temporary, err := writeBeside(f.path, f.before, info)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	return os.Remove(temporary)
}

func (f *File) replace() error {
	// The lock keeps two of us from writing between each other's look and rename; it ends with the file.
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := filelock.Take(dir, f.patience); err != nil {
		return err
	}
	info, err := f.unchanged()
	if err != nil {
		return err
	}
	temporary, err := writeBeside(f.path, f.after, info)
	if err != nil {
		return err
	}
	if _, err := f.unchanged(); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, f.path); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return dir.Sync()
}

// unchanged looks whether the file still holds what was read, and whether it may be written.
func (f *File) unchanged() (fs.FileInfo, error) {
	file, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrChanged
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be written: %w", bare(err))
	}
	defer file.Close()
	now, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(now, f.before) {
		return nil, ErrChanged
	}
	return file.Stat()
}

// writeBeside writes a new file in the folder of path, with the mode and the group of the old one, and its owner when root writes. Who has
// rights through the group alone would lose them with it: then a group that cannot be given is an error.
func writeBeside(path string, text []byte, old fs.FileInfo) (name string, err error) {
	f, err := newBeside(path)
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	owner, uid, mode := ownerOf(old), -1, old.Mode().Perm()
	if os.Geteuid() == 0 {
		uid = int(owner.Uid)
	}
	if err := f.Chown(uid, int(owner.Gid)); err != nil && (uid >= 0 || mode>>3&7&^mode != 0) {
		return "", err
	}
	if err := f.Chmod(mode); err != nil {
		return "", err
	}
	if _, err := f.Write(text); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

// Create writes a new file, whole or not at all. An error that is fs.ErrExist says that there is one of that name.
func Create(name string, text []byte) error {
	f, err := newBeside(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), name) // unlike a rename, this replaces nothing
}

// newBeside opens a new file in the folder of path. The error names the folder, as the new file's name means nothing to anybody.
func newBeside(path string) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, fmt.Errorf("no file can be made in the folder %s: %w", filepath.Dir(path), bare(err))
	}
	return f, nil
}

// bare is what the system said, without the path that it said it of.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func ownerOf(info fs.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }
