package cli

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

// internet has what a bundle is made of: its programs on a web server, and a catalogue that names them.
type internet struct {
	bundle    string
	registry  *registrytest.Server
	web       *httptest.Server
	catalogue string

	mu    sync.Mutex
	asked int
}

func newInternet(t *testing.T, r *run) *internet {
	t.Helper()
	for _, name := range []string{"DOCKER_CONFIG", "HOME", "XDG_CACHE_HOME"} {
		t.Setenv(name, t.TempDir())
	}
	b := bundletest.Make(t)
	i := &internet{bundle: b.Dir, registry: registrytest.New(t)}
	files := http.FileServer(http.Dir(filepath.Join(b.Dir, "bin")))
	i.web = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		i.mu.Lock()
		i.asked++
		i.mu.Unlock()
		files.ServeHTTP(w, req)
	}))
	t.Cleanup(i.web.Close)
	r.file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.web.Certificate().Raw})))
	i.catalogue = "catalogue.yaml"
	r.file(i.catalogue, catalogueOf(b))
	return i
}

// catalogueOf is a catalogue of a bundle's own binaries and images.
func catalogueOf(b *bundle.Bundle) string {
	var downloads, chosen, images, own strings.Builder
	for _, bin := range b.Binaries(platform.AMD64) {
		sums := ""
		for _, other := range b.Manifest.Binaries {
			if other.Component == bin.Component && other.Name == bin.Name {
				sums += fmt.Sprintf("%s: %s, ", other.Arch, other.SHA256)
			}
		}
		fmt.Fprintf(&downloads, "  - {name: %[1]s, component: %[2]s, url: \"https://dl.test/{arch}/%[2]s/%[1]s\", programs: [{name: %[1]s}], versions: [{version: %[3]s, sha256: {%[4]s}}]}\n",
			bin.Name, bin.Component, bin.Version, strings.TrimSuffix(sums, ", "))
		fmt.Fprintf(&chosen, "%s: %s, ", bin.Name, bin.Version)
	}
	for _, i := range b.Manifest.Images {
		switch {
		case strings.HasPrefix(i.Component, "kube-"):
			fmt.Fprintf(&own, "{component: %s, ref: \"%s\"}, ", i.Component, i.Ref)
		case i.Component != "":
			fmt.Fprintf(&images, "  - {component: %s, ref: \"%s\"}\n", i.Component, i.Ref)
		}
	}
	return fmt.Sprintf("apiVersion: hybridctl.dev/v1alpha1\nkind: Catalogue\ndownloads:\n%simages:\n%ssets:\n  - kubernetes: %s\n    downloads: {%s}\n    images: [%s]\n",
		&downloads, &images, bundletest.Version, strings.TrimSuffix(chosen.String(), ", "), strings.TrimSuffix(own.String(), ", "))
}

func (i *internet) requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := i.asked + i.registry.Count("")
	i.asked = 0
	i.registry.Forget()
	return n
}

func TestBundle_PushFetchAndGC(t *testing.T) {
	r := newRun(t)
	i := newInternet(t, r)
	r.want("bundle push --plain-http --bundle "+arg(i.bundle)+" "+i.registry.Host()+"/k8s", 0)
	r.waitedFor("the registry of " + i.registry.Host() + "/k8s")
	contains(t, "stdout", r.stdout.String(), i.registry.Host()+"/k8s/etcd:3.6.8-0", "4 sent, 0 mounted", "images in place")
	r.want("bundle push --plain-http --bundle "+arg(i.bundle)+" "+i.registry.Host()+"/k8s -o json", 0)
	var out pushed
	if err := json.Unmarshal(r.stdout.Bytes(), &out); err != nil || len(out.Images) != 10 || !out.Images[0].Unchanged || out.Stats.Up != 0 {
		t.Errorf("%v: %s", err, r.stdout.String())
	}
	dir := filepath.Join(t.TempDir(), "fetched")
	fetch := fmt.Sprintf("bundle fetch --catalogue %s --ca-file ca.pem --source https://dl.test=%s --source %s=http://%s/k8s --arch arm64 %s",
		i.catalogue, i.web.URL, bundletest.Registry, i.registry.Host(), arg(dir))
	i.requests()
	r.want(fetch+" --dry-run", 0)
	hosts := []string{i.registry.Host(), strings.TrimPrefix(i.web.URL, "https://")}
	slices.Sort(hosts) // their ports are as they come
	contains(t, "stdout", r.stdout.String(), "would fetch 11 files and 9 images from "+strings.Join(hosts, ", "))
	if n := i.requests(); n != 0 {
		t.Errorf("a dry run asked %d times", n)
	}
	if says := r.stderr.String(); says != "" { // every source is for something
		t.Errorf("stderr: %s", says)
	}
	r.want(fetch+" --dry-run --source https://dl.k8s.io=https://m.test --source quay.io=m.test", 0)
	if says, want := r.stderr.String(), "warning: --source https://dl.k8s.io fits no file that there is, and changes nothing: files come from dl.test\n"+
		"warning: --source quay.io fits no image that there is, and changes nothing: images come from "+bundletest.Registry+"\n"; says != want {
		t.Errorf("stderr: %s", says)
	}
	r.want(fetch, 0)
	contains(t, "stdout", r.stdout.String(), "Kubernetes v1.36.3, 11 binaries and 9 images for arm64")
	contains(t, "stderr", r.stderr.String(), "kubelet arm64", "image etcd")
	if _, err := os.Stat(dir + ".lock"); err != nil {
		t.Error(err)
	}
	i.requests()
	r.want(fetch, 0)
	if n := i.requests(); n != 0 {
		t.Errorf("it was whole, and %d times something was asked", n)
	}
	r.want("bundle verify "+arg(dir), 0)
	r.want("bundle gc --dry-run", 0)
	contains(t, "stdout", r.stdout.String(), "would delete", "no bundle of the cache uses it")
	r.want("bundle gc -o json", 0)
	r.want("bundle gc", 0)
	contains(t, "stdout", r.stdout.String(), "nothing to delete\n")
	r.want("bundle verify "+arg(dir), 0)
}

