package bundle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// export writes the bundle into a file of the test's.
func export(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "b.tar")
	if err := bundle.Export(t.Context(), dir, file, bundle.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return file
}

// One file serves in place of the directory: everything that is read of the one is the same of the other.
func TestExport_OneFileServesInPlace(t *testing.T) {
	dir := bundletest.Make(t)
	file := reopen(t, export(t, dir.Dir))
	wantNoFindings(t, file.Dir)
	if d := cmp.Diff(dir.Manifest, file.Manifest); d != "" {
		t.Error(d)
	}
	items := func(b *bundle.Bundle) []bundle.Item {
		list, err := b.List()
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if d := cmp.Diff(items(dir), items(file)); d != "" {
		t.Error(d)
	}
	var refs []string
	for _, i := range dir.Manifest.Images {
		refs = append(refs, i.Ref)
	}
	for _, a := range platform.All() {
		for _, bin := range dir.Binaries(a) {
			if content(t, dir, bin) != content(t, file, bin) {
				t.Errorf("%s has another content", bin.Path)
			}
		}
		var one, other bytes.Buffer
		if err := errors.Join(dir.WriteImages(t.Context(), &one, a, refs, nil), file.WriteImages(t.Context(), &other, a, refs, nil)); err != nil {
			t.Fatal(err)
		}
		if one.Len() == 0 || !bytes.Equal(one.Bytes(), other.Bytes()) {
			t.Errorf("%s: the images differ: %d and %d bytes", a, one.Len(), other.Len())
		}
	}
}

func content(t *testing.T, b *bundle.Bundle, bin bundle.Binary) string {
	t.Helper()
	f, err := b.OpenBinary(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Neither times, nor modes, nor where the bundle lies make a difference, and a bundle that went through a file is the same.
func TestExport_SameBundleSameBytes(t *testing.T) {
	dir := bundletest.Make(t)
	first := export(t, dir.Dir)
	other := bundletest.Make(t)
	err := filepath.WalkDir(other.Dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return errors.Join(os.Chtimes(name, time.Unix(1, 0), time.Unix(2, 0)), os.Chmod(name, 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
	textFile("bin/stray", "x")(t, other.Dir)
	imported, err := bundle.Import(t.Context(), first, filepath.Join(t.TempDir(), "bundle"), bundle.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for what, from := range map[string]string{"another directory": other.Dir, "the file itself": first, "what was imported": imported.Dir} {
		if readFile(t, export(t, from)) != readFile(t, first) {
			t.Errorf("%s gives other bytes", what)
		}
	}
	names := namesIn(t, first)
	if names[0] != bundle.ManifestFile || !slices.IsSorted(names[1:]) {
		t.Errorf("not sorted: %q", names)
	}
}

func namesIn(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var names []string
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uid != 0 || h.Uname != "" || h.Typeflag != tar.TypeReg {
			t.Errorf("header %+v", h)
		}
		names = append(names, h.Name)
	}
}

// Whatever an interrupted export left, the next one makes the same file of it.
func TestExport_GoesOnFromAnything(t *testing.T) {
	dir := bundletest.Make(t).Dir
	whole := readFile(t, export(t, dir))
	file := filepath.Join(t.TempDir(), "b.tar")
	try := func(left string) {
		t.Helper()
		imagetest.WriteFile(t, file+".part", []byte(left), 0o644)
		if err := bundle.Export(t.Context(), dir, file, bundle.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if readFile(t, file) != whole {
			t.Fatalf("with %d bytes left the file is another", len(left))
		}
		if _, err := os.Stat(file + ".part"); err == nil {
			t.Fatal("the part is still there")
		}
	}
	for at := 0; at < len(whole); at += 1999 {
		try(whole[:at])
		if at > 0 {
			damaged := []byte(whole[:at])
			damaged[at/2] ^= 1
			try(string(damaged))
		}
	}
	try(whole)
	try(whole + "something behind it")
	try("something else altogether")
}

// What is whole in the part is not read from the bundle again: it could be damaged by now, and no one would know.
func TestExport_DoesNotReadAgainWhatIsThere(t *testing.T) {
	b := bundletest.Make(t)
	file := filepath.Join(t.TempDir(), "b.tar")
	ctx, cancel := context.WithCancel(t.Context())
	err := bundle.Export(ctx, b.Dir, file, bundle.CreateOptions{Progress: func(p bundle.Progress) {
		if p.Doing != "export" || p.Total == 0 {
			t.Errorf("progress %+v", p)
		}
		if p.Bytes > p.Total/2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Fatal("an interrupted export left the file")
	}
	first := filepath.Join(b.Dir, b.Manifest.Binaries[0].Path)
	flip(t, first)
	var last bundle.Progress
	if err := bundle.Export(t.Context(), b.Dir, file, bundle.CreateOptions{Progress: func(p bundle.Progress) { last = p }}); err != nil {
		t.Fatal(err)
	}
	wantNoFindings(t, file)
	if last.Bytes != last.Total {
		t.Errorf("last progress %+v", last)
	}
	err = bundle.Export(t.Context(), b.Dir, filepath.Join(t.TempDir(), "other.tar"), bundle.CreateOptions{})
	if !errors.Is(err, bundle.ErrDamaged) || !strings.Contains(err.Error(), b.Manifest.Binaries[0].Path+" has another content than when the bundle was made") {
		t.Errorf("of a damaged bundle: %v", err)
	}
}

func TestExport_WhatIsInTheWay(t *testing.T) {
	b := bundletest.Make(t)
	first := export(t, b.Dir)
	other := filepath.Join(t.TempDir(), "other")
	imagetest.WriteFile(t, other, []byte("precious"), 0o644)
	for _, c := range []struct{ from, to, want string }{
		{b.Dir, other, other + " is not replaced: it is no bundle"},
		{b.Dir, filepath.Dir(other), filepath.Dir(other) + " is not replaced: it is a directory"},
		{b.Dir, b.Dir, b.Dir + " is the bundle itself"},
		{first, first, first + " is the bundle itself"},
	} {
		err := bundle.Export(t.Context(), c.from, c.to, bundle.CreateOptions{})
		if !errors.Is(err, bundle.ErrNotBundle) || err.Error() != c.want || hint.Text(err) == "" {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if readFile(t, other) != "precious" {
		t.Error("something else was replaced")
	}
	small := bundletest.Make(t, arm64)
	if err := bundle.Export(t.Context(), small.Dir, first, bundle.CreateOptions{}); err != nil {
		t.Errorf("an older bundle in the way: %v", err)
	}
	if got := reopen(t, first).Archs(); len(got) != 1 {
		t.Errorf("it holds %v", got)
	}
}

func TestExport_SecondRunAtOnceIsRefused(t *testing.T) {
	b := bundletest.Make(t)
	file := filepath.Join(t.TempDir(), "b.tar")
	tried := false
	err := bundle.Export(t.Context(), b.Dir, file, bundle.CreateOptions{Progress: func(bundle.Progress) {
		if tried {
			return
		}
		tried = true
		if err := bundle.Export(t.Context(), b.Dir, file, bundle.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "another run is writing "+file) {
			t.Errorf("got %v", err)
		}
	}})
	if err != nil || !tried {
		t.Error(err)
	}
	wantNoFindings(t, file)
}

// The damages of a directory are found in a tar of it, too; those that only a file system knows make it no bundle.
func TestVerify_FindsDamageInOneFile(t *testing.T) {
	good := bundletest.Make(t)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(good.Dir)); err != nil {
				t.Fatal(err)
			}
			d.do(t, dir)
			file := packDir(t, dir)
			_, err := bundle.Open(file)
			findings, verr := bundle.Verify(t.Context(), file)
			if d.name == "binary is a link" {
				if !errors.Is(err, bundle.ErrDamaged) || !errors.Is(verr, bundle.ErrDamaged) {
					t.Errorf("%v, %v", err, verr)
				}
				return
			}
			if verr != nil {
				t.Fatal(verr)
			}
			if (d.open != "") != errors.Is(err, bundle.ErrDamaged) {
				t.Errorf("Open: %v, of the directory %s", err, d.open)
			}
			var lines []string
			for _, f := range findings {
				lines = append(lines, f.String())
			}
			all := strings.Join(lines, "\n")
			for _, want := range d.verify {
				want = strings.Replace(want, `no such file or directory`, `(file does not exist|no such file or directory)`, 1)
				if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(all) {
					t.Errorf("no finding %q in\n%s", want, all)
				}
			}
			into := filepath.Join(t.TempDir(), "bundle")
			if _, err := bundle.Import(t.Context(), file, into, bundle.CreateOptions{}); !errors.Is(err, bundle.ErrDamaged) {
				t.Errorf("Import: %v", err)
			}
			if left := entries(t, filepath.Dir(into)); len(left) > 0 {
				t.Errorf("Import left %v", left)
			}
		})
	}
}

// packDir writes a tar of all that lies in a directory, bundle.json first.
func packDir(t *testing.T, dir string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string) {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		h, err := tar.FileInfoHeader(info, "/elsewhere")
		if err != nil {
			t.Fatal(err)
		}
		h.Name = name
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if info.Mode().IsRegular() {
			if _, err := w.Write([]byte(readFile(t, filepath.Join(dir, name)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(bundle.ManifestFile)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && name != bundle.ManifestFile {
			add(name)
		}
		return err
	})
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "b.tar")
	imagetest.WriteFile(t, file, b.Bytes(), 0o644)
	return file
}

// A directory is no file to import, whatever it is: what to do about it is said.
func TestImport_OfADirectory(t *testing.T) {
	odd := t.TempDir()
	if err := os.Mkdir(filepath.Join(odd, bundle.ManifestFile), 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{bundletest.Make(t).Dir: "use it as it is: ", odd: "make it readable for the user who runs hybridctl"} {
		into := filepath.Join(t.TempDir(), "bundle")
		if _, err := bundle.Import(t.Context(), dir, into, bundle.CreateOptions{}); !errors.Is(err, bundle.ErrNotBundle) || !strings.HasPrefix(hint.Text(err), want) {
			t.Errorf("%v, hint %q", err, hint.Text(err))
		}
		if _, err := os.Lstat(into); err == nil {
			t.Error("it wrote something")
		}
	}
}

func TestImport(t *testing.T) {
	b := bundletest.Make(t)
	file := export(t, b.Dir)
	into := filepath.Join(t.TempDir(), "sub", "bundle")
	var doing []string
	got, err := bundle.Import(t.Context(), file, into, bundle.CreateOptions{Progress: func(p bundle.Progress) {
		if len(doing) == 0 || doing[len(doing)-1] != p.Doing {
			doing = append(doing, p.Doing)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	wantNoFindings(t, into)
	if d := cmp.Diff(b.Manifest, got.Manifest); d != "" || got.Dir != into || !slices.Equal(doing, []string{"import", "verify"}) {
		t.Errorf("%s, dir %s, progress %q", d, got.Dir, doing)
	}
	info, err := os.Stat(filepath.Join(into, kubelet))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left := entries(t, filepath.Dir(into)); !slices.Equal(left, []string{"bundle"}) {
		t.Errorf("left %v", left)
	}
}

func TestImport_LeavesWhatIsThereAlone(t *testing.T) {
	old := bundletest.Make(t, arm64)
	before := readFile(t, filepath.Join(old.Dir, bundle.ManifestFile))
	whole := export(t, bundletest.Make(t).Dir)
	damaged := filepath.Join(t.TempDir(), "damaged.tar")
	raw := []byte(readFile(t, whole))
	raw[bytes.Index(raw, []byte("bin/amd64/runc/runc\x00"))+512+20] ^= 1 // in the program, behind its header
	imagetest.WriteFile(t, damaged, raw, 0o644)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	notes := t.TempDir()
	imagetest.WriteFile(t, filepath.Join(notes, "notes"), []byte("precious"), 0o644)
	for _, c := range []struct {
		name, file, dir string
		ctx             context.Context
		kind            error
	}{
		{"a damaged file", damaged, old.Dir, t.Context(), bundle.ErrDamaged},
		{"an interrupt", whole, old.Dir, ctx, context.Canceled},
		{"a directory", old.Dir, old.Dir, t.Context(), bundle.ErrNotBundle},
		{"no file", filepath.Join(notes, "none.tar"), old.Dir, t.Context(), bundle.ErrNotBundle},
		{"another directory in the way", whole, notes, t.Context(), bundle.ErrNotBundle},
	} {
		if _, err := bundle.Import(c.ctx, c.file, c.dir, bundle.CreateOptions{}); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", c.name, err)
		}
		if readFile(t, filepath.Join(old.Dir, bundle.ManifestFile)) != before || readFile(t, filepath.Join(notes, "notes")) != "precious" {
			t.Fatalf("%s: it was changed", c.name)
		}
	}
	if _, err := bundle.Import(t.Context(), whole, old.Dir, bundle.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := reopen(t, old.Dir).Archs(); len(got) != 2 {
		t.Errorf("not replaced: it holds %v", got)
	}
}

func TestDiff(t *testing.T) {
	before, after := bundletest.Make(t), bundletest.Make(t)
	if got := bundle.Diff(before, after); got != nil {
		t.Errorf("two bundles of the same: %+v", got)
	}
	rewrite(t, after.Dir, func(m *bundle.Manifest) {
		m.Binaries = slices.DeleteFunc(m.Binaries, func(b bundle.Binary) bool { return b.Name == "portmap" && b.Arch == arm64 })
		for i := range m.Binaries {
			if b := &m.Binaries[i]; b.Name == "runc" {
				b.Version = "v1.5.3"
			}
		}
		onImage(m, bundle.Etcd, func(i *bundle.Image) { i.Digest = "sha256:" + strings.Repeat("1", 64) })
		onImage(m, bundle.CoreDNS, func(i *bundle.Image) {
			i.Digest, i.Manifests[arm64] = "sha256:"+strings.Repeat("2", 64), "sha256:"+strings.Repeat("3", 64)
		})
		onImage(m, bundle.Pause, func(i *bundle.Image) { i.Ref = "other.test/pause:3.10.2" })
	})
	m := reopenManifest(t, after.Dir)
	var lines []string
	for _, d := range bundle.Diff(before, &bundle.Bundle{Manifest: m}) {
		line := strings.Join([]string{d.What, d.Kind, d.Component, d.Name, string(d.Arch)}, " ")
		for _, c := range []*bundle.Content{d.Before, d.After} {
			if c == nil {
				line += " -"
			} else {
				line += " " + c.Version
			}
		}
		lines = append(lines, line)
	}
	want := []string{
		"removed binary cni-plugins portmap arm64 v1.9.1 -",
		"changed binary runc runc amd64 v1.5.2 v1.5.3",
		"changed binary runc runc arm64 v1.5.2 v1.5.3",
		"changed image coredns registry.test/coredns arm64 v1.14.2 v1.14.2",
		"changed image etcd registry.test/etcd  3.6.8-0 3.6.8-0",
		"added image pause other.test/pause amd64 - 3.10.2",
		"added image pause other.test/pause arm64 - 3.10.2",
		"removed image pause registry.test/pause amd64 3.10.2 -",
		"removed image pause registry.test/pause arm64 3.10.2 -",
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
}
