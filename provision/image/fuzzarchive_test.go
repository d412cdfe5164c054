package image_test

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// FuzzArchive: an archive is anybody's. Whatever is in it is inspected to an end, within bounds.
func FuzzArchive(f *testing.F) {
	dir := f.TempDir()
	img := imagetest.Program(arm64, "")
	imagetest.DockerArchive(f, filepath.Join(dir, "saved.tar"), "registry.test/app:1", img)
	imagetest.WithLinks(f, filepath.Join(dir, "saved.tar"), filepath.Join(dir, "links.tar"))
	imagetest.Layout(f, filepath.Join(dir, "layout"), map[string]v1.ImageIndex{"registry.test/app:1": imagetest.Index(map[platform.Arch]v1.Image{arm64: img})})
	imagetest.Archive(f, filepath.Join(dir, "layout"), filepath.Join(dir, "oci.tar"))
	for _, name := range []string{"saved.tar", "links.tar", "oci.tar"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	path := filepath.Join(dir, "fuzz.tar")
	f.Fuzz(func(t *testing.T, archive []byte) {
		if err := os.WriteFile(path, archive, 0o600); err != nil {
			t.Fatal(err)
		}
		places := &image.Places{}
		defer places.Close()
		sets, err := places.Open(t.Context(), path, nil)
		if err != nil {
			return
		}
		for _, s := range sets {
			r, err := new(image.Inspector).Inspect(t.Context(), s)
			if err != nil || len(r.Platforms) == 0 && r.Worst() != image.LevelError {
				t.Errorf("%v: %+v", err, r)
			}
		}
	})
}
