package publish

import (
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

func client(t *testing.T, s *registrytest.Server) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Options{PlainHTTP: []string{s.Host()}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func nobody(t *testing.T) { t.Setenv("DOCKER_CONFIG", t.TempDir()) }

func TestPush_SendsOnceAndThenNothing(t *testing.T) {
	nobody(t)
	b := bundletest.Make(t)
	s := registrytest.New(t)
	var told []string
	results, err := Push(t.Context(), b, s.Host()+"/k8s", Options{Registry: client(t, s), Done: func(r Result) { told = append(told, r.To) }})
	if err != nil || len(results) != len(b.Manifest.Images) || len(told) != len(results) {
		t.Fatalf("%v: %d results for %d images", err, len(results), len(b.Manifest.Images))
	}
	sent, mounted := 0, 0
	for _, r := range results {
		if _, raw := s.Manifest("k8s/"+strings.TrimPrefix(strings.Split(r.Ref, ":")[0], bundletest.Registry+"/"), strings.Split(r.Ref, ":")[1]); digestOf(raw) != r.Digest || r.Unchanged {
			t.Errorf("%+v", r)
		}
		sent, mounted = sent+r.Sent, mounted+r.Mounted
	}
	// Each of four images of Kubernetes has two architectures with a layer that they share: three times two are mounted.
	if mounted != 6 || sent != 2*2*len(results)+2 {
		t.Errorf("%d sent, %d mounted", sent, mounted)
	}
	s.Forget()
	results, err = Push(t.Context(), b, s.Host()+"/k8s/", Options{Registry: client(t, s)})
	if err != nil || s.Up() != 0 || s.Count("PUT")+s.Count("POST") != 0 || slices.ContainsFunc(results, func(r Result) bool { return !r.Unchanged }) {
		t.Errorf("%v: %d bytes, %q", err, s.Up(), s.Asked())
	}
}

func TestPush_GoesOnWhereItEnded(t *testing.T) {
	nobody(t)
	b := bundletest.Make(t)
	s := registrytest.New(t)
	puts := 0
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/") {
			puts++
		}
		if puts > 9 {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	results, err := Push(t.Context(), b, s.Host(), Options{Registry: client(t, s)})
	if err == nil || len(results) == 0 {
		t.Fatalf("%v, %d results", err, len(results))
	}
	puts = -1000
	if results, err = Push(t.Context(), b, s.Host(), Options{Registry: client(t, s)}); err != nil {
		t.Fatal(err)
	}
	if all := 4*len(results) + 2; puts+1000 != all-9 {
		t.Errorf("%d blobs were sent by the second run: 9 of %d were there", puts+1000, all)
	}
}

// sparse is a bundle of one architecture whose index names both, and another platform.
func sparse(t *testing.T) *bundle.Bundle {
	t.Helper()
	both := imagetest.Index(map[platform.Arch]v1.Image{platform.AMD64: imagetest.Program(platform.AMD64, "x"), platform.ARM64: imagetest.Program(platform.ARM64, "x")})
	both = imagetest.Append(both, imagetest.Program(platform.AMD64, "y"), v1.Descriptor{Platform: &v1.Platform{OS: "windows", Architecture: "amd64"}})
	store := t.TempDir()
	imagetest.Layout(t, store, map[string]v1.ImageIndex{"registry.test/coredns/coredns:v1": both})
	raw, err := both.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	l, err := image.ReadListing(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	child := l.Children[platform.ARM64].Digest
	img, err := both.Image(v1.Hash{Algorithm: "sha256", Hex: strings.TrimPrefix(child, "sha256:")})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	content, err := image.ReadListing(manifest, "")
	if err != nil {
		t.Fatal(err)
	}
	blobs := []string{l.Digest, child}
	for _, b := range content.Content {
		blobs = append(blobs, b.Digest)
	}
	out, err := bundle.Compose(t.Context(), bundle.Parts{
		KubernetesVersion: "v1.36.3",
		Images: []bundle.PartImage{{Image: bundle.Image{Component: bundle.CoreDNS, Ref: "registry.test/coredns/coredns:v1", Digest: l.Digest,
			Archs: []platform.Arch{platform.ARM64}, Manifests: map[platform.Arch]string{platform.ARM64: child}}, Blobs: blobs}},
		File: func(digest string) string {
			return filepath.Join(store, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
		},
	}, filepath.Join(t.TempDir(), "bundle"), bundle.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPush_AnIndexThatIsNotWhole(t *testing.T) {
	nobody(t)
	b := sparse(t)
	s := registrytest.New(t)
	results, err := Push(t.Context(), b, s.Host()+"/k8s", Options{Registry: client(t, s)})
	if !errors.Is(err, ErrSparse) || len(results) != 0 || !strings.Contains(err.Error(), "amd64, windows/amd64") || !strings.Contains(hint.Text(err), "--reduce-indexes") {
		t.Errorf("%v (%s)", err, hint.Text(err))
	}
	results, err = Push(t.Context(), b, s.Host()+"/k8s", Options{Registry: client(t, s), Reduce: true})
	if err != nil || len(results) != 2 || !results[0].Reduced || results[0].Digest == b.Manifest.Images[0].Digest {
		t.Fatalf("%v %+v", err, results)
	}
	for _, repository := range []string{"k8s/coredns/coredns", "k8s/coredns"} {
		media, raw := s.Manifest(repository, "v1")
		l, err := image.ReadListing(raw, media)
		if err != nil || len(l.Children) != 1 || len(l.Others) != 0 || l.Digest != results[0].Digest {
			t.Errorf("%s: %v %+v", repository, err, l)
		}
	}
	s.Sparse = true
	results, err = Push(t.Context(), b, s.Host()+"/whole", Options{Registry: client(t, s)})
	if err != nil || results[0].Digest != b.Manifest.Images[0].Digest || strings.Join(results[0].LeftOut, " ") != "amd64 windows/amd64" {
		t.Errorf("%v %+v", err, results)
	}
}

func TestPush_RefusesTargets(t *testing.T) {
	nobody(t)
	b := sparse(t)
	s := registrytest.New(t)
	for _, to := range []string{"", "k8s", "https://harbor.example", "harbor.example/K8S", "me:secret@harbor.example", "me:a@secret@harbor.example/k8s", "harbor.example//x", "harbor.example:99999/k8s", "localhost:0"} {
		if _, err := Push(t.Context(), b, to, Options{Registry: client(t, s)}); !errors.Is(err, ErrInput) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", to, err)
		}
	}
	b.Manifest.Images = append(b.Manifest.Images, bundle.Image{Ref: "other.test/coredns/coredns:v1", Digest: "sha256:" + strings.Repeat("0", 64)})
	if _, err := Push(t.Context(), b, s.Host(), Options{Registry: client(t, s)}); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "would both lie at") {
		t.Errorf("%v", err)
	}
	s.Username, s.Password = "me", "a secret of the test"
	b.Manifest.Images = b.Manifest.Images[:1]
	_, err := Push(t.Context(), b, s.Host(), Options{Registry: client(t, s)})
	if !errors.Is(err, registry.ErrLogin) || !strings.Contains(hint.Text(err), "docker login") {
		t.Errorf("%v (%s)", err, hint.Text(err))
	}
}

func TestPush_ADamagedBundleSendsNothingWrong(t *testing.T) {
	nobody(t)
	b := sparse(t)
	s := registrytest.New(t)
	s.Sparse = true
	layer := ""
	for _, blob := range must(b.ImageBlobs(platform.ARM64, b.Manifest.Images[0].Ref)) {
		layer = blob
	}
	imagetest.WriteFile(t, filepath.Join(b.Dir, "oci/blobs/sha256", strings.TrimPrefix(layer, "sha256:")), []byte("damaged"), 0o644)
	if _, err := Push(t.Context(), b, s.Host(), Options{Registry: client(t, s)}); !errors.Is(err, bundle.ErrDamaged) {
		t.Errorf("%v", err)
	}
	if s.Content(layer) != nil {
		t.Error("a damaged blob is there")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Each way a push can end is a sentence, and says what may help: which command, flag or file.
func TestPush_SaysWhatMayHelp(t *testing.T) {
	b := sparse(t)
	status := func(n int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(n); return true }
	}
	for name, c := range map[string]struct {
		s          *registrytest.Server
		before     func(http.ResponseWriter, *http.Request) bool
		to         string // "" = the server
		docker     string // docker's configuration
		want, hint string
	}{
		"no such name":   {to: "nobody.invalid", want: "HOST does not answer: ", hint: "where only a proxy knows"},
		"refused":        {to: "127.0.0.1:1", want: "HOST does not answer: it refuses the connection", hint: "is that its port?"},
		"authority":      {s: registrytest.NewTLS(t), want: "HOST shows a certificate of an authority that this machine does not know", hint: "--ca-file FILE"},
		"HTTP":           {to: registrytest.New(t).Host(), want: "HOST speaks HTTP, and was asked by HTTPS", hint: "--plain-http=HOST"},
		"a login":        {before: status(401), want: "HOST wants a login for k8s/coredns/coredns", hint: "docker login HOST"},
		"a wrong one":    {before: status(401), docker: `{"auths": {"HOST": {"auth": "bWU6c2VjcmV0"}}}`, want: "HOST does not let k8s/coredns/coredns in with the credential of docker's configuration", hint: "docker login HOST"},
		"may not":        {before: status(403), want: "HOST answers 403 Forbidden", hint: "as someone who may write there"},
		"no registry":    {before: status(404), want: "HOST answers 404 Not Found", hint: "is HOST a registry?"},
		"full":           {before: status(507), want: "HOST answers 507 Insufficient Storage", hint: "have room made there"},
		"broken":         {before: status(500), want: "HOST answers 500 Internal Server Error", hint: "try again later"},
		"no docker JSON": {docker: `{"auths": `, want: "docker's configuration: FOLDER/config.json cannot be read", hint: "DOCKER_CONFIG"},
		"no helper":      {docker: `{"credsStore": "of-the-test"}`, want: "docker's configuration names the credential helper docker-credential-of-the-test, which is not installed", hint: "DOCKER_CONFIG"},
		"a page": {before: func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>"))
			return true
		}, want: "HOST answers with a web page in its place", hint: "HTTPS_PROXY"},
	} {
		o := registry.Options{Tries: 1}
		to := c.to
		if to == "" {
			if c.s == nil {
				c.s = registrytest.New(t)
				o.PlainHTTP = []string{c.s.Host()}
			}
			c.s.Before, c.s.Sparse, to = c.before, true, c.s.Host()
		}
		docker := t.TempDir()
		here := strings.NewReplacer("HOST", to, "FOLDER", docker)
		t.Setenv("DOCKER_CONFIG", docker)
		if c.docker != "" {
			imagetest.WriteFile(t, filepath.Join(docker, "config.json"), []byte(here.Replace(c.docker)), 0o600)
		}
		client, err := registry.New(o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Push(t.Context(), b, to+"/k8s", Options{Registry: client})
		if err == nil || !strings.HasPrefix(err.Error(), here.Replace("HOST/k8s/coredns/coredns:v1: "+c.want)) || !strings.Contains(hint.Text(err), here.Replace(c.hint)) ||
			strings.Contains(err.Error(), "dial tcp") || strings.Contains(err.Error()+hint.Text(err), "secret") {
			t.Errorf("%s: %v\nhint: %s", name, err, hint.Text(err))
		}
	}
}
