package catalogue

import (
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// row is a line of testdata/checksums.tsv: what several second sources say.
type row struct{ arch, sum, source string }

// table is that file by address.
func table(t *testing.T) map[string]row {
	t.Helper()
	f, err := os.Open("testdata/checksums.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma = '\t'
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]row{}
	for _, l := range lines[1:] {
		out[l[3]] = row{arch: l[2], sum: l[4], source: l[5]}
	}
	return out
}

// Every address and sum of the catalogue stands in the table, with the source that the entry names; what third-party pins alone know is
// no default and says so.
func TestEmbedded_AgreesWithTheTable(t *testing.T) {
	known := table(t)
	c := Embedded()
	checked := 0
	for _, d := range c.doc.Downloads {
		for _, r := range d.Versions {
			if len(r.SHA256) != len(platform.All()) {
				t.Errorf("%s %s: sums for %d architectures", d.Name, r.Version, len(r.SHA256))
			}
			for a, sum := range byArch(r.SHA256) {
				f := d.file(r.Version, a, sum)
				want, ok := known[f.URL]
				switch {
				case !ok:
					t.Errorf("%s: the table has no %s", f, f.URL)
				case want.arch != string(a) || want.sum != sum:
					t.Errorf("%s: the table has the sum %s for %s, the catalogue %s", f, want.sum, want.arch, sum)
				case want.source != r.Source:
					t.Errorf("%s: source %q, in the table %q", f, r.Source, want.source)
				}
				checked++
			}
			unsure := strings.Contains(r.Source, "third-party")
			if unsure == is(r.Default, true) || unsure == (r.Note == "") {
				t.Errorf("%s %s: default %v, note %q, but its source is %s", d.Name, r.Version, is(r.Default, true), r.Note, r.Source)
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d sums", checked)
	}
}

// What kubeadm wants of each minor version, by its own table.
func TestEmbedded_ImagesAreThoseOfKubeadm(t *testing.T) {
	wants := map[string][]string{
		"v1.36": {"registry.k8s.io/etcd:3.6.8-0", "registry.k8s.io/coredns/coredns:v1.14.2", "registry.k8s.io/pause:3.10.2"},
		"v1.35": {"registry.k8s.io/etcd:3.6.6-0", "registry.k8s.io/coredns/coredns:v1.13.1", "registry.k8s.io/pause:3.10.1"},
		"v1.34": {"registry.k8s.io/etcd:3.6.5-0", "registry.k8s.io/coredns/coredns:v1.12.1", "registry.k8s.io/pause:3.10.1"},
	}
	c := Embedded()
	if got := c.Versions(); !slices.Equal(got, []string{"v1.36.4", "v1.36.3", "v1.35.8", "v1.34.11"}) {
		t.Errorf("versions %q", got)
	}
	for _, v := range c.Versions() {
		s, err := c.Set(v, nil, bundle.CephCSI)
		if err != nil {
			t.Fatal(err)
		}
		byComponent := map[string]string{}
		for _, i := range s.Images {
			byComponent[i.Component] = i.Ref
		}
		want := wants[minor(v)]
		if got := []string{byComponent[bundle.Etcd], byComponent[bundle.CoreDNS], byComponent[bundle.Pause]}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", v, got, want)
		}
		for _, name := range []string{bundle.KubeAPIServer, bundle.KubeControllerManager, bundle.KubeScheduler, bundle.KubeProxy} {
			if byComponent[name] != "registry.k8s.io/"+name+":"+v {
				t.Errorf("%s: %s is %q", v, name, byComponent[name])
			}
		}
		for _, name := range append(bundle.StorageComponents, bundle.Flannel, bundle.FlannelCNIPlugin) {
			if byComponent[name] == "" {
				t.Errorf("%s: no image of %s", v, name)
			}
		}
		if len(s.Programs) != 1 || len(s.Programs[0].Files) != len(platform.All()) || s.Programs[0].Component != bundle.Probe {
			t.Errorf("%s: programs %+v", v, s.Programs)
		}
	}
}

// small is a catalogue of a site, each download in one line.
const small = `apiVersion: hybridctl.dev/v1alpha1
kind: Catalogue
downloads:
  - {name: k, component: kubernetes, url: "https://k.test/{version}/{arch}/k.tgz", checksums: "https://k.test/{version}/sums", programs: [{name: kubelet, path: a/kubelet}, {name: kubeadm, path: kubeadm}, {name: kubectl, path: kubectl}], versions: [{version: v1.36.3, sha256: {amd64: SUM1, aarch64: SUM2}}, {version: v1.36.2, sha256: {amd64: SUM1}}]}
  - {name: c, component: containerd, url: "https://c.test/c-{number}-{arch}.tgz", programs: [{name: containerd, path: c}, {name: containerd-shim-runc-v2, path: s}, {name: ctr, path: t}], versions: [{version: v2.3.4, sha256: {amd64: SUM1, arm64: SUM2}}]}
  - {name: r, component: runc, url: "https://c.test/r.{arch}", programs: [{name: runc}], versions: [{version: v1.4.3, sha256: {amd64: SUM1, arm64: SUM2}}, {version: v1.5.0, default: false, note: "one pin", sha256: {amd64: SUM1}}]}
  - {name: p, component: cni-plugins, url: "https://c.test/p-{arch}.tgz", allPrograms: true, versions: [{version: v1.9.1, sha256: {amd64: SUM1, arm64: SUM2}}]}
images:
  - {component: etcd, ref: "r.test/etcd:1"}
  - {component: coredns, ref: "r.test/coredns:1"}
  - {component: pause, ref: "r.test/pause:1"}
  - {component: ceph-csi, ref: "r.test/csi:1", with: ceph-csi}
  - {component: csi-resizer, ref: "r.test/resizer:1", with: ceph-csi}
programs:
  - {component: probe, ref: "r.test/probe:1", file: "probe-{arch}"}
sets:
  - kubernetes: v1.36.3
    downloads: {k: v1.36.3, c: v2.3.4, r: v1.4.3, p: v1.9.1}
    images: [{component: kube-apiserver, ref: "r.test/kube-apiserver:v1.36.3", digest: "sha256:SUM1"}, {component: kube-controller-manager, ref: "r.test/kube-controller-manager:v1.36.3"}, {component: kube-scheduler, ref: "r.test/kube-scheduler:v1.36.3"}, {component: kube-proxy, ref: "r.test/kube-proxy:v1.36.3"}, {component: pause, ref: "r.test/pause:2"}]
  - kubernetes: v1.36.2
    note: an old one
    default: false
    downloads: {k: v1.36.2, c: v2.3.4, r: v1.4.3, p: v1.9.1}
    images: [{component: kube-apiserver, ref: "r.test/kube-apiserver:v1.36.2"}, {component: kube-controller-manager, ref: "r.test/kube-controller-manager:v1.36.2"}, {component: kube-scheduler, ref: "r.test/kube-scheduler:v1.36.2"}, {component: kube-proxy, ref: "r.test/kube-proxy:v1.36.2"}]
`

var sums = strings.NewReplacer("SUM1", strings.Repeat("1a", 32), "SUM2", strings.Repeat("2b", 32))

// load reads a catalogue from a file of the test's.
func load(t *testing.T, text string) (*Catalogue, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(sums.Replace(text)), 0o644); err != nil {
		t.Fatal(err)
	}
	return Read(file)
}

func TestSet(t *testing.T) {
	c, err := load(t, small)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Set("v1.36.3", []platform.Arch{platform.ARM64})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Files) != 4 || len(s.Images) != 7 || len(s.Archs) != 1 || len(s.Programs) != 1 {
		t.Fatalf("%d files, %d images, %d architectures, %d programs", len(s.Files), len(s.Images), len(s.Archs), len(s.Programs))
	}
	k := s.Files[0]
	if k.URL != "https://k.test/v1.36.3/arm64/k.tgz" || k.SHA256 != strings.Repeat("2b", 32) || k.Checksums != "https://k.test/v1.36.3/sums" ||
		k.Base() != "k.tgz" || k.String() != "k v1.36.3 for arm64" || len(k.Programs) != 3 || k.Programs[0] != (Program{"kubelet", "a/kubelet"}) {
		t.Errorf("%+v", k)
	}
	if c := s.Files[1]; c.URL != "https://c.test/c-2.3.4-arm64.tgz" {
		t.Errorf("%+v", c)
	}
	if p := s.Files[3]; !p.AllPrograms {
		t.Errorf("%+v", p)
	}
	refs := func(s Set) string {
		var out []string
		for _, i := range s.Images {
			out = append(out, strings.TrimPrefix(i.Ref, "r.test/"))
		}
		return strings.Join(out, " ")
	}
	if got, want := refs(s), "kube-apiserver:v1.36.3 kube-controller-manager:v1.36.3 kube-scheduler:v1.36.3 kube-proxy:v1.36.3 pause:2 etcd:1 coredns:1"; got != want {
		t.Errorf("images %s, want %s", got, want)
	}
	if s.Images[0].Digest != "sha256:"+strings.Repeat("1a", 32) {
		t.Errorf("%+v", s.Images[0])
	}
	if got := s.Programs[0].Files; len(got) != 1 || got[platform.ARM64] != "probe-arm64" {
		t.Errorf("%v", got)
	}
	with, err := c.Set("v1.36.3", nil, "ceph-csi")
	if err != nil || !strings.HasSuffix(refs(with), "coredns:1 csi:1 resizer:1") || len(with.Files) != 8 {
		t.Errorf("%v, %s, %d files", err, refs(with), len(with.Files))
	}
	if one, err := c.Set("v1.36.3", nil, "csi-resizer"); err != nil || !strings.HasSuffix(refs(one), "coredns:1 resizer:1") {
		t.Errorf("%v, %s", err, refs(one))
	}
	old, err := c.Set("v1.36.2", []platform.Arch{platform.AMD64})
	if err != nil || len(old.Notes) != 1 || old.Notes[0] != "an old one" || !strings.Contains(refs(old), "pause:1") {
		t.Errorf("%v, %q, %s", err, old.Notes, refs(old))
	}
}

