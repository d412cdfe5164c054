package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// program writes an executable and makes an image of it.
func program(t *testing.T, a platform.Arch, salt string) image.Image {
	t.Helper()
	file := filepath.Join(t.TempDir(), "some-file")
	imagetest.WriteFile(t, file, append(imagetest.ELF(a), salt...), 0o600)
	img, err := image.FromProgram(a, "probe", file)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// archive writes images as an archive and returns its file.
func archive(t *testing.T, images ...image.Named) string {
	t.Helper()
	var b bytes.Buffer
	if err := image.WriteArchive(t.Context(), &b, images); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "images.tar")
	imagetest.WriteFile(t, file, b.Bytes(), 0o644)
	return file
}

// unpacked is an archive as the OCI library reads it: every image of its index.
func unpacked(t *testing.T, file string) []v1.Image {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		imagetest.WriteFile(t, filepath.Join(dir, h.Name), body, 0o644)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var out []v1.Image
	for _, d := range m.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, img)
	}
	return out
}

func configOf(t *testing.T, img v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// inLayer lists what is in the image's only layer.
func inLayer(t *testing.T, img v1.Image) []imagetest.File {
	t.Helper()
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var files []imagetest.File
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s says when it was made, or whose it is: %+v", h.Name, h)
		}
		files = append(files, imagetest.File{Name: h.Name, Body: body, Mode: h.Mode})
	}
}

func TestFromProgram(t *testing.T) {
	img := program(t, arm64, "1")
	if img.Arch != arm64 {
		t.Errorf("it is for %s", img.Arch)
	}
	got := unpacked(t, archive(t, image.Named{Ref: ref, Image: img}))[0]
	config := configOf(t, got)
	if config.OS != "linux" || config.Architecture != "arm64" || !slices.Equal(config.Config.Entrypoint, []string{"/probe"}) ||
		len(config.RootFS.DiffIDs) != 1 || !config.Created.IsZero() || config.History != nil {
		t.Errorf("config: %+v", config)
	}
	if d := cmp.Diff([]imagetest.File{{Name: "probe", Body: append(imagetest.ELF(arm64), "1"...), Mode: 0o755}}, inLayer(t, got)); d != "" {
		t.Error(d)
	}
	if problems, err := new(image.Inspector).Programs(t.Context(), img, true); err != nil || len(problems) > 0 {
		t.Errorf("problems: %v, %v", problems, err)
	}
}

func TestFromProgram_TheSameFileGivesTheSameImage(t *testing.T) {
	a, b := program(t, arm64, "1"), program(t, arm64, "1")
	if a.Digest != b.Digest {
		t.Errorf("%s and %s", a.Digest, b.Digest)
	}
	if c := program(t, arm64, "2"); c.Digest == a.Digest {
		t.Error("another file gives the same image")
	}
	if c := program(t, amd64, "1"); c.Digest == a.Digest {
		t.Error("another architecture gives the same image")
	}
}

