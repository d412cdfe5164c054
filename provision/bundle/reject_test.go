package bundle_test

import (
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// mutation spoils the sources of a good bundle: text is replaced in bundle.yaml, or files changed.
type mutation struct {
	name     string
	old, new string
	files    func(t *testing.T, dir string)
	want     []string // each a regular expression that must be a whole line of the error, after "…/bundle.yaml:"
}

var mutations = []mutation{
	{name: "empty file", old: `(?s).*`, new: "", want: []string{`1:1: not a YAML document: the file is empty`}},
	{name: "not YAML", old: `(?s)^`, new: "\t", want: []string{`1:1: not a YAML document: .*`}},
	{name: "a list", old: `(?s).*`, new: "- x", want: []string{`1:1: must be a mapping, not a list`}},
	{name: "two documents", old: `(?s)$`, new: "---\nx: y\n", want: []string{`\d+:1: ---: a second document; .*`}},
	{name: "other version", old: `v1alpha1`, new: "v2", want: []string{`1:13: apiVersion: must be hybridctl.dev/v1alpha1`}},
	{name: "other kind", old: `BundleSource`, new: "Cluster", want: []string{`2:7: kind: must be BundleSource`}},
	{name: "unknown field", old: `(?m)^kind`, new: "colour: red\nkind",
		want: []string{`2:1: colour: unknown field \(known: apiVersion, kind, .*`}},
	{name: "unknown field of an image", old: `ref: registry.test/etcd`, new: "tag: x, ref: registry.test/etcd",
		want: []string{`\d+:\d+: images\[4\].tag: unknown field \(known: component, ref, name, path, paths, programs\)`}},
	{name: "doubled field", old: `(?m)^kind: .*$`, new: "kind: BundleSource\nkind: BundleSource", want: []string{`3:1: kind: stands twice`}},
	{name: "wrong type", old: `architectures: .*`, new: "architectures: amd64",
		want: []string{`4:16: architectures: must be a list, not a single value`}},
	{name: "a number as version", old: `name: runc, version: v1.5.2`, new: "name: runc, version: 1.5",
		want: []string{`\d+:\d+: binaries\[6\].version: must be a string \(put quotes around 1.5\)`, `.*binaries\[6\].version: is missing`}},
	{name: "empty value", old: `path: oci}`, new: "path: }", want: []string{`.*images\[0\].path: must be a string \(put quotes around it\)`}},
	{name: "bad Kubernetes version", old: `kubernetesVersion: v`, new: "kubernetesVersion: ",
		want: []string{`3:20: kubernetesVersion: must be a version with the v .*`, `.*binaries\[0\].version: is v1.36.3, but kubernetesVersion is 1.36.3`}},
	{name: "unknown architecture", old: `\[amd64, arm64\]`, new: "[amd64, arm64, sparc]",
		want: []string{`4:31: architectures\[2\]: unknown architecture "sparc" .*`}},
	{name: "architecture twice", old: `\[amd64, arm64\]`, new: "[amd64, arm64, aarch64]", want: []string{`.*architectures\[2\]: arm64 stands twice`}},
	{name: "no architecture", old: `\[amd64, arm64\]`, new: "[]", want: []string{`4:16: architectures: name at least one.*`}},
	{name: "architecture not wanted", old: `\[amd64, arm64\]`, new: "[amd64]",
		want: []string{`6:\d+: binaries\[0\].files.arm64: arm64 is not among architectures`}},

	{name: "address without a sum", old: `amd64: bin/amd64/runc`, new: `amd64: "https://x.test/runc"`,
		want: []string{`.*binaries\[6\].files.amd64: needs the sha256 of what is there: .*`}},
	{name: "address without TLS", old: `amd64: bin/amd64/runc`, new: `amd64: "http://x.test/runc"`,
		want: []string{`.*binaries\[6\].files.amd64: begins with http://, and only https:// is fetched`}},
	{name: "address with a password", old: `amd64: bin/amd64/runc`, new: `amd64: "https://me:secret@x.test/runc"`,
		want: []string{`.*binaries\[6\].files.amd64: holds a name or a password, which is refused`}},
	{name: "sum of what is here", old: `arm64: bin/arm64/runc}`, new: `arm64: bin/arm64/runc}, sha256: {amd64: abc}`,
		want: []string{`.*binaries\[6\].sha256.amd64: goes with an address; what lies here is taken as it is`}},
	{name: "sum of nothing", old: `arm64: bin/arm64/runc}`, new: `arm64: bin/arm64/runc}, sha256: {sparc: abc}`,
		want: []string{`.*binaries\[6\].sha256.sparc: is of no file`}},
	{name: "image of another scheme", old: `ref: registry.test/etcd:3.6.8-0, path: oci`, new: `ref: registry.test/etcd:3.6.8-0, path: "docker://x.test/etcd:1"`,
		want: []string{`.*images\[4\].path: begins with docker://, and only registry:// is fetched`}},
	{name: "image without a tag", old: `ref: registry.test/etcd:3.6.8-0, path: oci`, new: `ref: registry.test/etcd:3.6.8-0, path: "registry://x.test/etcd"`,
		want: []string{`.*images\[4\].path: "x.test/etcd" is not a full image name with registry and tag, .*`}},
	{name: "image by parts from elsewhere", old: `ref: registry.test/etcd:3.6.8-0, path: oci`, new: `ref: registry.test/etcd:3.6.8-0, paths: {amd64: "registry://x.test/etcd:1", arm64: oci}`,
		want: []string{`.*images\[4\].paths.amd64: is fetched only as a whole: path: registry://…`}},
	{name: "unknown component", old: `component: runc`, new: "component: crun",
		want: []string{`12:17: binaries\[6\].component: unknown component "crun" \(known: .*`, `.*binaries: the binary runc of the component runc is missing`}},
	{name: "version is not the bundle's", old: `name: kubelet, version: v1.36.3`, new: "name: kubelet, version: v1.36.2",
		want: []string{`6:53: binaries\[0\].version: is v1.36.2, but kubernetesVersion is v1.36.3`}},
	{name: "binary lacks an architecture", old: `, arm64: bin/arm64/kubelet`, new: "", want: []string{`6:69: binaries\[0\].files: arm64 is missing`}},
	{name: "needed binary missing", old: `.*name: runc.*\n`, new: "", want: []string{`6:3: binaries: the binary runc of the component runc is missing`}},
	{name: "binary twice", old: `(.*name: runc.*\n)`, new: "$1$1",
		want: []string{`.*binaries\[7\].files.amd64: the binary runc of the component runc for amd64 stands twice`}},
	{name: "neither files nor directories", old: `, files: {amd64: bin/amd64/runc, arm64: bin/arm64/runc}`, new: "",
		want: []string{`.*binaries\[6\]: needs either files \(with name\) or directories`}},
	{name: "name with directories", old: `cni-plugins,`, new: "cni-plugins, name: x,", want: []string{`.*name: goes with files; .*`}},
	{name: "name that is a path", old: `name: runc`, new: "name: ../runc", want: []string{`.*binaries\[6\].name: must be a file name .*`}},
	{name: "binary file missing", files: remove("bin/arm64/kubelet"),
		want: []string{`6:\d+: binaries\[0\].files.arm64: /.*/bin/arm64/kubelet: no such file or directory`}},
	{name: "binary of the other machine", files: elfFile("bin/arm64/kubelet", elf.EM_X86_64),
		want: []string{`6:\d+: binaries\[0\].files.arm64: /.*/kubelet is an executable for amd64, not arm64`}},
	{name: "binary of a third machine", files: elfFile("bin/arm64/kubelet", elf.EM_RISCV),
		want: []string{`.*/kubelet is an executable for another machine \(EM_RISCV\), not arm64`}},
	{name: "binary is a script", files: textFile("bin/arm64/kubelet", "#!/bin/sh\n"), want: []string{`.*/kubelet is not an ELF executable`}},
	{name: "binary is empty", files: textFile("bin/arm64/kubelet", ""), want: []string{`.*/kubelet is not an ELF executable`}},
	{name: "binary is a directory", old: `bin/arm64/kubelet`, new: "bin/arm64", want: []string{`.*/bin/arm64 is not a regular file`}},
	{name: "plugin missing for one architecture", files: remove("cni/arm64/portmap"),
		want: []string{`.*binaries\[7\].directories.arm64: /.*/cni/arm64 has no portmap, which the directory for amd64 has`}},
	{name: "directory of plugins missing", old: `cni/arm64`, new: "cni/none", want: []string{`.*directories.arm64: /.*/cni/none: no such file or directory`}},
	{name: "directory without executables", files: func(t *testing.T, dir string) { chmodAll(t, filepath.Join(dir, "cni/arm64")) },
		want: []string{`.*directories.arm64: /.*/cni/arm64 holds no executable file`}},

	{name: "unknown image component", old: `component: etcd`, new: "component: etdc",
		want: []string{`19:17: images\[4\].component: unknown component "etdc" .*`, `15:3: images: the image of the component etcd is missing`}},
	{name: "image component twice", old: `ref: registry.test/probe:1`, new: "component: etcd, ref: registry.test/probe:1",
		want: []string{`.*images\[9\].component: etcd stands twice \(first in images\[4\]\)`}},
	{name: "reference twice", old: `(.*probe:1.*\n)`, new: "$1$1",
		want: []string{`.*images\[10\].ref: registry.test/probe:1 stands twice \(first in images\[9\]\)`}},
	{name: "reference without a registry", old: `ref: registry.test/probe:1`, new: "ref: probe:1",
		want: []string{`.*images\[9\].ref: "probe:1" is not a full image name .*`}},
	{name: "reference with a digest", old: `(registry.test/probe:1)`, new: "$1@sha256:" + strings.Repeat("0", 64),
		want: []string{`.*images\[9\].ref: .* is a digest does not belong.*|.*images\[9\].ref: .*only a tag`}},
	{name: "Kubernetes image of another version", old: `kube-proxy:v1.36.3`, new: "kube-proxy:v1.36.2",
		want: []string{`.*images\[3\].ref: must end in /kube-proxy:v1.36.3, as kubeadm composes the name`}},
	{name: "Kubernetes images in two repositories", old: `registry.test/kube-proxy`, new: "other.test/kube-proxy",
		want: []string{`.*images\[3\].ref: must be in registry.test like the other images .*`}},
	{name: "path and paths", old: `(ref: registry.test/probe:1, path: oci)`, new: "$1, paths: {amd64: oci, arm64: oci}",
		want: []string{`.*images\[9\]: needs one of path .*`}},
	{name: "path and programs", old: `(ref: registry.test/probe:1, path: oci)`, new: "$1, programs: {amd64: bin/amd64/runc, arm64: bin/arm64/runc}",
		want: []string{`.*images\[9\]: needs one of path .*`}},
	{name: "neither path nor programs", old: `(ref: registry.test/probe:1), path: oci`, new: "$1", want: []string{`.*images\[9\]: needs one of path .*`}},
	{name: "programs of an architecture that is unknown", old: `(probe:1, )path: oci`, new: "${1}programs: {amd64: bin/amd64/runc, sparc: bin/arm64/runc}",
		want: []string{`.*images\[9\].programs.sparc: unknown architecture "sparc" .*`, `.*images\[9\].programs: arm64 is missing`}},
	{name: "programs lack an architecture", old: `(probe:1, )path: oci`, new: "${1}programs: {amd64: bin/amd64/runc}",
		want: []string{`.*images\[9\].programs: arm64 is missing`}},
	{name: "program without a path", old: `(probe:1, )path: oci`, new: "${1}programs: {amd64: bin/amd64/runc, arm64: ''}",
		want: []string{`.*images\[9\].programs.arm64: is empty`}},
	{name: "name of an image made of programs", old: `(probe:1, )path: oci`, new: "${1}name: 'a/b:c', programs: {amd64: bin/amd64/runc, arm64: bin/arm64/runc}",
		want: []string{`.*images\[9\].name: goes with path and paths; .*`}},
	{name: "program file missing", old: `(probe:1, )path: oci`, new: "${1}programs: {amd64: bin/amd64/runc, arm64: bin/arm64/none}",
		want: []string{`24:\d+: images\[9\].programs.arm64: /.*/bin/arm64/none: no such file or directory`}},
	{name: "program of the other machine", old: `(probe:1, )path: oci`, new: "${1}programs: {amd64: bin/amd64/runc, arm64: bin/amd64/runc}",
		want: []string{`24:\d+: images\[9\].programs.arm64: /.*/bin/amd64/runc is an executable for amd64, not arm64`}},
	{name: "programs exchanged", old: `(probe:1, )path: oci`, new: "${1}programs: {amd64: bin/arm64/runc, arm64: bin/amd64/runc}",
		want: []string{`.*images\[9\].programs.amd64: .* is an executable for arm64, not amd64`, `.*images\[9\].programs.arm64: .* is an executable for amd64, not arm64`}},
	{name: "program is text", old: `(probe:1, )path: oci`, new: "${1}programs: {amd64: bin/amd64/runc, arm64: bundle.yaml}",
		want: []string{`.*images\[9\].programs.arm64: /.*/bundle.yaml is not an ELF executable`}},
	{name: "program is a directory", old: `(probe:1, )path: oci`, new: "${1}programs: {amd64: bin/amd64/runc, arm64: bin/arm64}",
		want: []string{`.*images\[9\].programs.arm64: /.*/bin/arm64 is not a regular file`}},
	{name: "layout missing", old: `(probe:1, path: )oci`, new: "${1}nowhere", want: []string{`.*images\[9\].path: /.*/nowhere: no such file or directory`}},
	{name: "not a layout", old: `(probe:1, path: )oci`, new: "${1}cni", want: []string{`.*images\[9\].path: /.*/cni is not an OCI image layout: .*`}},
	{name: "not an archive", old: `(probe:1, path: )oci`, new: "${1}bundle.yaml", want: []string{`.*images\[9\].path: /.*/bundle.yaml: not a whole tar archive: .*`}},
	{name: "compressed archive", old: `(probe:1, path: )oci`, new: "${1}x.tgz", files: textFile("x.tgz", "\x1f\x8b\x08\x00"),
		want: []string{`.*x.tgz: the archive is compressed; unpack it.*`}},
	{name: "no such name", old: `path: oci}\n$`, new: "name: 'a/b:c', path: oci}\n",
		want: []string{`.*images\[9\].path: /.*/oci holds no image a/b:c \(it holds: registry.test/coredns:.*\)`}},
	{name: "image lacks an architecture", files: replaceImage(bundletest.Probe, map[platform.Arch]v1.Image{amd64: imagetest.Program(amd64, "x")}),
		want: []string{`24:40: images\[9\].path: /.*/other holds the image for amd64, not for arm64`}},
	{name: "image config of another architecture", files: replaceImage(bundletest.Probe, map[platform.Arch]v1.Image{
		amd64: imagetest.Program(amd64, "x"), arm64: imagetest.Program(amd64, "y")}),
		want: []string{`.*images\[9\].path: /.*/other: image sha256:\w+: the index says arm64, its config says amd64`}},
	{name: "archives exchanged", old: `(probe:1, )path: oci`, new: "${1}paths: {amd64: arm64.tar, arm64: amd64.tar}", files: dockerArchives,
		want: []string{`.*images\[9\].paths.amd64: /.*/arm64.tar holds the image for arm64, not for amd64`,
			`.*images\[9\].paths.arm64: /.*/amd64.tar holds the image for amd64, not for arm64`}},
	{name: "layer missing in the layout", files: removeLargestBlob, want: []string{`.*blob sha256:\w+ is missing.*`}},
	{name: "layer damaged in the layout", files: damageLargestBlob, want: []string{`.*it is damaged: its content has another digest.*`}},
	{name: "program of another architecture", files: replaceImage(bundletest.Probe, map[platform.Arch]v1.Image{amd64: imagetest.Program(amd64, "x"), arm64: lying(arm64, amd64)}),
		want: []string{` registry.test/probe:1 \(arm64\): its program /app is an executable for amd64, not arm64`}},
	{name: "another program of another architecture", files: replaceImage(bundletest.Ref(bundle.Etcd), map[platform.Arch]v1.Image{
		amd64: imagetest.Program(amd64, "x"), arm64: stowaway(arm64, amd64)}),
		want: []string{` registry.test/etcd:3.6.8-0 \(arm64\): its file /bin/tool is an executable for amd64, not arm64`}},
}

func TestCreate_Rejects(t *testing.T) {
	good := t.TempDir()
	bundletest.Write(t, good)
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			dir := good
			if m.files != nil {
				dir = t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
					t.Fatal(err)
				}
				m.files(t, dir)
			}
			file := filepath.Join(dir, "variant.yaml")
			imagetest.WriteFile(t, file, []byte(readFile(t, filepath.Join(dir, "bundle.yaml"))), 0o644)
			if m.old != "" {
				replaceOnce(t, file, m.old, m.new)
			}
			out := filepath.Join(t.TempDir(), "bundle")
			_, err := bundle.Create(t.Context(), file, out, bundle.CreateOptions{})
			if err == nil {
				t.Fatal("accepted")
			}
			wantLines(t, err, file, m.want)
			if left := entries(t, filepath.Dir(out)); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestCreate_AllProblemsAtOnce(t *testing.T) {
	dir := t.TempDir()
	file := bundletest.Write(t, dir)
	replaceOnce(t, file, `name: kubelet, version: v1.36.3`, "name: kubelet, version: v1")
	replaceOnce(t, file, `(registry.test/coredns:v1.14.2, )path: oci`, "${1}path: none")
	remove("bin/amd64/ctr")(t, dir)
	_, err := bundle.Create(t.Context(), file, filepath.Join(dir, "out"), bundle.CreateOptions{})
	if !errors.Is(err, bundle.ErrSource) {
		t.Fatal(err)
	}
	want := []string{`6:53: binaries\[0\].version: .*`, `11:72: binaries\[5\].files.amd64: .*`, `20:68: images\[5\].path: .*`}
	wantLines(t, err, file, want)
	if got := strings.Count(err.Error(), "\n") + 1; got != len(want) {
		t.Errorf("%d lines:\n%v", got, err)
	}
}

func TestCreate_UnreadableLayoutIsSaidOnce(t *testing.T) {
	dir := t.TempDir()
	file := bundletest.Write(t, dir)
	if err := os.RemoveAll(filepath.Join(dir, "oci")); err != nil {
		t.Fatal(err)
	}
	_, err := bundle.Create(t.Context(), file, filepath.Join(dir, "out"), bundle.CreateOptions{})
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "images[0].path: "+filepath.Join(dir, "oci")+": no such file or directory") {
		t.Errorf("got %v", err)
	}
}

