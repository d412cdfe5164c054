package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

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
		got, err := new(Registry).Archs(context.Background(), at+image)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", image, got, err, want)
		}
	}
	for image, want := range map[string]string{
		"/team/none:1": "404", "/team/private:1": "wants a login", "/Team:1": "parse reference", "/team/blank:1": "names no architecture",
		"/team/gone:1": "404", "/team/loop:1": "too many indexes",
	} {
		if got, err := new(Registry).Archs(context.Background(), at+image); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", image, got, err, want)
		}
	}
}

func digestOf(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }

// answers is a transport of the test's own, which counts what is asked of each host.
type answers struct {
	asked map[string]int
	of    func(*http.Request) (*http.Response, error)
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	a.asked[req.URL.Host]++
	return a.of(req)
}

func TestRegistry_SilenceIsMetOnce(t *testing.T) {
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
		"silent":  {silent, "r.example", 1, "r.example does not answer within 10ms"},
		"refuses": {func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, "r.example", 1, "r.example does not answer: connection refused"},
		"answers": {func(*http.Request) (*http.Response, error) { return answer(500), nil }, "r.example", 2, "r.example answers 500"},
		"tokens are silent": {func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "tokens.example" {
				return silent(req)
			}
			return answer(401, "WWW-Authenticate", `Bearer realm="https://tokens.example/token"`), nil
		}, "tokens.example", 1, "tokens.example does not answer within 10ms"},
		"blobs elsewhere are silent": {func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "blobs.example" {
				return silent(req)
			}
			return answer(307, "Location", "https://blobs.example/x"), nil
		}, "r.example", 2, "blobs.example does not answer within 10ms"},
	} {
		a := &answers{map[string]int{}, test.of}
		r := &Registry{Client: &http.Client{Transport: a}, Patience: 10 * time.Millisecond}
		for _, image := range []string{"r.example/a:1", "r.example/b:1"} {
			if _, err := r.Archs(context.Background(), image); err == nil || err.Error() != test.want {
				t.Errorf("%s: %v, want %s", name, err, test.want)
			}
		}
		if a.asked[test.host] != test.asked {
			t.Errorf("%s: %s was asked %d times, want %d", name, test.host, a.asked[test.host], test.asked)
		}
	}
	a := &answers{map[string]int{}, silent}
	r := &Registry{Client: &http.Client{Transport: a}, Patience: 10 * time.Millisecond}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for _, ctx := range []context.Context{gone, context.Background()} {
		if _, err := r.Archs(ctx, "r.example/a:1"); err == nil {
			t.Error("no error")
		}
	}
	if a.asked["r.example"] != 2 {
		t.Error("the end of a run was taken for silence")
	}
}
