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
	const config = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
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
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	for image, want := range map[string][]platform.Arch{
		"/team/index:1": {platform.ARM64}, "/team/closed:1": {platform.ARM64}, "/team/one:1": {platform.AMD64},
	} {
		got, err := Registry{}.Archs(context.Background(), at+image)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", image, got, err, want)
		}
	}
	for image, want := range map[string]string{"/team/none:1": "404", "/team/private:1": "wants a login", "/Team:1": "parse reference"} {
		if got, err := (Registry{}).Archs(context.Background(), at+image); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", image, got, err, want)
		}
	}
}
