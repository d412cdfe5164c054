package image_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
)

func TestLayout_AddSaveOpen(t *testing.T) {
	x86, arm := open(t, imagetest.Program(amd64, "1")), open(t, imagetest.Program(arm64, "1"))
	dir := t.TempDir()
	l, err := image.CreateLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	wrote := 0
	l.Wrote = func(n int) { wrote += n }
	added, err := l.Add(t.Context(), ref, []image.Image{arm, x86})
	if err != nil {
		t.Fatal(err)
	}
	once := wrote
	if again, err := l.Add(t.Context(), "registry.test/same:1", []image.Image{x86, arm}); err != nil || again.Digest != added.Digest || wrote != once {
		t.Errorf("the same images in another order: %+v, %v, %d bytes more", again, err, wrote-once)
	}
	if _, err := l.Add(t.Context(), "x/y:1", []image.Image{arm, arm}); err == nil {
		t.Error("two images for one architecture are accepted")
	}
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}

	l, err = image.OpenLayout(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	refs, err := l.Refs()
	if err != nil || len(refs) != 2 || refs[ref] != added.Digest {
		t.Errorf("refs: %v, %v", refs, err)
	}
	images, err := l.Index(added.Digest, added.Manifests)
	if err != nil || len(images) != 2 || images[0].Arch != amd64 || images[1].Digest != arm.Digest || added.Manifests[arm64] != arm.Digest {
		t.Errorf("images: %+v, %v", images, err)
	}
	blobs, err := images[0].Blobs()
	if err != nil || len(blobs) != 3 {
		t.Errorf("blobs: %v, %v", blobs, err)
	}
	for _, b := range blobs {
		if err := l.Check(b); err != nil {
			t.Error(err)
		}
	}
}

func TestLayout_ABlobThatFailedIsNotThereTheNextTime(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	img := imagetest.Program(arm64, "1")
	imagetest.WriteLayout(t, from, imagetest.Append(index(), img, v1.Descriptor{}))
	s, err := image.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	images, err := s.Find(t.Context(), ref, true)
	if err != nil {
		t.Fatal(err)
	}
	layer := layerFile(t, from, img)
	good, err := os.ReadFile(layer)
	if err != nil {
		t.Fatal(err)
	}
	imagetest.WriteFile(t, layer, slices.Concat(good, []byte("more")), 0o644)
	l, err := image.CreateLayout(to)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := l.Add(t.Context(), ref, []image.Image{images[arm64]}); err == nil || !strings.Contains(err.Error(), "another digest") {
			t.Errorf("got %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Add(ctx, ref, []image.Image{images[arm64]}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	imagetest.WriteFile(t, layer, good, 0o644)
	if _, err := l.Add(t.Context(), ref, []image.Image{images[arm64]}); err != nil {
		t.Errorf("after mending: %v", err)
	}
}

func layerFile(t *testing.T, dir string, img v1.Image) string {
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "blobs", "sha256", hash.Hex)
}
