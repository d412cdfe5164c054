package bundle_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

const amd64, arm64 = platform.AMD64, platform.ARM64

func TestCreate_WholeBundleVerifiesAndOpens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out", "bundle")
	umask := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(umask) })
	var last bundle.Progress
	created, err := bundle.Create(t.Context(), bundletest.Write(t, t.TempDir()), dir, bundle.CreateOptions{Progress: func(p bundle.Progress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	wantNoFindings(t, dir)
	opened, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(created.Manifest, opened.Manifest); d != "" {
		t.Error(d)
	}
	if last.Doing != "verify" || last.Bytes == 0 {
		t.Errorf("last progress: %+v", last)
	}
	if lacks := opened.Missing(bundletest.Version, platform.All(), bundle.Flannel, bundle.FlannelCNIPlugin); lacks != nil {
		t.Errorf("lacks %v", lacks)
	}
	kubelet := opened.Binaries(arm64, bundle.Kubernetes)[2]
	if kubelet.Name != "kubelet" || kubelet.Path != "bin/arm64/kubernetes/kubelet" {
		t.Errorf("kubelet: %+v", kubelet)
	}
	info, err := os.Stat(filepath.Join(dir, kubelet.Path))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("kubelet's mode: %v, %v", info.Mode(), err)
	}
	if names := entries(t, filepath.Dir(dir)); !slices.Equal(names, []string{"bundle"}) {
		t.Errorf("beside the bundle lies %v", names)
	}
}

func TestCreate_SameInputsGiveTheSameManifest(t *testing.T) {
	read := func(b *bundle.Bundle) string { return readFile(t, filepath.Join(b.Dir, bundle.ManifestFile)) }
	a := read(bundletest.Make(t))
	file := bundletest.Write(t, t.TempDir())
	replaceOnce(t, file, `(.*etcd.*\n)(.*coredns.*\n)`, "$2$1")
	replaceOnce(t, file, `(.*kubelet.*\n)(.*kubeadm.*\n)`, "$2$1")
	other, err := bundle.Create(t.Context(), file, filepath.Join(t.TempDir(), "bundle"), bundle.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b := read(other); a != b {
		t.Error(cmp.Diff(a, b))
	}
}

func TestCreate_OneProgramUnderSeveralNames(t *testing.T) {
	dir := t.TempDir()
	file := bundletest.Write(t, dir)
	replaceOnce(t, file, `arm64: bin/arm64/kubeadm`, "arm64: bin/arm64/kubelet")
	b, err := bundle.Create(t.Context(), file, filepath.Join(t.TempDir(), "bundle"), bundle.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantNoFindings(t, b.Dir)
	bins := b.Binaries(arm64, bundle.Kubernetes)
	adm, let := bins[0], bins[2]
	if adm.Name != "kubeadm" || adm.SHA256 != let.SHA256 || adm.Size != let.Size || adm.Path == let.Path {
		t.Errorf("%+v and %+v", adm, let)
	}
	one, errOne := os.Stat(filepath.Join(b.Dir, adm.Path))
	two, errTwo := os.Stat(filepath.Join(b.Dir, let.Path))
	source, errSource := os.Stat(filepath.Join(dir, "bin/arm64/kubelet"))
	if err := errors.Join(errOne, errTwo, errSource); err != nil || !os.SameFile(one, two) || os.SameFile(one, source) {
		t.Errorf("stored twice, or shared with the source: %v", err)
	}
}

func TestCreate_OneArchitecture(t *testing.T) {
	b := bundletest.Make(t, arm64)
	if got := b.Archs(); !slices.Equal(got, []platform.Arch{arm64}) {
		t.Errorf("archs: %v", got)
	}
}

func TestCreate_OtherFormsOfImage(t *testing.T) {
	dir := t.TempDir()
	file := bundletest.Write(t, dir)
	const ref = "registry.test/extra:1"
	want := map[platform.Arch]v1.Image{amd64: imagetest.Program(amd64, "extra"), arm64: imagetest.Program(arm64, "extra")}
	for a, img := range want {
		one := imagetest.Index(map[platform.Arch]v1.Image{a: img})
		imagetest.Layout(t, filepath.Join(dir, "one-"+string(a)), map[string]v1.ImageIndex{"x/other:1": one})
		imagetest.Archive(t, filepath.Join(dir, "one-"+string(a)), filepath.Join(dir, string(a)+".tar"))
		imagetest.DockerArchive(t, filepath.Join(dir, string(a)+"-docker.tar"), ref, img)
	}
	imagetest.Layout(t, filepath.Join(dir, "both"), map[string]v1.ImageIndex{ref: imagetest.Index(want), "x/other:1": imagetest.Index(want)})
	imagetest.Archive(t, filepath.Join(dir, "both"), filepath.Join(dir, "both.tar"))
	source := readFile(t, file)
	for _, form := range []string{
		"path: both.tar",
		"name: 'x/other:1', path: both.tar",
		"paths: {amd64: one-amd64, arm64: one-arm64}",
		"paths: {x86_64: amd64.tar, aarch64: arm64.tar}",
		"paths: {amd64: amd64-docker.tar, arm64: arm64-docker.tar}",
		"paths: {amd64: both, arm64: arm64-docker.tar}",
	} {
		t.Run(form, func(t *testing.T) {
			imagetest.WriteFile(t, file, []byte(source+"  - {ref: '"+ref+"', "+form+"}\n"), 0o644)
			b, err := bundle.Create(t.Context(), file, filepath.Join(t.TempDir(), "bundle"), bundle.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			img, _ := b.ImageByRef(ref)
			if len(img.Manifests) != 2 {
				t.Fatalf("%+v", img)
			}
			if digest, _ := want[amd64].Digest(); !strings.Contains(form, "docker") && img.Manifests[amd64] != digest.String() {
				t.Errorf("the manifest was rewritten: %s, was %s", img.Manifests[amd64], digest)
			}
		})
	}
}

func TestCreate_ReplacesOnlyABundle(t *testing.T) {
	old := bundletest.Make(t, arm64)
	file := bundletest.Write(t, t.TempDir())
	if _, err := bundle.Create(t.Context(), file, old.Dir, bundle.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wantNoFindings(t, old.Dir)
	if got := reopen(t, old.Dir).Archs(); len(got) != 2 {
		t.Errorf("still the old bundle: %v", got)
	}

	for what, make := range map[string]func(dir string){
		"is in the way":      func(dir string) { imagetest.WriteFile(t, dir, []byte("a file"), 0o644) },
		"holds precious":     func(dir string) { imagetest.WriteFile(t, filepath.Join(dir, "precious"), nil, 0o644) },
		"has no bundle.json": func(dir string) { imagetest.WriteFile(t, filepath.Join(dir, "bin", "precious"), nil, 0o644) },
		"holds bundle.yaml":  func(dir string) { bundletest.Write(t, dir) },
	} {
		t.Run(what, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "bundle")
			make(dir)
			before := entries(t, parent)
			_, err := bundle.Create(t.Context(), file, dir, bundle.CreateOptions{})
			if !errors.Is(err, bundle.ErrNotBundle) || !strings.Contains(err.Error(), what) {
				t.Errorf("got %v", err)
			}
			if after := entries(t, parent); !slices.Equal(before, after) {
				t.Errorf("left %v", after)
			}
		})
	}
	empty := t.TempDir()
	if _, err := bundle.Create(t.Context(), file, empty, bundle.CreateOptions{}); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestCreate_InterruptedLeavesNothing(t *testing.T) {
	file := bundletest.Write(t, t.TempDir())
	for _, phase := range []string{"copy", "verify"} {
		old := bundletest.Make(t, arm64)
		before := readFile(t, filepath.Join(old.Dir, bundle.ManifestFile))
		ctx, cancel := context.WithCancel(t.Context())
		after := 0
		_, err := bundle.Create(ctx, file, old.Dir, bundle.CreateOptions{Progress: func(p bundle.Progress) {
			if ctx.Err() != nil {
				after++
			}
			if p.Bytes > 100 && p.Doing == phase { // in the binaries
				cancel()
			}
		}})
		if after > 0 {
			t.Errorf("%s: %d more pieces were copied after the end", phase, after)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", phase, err)
		}
		if names := entries(t, filepath.Dir(old.Dir)); !slices.Equal(names, []string{"bundle"}) {
			t.Errorf("%s: left %v", phase, names)
		}
		if after := readFile(t, filepath.Join(old.Dir, bundle.ManifestFile)); after != before {
			t.Errorf("%s: the old bundle is not what it was", phase)
		}
		wantNoFindings(t, old.Dir)
	}
}

func TestCreate_MendsWhatAKilledRunLeft(t *testing.T) {
	old := bundletest.Make(t, arm64)
	parent := filepath.Dir(old.Dir)
	file := bundletest.Write(t, t.TempDir())
	if err := os.Rename(old.Dir, filepath.Join(parent, ".bundle.old")); err != nil { // killed between the two renames
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := bundle.Create(ctx, file, old.Dir, bundle.CreateOptions{Progress: func(bundle.Progress) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := reopen(t, old.Dir).Archs(); len(got) != 1 {
		t.Errorf("not the old bundle: %v", got)
	}
	imagetest.WriteFile(t, filepath.Join(parent, ".bundle.new", "bin", "half"), []byte("half"), 0o644)
	if _, err := bundle.Create(t.Context(), file, old.Dir, bundle.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wantNoFindings(t, old.Dir)
	if names := entries(t, parent); !slices.Equal(names, []string{"bundle"}) {
		t.Errorf("left %v", names)
	}
}

func TestCreate_SecondRunAtOnceIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	file := bundletest.Write(t, t.TempDir())
	tried := false
	_, err := bundle.Create(t.Context(), file, dir, bundle.CreateOptions{Progress: func(bundle.Progress) {
		if tried {
			return
		}
		tried = true
		if _, err := bundle.Create(t.Context(), file, dir, bundle.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "another run is making") {
			t.Errorf("got %v", err)
		}
	}})
	if err != nil || !tried {
		t.Errorf("the first run: %v", err)
	}
	wantNoFindings(t, dir)
}

func wantNoFindings(t *testing.T, dir string) {
	t.Helper()
	findings, err := bundle.Verify(t.Context(), dir)
	if err != nil || len(findings) > 0 {
		t.Errorf("findings %v, error %v", findings, err)
	}
}

func reopen(t *testing.T, dir string) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
