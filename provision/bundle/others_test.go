package bundle_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
)

// A bundle is known by its manifest: what merely has a file of that name is another's, and is not replaced.
func TestExport_AnothersIsNotReplaced(t *testing.T) {
	b := bundletest.Make(t)
	dir := t.TempDir()
	tarOf := func(name string, headers ...tar.Header) string {
		var text bytes.Buffer
		w := tar.NewWriter(&text)
		for _, h := range headers {
			h.Size, h.Mode = 2, 0o644
			if h.Typeflag != tar.TypeReg {
				h.Size = 0
			}
			err := w.WriteHeader(&h)
			if err == nil && h.Size > 0 {
				_, err = w.Write([]byte("{}"))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		imagetest.WriteFile(t, filepath.Join(dir, name), text.Bytes(), 0o644)
		return filepath.Join(dir, name)
	}
	manifest := tar.Header{Typeflag: tar.TypeReg, Name: bundle.ManifestFile}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{
		tarOf("cut.tar", manifest, tar.Header{Typeflag: tar.TypeReg, Name: "app.js"}),
		tarOf("links.tar", manifest, tar.Header{Typeflag: tar.TypeSymlink, Name: "latest", Linkname: "app.js"}),
		pipe,
	} {
		before, err := os.Lstat(place)
		if err != nil {
			t.Fatal(err)
		}
		err = bundle.Export(t.Context(), b.Dir, place, bundle.CreateOptions{})
		after, lerr := os.Lstat(place)
		if !errors.Is(err, bundle.ErrNotBundle) || lerr != nil || !os.SameFile(before, after) {
			t.Errorf("%s: %v", place, err)
		}
	}
	for text, want := range map[string]struct{ alone, beside bool }{ // a layout of images
		"":                                       {false, true},
		"\x00\x00":                               {false, true},
		"{}":                                     {false, false},
		"[]":                                     {false, false},
		`{"apiVersion": "v2", "kind": "Bundle"}`: {false, false},
		`{"apiVersion": "hybridctl.dev/v99", "kind": "Bundle"}`: {true, true},
	} {
		for _, layout := range []bool{false, true} {
			dir := t.TempDir()
			imagetest.WriteFile(t, filepath.Join(dir, bundle.ManifestFile), []byte(text), 0o644)
			replaced := want.alone
			if layout {
				imagetest.WriteFile(t, filepath.Join(dir, bundle.LayoutDir, "oci-layout"), nil, 0o644)
				replaced = want.beside
			}
			if err := bundle.Replaceable(dir); (err == nil) != replaced || err != nil && !errors.Is(err, bundle.ErrNotBundle) {
				t.Errorf("a folder with the %s %q, layout %t: %v", bundle.ManifestFile, text, layout, err)
			}
		}
	}
}
