package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// entry is a header of a tar with its content.
type entry struct {
	tar.Header
	body string
}

func regular(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, body}
}

// pack writes a tar of those entries into a file.
func pack(t testing.TB, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "b.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFiles_OfATarAreAFileSystem(t *testing.T) {
	file := pack(t, regular(ManifestFile, "{}"), entry{tar.Header{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755}, ""},
		regular("bin/a/runc", "1234567"), regular("oci/blobs/sha256/x", ""), regular("oci/index.json", "abc"))
	fsys, err := files(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(fsys, ManifestFile, "bin/a/runc", "oci/blobs/sha256/x", "oci/index.json"); err != nil {
		t.Error(err)
	}
	f, err := openSeeker(fsys, "bin/a/runc")
	if err != nil {
		t.Fatal(err)
	}
	if at, err := f.Seek(-3, 2); at != 4 || err != nil {
		t.Errorf("%d, %v", at, err)
	}
	rest := make([]byte, 9)
	if n, _ := f.Read(rest); string(rest[:n]) != "567" {
		t.Errorf("read %q", rest[:n])
	}
	if _, err := openSeeker(fsys, "bin"); err == nil || err.Error() != "bin is a directory" {
		t.Error(err)
	}
	if _, err := fsys.Open("bin/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// What no bundle holds is refused before anything is read of it, and with bundle.json in it the bundle is called damaged.
func TestFiles_RefuseWhatNoBundleHolds(t *testing.T) {
	json := regular(ManifestFile, `{"apiVersion": "`+APIVersion+`", "kind": "`+Kind+`"}`)
	odd := func(kind byte, name, target string) entry {
		return entry{tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o644}, ""}
	}
	for _, c := range []struct {
		name    string
		entries []entry
		spoil   func(t *testing.T, file string)
		kind    error
		want    string
	}{
		{"a symbolic link", []entry{json, odd(tar.TypeSymlink, "bin/x", "/etc/passwd")}, nil, ErrDamaged, `"bin/x" is a link or a special file, and a bundle holds none`},
		{"a hard link", []entry{json, odd(tar.TypeLink, "bin/x", ManifestFile)}, nil, ErrDamaged, `"bin/x" is a link or a special file`},
		{"a device", []entry{json, odd(tar.TypeChar, "bin/x", "")}, nil, ErrDamaged, `"bin/x" is a link or a special file`},
		{"a name that leads out", []entry{json, regular("../x", "")}, nil, ErrDamaged, `"../x" is no name that a bundle has`},
		{"a name that leads out in its middle", []entry{json, regular("bin/../../x", "")}, nil, ErrDamaged, `is no name that a bundle has`},
		{"a name from the root", []entry{json, regular("/etc/x", "")}, nil, ErrDamaged, `"/etc/x" is no name that a bundle has`},
		{"a name with a backslash", []entry{json, regular(`bin\x`, "")}, nil, ErrDamaged, `is no name that a bundle has`},
		{"a name twice", []entry{json, regular("bin/x", "1"), regular("bin/x", "2")}, nil, ErrDamaged, `bin/x stands in it twice`},
		{"bundle.json twice", []entry{json, json}, nil, ErrDamaged, `bundle.json stands in it twice`},
		{"a file as a folder", []entry{json, regular("bin", ""), regular("bin/x", "")}, nil, ErrDamaged, `bin is a file and a folder in it`},
		{"a file as a folder of a folder", []entry{json, regular("bin", ""), regular("bin/x/y", "")}, nil, ErrDamaged, `bin is a file and a folder in it`},
		{"a link alone", []entry{odd(tar.TypeSymlink, ManifestFile, "x")}, nil, ErrNotBundle, `is not a bundle in one file: "bundle.json" is a link`},
		{"nothing", nil, nil, ErrNotBundle, `is not a bundle in one file: it is empty`},
		{"no tar", []entry{json}, text("hello, this is no tar"), ErrNotBundle, `is not a bundle in one file: it is no tar archive`},
		{"compressed", []entry{json}, text("\x1f\x8b\x08\x00"), ErrNotBundle, `is not a bundle in one file: it is compressed`},
		{"cut off before bundle.json", []entry{regular("x", strings.Repeat("x", 1000)), json}, cutTo(512 + 600), ErrNotBundle,
			`is not a bundle in one file: it is cut off: x has 1000 bytes, and 600 are there`},
		{"cut off in a file", []entry{json, regular("bin/x", strings.Repeat("x", 2000))}, func(t *testing.T, file string) {
			if err := os.Truncate(file, 512*2+512+1000); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged, `it is cut off: bin/x has 2000 bytes, and 1000 are there`},
		{"cut off in a header", []entry{json, regular("bin/x", "x")}, func(t *testing.T, file string) {
			if err := os.Truncate(file, 512*2+100); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged, `it is cut off: it ends behind bundle.json`},
		{"damaged in a header", []entry{json, regular("bin/x", "x")}, func(t *testing.T, file string) {
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte("?"), 512*2+1)
			}
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged, `what follows bundle.json is no part of a tar archive`},
		{"cut off between two files", []entry{json, regular("bin/x", "x")}, cutTo(512 * 2), ErrDamaged, `it is cut off: bundle.json is the last that is there`},
		{"cut off in the room behind a file", []entry{json, regular("bin/x", "x"), regular("bin/y", "y")}, cutTo(512*3 + 100), ErrDamaged,
			`it is cut off: bin/x is the last that is there`},
		{"cut off before its end", []entry{json, regular("bin/x", "x")}, cutTo(512*4 + 512), ErrDamaged, `it is cut off: bin/x is the last that is there`},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := pack(t, c.entries...)
			if c.spoil != nil {
				c.spoil(t, file)
			}
			_, err := files(file)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if cut := strings.Contains(c.want, "cut off"); cut != strings.HasPrefix(hint.Text(err), "copy it once more") {
				t.Errorf("%v: hint %q", err, hint.Text(err))
			}
			if c.kind == ErrNotBundle && hint.Text(err) == "" {
				t.Errorf("%v: no hint", err)
			}
			if packed := c.name == "compressed"; packed != (hint.Text(err) == "unpack it to a plain .tar first") {
				t.Errorf("%v: hint %q", err, hint.Text(err))
			}
			into := filepath.Join(t.TempDir(), "bundle")
			if _, err := Import(t.Context(), file, into, CreateOptions{}); !errors.Is(err, c.kind) {
				t.Errorf("Import: %v", err)
			}
			if _, err := os.Lstat(into); err == nil {
				t.Error("Import wrote something")
			}
		})
	}
}

// A header in which a file is larger than what is stored of it: no writer of Go's makes one.
func TestOneFile_RefusesSparseFiles(t *testing.T) {
	one := &oneFile{files: map[string]tarFile{}}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "bin/x", Size: 1 << 40, PAXRecords: map[string]string{"GNU.sparse.realsize": "1099511627776"}}
	if err := one.add(h, 512, 4096); err == nil || !strings.Contains(err.Error(), "is a link or a special file") {
		t.Error(err)
	}
}

func cutTo(size int64) func(*testing.T, string) {
	return func(t *testing.T, file string) {
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
	}
}

func text(content string) func(*testing.T, string) {
	return func(t *testing.T, file string) {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzOneFile(f *testing.F) {
	for _, entries := range [][]entry{
		{regular(ManifestFile, "{}"), regular("bin/x", "x")}, {regular("a/b", ""), regular("a", "")}, {regular("../x", "")},
		{{tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "y"}, ""}},
	} {
		raw, err := os.ReadFile(pack(f, entries...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	file := filepath.Join(f.TempDir(), "b.tar")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(file, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		fsys, err := files(file)
		if err != nil {
			return
		}
		err = fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			if !filepath.IsLocal(name) {
				t.Errorf("name %q", name)
			}
			content, err := fs.ReadFile(fsys, name)
			if err == nil && len(content) > len(raw) {
				t.Errorf("%s: %d bytes of %d", name, len(content), len(raw))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
