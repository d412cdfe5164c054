package bundle_test

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

const kubelet = "bin/arm64/kubernetes/kubelet"

// damage is something done to a good bundle.
type damage struct {
	name   string
	do     func(t *testing.T, dir string)
	open   string   // what Open says; "" = it cannot see it
	verify []string // what Verify finds, each a regular expression for a whole finding
}

var damages = []damage{
	{"bit in a binary", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, kubelet)) }, "",
		[]string{kubelet + `: has another content than when the bundle was made`}},
	{"binary cut off", cut(kubelet), `bin/arm64/kubernetes/kubelet has \d+ bytes, not \d+`, []string{kubelet + `: has another content .*`}},
	{"binary missing", remove(kubelet), kubelet + ` is missing`, []string{kubelet + `: is missing`}},
	{"binary exchanged for the other machine's", func(t *testing.T, dir string) {
		imagetest.WriteFile(t, filepath.Join(dir, kubelet), imagetest.ELFMachine(elf.EM_X86_64), 0o755)
		relist(t, dir, kubelet)
	}, "", []string{kubelet + `: is an executable for amd64, not arm64`}},
	{"bit in a layer", func(t *testing.T, dir string) { flip(t, largestBlob(t, filepath.Join(dir, "oci"))) }, "",
		[]string{`oci/blobs/sha256/\w+: has another content than its name, the digest, says`, `registry.test/kube-.* \(\w+\): its layer sha256:\w+ .*`}},
	{"layer cut off", func(t *testing.T, dir string) { cutFile(t, largestBlob(t, filepath.Join(dir, "oci"))) },
		`image registry.test/kube-[a-z-]+:v1.36.3 for \w+: blob sha256:\w+ has \d+ bytes, not \d+`,
		[]string{`oci/blobs/sha256/\w+: has another content .*`, `registry.test/kube-[a-z-]+:v1.36.3 \(\w+\): blob sha256:\w+ has \d+ bytes, not \d+`}},
	{"layer missing", func(t *testing.T, dir string) { removeLargestBlob(t, dir) }, `blob sha256:\w+ is missing`,
		[]string{`registry.test/kube-[a-z-]+:v1.36.3 \(\w+\): blob sha256:\w+ is missing`}},
	{"manifest of one architecture missing", manifest(os.Remove), `image registry.test/etcd:3.6.8-0 for arm64: blob sha256:\w+ is missing`,
		[]string{`registry.test/etcd:3.6.8-0: blob sha256:\w+ is missing`, `registry.test/etcd:3.6.8-0: the index does not hold the image for arm64`}},
	{"bit in a manifest", manifest(flipFile), `etcd:3.6.8-0 for arm64: blob sha256:\w+ is damaged`,
		[]string{`oci/blobs/sha256/\w+: has another content .*`, `registry.test/etcd:3.6.8-0: blob sha256:\w+ is damaged.*`}},
	{"index.json without an image", edit("oci/index.json", "etcd:3.6.8-0", "etcd:other"), "",
		[]string{`registry.test/etcd:3.6.8-0: index.json gives the digest "" for it.*`, `registry.test/etcd:other: is in the image layout but not in bundle.json`}},
	{"index.json names two alike", edit("oci/index.json", "etcd:3.6.8-0", "coredns:v1.14.2"), "",
		[]string{`oci: index.json: entry sha256:\w+ has no name, or the name of another one`}},
	{"index.json missing", remove("oci/index.json"), `oci: index.json: no such file`, []string{`oci: .*index.json: no such file or directory`}},
	{"index.json cut off", cut("oci/index.json"), `index.json: .*`, []string{`oci: index.json: .*`}},
	{"claims more than the index holds", claimTooMuch, "", []string{`registry.test/etcd:3.6.8-0: the index does not hold the image for arm64`, `oci/blobs/sha256/\w+: does not belong to the bundle`}},
	{"index lies", lie, "", []string{`registry.test/etcd:3.6.8-0: image sha256:\w+: the index says arm64, its config says amd64`,
		`image sha256:\w+: the index says amd64, its config says arm64`}},
	{"claims less than the index holds", claimTooLittle, "", []string{`registry.test/etcd:3.6.8-0: the index holds sha256:\w+ for arm64, which bundle.json does not claim`}},
	{"stray file", textFile("bin/arm64/extra", "x"), "", []string{`bin/arm64/extra: does not belong to the bundle`}},
	{"stray blob", textFile("oci/blobs/sha256/2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", "x"), "",
		[]string{`oci/blobs/sha256/2d71\w+: does not belong to the bundle`}},
	{"binary is a link", func(t *testing.T, dir string) {
		away := filepath.Join(t.TempDir(), "kubelet")
		imagetest.WriteFile(t, away, []byte(readFile(t, filepath.Join(dir, kubelet))), 0o755)
		if err := errors.Join(os.Remove(filepath.Join(dir, kubelet)), os.Symlink(away, filepath.Join(dir, kubelet))); err != nil {
			t.Fatal(err)
		}
	}, "", []string{kubelet + `: is not a regular file`}},
}

