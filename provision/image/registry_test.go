package image_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

func client(t testing.TB, o registry.Options) *registry.Client {
	t.Helper()
	c, err := registry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// plain is a client that asks by HTTP.
func plain(t testing.TB) *registry.Client {
	return client(t, registry.Options{PlainHTTP: []string{"*"}, Tries: 1})
}

func ask(t testing.TB, ref string) image.Answer {
	return (&image.Asker{Registry: plain(t)}).Ask(t.Context(), ref, nil, platform.All())
}

// listing is an index of such platforms, whose images need not be there.
func listing(t testing.TB, entries ...v1.Descriptor) []byte {
	t.Helper()
	raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: entries})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func entryFor(os, arch, variant string, digest string) v1.Descriptor {
	h, err := v1.NewHash(digest)
	if err != nil {
		panic(err)
	}
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: h, Size: 1, Platform: &v1.Platform{OS: os, Architecture: arch, Variant: variant}}
}

func digestOf(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }

const indexType = string(types.OCIImageIndex)

func TestAsk_Verdicts(t *testing.T) {
	s := registrytest.New(t)
	x86, arm := imagetest.Program(amd64, ""), imagetest.Program(arm64, "")
	both := imagetest.Index(map[platform.Arch]v1.Image{amd64: x86, arm64: arm})
	s.Index(t, "team/both", "1", both)
	s.Index(t, "team/swept", "1", both)
	s.Delete("team/swept", must(arm.Digest()).String())
	s.Image(t, "team/one", "1", x86)
	nested := imagetest.Append(imagetest.Append(index(), both, v1.Descriptor{}), imagetest.Program(arm64, "2"), v1.Descriptor{})
	s.Index(t, "team/nested", "1", nested)
	s.Raw("team/nested", "", indexType, must(both.RawManifest()))
	s.Image(t, "team/nested", "", x86)
	s.Image(t, "team/nested", "", arm)
	hidden := imagetest.Append(index(), both, v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: string(arm64)}})
	s.Raw("team/nested", "hidden", indexType, must(hidden.RawManifest()))
	s.Raw("team/v7", "1", indexType, listing(t, entryFor("linux", "amd64", "", digestOf("a")), entryFor("linux", "arm", "v7", digestOf("b"))))
	s.Raw("team/v3", "1", indexType, listing(t, entryFor("linux", "amd64", "v3", digestOf("a"))))
	s.Raw("team/windows", "1", indexType, listing(t, entryFor("windows", "amd64", "", digestOf("a"))))
	s.Raw("team/typeless", "1", "application/json", []byte(strings.ReplaceAll(string(must(both.RawManifest())), `"mediaType":"application/vnd.oci.image.index.v1+json",`, "")))
	s.Image(t, "team/typeless", "", x86)
	s.Image(t, "team/typeless", "", arm)
	for ref, want := range map[string][2]string{ // amd64, arm64
		"both:1":                  {"yes", "yes"},
		"swept:1":                 {"yes", "listed: the index names " + must(arm.Digest()).String() + " for it, and the registry does not have that"},
		"one:1":                   {"yes", "no: it is for linux/amd64"},
		"nested:1":                {"yes", "yes"},
		"nested:hidden":           {"no: it is for linux/arm64", "yes"},
		"v7:1":                    {"listed", "no: it is for linux/amd64, linux/arm/v7; a node takes linux/arm/v7 where there is nothing else, but many a processor does not run it"},
		"v3:1":                    {"no: it is for linux/amd64/v3; linux/amd64/v3 is not for every processor", "no: it is for linux/amd64/v3"},
		"windows:1":               {"no: it is for windows/amd64", "no"},
		"typeless:1":              {"yes", "yes"},
		"none:1":                  {"unknown: " + s.Host() + " answers 404 Not Found (MANIFEST_UNKNOWN: manifest unknown)", "unknown"},
		"both:1@" + digestOf("c"): {"unknown: " + s.Host() + " answers 404", "unknown"},
	} {
		a := ask(t, s.Host()+"/team/"+ref)
		for i, arch := range platform.All() {
			v, reason := a.For(arch)
			if got := strings.TrimSuffix(string(v)+": "+reason, ": "); !strings.HasPrefix(got, want[i]) || (want[i] == "yes") != (got == "yes") {
				t.Errorf("%s, %s: %q, want %q", ref, arch, got, want[i])
			}
		}
	}
}