func TestSet_WhatItLacks(t *testing.T) {
	c, err := load(t, small)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		version, component string
		archs              []platform.Arch
		kind               error
		want, hint         string
	}{
		{"v1.36.9", "", nil, ErrUnknownVersion, `the catalogue .*c.yaml has no Kubernetes "v1.36.9" \(it has v1.36.3\)`, `.*--catalogue FILE.*"hybridctl bundle fetch --allow-upstream-checksums" .*`},
		{"1.36.3", "", nil, ErrUnknownVersion, `.*has no Kubernetes "1.36.3".*`, `write v1.36.3`},
		{"v1.36.2", "", nil, ErrIncomplete, `.*c.yaml has no sum of k v1.36.2 for arm64`, ``},
		{"v1.36.3", "rook", nil, ErrIncomplete, `.*has no component "rook" \(beside what every cluster needs it has ceph-csi\)`, ``},
	} {
		var components []string
		if test.component != "" {
			components = []string{test.component}
		}
		_, err := c.Set(test.version, test.archs, components...)
		if !errors.Is(err, test.kind) || !regexp.MustCompile(`^`+test.want+`$`).MatchString(err.Error()) || !regexp.MustCompile(`^`+test.hint+`$`).MatchString(hint.Text(err)) {
			t.Errorf("%s %s: %v (hint %q)", test.version, test.component, err, hint.Text(err))
		}
	}
}

