package fetch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// A bundle is made of files that are here, and of what its source names by address.
func TestRemote_ABundleOfAddresses(t *testing.T) {
	w := newWorld(t, 1000)
	file := bundletest.Write(t, t.TempDir())
	source := string(read(t, file))
	sums := map[string]string{}
	for _, f := range w.set.Files {
		sums[f.Name+string(f.Arch)] = f.SHA256
	}
	for was, is := range map[string]string{
		"files: {amd64: bin/amd64/kubelet, arm64: bin/arm64/kubelet}": fmt.Sprintf(
			"files: {amd64: \"https://dl.test/kubelet/amd64/kubelet\", arm64: bin/arm64/kubelet}, sha256: {amd64: %s}", sums["kubeletamd64"]),
		"files: {amd64: bin/amd64/ctr, arm64: bin/arm64/ctr}": fmt.Sprintf(
			"files: {amd64: \"https://dl.test/containerd/amd64.tar.gz#bin/ctr\", arm64: \"https://dl.test/containerd/arm64.tar.gz#bin/ctr\"}, sha256: {amd64: %s, arm64: %s}",
			sums["containerdamd64"], sums["containerdarm64"]),
		"ref: registry.test/etcd:3.6.8-0, path: oci": "ref: registry.test/etcd:3.6.8-0, path: \"registry://registry.test/etcd:3.6.8-0\"",
	} {
		if !strings.Contains(source, was) {
			t.Fatalf("the source has no %q:\n%s", was, source)
		}
		source = strings.Replace(source, was, is, 1)
	}
	imagetest.WriteFile(t, file, []byte(source), 0o644)
	o := w.options(t.TempDir())
	o.Lock = filepath.Join(t.TempDir(), "bundle.lock")
	dir := filepath.Join(t.TempDir(), "bundle")
	create := func() error {
		r, err := NewRemote(t.Context(), o)
		if err != nil {
			return err
		}
		_, err = bundle.Create(t.Context(), file, dir, bundle.CreateOptions{Remote: r})
		return errors.Join(err, r.Close())
	}
	if err := create(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"amd64/kubernetes/kubelet": program(platform.AMD64, "kubelet", 1000), "arm64/containerd/ctr": program(platform.ARM64, "ctr", 1000)} {
		if got := read(t, dir, "bin", name); string(got) != string(want) {
			t.Errorf("%s is another file", name)
		}
	}
	if _, err := os.Stat(o.Lock); err != nil {
		t.Error(err)
	}
	w.requests()
	if err := create(); err != nil {
		t.Fatal(err)
	}
	if files, images := w.requests(); len(files)+images != 0 {
		t.Errorf("asked %v, and the registry %d times", files, images)
	}
	for _, e := range entries(t, o.Cache, "sha256") {
		if strings.HasPrefix(e, ".") {
			t.Errorf("%s was left", e)
		}
	}
	if _, err := bundle.Create(t.Context(), file, dir, bundle.CreateOptions{}); !errors.Is(err, bundle.ErrSource) {
		t.Errorf("%v", err)
	}
	imagetest.WriteFile(t, file, []byte(strings.Replace(source, sums["kubeletamd64"], strings.Repeat("ab", 32), 1)), 0o644)
	if err := create(); !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), "the bundle source says abab") {
		t.Errorf("%v", err)
	}
}
