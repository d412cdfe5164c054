package image_test

import (
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

func digestOfImage(t *testing.T, img v1.Image) string {
	t.Helper()
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

func TestHolds(t *testing.T) {
	s := registrytest.New(t)
	x86, arm := imagetest.Program(platform.AMD64, "x"), imagetest.Program(platform.ARM64, "x")
	s.Index(t, "kube/whole", "1", imagetest.Index(map[platform.Arch]v1.Image{platform.AMD64: x86, platform.ARM64: arm}))
	s.Image(t, "kube/half", "1", x86)
	wanted := map[platform.Arch]string{platform.AMD64: digestOfImage(t, x86), platform.ARM64: digestOfImage(t, arm)}
	asker := &image.Asker{Registry: plain(t)}
	for name, test := range map[string]struct {
		manifests  map[platform.Arch]string
		amd, arm64 string // what the errors say
	}{
		"kube/whole:1": {wanted, "", ""},
		"kube/half:1":  {wanted, "", "is not there: it is for linux/amd64"},
		"kube/none:1":  {wanted, "kube/none:1 is not there", "kube/none:1 is not there"},
		"kube/whole:2": {map[platform.Arch]string{platform.AMD64: digestOfImage(t, x86)}, "", ""},
	} {
		got := asker.Holds(t.Context(), s.Host()+"/"+name, nil, test.manifests)
		for arch, want := range map[platform.Arch]string{platform.AMD64: test.amd, platform.ARM64: test.arm64} {
			err := got[arch]
			if (err == nil) != (want == "") || err != nil && (!errors.Is(err, image.ErrAbsent) || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s for %s: %v, want %q", name, arch, err, want)
			}
		}
	}
	other := asker.Holds(t.Context(), s.Host()+"/kube/whole:1", nil, map[platform.Arch]string{platform.ARM64: digestOf("a")})[platform.ARM64]
	if other == nil || !strings.Contains(other.Error(), "another image ("+digestOfImage(t, arm)) {
		t.Errorf("another image of that name: %v", other)
	}
}