// FromProgram believes its caller; the inspector does not.
func TestFromProgram_OfAnotherMachineIsSeen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	imagetest.WriteFile(t, file, imagetest.ELF(amd64), 0o755)
	img, err := image.FromProgram(arm64, "probe", file)
	if err != nil {
		t.Fatal(err)
	}
	problems, err := new(image.Inspector).Programs(t.Context(), img, false)
	if err != nil || len(problems) != 1 || problems[0] != "its program /probe is an executable for amd64, not arm64" {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestFromProgram_NoFile(t *testing.T) {
	if _, err := image.FromProgram(arm64, "probe", filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestAs(t *testing.T) {
	img := program(t, amd64, "1")
	labelled, err := img.As(amd64, map[string]string{"salt": "a"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := labelled.As(arm64, map[string]string{"salt": "b", "more": "c"})
	if err != nil {
		t.Fatal(err)
	}
	if labelled.Digest == img.Digest || other.Digest == labelled.Digest {
		t.Error("the digest is the old one")
	}
	again, err := img.As(amd64, map[string]string{"salt": "a"})
	if err != nil || again.Digest != labelled.Digest {
		t.Errorf("the same again: %s, %v", again.Digest, err)
	}
	if labelled.Arch != amd64 || other.Arch != arm64 || img.Arch != amd64 {
		t.Errorf("architectures: %s, %s, %s", labelled.Arch, other.Arch, img.Arch)
	}
	if problems, err := new(image.Inspector).Programs(t.Context(), other, false); err != nil || len(problems) != 1 || !strings.Contains(problems[0], "is an executable for amd64, not arm64") {
		t.Errorf("what lies is not seen to lie: %v, %v", problems, err)
	}
	images := unpacked(t, archive(t, image.Named{Ref: "r/a:1", Image: labelled}, image.Named{Ref: "r/b:1", Image: other}))
	if c := configOf(t, images[0]); c.Config.Labels["salt"] != "a" || c.Architecture != "amd64" {
		t.Errorf("labelled: %+v", c)
	}
	c := configOf(t, images[1])
	if c.Config.Labels["salt"] != "b" || c.Config.Labels["more"] != "c" || c.Architecture != "arm64" || !slices.Equal(c.Config.Entrypoint, []string{"/probe"}) {
		t.Errorf("other: %+v", c)
	}
	one, errOne := images[0].Layers()
	two, errTwo := images[1].Layers()
	if err := errors.Join(errOne, errTwo); err != nil {
		t.Fatal(err)
	}
	a, _ := one[0].Digest()
	if b, _ := two[0].Digest(); a != b {
		t.Error("the layers differ")
	}
}

func TestWriteArchive(t *testing.T) {
	img := program(t, arm64, "1")
	variant, err := img.As(arm64, map[string]string{"salt": "a"})
	if err != nil {
		t.Fatal(err)
	}
	file := archive(t, image.Named{Ref: ref, Image: img}, image.Named{Ref: "registry.test/other:1", Image: variant}, image.Named{Ref: "registry.test/same:1", Image: img})
	s, err := image.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, want := range map[string]string{ref: img.Digest, "registry.test/other:1": variant.Digest, "registry.test/same:1": img.Digest} {
		images, err := s.Find(t.Context(), name, false)
		if err != nil || images[arm64].Digest != want {
			t.Errorf("%s: %v, %v", name, images, err)
			continue
		}
		if problems, err := new(image.Inspector).Programs(t.Context(), images[arm64], true); err != nil || len(problems) > 0 {
			t.Errorf("%s: %v, %v", name, problems, err)
		}
	}

	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	blobs := len(names) - 2
	if blobs != 5 || !slices.Equal(names[blobs:], []string{"index.json", "oci-layout"}) { // a layer, two configs, two manifests
		t.Errorf("members: %v", names)
	}
	if slices.Sort(names); len(slices.Compact(names)) != blobs+2 {
		t.Error("a blob stands twice")
	}
	var index v1.IndexManifest
	if i := bytes.Index(raw, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index`)); i < 0 || json.NewDecoder(bytes.NewReader(raw[i:])).Decode(&index) != nil ||
		len(index.Manifests) != 3 || index.Manifests[0].Annotations[image.NameAnnotation] != ref || index.Manifests[0].Platform.Architecture != "arm64" {
		t.Errorf("index: %+v", index)
	}
}

func TestWriteArchive_CutOffIsNone(t *testing.T) {
	var b bytes.Buffer
	if err := image.WriteArchive(t.Context(), &b, []image.Named{{Ref: ref, Image: program(t, arm64, "1")}}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cut.tar")
	imagetest.WriteFile(t, file, b.Bytes()[:bytes.Index(b.Bytes(), []byte("index.json"))], 0o644)
	if _, err := image.Open(file); err == nil {
		t.Error("an archive that was cut off is accepted")
	}
}

func TestWriteArchive_Interrupted(t *testing.T) {
	img := program(t, arm64, "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := image.WriteArchive(ctx, io.Discard, []image.Named{{Ref: ref, Image: img}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	full := errors.New("no space left")
	if err := image.WriteArchive(t.Context(), failWriter{full}, []image.Named{{Ref: ref, Image: img}}); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
}

type failWriter struct{ err error }

func (w failWriter) Write([]byte) (int, error) { return 0, w.err }
