package bundle_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// composed is a store of blobs, and parts of it: an index of both architectures and of Windows, of which one architecture is taken.
func composed(t *testing.T) (bundle.Parts, string) {
	t.Helper()
	index := imagetest.Index(map[platform.Arch]v1.Image{platform.AMD64: imagetest.Program(platform.AMD64, "x"), platform.ARM64: imagetest.Program(platform.ARM64, "x")})
	index = imagetest.Append(index, imagetest.Program(platform.AMD64, "y"), v1.Descriptor{Platform: &v1.Platform{OS: "windows", Architecture: "amd64"}})
	store := t.TempDir()
	const ref = "registry.test/etcd:1"
	imagetest.Layout(t, store, map[string]v1.ImageIndex{ref: index})
	file := func(digest string) string {
		return filepath.Join(store, "blobs/sha256", strings.TrimPrefix(digest, "sha256:"))
	}
	raw, err := index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	listing, err := image.ReadListing(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	child := listing.Children[platform.ARM64].Digest
	if raw, err = os.ReadFile(file(child)); err != nil {
		t.Fatal(err)
	}
	manifest, err := image.ReadListing(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	part := bundle.PartImage{Blobs: []string{listing.Digest, child}, Image: bundle.Image{Component: bundle.Etcd, Ref: ref, Digest: listing.Digest,
		Archs: []platform.Arch{platform.ARM64}, Manifests: map[platform.Arch]string{platform.ARM64: child}}}
	for _, b := range manifest.Content {
		part.Blobs = append(part.Blobs, b.Digest)
	}
	return bundle.Parts{KubernetesVersion: "v1.36.3", Images: []bundle.PartImage{part}, File: file}, store
}

func TestCompose_KeepsAnIndexOfWhichItHasOneImage(t *testing.T) {
	parts, store := composed(t)
	dir := filepath.Join(t.TempDir(), "bundle")
	b, err := bundle.Compose(t.Context(), parts, dir, bundle.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, "oci/blobs/sha256", strings.TrimPrefix(parts.Images[0].Blobs[2], "sha256:"))
	one, err := os.Stat(blob)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Stat(parts.File(parts.Images[0].Blobs[2]))
	if err != nil || !os.SameFile(one, other) {
		t.Errorf("a blob takes room twice: %v", err)
	}
	if err := os.RemoveAll(store); err != nil { // the bundle needs it no more
		t.Fatal(err)
	}
	if findings, err := bundle.Verify(t.Context(), dir); err != nil || len(findings) != 0 {
		t.Errorf("%v %v", findings, err)
	}
	// What the index names and no one claims is no finding; what is claimed has to be there.
	if err := os.Remove(filepath.Join(dir, "oci/blobs/sha256", strings.TrimPrefix(b.Manifest.Images[0].Manifests[platform.ARM64], "sha256:"))); err != nil {
		t.Fatal(err)
	}
	findings, err := bundle.Verify(t.Context(), dir)
	if err != nil || len(findings) == 0 || !strings.Contains(findings[0].Problem, "is missing") {
		t.Errorf("%v %v", findings, err)
	}
}

func TestCompose_RefusesWhatIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bundle.Parts)
		want   string
	}{
		"a name that leads out": {func(p *bundle.Parts) {
			p.Binaries = []bundle.Binary{{Component: bundle.Runc, Name: "../runc", Version: "v1", Arch: platform.ARM64, SHA256: strings.Repeat("0", 64), Size: 1}}
		}, `the binary "../runc"`},
		"an unknown component": {func(p *bundle.Parts) { p.Images[0].Component = "toaster" }, "unknown component"},
		"a blob of another image": {func(p *bundle.Parts) {
			p.Images[0].Manifests = map[platform.Arch]string{platform.AMD64: p.Images[0].Manifests[platform.ARM64]}
			p.Images[0].Archs = []platform.Arch{platform.AMD64}
		}, "does not claim"},
	} {
		t.Run(name, func(t *testing.T) {
			parts, _ := composed(t)
			c.change(&parts)
			dir := filepath.Join(t.TempDir(), "bundle")
			_, err := bundle.Compose(t.Context(), parts, dir, bundle.CreateOptions{})
			if !errors.Is(err, bundle.ErrSource) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("something was made")
			}
		})
	}
}