// A patch release that the catalogue lacks has the addresses of upstream, and no sum but where upstream says it is.
func TestUpstream(t *testing.T) {
	c, err := load(t, small)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Upstream("v1.36.9", []platform.Arch{platform.AMD64})
	if err != nil {
		t.Fatal(err)
	}
	k := s.Files[0]
	if k.Version != "v1.36.9" || k.SHA256 != "" || k.URL != "https://k.test/v1.36.9/amd64/k.tgz" || k.Checksums != "https://k.test/v1.36.9/sums" {
		t.Errorf("%+v", k)
	}
	if s.Files[1].SHA256 == "" || s.Kubernetes != "v1.36.9" {
		t.Errorf("%+v", s)
	}
	if i := s.Images[0]; i.Ref != "r.test/kube-apiserver:v1.36.9" || i.Digest != "" {
		t.Errorf("%+v", i)
	}
	if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "the rest is that of v1.36.3") {
		t.Errorf("%q", s.Notes)
	}
	if s, err := c.Upstream("v1.36.3", nil); err != nil || s.Files[0].SHA256 == "" || len(s.Notes) != 0 {
		t.Errorf("%v, %+v", err, s)
	}
	if s, err := c.Upstream("v1.36.2", nil); err != nil || s.Files[1].SHA256 != "" || s.Files[0].SHA256 == "" {
		t.Errorf("of a version whose sum is known for one architecture: %v, %+v", err, s.Files)
	}
	if _, err := c.Upstream("v1.40.1", nil); !errors.Is(err, ErrUnknownVersion) {
		t.Error(err)
	}
	no, err := load(t, strings.Replace(small, `checksums: "https://k.test/{version}/sums", `, "", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := no.Upstream("v1.36.9", nil); !errors.Is(err, ErrIncomplete) {
		t.Error(err)
	}
}

func TestRead_SaysWhatIsWrongAndWhere(t *testing.T) {
	for _, test := range []struct {
		name, old, new string
		want           []string // whole lines after the file's name
	}{
		{"empty", `(?s).*`, "", []string{`1:1: not a YAML document: the file is empty`}},
		{"two documents", `$`, "---\na: b\n", []string{`\d+:1: ---: a second document; the file holds one catalogue`}},
		{"other kind", `kind: Catalogue`, "kind: Cluster", []string{`2:7: kind: must be Catalogue`}},
		{"unknown field", `(?m)^kind`, "colour: red\nkind", []string{`2:1: colour: unknown field \(known: apiVersion, kind, downloads, images, programs, sets\)`}},
		{"no sets", `(?s)sets:.*`, "", []string{`1:1: sets: is empty: .*`}},
		{"default is no word", `default: false, note`, `default: "no", note`, []string{`6:\d+: downloads\[2\].versions\[1\].default: must be true or false`}},
		{"http", `https://c.test/r`, "http://c.test/r", []string{`6:\d+: downloads\[2\].url: must begin with https://`}},
		{"credentials", `https://c.test/r`, "https://me:secret@c.test/r", []string{`6:\d+: downloads\[2\].url: must not hold credentials`}},
		{"no host", `https://c.test/r`, "https:///r", []string{`6:\d+: downloads\[2\].url: must be an address such as https://host/path`}},
		{"folder", `https://c.test/r.\{arch\}`, "https://c.test/r/", []string{`6:\d+: downloads\[2\].url: must end in a file's name`}},
		{"placeholder", `c.test/r.\{arch\}`, "c.test/{os}", []string{`6:\d+: downloads\[2\].url: unknown placeholder \{os\} .*`}},
		{"component of a binary", `component: runc`, "component: crun",
			[]string{`6:\d+: downloads\[2\].component: unknown component "crun" \(known: .*`, `(18|23):\d+: sets\[.\].downloads: nothing gives the binary runc of the component runc`}},
		{"sum", `v2.3.4, sha256: \{amd64: SUM1`, "v2.3.4, sha256: {amd64: ABC", []string{`5:\d+: downloads\[1\].versions\[0\].sha256.amd64: must be 64 hexadecimal digits .*`}},
		{"architecture", `aarch64: SUM2`, "sparc: SUM2", []string{`4:\d+: downloads\[0\].versions\[0\].sha256.sparc: unknown architecture "sparc" .*`}},
		{"architecture twice", `aarch64: SUM2`, "x86_64: SUM2", []string{`4:\d+: downloads\[0\].versions\[0\].sha256.x86_64: amd64 stands twice`}},
		{"version twice", `v1.5.0`, "v1.4.3", []string{`6:\d+: downloads\[2\].versions\[1\].version: v1.4.3 stands twice`}},
		{"download twice", `name: r,`, "name: c,", []string{`6:12: downloads\[2\].name: c stands twice`, `(18|23):\d+: sets\[.\].downloads.r: no download is called r`,
			`(18|23):\d+: sets\[.\].downloads: nothing gives the binary runc .*`}},
		{"no programs", `, programs: \[\{name: runc\}\]`, "", []string{`6:5: downloads\[2\]: needs either programs or allPrograms: true`, `.*nothing gives the binary runc .*`}},
		{"program that is a path", `\[\{name: runc\}\]`, "[{name: ../runc}]", []string{`6:\d+: downloads\[2\].programs\[0\].name: must be a file name .*`, `.*nothing gives .*`}},
		{"several programs without paths", `\{name: ctr, path: t\}`, "{name: ctr}", []string{`5:\d+: downloads\[1\].programs\[2\].path: is missing: several programs .*`}},
		{"image", `r.test/etcd:1`, "etcd", []string{`9:\d+: images\[0\].ref: "etcd" is not a full image name .*`}},
		{"image component", `component: etcd`, "component: etdc", []string{`9:\d+: images\[0\].component: unknown component "etdc" .*`, `(19|24):\d+: sets\[.\].images: the image of the component etcd is missing`}},
		{"digest", `sha256:SUM1`, "sha256:1", []string{`19:\d+: sets\[0\].images\[0\].digest: must be sha256: .*`}},
		{"program of another folder", `probe-\{arch\}`, "../probe-{arch}", []string{`15:\d+: programs\[0\].file: must be a file's name with \{arch\} .*`}},
		{"set twice", `kubernetes: v1.36.2`, "kubernetes: v1.36.3", []string{`20:17: sets\[1\].kubernetes: v1.36.3 stands twice`, `23:\d+: sets\[1\].downloads.k: is v1.36.2, but kubernetes is v1.36.3`}},
		{"version of a set", `kubernetes: v1.36.2`, `kubernetes: "1.36.2"`, []string{`20:17: sets\[1\].kubernetes: must be a version .*`, `23:\d+: sets\[1\].downloads.k: is v1.36.2, but .*`}},
		{"no such version", `c: v2.3.4, r: v1.4.3`, "c: v2.9.9, r: v1.4.3", []string{`(18|23):\d+: sets\[.\].downloads.c: c has no version v2.9.9`}},
		{"not a default", `r: v1.4.3`, "r: v1.5.0", []string{`(18|23):\d+: sets\[.\].downloads.r: r v1.5.0 has default: false, so that no set may use it`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := regexp.MustCompile(test.old).ReplaceAllString(small, test.new)
			if text == small {
				t.Fatal("nothing was replaced")
			}
			_, err := load(t, text)
			if !errors.Is(err, ErrBad) {
				t.Fatalf("error %v", err)
			}
			used := map[string]bool{}
			for line := range strings.Lines(err.Error()) {
				_, said, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "c.yaml:")
				at := slices.IndexFunc(test.want, func(w string) bool { return regexp.MustCompile(`^` + w + `$`).MatchString(said) })
				if at < 0 {
					t.Errorf("also said: %s", line)
					continue
				}
				used[test.want[at]] = true
			}
			if len(used) != len(test.want) {
				t.Errorf("said:\n%v\nwant %q", err, test.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("a credential is said: %v", err)
			}
		})
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), "none.yaml: no such file") {
		t.Error(err)
	}
}