// Many files that are not there are one mistake, made once: the first are named, the rest is counted, and nothing of it is told a second time
// as a binary that is missing.
func TestCreate_FilesMissingAreToldShort(t *testing.T) {
	dir := t.TempDir()
	file := bundletest.Write(t, dir)
	for _, gone := range []string{"bin", "cni", "oci"} {
		if err := os.RemoveAll(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := bundle.Create(t.Context(), file, filepath.Join(dir, "out"), bundle.CreateOptions{})
	golden.Check(t, "files-missing.txt", strings.ReplaceAll(err.Error()+"\nhint: "+hint.Text(err)+"\n", dir, "DIR"))
}

func TestCreate_NothingNamedIsToldInOneSentenceEach(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bundle.yaml")
	imagetest.WriteFile(t, file, []byte("apiVersion: hybridctl.dev/v1alpha1\nkind: BundleSource\nkubernetesVersion: v1.36.3\n"), 0o644)
	_, err := bundle.Create(t.Context(), file, filepath.Join(t.TempDir(), "out"), bundle.CreateOptions{})
	want := file + ":1:1: images: 7 that every bundle needs are missing (kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, etcd, coredns, pause)\n" +
		file + ":1:1: binaries: 11 that every bundle needs are missing (containerd: containerd, containerd-shim-runc-v2, ctr; runc: runc; " +
		"cni-plugins: bridge, host-local, loopback, portmap; kubernetes: kubeadm, kubectl, kubelet)"
	if !errors.Is(err, bundle.ErrSource) || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if want := `"hybridctl bundle fetch" makes a bundle of everything that a version of Kubernetes needs`; hint.Text(err) != want {
		t.Errorf("hint %q", hint.Text(err))
	}
}

func TestCreate_SourceMissing(t *testing.T) {
	_, err := bundle.Create(t.Context(), "/nowhere/bundle.yaml", t.TempDir(), bundle.CreateOptions{})
	if !errors.Is(err, bundle.ErrSource) || err.Error() != "bundle source /nowhere/bundle.yaml: no such file or directory" {
		t.Errorf("got %v", err)
	}
}

func replaceOnce(t *testing.T, file, old, new string) {
	t.Helper()
	text := readFile(t, file)
	at := regexp.MustCompile(old)
	span := at.FindStringIndex(text)
	if span == nil {
		t.Fatalf("bundle.yaml has no %q:\n%s", old, text)
	}
	text = text[:span[0]] + at.ReplaceAllString(text[span[0]:span[1]], new) + text[span[1]:]
	imagetest.WriteFile(t, file, []byte(text), 0o644)
}

func wantLines(t *testing.T, err error, file string, want []string) {
	t.Helper()
	for _, w := range want {
		if !regexp.MustCompile(`(?m)^(` + regexp.QuoteMeta(file) + `:(` + w + `)|` + w + `)$`).MatchString(err.Error()) {
			t.Errorf("no line %q in\n%v", w, err)
		}
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func textFile(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { imagetest.WriteFile(t, filepath.Join(dir, name), []byte(text), 0o755) }
}

func elfFile(name string, m elf.Machine) func(*testing.T, string) {
	return textFile(name, string(imagetest.ELFMachine(m)))
}

func chmodAll(t *testing.T, dir string) {
	for _, name := range entries(t, dir) {
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// replaceImage puts another image into a layout of its own, and its path into bundle.yaml.
func replaceImage(ref string, images map[platform.Arch]v1.Image) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		imagetest.Layout(t, filepath.Join(dir, "other"), map[string]v1.ImageIndex{ref: imagetest.Index(images)})
		replaceOnce(t, filepath.Join(dir, "bundle.yaml"), regexp.QuoteMeta(ref)+", path: oci", ref+", path: other")
	}
}

// stowaway is a good image of a component that also holds an executable for another architecture.
func stowaway(a, other platform.Arch) v1.Image {
	return imagetest.Program(a, "x", imagetest.Layer(imagetest.File{Name: "bin/tool", Body: imagetest.ELF(other)}))
}

// lying is an image whose config says one architecture and whose program is for another.
func lying(says, is platform.Arch) v1.Image {
	return imagetest.Image(says, v1.ConfigFile{Config: v1.Config{Entrypoint: []string{"/app"}}},
		imagetest.Layer(imagetest.File{Name: "app", Body: imagetest.ELF(is)}))
}

func dockerArchives(t *testing.T, dir string) {
	for _, a := range platform.All() {
		imagetest.DockerArchive(t, filepath.Join(dir, string(a)+".tar"), bundletest.Probe, imagetest.Program(a, "x"))
	}
}

func largestBlob(t *testing.T, layout string) string {
	var largest string
	var size int64
	blobs := filepath.Join(layout, "blobs", "sha256")
	for _, name := range entries(t, blobs) {
		info, err := os.Stat(filepath.Join(blobs, name))
		if err != nil {
			t.Fatal(err)
		}
		if raw := readFile(t, filepath.Join(blobs, name)); info.Size() > size && !strings.HasPrefix(raw, "{") {
			largest, size = filepath.Join(blobs, name), info.Size()
		}
	}
	return largest
}

func removeLargestBlob(t *testing.T, dir string) {
	if err := os.Remove(largestBlob(t, filepath.Join(dir, "oci"))); err != nil {
		t.Fatal(err)
	}
}

func damageLargestBlob(t *testing.T, dir string) { flip(t, largestBlob(t, filepath.Join(dir, "oci"))) }

// flip changes one bit in the middle of a file.
func flip(t *testing.T, name string) {
	t.Helper()
	raw := []byte(readFile(t, name))
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(name, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}
