package image_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

const ref = "registry.test/app:1"

// source writes a layout with that index.json and opens it.
func source(t *testing.T, top v1.ImageIndex) *image.Source {
	t.Helper()
	dir := t.TempDir()
	imagetest.WriteLayout(t, dir, top)
	s, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// open puts an image into a layout and takes it out again.
func open(t *testing.T, img v1.Image) image.Image {
	t.Helper()
	images, err := source(t, imagetest.Append(index(), img, v1.Descriptor{})).Find(t.Context(), ref, true)
	if err != nil || len(images) != 1 {
		t.Fatal(images, err)
	}
	return images[slices.Collect(maps.Keys(images))[0]]
}

func index() v1.ImageIndex { return mutate.IndexMediaType(empty.Index, types.OCIImageIndex) }

func on(a platform.Arch) v1.Descriptor {
	return v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: string(a)}}
}

func TestFind_Layouts(t *testing.T) {
	x86, arm := imagetest.Program(amd64, "1"), imagetest.Program(arm64, "1")
	both := imagetest.Index(map[platform.Arch]v1.Image{amd64: x86, arm64: arm})
	named := v1.Descriptor{Annotations: imagetest.Names(ref)}
	other := func(a string) v1.Image {
		return imagetest.Image(amd64, v1.ConfigFile{Architecture: a}, imagetest.Layer())
	}
	for _, c := range []struct {
		name string
		top  v1.ImageIndex
		want string // architectures, or the error's end
	}{
		{"index", imagetest.Append(index(), both, named), "amd64 arm64"},
		{"index in an index", imagetest.Append(index(), imagetest.Append(index(), both, v1.Descriptor{}), named), "amd64 arm64"},
		{"manifests side by side", imagetest.Append(imagetest.Append(index(), x86, on(amd64)), arm, on(arm64)), "amd64 arm64"},
		{"manifests that do not say their platform", imagetest.Append(imagetest.Append(index(), x86, named), arm, named), "amd64 arm64"},
		{"other platforms besides", imagetest.Append(imagetest.Append(index(), imagetest.Append(both, other("s390x"), on("s390x")), named),
			imagetest.Program(arm64, "other"), v1.Descriptor{Annotations: imagetest.Names("x/y:1")}), "amd64 arm64"},
		{"other platform that is not said", imagetest.Append(index(), imagetest.Append(both, other("s390x"), v1.Descriptor{}), named), "amd64 arm64"},
		{"attestation", imagetest.Append(index(), imagetest.Append(both, imagetest.Program(amd64, "sbom"),
			v1.Descriptor{Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"}}), named), "amd64 arm64"},
		{"only another platform", imagetest.Append(index(), other("s390x"), named), `its config has an unknown architecture "s390x" (supported: amd64, arm64): not a supported platform`},
		{"another system", imagetest.Append(index(), imagetest.Image(amd64, v1.ConfigFile{OS: "windows"}), named),
			`is for the operating system "windows", not linux: not a supported platform`},
		{"index lies", imagetest.Append(index(), imagetest.Append(index(), x86, on(arm64)), named), "the index says arm64, its config says amd64"},
		{"two for one architecture", imagetest.Append(imagetest.Append(index(), x86, named), imagetest.Program(amd64, "2"), named), "holds two images " + ref + " for amd64: "},
		{"too deep", imagetest.Append(index(), nest(both, 5), named), "too many indexes within one another"},
		{"same image twice", imagetest.Append(imagetest.Append(index(), x86, named), x86, named), "amd64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			images, err := source(t, c.top).Find(t.Context(), ref, true)
			var got []string
			for _, a := range platform.All() {
				if i, ok := images[a]; ok {
					got = append(got, string(a))
					if i.Arch != a {
						t.Errorf("%s under %s", i.Arch, a)
					}
				}
			}
			if err == nil && strings.Join(got, " ") != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func nest(i v1.ImageIndex, times int) v1.ImageIndex {
	for range times {
		i = imagetest.Append(index(), i, v1.Descriptor{})
	}
	return i
}

func TestFind_Names(t *testing.T) {
	one := imagetest.Program(amd64, "one")
	digest, _ := one.Digest()
	refName := map[string]string{image.RefAnnotation: "docker.io/library/one:1"}
	s := source(t, imagetest.Append(imagetest.Append(index(), one, v1.Descriptor{Annotations: refName}),
		imagetest.Program(amd64, "two"), v1.Descriptor{Annotations: map[string]string{image.NameAnnotation: ref, image.RefAnnotation: "1"}}))
	for _, name := range []string{"docker.io/library/one:1", "one:1"} {
		if images, err := s.Find(t.Context(), name, true); err != nil || images[amd64].Digest != digest.String() {
			t.Errorf("%s: %v, %v", name, images, err)
		}
	}
	_, err := s.Find(t.Context(), "registry.test/three:1", true)
	if err == nil || !strings.HasSuffix(err.Error(), " holds no image registry.test/three:1 (it holds: docker.io/library/one:1, "+ref+")") {
		t.Errorf("got %v", err)
	}

	single := source(t, imagetest.Append(index(), one, v1.Descriptor{Annotations: refName}))
	if _, err := single.Find(t.Context(), ref, true); err != nil {
		t.Errorf("the only image under another name: %v", err)
	}
	if _, err := single.Find(t.Context(), ref, false); err == nil {
		t.Error("the only image stands in for one that was named")
	}
}

func TestFind_IndexOfAllWithBlobsOfOne(t *testing.T) {
	x86, arm := imagetest.Program(amd64, "1"), imagetest.Program(arm64, "1")
	dir := t.TempDir()
	imagetest.Layout(t, dir, map[string]v1.ImageIndex{ref: imagetest.Index(map[platform.Arch]v1.Image{amd64: x86, arm64: arm})})
	gone, _ := arm.Digest()
	if err := os.Remove(filepath.Join(dir, "blobs/sha256", gone.Hex)); err != nil {
		t.Fatal(err)
	}
	s, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if images, err := s.Find(t.Context(), ref, true); err != nil || len(images) != 1 || images[amd64].Arch != amd64 {
		t.Errorf("got %v, %v", images, err)
	}
	config, _ := x86.ConfigName()
	if err := os.Remove(filepath.Join(dir, "blobs/sha256", config.Hex)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(t.Context(), ref, true); err == nil || !strings.Contains(err.Error(), "blob "+config.String()+" is missing") {
		t.Errorf("without its config: %v", err)
	}
}

func TestOpen_Archives(t *testing.T) {
	img := imagetest.Program(arm64, "1")
	dir := t.TempDir()
	oci, docker := filepath.Join(dir, "oci.tar"), filepath.Join(dir, "docker.tar")
	imagetest.Layout(t, filepath.Join(dir, "oci"), map[string]v1.ImageIndex{ref: imagetest.Index(map[platform.Arch]v1.Image{arm64: img})})
	imagetest.Archive(t, filepath.Join(dir, "oci"), oci)
	imagetest.DockerArchive(t, docker, ref, img)
	links := filepath.Join(dir, "links.tar")
	imagetest.WithLinks(t, docker, links)
	for _, file := range []string{oci, docker, links} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			images := find(t, file)
			if problems, err := new(image.Inspector).Programs(t.Context(), images[arm64], true); err != nil || len(problems) > 0 {
				t.Errorf("got %v, %v", problems, err)
			}
		})
	}
	a, b := find(t, docker), find(t, docker)
	if a[arm64].Digest != b[arm64].Digest {
		t.Error("a docker archive gives another manifest each time")
	}
	for name, c := range map[string]struct {
		of   string
		size int64
		want string
	}{
		"header cut":  {oci, 700, "not a whole tar archive"},
		"content cut": {docker, 600, "docker.tar"},
	} {
		if err := os.Truncate(c.of, c.size); err != nil {
			t.Fatal(err)
		}
		if _, err := image.Open(c.of); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	nothing := filepath.Join(dir, "nothing.tar")
	imagetest.Archive(t, t.TempDir(), nothing)
	if _, err := image.Open(nothing); err == nil || !strings.Contains(err.Error(), "neither an OCI archive nor a docker archive") {
		t.Errorf("an empty archive: %v", err)
	}
}

func find(t *testing.T, file string) map[platform.Arch]image.Image {
	t.Helper()
	s, err := image.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	images, err := s.Find(t.Context(), ref, false)
	if err != nil || len(images) != 1 {
		t.Fatal(images, err)
	}
	return images
}