func TestCompare_OrdersVersions(t *testing.T) {
	got := []string{"v1.36.3", "v1.36.10", "v1.36.0-rc.1", "v1.36.0", "v1.9.9", "v1.36.0-rc.0"}
	slices.SortFunc(got, compare)
	if want := []string{"v1.9.9", "v1.36.0-rc.0", "v1.36.0-rc.1", "v1.36.0", "v1.36.3", "v1.36.10"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(sums.Replace(small)))
	for _, seed := range []string{"", "a: &a [*a]", "sets: [{kubernetes: v1.2.3, downloads: {a: b}}]", "downloads: [{url: \"https://{\"}]", "downloads: [{versions: [{sha256: {x: y}}]}]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parse("c.yaml", raw)
		if err != nil {
			return
		}
		for _, v := range c.Versions() {
			s, err := c.Set(v, nil)
			if err != nil {
				continue
			}
			for _, one := range s.Files {
				if one.SHA256 == "" || !strings.HasPrefix(one.URL, "https://") {
					t.Errorf("%+v", one)
				}
			}
		}
	})
}

// The example of README.md is a catalogue, and whole for one architecture.
func TestReadme_ExampleIsACatalogue(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("README.md shows no catalogue")
	}
	c, err := load(t, example)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Archs("v1.36.4"); !slices.Equal(got, platform.All()[:1]) {
		t.Errorf("whole for %v", got)
	}
	if _, err := c.Set("v1.36.4", nil); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "has no sum of runtime v2.3.4 for arm64, runc v1.4.3 for arm64, cni v1.9.1 for arm64") {
		t.Error(err)
	}
}

// What a source can be for: every address and every image of every set, and the checksum files.
func TestPlaces(t *testing.T) {
	c := Embedded()
	places := c.Places()
	for _, want := range []string{"https://dl.k8s.io/release/v1.35.8/bin/linux/arm64/kubelet", "https://dl.k8s.io/release/v1.35.8/bin/linux/arm64/kubelet.sha256",
		"registry.k8s.io/coredns/coredns", "registry.k8s.io/kube-proxy"} {
		if !slices.Contains(places, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, v := range c.Versions() {
		s, err := c.Set(v, nil, c.Optional()...)
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range s.Places() {
			if !slices.Contains(places, place) {
				t.Errorf("%s: %s is missing", v, place)
			}
		}
	}
}