func TestVerify_FindsDamage(t *testing.T) {
	good := bundletest.Make(t)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(good.Dir)); err != nil {
				t.Fatal(err)
			}
			d.do(t, dir)
			_, err := bundle.Open(dir)
			switch {
			case d.open == "" && err != nil:
				t.Errorf("Open: %v", err)
			case d.open != "" && (!errors.Is(err, bundle.ErrDamaged) || !regexp.MustCompile(d.open).MatchString(err.Error())):
				t.Errorf("Open: got %v, want %s", err, d.open)
			}
			findings, err := bundle.Verify(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, f := range findings {
				lines = append(lines, f.String())
			}
			for _, want := range d.verify {
				if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(strings.Join(lines, "\n")) {
					t.Errorf("no finding %q in\n%s", want, strings.Join(lines, "\n"))
				}
			}
			if len(d.verify) == 1 && len(lines) != 1 {
				t.Errorf("more findings than the one:\n%s", strings.Join(lines, "\n"))
			}
		})
	}
}

func TestOpen_NotABundle(t *testing.T) {
	good := readFile(t, filepath.Join(bundletest.Make(t).Dir, bundle.ManifestFile))
	for _, c := range []struct{ name, old, new, want string }{
		{"no JSON", `(?s).*`, "", "bundle.json: it is no JSON document, or a damaged one"},
		{"another kind", `"Bundle"`, `"List"`, "it is hybridctl.dev/v1alpha1 List, not hybridctl.dev/v1alpha1 Bundle"},
		{"another version", `v1alpha1`, "v9", "it is hybridctl.dev/v9 Bundle"},
		{"unknown field", `"kind"`, `"colour": "red", "kind"`, `bundle.json: its field "colour" is not known`},
		{"something after it", `(?s)$`, "{}", "it is no JSON document, or a damaged one"},
		{"path out of the bundle", `"bin/arm64/runc/runc"`, `"../../etc/passwd"`, "bad name or path"},
		{"path to another's place", `"bin/arm64/runc/runc"`, `"bin/amd64/runc/runc"`, "bad name or path"},
		{"unknown architecture", `"arch": "arm64"`, `"arch": "sparc"`, `unknown architecture "sparc"`},
		{"unknown component", `"component": "runc"`, `"component": "crun"`, `unknown component "crun"`},
		{"bad sha256", `"sha256": "..`, `"sha256": "zz`, "bad sha256"},
		{"bad digest", `"digest": "sha256:..`, `"digest": "sha256:zz`, "bad digest"},
		{"manifest missing", `"arm64": "sha256:\w+"`, `"arm64": ""`, "no manifest for it"},
		{"archs and manifests", `,\s+"arm64": "sha256:\w+"`, ``, "archs and manifests do not agree"},
		{"image twice", `registry.test/etcd:3.6.8-0`, "registry.test/coredns:v1.14.2", "stands twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, bundle.ManifestFile)
			imagetest.WriteFile(t, file, []byte(good), 0o644)
			replaceOnce(t, file, c.old, c.new)
			_, err := bundle.Open(dir)
			if !errors.Is(err, bundle.ErrNotBundle) || !strings.Contains(err.Error(), c.want) || hint.Text(err) == "" {
				t.Errorf("Open: %v (%s)", err, hint.Text(err))
			}
			if _, err := bundle.Verify(t.Context(), dir); !errors.Is(err, bundle.ErrNotBundle) {
				t.Errorf("Verify: %v", err)
			}
		})
	}
	empty := t.TempDir()
	if _, err := bundle.Open(empty); !errors.Is(err, bundle.ErrNotBundle) || err.Error() != empty+" is not a bundle: it has no bundle.json" || !strings.Contains(hint.Text(err), "hybridctl bundle fetch") {
		t.Errorf("empty directory: %v (%s)", err, hint.Text(err))
	}
	if _, err := bundle.Open("/nowhere"); !errors.Is(err, bundle.ErrNotBundle) || err.Error() != "there is no bundle /nowhere" || !strings.Contains(hint.Text(err), "hybridctl bundle fetch") {
		t.Errorf("no directory: %v", err)
	}
}

