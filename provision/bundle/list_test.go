package bundle_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

func TestMissing(t *testing.T) {
	whole, armOnly := bundletest.Make(t), bundletest.Make(t, arm64)
	want := []string{"Kubernetes v1.37.0 (it has v1.36.3)", "the image calico for amd64", "the image calico for arm64"}
	if d := cmp.Diff(want, whole.Missing("v1.37.0", platform.All(), bundle.Flannel, "calico")); d != "" {
		t.Error(d)
	}
	lacks := armOnly.Missing(bundletest.Version, platform.All(), bundle.Flannel)
	for _, line := range []string{"the binary kubelet (kubernetes) for amd64", "the binary runc (runc) for amd64", "the image pause for amd64",
		"the image flannel for amd64"} {
		if !slices.Contains(lacks, line) {
			t.Errorf("no %q in %q", line, lacks)
		}
	}
	if n := 11 + 7 + 1; len(lacks) != n {
		t.Errorf("%d lines, not %d: %q", len(lacks), n, lacks)
	}
}

func TestImageByComponent(t *testing.T) {
	b := bundletest.Make(t, arm64)
	if i, ok := b.Image(bundle.Pause); !ok || i.Ref != "registry.test/pause:3.10.2" {
		t.Errorf("pause: %+v", i)
	}
	if i, ok := b.Image(""); ok {
		t.Errorf("no component is no component, not %s", i.Ref)
	}
	if _, ok := b.ImageByRef(bundletest.Probe); !ok {
		t.Error("the image without a component is not found by its name")
	}
}

func TestOpenBinary(t *testing.T) {
	b := bundletest.Make(t, arm64)
	runc := b.Binaries(arm64, bundle.Runc)[0]
	r, err := b.OpenBinary(runc)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.Seek(0, io.SeekEnd); n != runc.Size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := os.Remove(filepath.Join(b.Dir, runc.Path)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.OpenBinary(runc); !errors.Is(err, bundle.ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

func TestList(t *testing.T) {
	b := bundletest.Make(t)
	items, err := b.List()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, i := range items {
		lines = append(lines, i.Kind+" "+i.Component+" "+i.Name+" "+i.Version)
		if !slices.Equal(i.Archs, platform.All()) || i.Sizes[amd64] < 64 || i.Sizes[arm64] < 64 {
			t.Errorf("%+v", i)
		}
	}
	want := []string{
		"binary cni-plugins bridge v1.9.1", "binary cni-plugins host-local v1.9.1", "binary cni-plugins loopback v1.9.1", "binary cni-plugins portmap v1.9.1",
		"binary containerd containerd v2.4.2", "binary containerd containerd-shim-runc-v2 v2.4.2", "binary containerd ctr v2.4.2",
		"binary kubernetes kubeadm v1.36.3", "binary kubernetes kubectl v1.36.3", "binary kubernetes kubelet v1.36.3",
		"binary runc runc v1.5.2",
		"image  registry.test/probe 1", "image coredns registry.test/coredns v1.14.2", "image etcd registry.test/etcd 3.6.8-0",
		"image flannel registry.test/flannel v0.28.4", "image flannel-cni-plugin registry.test/flannel-cni-plugin v1.9.1-flannel1",
		"image kube-apiserver registry.test/kube-apiserver v1.36.3", "image kube-controller-manager registry.test/kube-controller-manager v1.36.3",
		"image kube-proxy registry.test/kube-proxy v1.36.3", "image kube-scheduler registry.test/kube-scheduler v1.36.3", "image pause registry.test/pause 3.10.2",
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
}