func TestBundleFetch_SaysWhatIsWrong(t *testing.T) {
	r := newRun(t)
	i := newInternet(t, r)
	catalogue := "bundle fetch --catalogue " + i.catalogue + " "
	for line, want := range map[string]string{
		"bundle fetch a b":                                               "takes one directory at most",
		"bundle fetch --kubernetes v0.1.0":                               `no Kubernetes "v0.1.0"`,
		"bundle fetch --arch sparc":                                      `unknown architecture "sparc"`,
		"bundle fetch --catalogue none.yaml":                             "none.yaml",
		catalogue + "--source x":                                         "write FROM=TO",
		catalogue + "--source a.test=b --source a.test=c":                "stands twice",
		catalogue + "--source https://a.test=https://me:pw@b.test":       "holds a name or a password",
		catalogue + "--ca-file none.pem":                                 "none.pem cannot be read",
		"bundle push":                                                    "takes the registry",
		"bundle push --bundle " + arg(i.bundle) + " https://harbor.test": "is no registry",
		"bundle push --bundle none harbor.test":                          "there is no bundle none",
		"bundle gc --unused 1s":                                          "must be a minute at least",
		"bundle gc x":                                                    "takes no arguments",
	} {
		r.want(line, 2)
		contains(t, line, r.stderr.String(), want)
		if strings.Contains(r.stderr.String(), "pw@") {
			t.Errorf("%s: %s", line, r.stderr.String())
		}
	}
	// Without internet: the host, and the ways out.
	r.want(catalogue+"--ca-file ca.pem --source https://dl.test=https://nobody.invalid --source "+bundletest.Registry+"=nobody.invalid/k8s", 1)
	contains(t, "stderr", r.stderr.String(), "nobody.invalid does not answer: ", "hint: name a mirror in spec.sources", "bundle export", "bundle create")
	if made, err := os.ReadDir(filepath.Join(r.dir, "bundle")); err != nil || len(made) > 0 {
		t.Errorf("something was made: %v %v", made, err)
	}
}

func TestBundleCreate_FetchesAddresses(t *testing.T) {
	r := newRun(t)
	i := newInternet(t, r)
	file := bundletest.Write(t, t.TempDir())
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(i.bundle)
	if err != nil {
		t.Fatal(err)
	}
	sum := ""
	for _, bin := range b.Binaries(platform.AMD64, bundle.Runc) {
		sum = bin.SHA256
	}
	source := strings.Replace(string(raw), "files: {amd64: bin/amd64/runc, arm64: bin/arm64/runc}",
		"files: {amd64: \""+i.web.URL+"/amd64/runc/runc\", arm64: bin/arm64/runc}, sha256: {amd64: \""+sum+"\"}", 1)
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "made")
	r.want("bundle create -f "+arg(file)+" "+arg(dir), 1)
	contains(t, "stderr", r.stderr.String(), "runc v1.5.2 for amd64", "an authority that this machine does not know", "--ca-file")
	r.want("bundle create --ca-file ca.pem --source quay.io=m.test -f "+arg(file)+" "+arg(dir), 0)
	contains(t, "stderr", r.stderr.String(), "warning: --source quay.io fits no image that there is, and changes nothing: images come from nowhere\n")
	r.want("bundle verify "+arg(dir), 0)
	if n := i.requests(); n != 1 {
		t.Errorf("%d requests", n)
	}
}