func TestVerify_Interrupted(t *testing.T) {
	b := bundletest.Make(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if findings, err := bundle.Verify(ctx, b.Dir); !errors.Is(err, context.Canceled) || findings != nil {
		t.Errorf("got %v, %v", findings, err)
	}
}

func cutFile(t *testing.T, name string) {
	t.Helper()
	raw := readFile(t, name)
	if err := os.Truncate(name, int64(len(raw)/2)); err != nil {
		t.Fatal(err)
	}
}

func cut(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { cutFile(t, filepath.Join(dir, name)) }
}

func edit(name, old, new string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		file := filepath.Join(dir, name)
		imagetest.WriteFile(t, file, []byte(strings.ReplaceAll(readFile(t, file), old, new)), 0o644)
	}
}

func flipFile(name string) error {
	raw, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	raw[len(raw)/2] ^= 1
	return os.WriteFile(name, raw, 0o644)
}

// manifest does something to the blob of etcd's arm64 manifest.
func manifest(do func(string) error) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		i, _ := reopen(t, dir).Image(bundle.Etcd)
		if err := do(filepath.Join(dir, "oci/blobs", strings.Replace(i.Manifests[arm64], ":", "/", 1))); err != nil {
			t.Fatal(err)
		}
	}
}

// rewrite changes bundle.json as someone would who knows its form.
func rewrite(t *testing.T, dir string, change func(*bundle.Manifest)) {
	t.Helper()
	m := reopenManifest(t, dir)
	change(&m)
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	imagetest.WriteFile(t, filepath.Join(dir, bundle.ManifestFile), raw, 0o644)
}

func reopenManifest(t *testing.T, dir string) bundle.Manifest {
	t.Helper()
	var m bundle.Manifest
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(dir, bundle.ManifestFile))), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// relist puts a changed binary's digest and size into bundle.json.
func relist(t *testing.T, dir, name string) {
	raw := []byte(readFile(t, filepath.Join(dir, name)))
	rewrite(t, dir, func(m *bundle.Manifest) {
		for i := range m.Binaries {
			if m.Binaries[i].Path == name {
				m.Binaries[i].Size, m.Binaries[i].SHA256 = int64(len(raw)), fmt.Sprintf("%x", sha256.Sum256(raw))
			}
		}
	})
}

func onImage(m *bundle.Manifest, component string, change func(*bundle.Image)) {
	for i := range m.Images {
		if m.Images[i].Component == component {
			change(&m.Images[i])
		}
	}
}

// claimTooMuch exchanges etcd's index for one that holds amd64 only; bundle.json still claims both.
func claimTooMuch(t *testing.T, dir string) {
	exchangeIndex(t, dir, func(index *v1.IndexManifest) { index.Manifests = index.Manifests[:1] })
}

// lie exchanges etcd's index for one that gives both images out as the other architecture's.
func lie(t *testing.T, dir string) {
	exchangeIndex(t, dir, func(index *v1.IndexManifest) {
		m := index.Manifests
		m[0].Platform, m[1].Platform = m[1].Platform, m[0].Platform
	})
}

func exchangeIndex(t *testing.T, dir string, change func(*v1.IndexManifest)) {
	rewrite(t, dir, func(m *bundle.Manifest) {
		onImage(m, bundle.Etcd, func(i *bundle.Image) {
			old := filepath.Join(dir, "oci/blobs", strings.Replace(i.Digest, ":", "/", 1))
			index, err := v1.ParseIndexManifest(strings.NewReader(readFile(t, old)))
			if err != nil {
				t.Fatal(err)
			}
			change(index)
			raw, err := json.Marshal(index)
			if err != nil {
				t.Fatal(err)
			}
			digest := fmt.Sprintf("%x", sha256.Sum256(raw))
			imagetest.WriteFile(t, filepath.Join(dir, "oci/blobs/sha256", digest), raw, 0o644)
			edit("oci/index.json", i.Digest, "sha256:"+digest)(t, dir)
			if err := os.Remove(old); err != nil {
				t.Fatal(err)
			}
			i.Digest = "sha256:" + digest
		})
	})
}

// claimTooLittle takes arm64 of etcd out of bundle.json.
func claimTooLittle(t *testing.T, dir string) {
	rewrite(t, dir, func(m *bundle.Manifest) {
		onImage(m, bundle.Etcd, func(i *bundle.Image) {
			delete(i.Manifests, arm64)
			i.Archs = []platform.Arch{amd64}
		})
	})
}
