package image

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/platform"
)

func TestRegistry_Archs(t *testing.T) {
	config, arm, inner, loop := digestOf("a"), digestOf("b"), digestOf("c"), digestOf("d")
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/token":
			if s := req.URL.Query().Get("scope"); s != "repository:team/closed:pull" {
				t.Errorf("scope %q", s)
			}
			fmt.Fprint(w, `{"token":"anybody"}`)
		case strings.Contains(req.URL.Path, "/team/closed/") && req.Header.Get("Authorization") != "Bearer anybody":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/token",service="here",scope="repository:team/closed:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasSuffix(req.URL.Path, "/private/manifests/1"):
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasSuffix(req.URL.Path, "/index/manifests/1"), strings.HasSuffix(req.URL.Path, "/closed/manifests/1"):
			if !strings.Contains(req.Header.Get("Accept"), "image.index") {
				t.Error("an index is not accepted")
			}
			fmt.Fprint(w, `{"manifests":[
				{"platform":{"os":"linux","architecture":"arm64","variant":"v8"}},{"platform":{"os":"linux","architecture":"s390x"}},
				{"platform":{"os":"windows","architecture":"amd64"}},{"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.type":"attestation-manifest"}}]}`)
		case strings.HasSuffix(req.URL.Path, "/one/manifests/1"):
			fmt.Fprint(w, `{"config":{"digest":"`+config+`"}}`)
		case strings.HasSuffix(req.URL.Path, "/one/blobs/"+config):
			fmt.Fprint(w, `{"os":"linux","architecture":"amd64"}`)
		case strings.HasSuffix(req.URL.Path, "/unsaid/manifests/1"):
			fmt.Fprint(w, `{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"`+arm+`"},
				{"digest":"`+digestOf("9")+`","annotations":{"vnd.docker.reference.type":"attestation-manifest"}}]}`)
		case strings.HasSuffix(req.URL.Path, "/manifests/"+arm):
			fmt.Fprint(w, `{"config":{"digest":"`+arm+`"}}`)
		case strings.HasSuffix(req.URL.Path, "/blobs/"+arm):
			fmt.Fprint(w, `{"os":"linux","architecture":"arm64"}`)
		case strings.HasSuffix(req.URL.Path, "/nested/manifests/1"):
			fmt.Fprint(w, `{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"`+inner+`"},
				{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"`+arm+`"}]}`)
		case strings.HasSuffix(req.URL.Path, "/manifests/"+inner):
			fmt.Fprint(w, `{"manifests":[{"platform":{"os":"linux","architecture":"amd64"}}]}`)
		case strings.HasSuffix(req.URL.Path, "/signed/manifests/1"):
			fmt.Fprint(w, `{"manifests":[{"platform":{"os":"linux","architecture":"amd64"}},{"digest":"`+digestOf("e")+`"}]}`)
		case strings.HasSuffix(req.URL.Path, "/manifests/"+digestOf("e")):
			fmt.Fprint(w, `{"config":{"digest":"`+digestOf("e")+`"}}`)
		case strings.HasSuffix(req.URL.Path, "/blobs/"+digestOf("e")), strings.HasSuffix(req.URL.Path, "/blank/blobs/"+digestOf("f")):
			fmt.Fprint(w, `{}`)
		case strings.HasSuffix(req.URL.Path, "/blank/manifests/1"):
			fmt.Fprint(w, `{"config":{"digest":"`+digestOf("f")+`"}}`)
		case strings.HasSuffix(req.URL.Path, "/gone/manifests/1"):
			fmt.Fprint(w, `{"manifests":[{"platform":{"os":"linux","architecture":"amd64"}},{"digest":"`+digestOf("8")+`"}]}`)
		case strings.HasSuffix(req.URL.Path, "/loop/manifests/1"), strings.HasSuffix(req.URL.Path, "/manifests/"+loop):
			fmt.Fprint(w, `{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"`+loop+`"}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	for image, want := range map[string][]platform.Arch{
		"/team/index:1": {platform.ARM64}, "/team/closed:1": {platform.ARM64}, "/team/one:1": {platform.AMD64},
		"/team/unsaid:1": {platform.ARM64}, "/team/nested:1": {platform.AMD64, platform.ARM64}, "/team/signed:1": {platform.AMD64},
	} {
		got, err := Registry{}.Archs(context.Background(), at+image)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", image, got, err, want)
		}
	}
	for image, want := range map[string]string{
		"/team/none:1": "404", "/team/private:1": "wants a login", "/Team:1": "parse reference", "/team/blank:1": "names no architecture",
		"/team/gone:1": "404", "/team/loop:1": "too many indexes",
	} {
		if got, err := (Registry{}).Archs(context.Background(), at+image); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", image, got, err, want)
		}
	}
}

func digestOf(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }
