package edit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hybridctl/hybridctl/provision/filelock"
)

// writtenFile returns an inventory file in a folder of its own.
func writtenFile(t *testing.T, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	if err := os.WriteFile(path, []byte(flowing), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func opened(t *testing.T, path string, edits ...Edit) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Apply(edits...); err != nil {
		t.Fatal(err)
	}
	return f
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// onlyFile holds that a folder has nothing but the inventory, and no temporary file.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestWrite_KeepsModeOwnerAndLinks(t *testing.T) {
	path := writtenFile(t, 0o640)
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 12, 34); err != nil {
			t.Fatal(err)
		}
	}
	owner := func() any {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return [3]any{info.Mode(), ownerOf(info).Uid, ownerOf(info).Gid}
	}
	before := owner()
	link := filepath.Join(t.TempDir(), "link.yaml")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	f := opened(t, link, Set("spec.bundle", "./other"))
	if err := f.Write(); err != nil {
		t.Fatal(err)
	}
	if text := content(t, path); text != strings.Replace(flowing, "./bundle", "./other", 1) {
		t.Error(text)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if after := owner(); after != before {
		t.Errorf("%v became %v", before, after)
	}
	onlyFile(t, path)
}

func TestWrite_WhatSomebodyElseChangedIsNotOverwritten(t *testing.T) {
	for name, meddle := range map[string]func(path string) error{
		"changed": func(path string) error { return os.WriteFile(path, []byte(flowing+"# mine\n"), 0o644) },
		"removed": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			path := writtenFile(t, 0o644)
			f := opened(t, path, Set("spec.bundle", "./other"))
			if err := meddle(path); err != nil {
				t.Fatal(err)
			}
			if err := f.Write(); !errors.Is(err, ErrChanged) || !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("got %v", err)
			}
			if name == "changed" {
				if text := content(t, path); text != flowing+"# mine\n" {
					t.Error(text)
				}
				onlyFile(t, path)
			}
		})
	}
}

func TestWrite_TwoAtOnceOneWins(t *testing.T) {
	path := writtenFile(t, 0o644)
	a, b := opened(t, path, Set("spec.bundle", "./a")), opened(t, path, Set("spec.bundle", "./b"))
	results := make(chan error)
	for _, f := range []*File{a, b} {
		go func() { results <- f.Write() }() // ends with its result
	}
	first, second := <-results, <-results
	if first != nil {
		first, second = second, first
	}
	if first != nil || !errors.Is(second, ErrChanged) {
		t.Errorf("%v, %v", first, second)
	}
	onlyFile(t, path)
}

// Who keeps the folder locked, as a program that was stopped does, is not waited for without end.
func TestWrite_GivesUpOnWhoKeepsTheLock(t *testing.T) {
	path := writtenFile(t, 0o644)
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	f := opened(t, path, Set("spec.bundle", "./other"))
	f.patience = 1
	if err := f.Write(); !errors.Is(err, filelock.ErrKept) {
		t.Errorf("got %v", err)
	}
	if text := content(t, path); text != flowing {
		t.Error(text)
	}
	onlyFile(t, path)
}

func TestWrite_NothingToChangeWritesNothing(t *testing.T) {
	path := writtenFile(t, 0o644)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f := opened(t, path, Set("spec.bundle", "./bundle"))
	if err := f.Write(); err != nil || f.Changed() || f.Diff() != "" {
		t.Errorf("%v, %q", err, f.Diff())
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Error("it was replaced")
	}
}

func TestWrite_AFileThatMustNotBeWritten(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write it: it runs where the tests are another user's")
	}
	path := writtenFile(t, 0o444)
	if err := opened(t, path, Set("spec.bundle", "./other")).Write(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
	onlyFile(t, path)
}

func TestOpen_WhatIsNoFile(t *testing.T) {
	_, err := Open(os.DevNull)
	if want := os.DevNull + ": is a pipe or a device, and cannot be edited (name the file that has the inventory)"; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// The error of a folder in which nothing can be made names the folder, and not the temporary file.
func TestCreate_FolderThatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	err := Create(filepath.Join(dir, "i.yaml"), nil)
	want := dir + "/i.yaml: no file can be made in the folder " + dir + ": no such file or directory"
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestOpen_WhatIsNotThere(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestApplyOfFile_WhatIsRefusedLeavesItAsItWas(t *testing.T) {
	path := writtenFile(t, 0o644)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Apply(Set("spec.bundle", "./other"), Set("spec.kubernetes.version", "1")); err == nil {
		t.Fatal("no error")
	}
	if f.Changed() || f.Write() != nil || content(t, path) != flowing {
		t.Error("something of it was kept")
	}
}

func TestWritable(t *testing.T) {
	path := writtenFile(t, 0o644)
	f := opened(t, path, Set("spec.bundle", "./other"))
	if err := f.Writable(); err != nil {
		t.Error(err)
	}
	onlyFile(t, path)
	if text := content(t, path); text != flowing {
		t.Errorf("it was written:\n%s", text)
	}
	if err := os.WriteFile(path, []byte(flowing+"# mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Writable(); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
}
