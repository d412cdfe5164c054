package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// withBundle is a run in a folder that has the bundle made, and the smaller bundle small.
func withBundle(t *testing.T) *run {
	t.Helper()
	r := newRun(t)
	for name, archs := range map[string][]platform.Arch{"made": platform.All(), "small": platform.All()[:1]} {
		if _, err := bundle.Create(t.Context(), bundletest.Write(t, t.TempDir(), archs...), filepath.Join(r.dir, name), bundle.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestBundle_OneFileInPlaceOfADirectory(t *testing.T) {
	r := withBundle(t)
	r.want("bundle export one.tar made", 0)
	contains(t, "stdout", r.stdout.String(), "one.tar: written, ")
	r.want("bundle verify one.tar", 0)
	contains(t, "stdout", r.stdout.String(), "bundle one.tar is good\n")
	r.want("bundle list made", 0)
	want := strings.Replace(r.stdout.String(), "bundle made:", "bundle one.tar:", 1)
	r.want("bundle list one.tar", 0)
	if r.stdout.String() != want {
		t.Errorf("list of the file:\n%s", &r.stdout)
	}
	r.want("bundle diff made one.tar", 0)
	contains(t, "stdout", r.stdout.String(), "made and one.tar hold the same\n")
	r.want("bundle import one.tar new", 0)
	contains(t, "stdout", r.stdout.String(), "bundle new: Kubernetes v1.36.3, ")
	r.want("bundle verify new", 0)

	r.file("inventory.yaml", strings.Replace(lab, "./bundle", "one.tar", 1))
	r.want("bundle verify", 0)
	contains(t, "stdout", r.stdout.String(), "/one.tar is good\n")
	r.want("bundle export again.tar", 0)
	one, err := os.ReadFile(filepath.Join(r.dir, "one.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(filepath.Join(r.dir, "again.tar")); err != nil || !bytes.Equal(one, again) {
		t.Errorf("the bundle of the inventory gives another file: %v", err)
	}
	r.want("bundle export one.tar made -o json", 0)
	var doc bundleExport
	if err := json.Unmarshal(r.stdout.Bytes(), &doc); err != nil || doc.File != "one.tar" || doc.Bytes != int64(len(one)) {
		t.Errorf("%v, %+v", err, doc)
	}
}

func TestBundle_WrongCommandLines(t *testing.T) {
	r := withBundle(t)
	r.file("notes", "precious")
	for line, want := range map[string]string{
		"bundle export":                  "hybridctl bundle export wants the file to write, and takes one bundle's directory at most",
		"bundle import":                  "hybridctl bundle import wants the file to unpack, and takes one bundle's directory at most",
		"bundle import a b c":            "hybridctl bundle import wants the file to unpack",
		"bundle diff made":               "hybridctl bundle diff wants two bundles",
		"bundle diff made none":          "there is no bundle none",
		"bundle export notes made":       "notes is not replaced: it is no bundle",
		"bundle import notes":            "notes is not a bundle in one file",
		"bundle import made new":         "made is a directory, and a bundle already",
		"bundle catalogue x":             "hybridctl bundle catalogue takes no arguments",
		"bundle catalogue --kubernetes ": "--kubernetes wants a value",
	} {
		r.want(line, 2)
		contains(t, line+": stderr", r.stderr.String(), want)
	}
}

// inFolder runs in a subtest, which has a current directory of its own: goldens lie in the test's.
func inFolder(t *testing.T, do func(t *testing.T) string) (text string) {
	t.Helper()
	t.Run("run", func(t *testing.T) { text = do(t) })
	return text
}

func TestBundleDiff(t *testing.T) {
	text := inFolder(t, func(t *testing.T) string {
		r := withBundle(t)
		r.want("bundle diff small made", 10)
		return r.stdout.String()
	})
	golden.Check(t, "bundle-diff.txt", regexp.MustCompile(`\b[0-9a-f]{12}\b`).ReplaceAllString(text, "0123456789ab"))
}

func TestBundleDiff_AsData(t *testing.T) {
	r := withBundle(t)
	r.want("bundle diff made small -o json", 10)
	var doc bundleDifferences
	if err := json.Unmarshal(r.stdout.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Differences) == 0 || doc.Before != "made" || doc.Kubernetes != [2]string{"v1.36.3", "v1.36.3"} {
		t.Errorf("%+v", doc)
	}
	r.want("bundle diff made made -o json", 0)
	contains(t, "stdout", r.stdout.String(), `"differences": []`)
}

func TestBundleCatalogue(t *testing.T) {
	for name, line := range map[string]string{"catalogue.txt": "bundle catalogue", "catalogue-set.txt": "bundle catalogue --kubernetes v1.36.4"} {
		golden.Check(t, name, inFolder(t, func(t *testing.T) string {
			r := newRun(t)
			r.want(line, 0)
			return r.stdout.String()
		}))
	}
}

func TestBundleCatalogue_AsData(t *testing.T) {
	r := newRun(t)
	r.want("bundle catalogue --kubernetes v1.36.4 -o json", 0)
	var one catalogueDocument
	if err := json.Unmarshal(r.stdout.Bytes(), &one); err != nil {
		t.Fatal(err)
	}
	want, err := catalogue.Embedded().Set("v1.36.4", nil, bundle.CephCSI)
	if err != nil {
		t.Fatal(err)
	}
	if len(one.Sets) != 1 || len(one.Sets[0].Files) != len(want.Files) || one.Sets[0].Files[0].SHA256 != want.Files[0].SHA256 || len(one.Sets[0].Images) != len(want.Images) {
		t.Errorf("%+v", one)
	}
	r.want("bundle catalogue -o json", 0)
	var all catalogueDocument
	if err := json.Unmarshal(r.stdout.Bytes(), &all); err != nil || len(all.Sets) != 4 || len(all.Entries) < 20 {
		t.Errorf("%v, %d sets, %d entries", err, len(all.Sets), len(all.Entries))
	}
	r.want("bundle catalogue --kubernetes v1.2.3", 2)
	contains(t, "stderr", r.stderr.String(), `error: the catalogue has no Kubernetes "v1.2.3" (it has v1.36.4, `, "hint: name one that it has, ")
	r.file("own.yaml", "apiVersion: hybridctl.dev/v1alpha1\nkind: Cluster\n")
	r.want("bundle catalogue --catalogue own.yaml", 2)
	contains(t, "stderr", r.stderr.String(), "own.yaml:2:7: kind: must be Catalogue\n")
	r.want("bundle catalogue --catalogue none.yaml", 2)
	contains(t, "stderr", r.stderr.String(), "catalogue none.yaml: no such file or directory\n")
	r.want("bundle catalogue --catalogue .", 2)
	contains(t, "stderr", r.stderr.String(), "catalogue .: is a directory\n")
	r.want("bundle create -f .", 2)
	contains(t, "stderr", r.stderr.String(), "bundle source .: is a directory\n")
}

// What the verbs say of themselves.
func TestHelp_OfBundlesAndInit(t *testing.T) {
	var all strings.Builder
	for _, verb := range []string{"init", "bundle catalogue", "bundle export", "bundle import", "bundle diff"} {
		all.WriteString("$ hybridctl " + verb + " --help\n" + inFolder(t, func(t *testing.T) string {
			r := newRun(t)
			r.want(verb+" --help", 0)
			return r.stdout.String()
		}) + "\n")
	}
	golden.Check(t, "help-bundle.txt", all.String())
}

// The bundle source that is shown is a set of the catalogue: its versions exist, and belong together.
func TestDocuments_BundleSourceIsASetOfTheCatalogue(t *testing.T) {
	var shown string
	for _, b := range documents(t)["provision/bundle/README.md"].blocks {
		if strings.Contains(b.text, "kind: BundleSource") {
			shown = b.text
		}
	}
	var source struct {
		KubernetesVersion string `json:"kubernetesVersion"`
		Binaries          []struct{ Component, Version string }
		Images            []struct{ Component, Ref string }
	}
	if err := yaml.Unmarshal([]byte(shown), &source); err != nil {
		t.Fatal(err)
	}
	set, err := catalogue.Embedded().Set(source.KubernetesVersion, nil)
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for _, f := range set.Files {
		has[f.Component+" "+f.Version] = true
	}
	for _, i := range set.Images {
		has[i.Component+" "+i.Ref] = true
	}
	for _, p := range set.Programs {
		has[p.Component+" "+p.Ref] = true
	}
	for _, b := range source.Binaries {
		if !has[b.Component+" "+b.Version] {
			t.Errorf("the catalogue has no %s %s for Kubernetes %s", b.Component, b.Version, set.Kubernetes)
		}
	}
	for _, i := range source.Images {
		if !has[i.Component+" "+i.Ref] {
			t.Errorf("the catalogue has no image %s %s for Kubernetes %s", i.Component, i.Ref, set.Kubernetes)
		}
	}
	if len(source.Binaries) < 6 || len(source.Images) < 10 {
		t.Errorf("%d binaries and %d images are shown", len(source.Binaries), len(source.Images))
	}
}
