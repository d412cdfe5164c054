package bundle_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

const probeRef = bundletest.Registry + "/probe:2"

// withPrograms is a bundle with an image of the component probe that is made of executables.
func withPrograms(t *testing.T) *bundle.Bundle {
	t.Helper()
	dir := t.TempDir()
	file := bundletest.Write(t, dir)
	for _, a := range platform.All() {
		imagetest.WriteFile(t, filepath.Join(dir, "probe-"+string(a)), append(imagetest.ELF(a), "probe"...), 0o755)
	}
	replaceOnce(t, file, `\n$`, "\n  - {component: probe, ref: "+probeRef+", programs: {x86_64: probe-amd64, aarch64: probe-arm64}}\n")
	b, err := bundle.Create(t.Context(), file, filepath.Join(t.TempDir(), "bundle"), bundle.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCreate_ImageOfPrograms(t *testing.T) {
	b := withPrograms(t)
	wantNoFindings(t, b.Dir)
	i, ok := reopen(t, b.Dir).Image(bundle.Probe)
	if !ok || i.Ref != probeRef || !slices.Equal(i.Archs, platform.All()) || i.Manifests[amd64] == i.Manifests[arm64] {
		t.Errorf("%+v", i)
	}
	again, _ := withPrograms(t).Image(bundle.Probe)
	if again.Digest != i.Digest {
		t.Error("the same programs give another image")
	}
	if lacks := b.Missing(bundletest.Version, platform.All(), bundle.Probe); lacks != nil {
		t.Errorf("lacks %v", lacks)
	}
}

// variant writes a variant of the probe as an archive and opens it.
func variant(t *testing.T, b *bundle.Bundle, holds, claims platform.Arch, salt string) image.Image {
	t.Helper()
	const ref = "conformance.invalid/x:1"
	var out bytes.Buffer
	v := bundle.Variant{Ref: ref, Component: bundle.Probe, Holds: holds, Claims: claims, Labels: map[string]string{"salt": salt}}
	if err := b.WriteVariants(t.Context(), &out, []bundle.Variant{v}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "variant.tar")
	imagetest.WriteFile(t, file, out.Bytes(), 0o644)
	s, err := image.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	images, err := s.Find(t.Context(), ref, false)
	if err != nil || len(images) != 1 || images[claims].Arch != claims {
		t.Fatal(images, err)
	}
	return images[claims]
}

func TestVariant(t *testing.T) {
	b := withPrograms(t)
	held, _ := b.Image(bundle.Probe)
	problems := func(i image.Image) []string {
		found, err := new(image.Inspector).Programs(t.Context(), i, true)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	digests := map[string]bool{held.Manifests[arm64]: true, held.Manifests[amd64]: true}
	for _, salt := range []string{"run-1/arm-1", "run-1/arm-2"} {
		honest := variant(t, b, arm64, arm64, salt)
		if p := problems(honest); len(p) > 0 {
			t.Errorf("an honest one: %v", p)
		}
		lying := variant(t, b, amd64, arm64, salt)
		if p := problems(lying); len(p) == 0 || p[0] != "its program /probe is an executable for amd64, not arm64" {
			t.Errorf("a lying one: %v", p)
		}
		for _, i := range []image.Image{honest, lying} {
			if digests[i.Digest] {
				t.Error("a digest that was there before")
			}
			digests[i.Digest] = true
		}
	}
}

func TestVariant_OfWhatIsNotThere(t *testing.T) {
	b := bundletest.Make(t, arm64)
	write := func(component string, holds, claims platform.Arch) error {
		return b.WriteVariants(t.Context(), io.Discard, []bundle.Variant{{Ref: "x/y:1", Component: component, Holds: holds, Claims: claims}})
	}
	if err := write(bundle.Probe, arm64, arm64); !errors.Is(err, bundle.ErrDamaged) || !strings.Contains(err.Error(), "has no image of component probe for arm64") {
		t.Errorf("of a component it does not hold: %v", err)
	}
	if err := write(bundle.Etcd, amd64, arm64); !errors.Is(err, bundle.ErrDamaged) || !strings.Contains(err.Error(), "has no image of component etcd for amd64") {
		t.Errorf("of an architecture it does not hold: %v", err)
	}
	if err := write(bundle.Etcd, arm64, amd64); err != nil {
		t.Errorf("that claims one it does not hold: %v", err)
	}
}