// A registry, or a cache before it, says by HEAD that it has what it then does not give, or gives something else: what the index names is there
// when it has been read.
func TestAsk_AChildIsReadBeforeItIsBelieved(t *testing.T) {
	s := registrytest.New(t)
	x86, arm := imagetest.Program(amd64, ""), imagetest.Program(arm64, "")
	s.Index(t, "team/both", "1", imagetest.Index(map[platform.Arch]v1.Image{amd64: x86, arm64: arm}))
	child := must(arm.Digest()).String()
	for given, want := range map[string]string{
		"":                              "listed: the index names " + child + " for it, and the registry does not have that",
		"<html></html>":                 "unknown: " + s.Host() + " gives other content for " + child + ": its digest is sha256:",
		string(must(x86.RawManifest())): "unknown: " + s.Host() + " gives other content for " + child + ": its digest is " + must(x86.Digest()).String(),
	} {
		s.Before = func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case !strings.HasSuffix(r.URL.Path, child):
				return false
			case r.Method == http.MethodHead:
				w.Header().Set("Docker-Content-Digest", child)
			case given == "":
				w.WriteHeader(http.StatusNotFound)
			default:
				w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
				fmt.Fprint(w, given)
			}
			return true
		}
		a := ask(t, s.Host()+"/team/both:1")
		if v, reason := a.For(arm64); !strings.HasPrefix(string(v)+": "+reason, want) {
			t.Errorf("%s: %s, want %s", v, reason, want)
		}
		if v, reason := a.For(amd64); v != image.VerdictYes {
			t.Errorf("the other one: %s: %s", v, reason)
		}
		held := (&image.Asker{Registry: plain(t)}).Holds(t.Context(), s.Host()+"/team/both:1", nil, map[platform.Arch]string{amd64: must(x86.Digest()).String(), arm64: child})
		if held[arm64] == nil || held[amd64] != nil {
			t.Errorf("holds %v", held)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAsk_WhatCannotBeRead(t *testing.T) {
	s := registrytest.New(t)
	blank := s.Blob("team/blank", []byte(`{}`))
	s.Raw("team/blank", "1", string(types.OCIManifestSchema1), fmt.Appendf(nil, `{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[]}`, types.OCIConfigJSON, blank))
	s.Raw("team/old", "1", "application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"fsLayers":[]}`))
	s.Raw("team/two", "1", indexType, []byte(`{"schemaVersion":2,"manifests":[],"layers":[]}`))
	s.Raw("team/neither", "1", indexType, []byte(`{"schemaVersion":2}`))
	s.Raw("team/torn", "1", indexType, []byte(`{"schemaVersion":`))
	inner := listing(t)
	for range 6 {
		d := s.Raw("team/deep", "1", indexType, inner)
		inner = listing(t, v1.Descriptor{MediaType: types.OCIImageIndex, Digest: must(v1.NewHash(d)), Size: int64(len(inner))})
	}
	for ref, want := range map[string]string{
		"blank:1": "names no architecture", "old:1": "Docker's schema 1", "two:1": "a manifest and an index at once", "neither:1": "neither a manifest nor an index",
		"torn:1": "it is no manifest", "deep:1": "too many indexes within one another",
	} {
		if a := ask(t, s.Host()+"/team/"+ref); a.Err == nil || !strings.Contains(a.Err.Error(), want) {
			t.Errorf("%s: %+v, want %q", ref, a, want)
		}
	}
	for _, ref := range []string{"Team/App", "", "a b", "http://registry.test/x", "registry.test/x@sha512:" + strings.Repeat("a", 128)} {
		if a := ask(t, ref); a.Err == nil {
			t.Errorf("%q: no error", ref)
		}
	}
}

// answers is a transport of the test's own, which counts what is asked of each host.
type answers struct {
	asked map[string]int
	of    func(*http.Request) (*http.Response, error)
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	a.asked[req.URL.Host]++
	return a.of(req)
}

func TestAsk_SilenceIsMetOnce(t *testing.T) {
	silent := func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	answer := func(status int, header ...string) *http.Response {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: h, Body: io.NopCloser(strings.NewReader(""))}
	}
	for name, test := range map[string]struct {
		of    func(*http.Request) (*http.Response, error)
		host  string // that is counted
		asked int    // for two images
		want  string
	}{
		"silent":  {silent, "r.example", 1, "r.example does not answer: no answer within 10ms"},
		"refuses": {func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("connection refused") }, "r.example", 1, "r.example does not answer: connection refused"},
		"answers": {func(*http.Request) (*http.Response, error) { return answer(500), nil }, "r.example", 2, "r.example answers 500 Internal Server Error"},
		"tokens are silent": {func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "tokens.example" {
				return silent(req)
			}
			return answer(401, "WWW-Authenticate", `Bearer realm="https://tokens.example/token"`), nil
		}, "tokens.example", 1, "tokens.example does not answer: no answer within 10ms"},
		"blobs elsewhere are silent": {func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "blobs.example" {
				return silent(req)
			}
			return answer(307, "Location", "https://blobs.example/x"), nil
		}, "r.example", 2, "blobs.example does not answer: no answer within 10ms"},
	} {
		a := &answers{map[string]int{}, test.of}
		asker := &image.Asker{Registry: client(t, registry.Options{Transport: a, Patience: 10 * time.Millisecond, Tries: 1})}
		for _, ref := range []string{"r.example/a:1", "r.example/b:1"} {
			if got := asker.Ask(t.Context(), ref, nil, nil); got.Err == nil || got.Err.Error() != test.want {
				t.Errorf("%s: %v, want %s", name, got.Err, test.want)
			}
		}
		if a.asked[test.host] != test.asked {
			t.Errorf("%s: %s was asked %d times, want %d", name, test.host, a.asked[test.host], test.asked)
		}
	}
}

func TestAsk_OneGetAndOneHeadWithACache(t *testing.T) {
	s := registrytest.New(t)
	both := imagetest.Index(map[platform.Arch]v1.Image{amd64: imagetest.Program(amd64, ""), arm64: imagetest.Program(arm64, "")})
	s.Index(t, "team/both", "1", both)
	cache := must(image.OpenCache(t.TempDir() + "/cache/registry.json"))
	for i, want := range [][]string{{"GET /v2/team/both/manifests/1"}, {"HEAD /v2/team/both/manifests/1"}} {
		s.Forget()
		a := (&image.Asker{Registry: plain(t), Cache: cache, IndexOnly: true}).Ask(t.Context(), s.Host()+"/team/both:1", nil, platform.All())
		if v, _ := a.For(arm64); a.Err != nil || v != image.VerdictListed || !slices.Equal(s.Asked(), want) {
			t.Errorf("round %d: %+v, asked %q", i, a, s.Asked())
		}
		if err := cache.Save(); err != nil {
			t.Fatal(err)
		}
	}
}
