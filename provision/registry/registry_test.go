package registry_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

func client(t *testing.T, o registry.Options) *registry.Client {
	t.Helper()
	if o.Wait == nil {
		o.Wait = func(context.Context, time.Duration) error { return nil }
	}
	c, err := registry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func repository(t *testing.T, text string) name.Repository {
	t.Helper()
	r, err := name.NewRepository(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var plain = registry.Options{PlainHTTP: []string{"*"}}

func sumOf(raw []byte) string {
	s := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(s[:])
}

func TestHTTPS_NoFallToHTTP(t *testing.T) {
	s := registrytest.New(t)
	s.Username, s.Password = "me", "secret"
	s.Raw("team/app", "1", "x", []byte("{}"))
	_, err := client(t, registry.Options{}).Repo(repository(t, s.Host()+"/team/app"), []registry.Credential{{Username: "me", Password: "secret"}}).Manifest(t.Context(), "1")
	if err == nil || !strings.Contains(registry.Hint(err), "--plain-http") {
		t.Errorf("error %v, hint %q", err, registry.Hint(err))
	}
	if len(s.Asked()) > 0 {
		t.Errorf("it was asked by HTTP: %q", s.Asked())
	}
}

func TestHTTPS_Authorities(t *testing.T) {
	s := registrytest.NewTLS(t)
	s.Raw("team/app", "1", "x", []byte("{}"))
	repo := repository(t, s.Host()+"/team/app")
	_, err := client(t, registry.Options{}).Repo(repo, nil).Manifest(t.Context(), "1")
	if err == nil || !strings.Contains(registry.Hint(err), "--ca-file") {
		t.Errorf("error %v, hint %q", err, registry.Hint(err))
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.TLS().Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []registry.Options{{CAFile: file}, {InsecureSkipTLSVerify: true}} {
		if _, err := client(t, o).Repo(repo, nil).Manifest(t.Context(), "1"); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.New(registry.Options{CAFile: file}); err == nil {
		t.Error("no error")
	}
}

func TestPlainHTTP_NeverForWellKnownRegistries(t *testing.T) {
	asked := ""
	o := registry.Options{PlainHTTP: []string{"*"}, Tries: 1, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = r.URL.Scheme
		return nil, errors.New("not now")
	})}
	for _, host := range []string{"docker.io/library/nginx", "ghcr.io/a/b", "registry.k8s.io/pause", "europe-docker.pkg.dev/a/b"} {
		_, _ = client(t, o).Repo(repository(t, host), nil).Manifest(t.Context(), "1")
		if asked != "https" {
			t.Errorf("%s was asked by %s", host, asked)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		within time.Duration // that the caller has; 0 = any
		wait   time.Duration
		fails  bool
		says   string
	}{
		"seconds": {"7", time.Minute, 7 * time.Second, false, ""}, "none": {"", 0, 500 * time.Millisecond, false, ""},
		"hours":                    {"21600", 0, 0, true, "answers 429 Too Many Requests, and asks to come back in 6h0m0s"},
		"more than the caller has": {"45", 30 * time.Second, 0, true, "answers 429 Too Many Requests, and asks to come back in 45s"},
	} {
		s := registrytest.New(t)
		s.Raw("team/app", "1", "x", []byte("{}"))
		var refused atomic.Bool
		s.Before = func(w http.ResponseWriter, _ *http.Request) bool {
			if refused.Swap(true) && !c.fails {
				return false
			}
			if c.header != "" {
				w.Header().Set("Retry-After", c.header)
			}
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		waited := time.Duration(0)
		o := plain
		o.Wait = func(_ context.Context, d time.Duration) error { waited = d; return nil }
		ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(c.within, time.Hour))
		_, err := client(t, o).Repo(repository(t, s.Host()+"/team/app"), nil).Manifest(ctx, "1")
		cancel()
		if c.fails && (err == nil || !strings.Contains(err.Error(), c.says)) || (err != nil) != c.fails || waited > c.wait || waited < c.wait-time.Second/4 {
			t.Errorf("%s: waited %v, %v", name, waited, err)
		}
	}
}

func TestDroppedConnections(t *testing.T) {
	s := registrytest.New(t)
	content := bytes.Repeat([]byte("layer"), 100_000)
	digest := s.Blob("team/app", content)
	s.Raw("team/app", "1", "x", []byte("{}"))
	var dropped atomic.Int32
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if dropped.Add(1) > 2 {
			return false
		}
		if r.Header.Get("Range") == "" && strings.Contains(r.URL.Path, "/blobs/") {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content[:len(content)/2])
		}
		panic(http.ErrAbortHandler)
	}
	repo := client(t, plain).Repo(repository(t, s.Host()+"/team/app"), nil)
	if _, err := repo.Manifest(t.Context(), "1"); err != nil {
		t.Error(err)
	}
	dropped.Store(0)
	b, err := repo.Blob(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// redirecting is a registry whose blobs are elsewhere; it counts what comes there with credentials.
func redirecting(t *testing.T, to string) (*registrytest.Server, string) {
	s := registrytest.New(t)
	s.Username, s.Password = "me", "secret"
	digest := s.Blob("team/app", []byte("content"))
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") || r.Header.Get("Authorization") == "" {
			return false
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return true
	}
	return s, digest
}

func TestRedirects(t *testing.T) {
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the store was shown credentials")
		}
		fmt.Fprint(w, "content")
	}))
	defer store.Close()
	keys := []registry.Credential{{Username: "me", Password: "secret"}}
	s, digest := redirecting(t, store.URL+"/x")
	_, port, _ := strings.Cut(s.Host(), ":")
	asks := func(host string, o registry.Options) error {
		o.PlainHTTP, o.Tries = []string{"*"}, 1
		o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Host, "registry.example") {
				r.URL.Host = s.Host()
			}
			return http.DefaultTransport.RoundTrip(r)
		})
		raw, err := client(t, o).Repo(repository(t, host+"/team/app"), keys).Small(t.Context(), digest)
		if err == nil && string(raw) != "content" {
			t.Errorf("%q", raw)
		}
		return err
	}
	at := func(ip string) func(context.Context, string) ([]net.IPAddr, error) {
		return func(context.Context, string) ([]net.IPAddr, error) { return []net.IPAddr{{IP: net.ParseIP(ip)}}, nil }
	}
	if err := asks(s.Host(), registry.Options{}); err != nil {
		t.Errorf("from a private address: %v", err)
	}
	named := "registry.example:" + port
	if err := asks(named, registry.Options{Lookup: at("10.0.0.1")}); err != nil {
		t.Errorf("from a name in a private network: %v", err)
	}
	err := asks(named, registry.Options{Lookup: at("203.0.113.7")})
	if err == nil || !strings.Contains(err.Error(), "which is in a private network that the registry itself is not in") || registry.Hint(err) != "--allow-private-redirects follows it anyway" {
		t.Errorf("from a public one: %v", err)
	}
	if err := asks(named, registry.Options{Lookup: at("203.0.113.7"), AnyRedirect: true}); err != nil {
		t.Errorf("with the flag: %v", err)
	}
}

func TestRedirects_FromHTTPSToHTTPAreRefused(t *testing.T) {
	s := registrytest.NewTLS(t)
	digest := s.Blob("team/app", []byte("content"))
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://127.0.0.1:1/x", http.StatusFound)
		return true
	}
	_, err := client(t, registry.Options{InsecureSkipTLSVerify: true}).Repo(repository(t, "localhost"+s.Host()[strings.Index(s.Host(), ":"):]+"/team/app"), nil).Small(t.Context(), digest)
	if err == nil || !strings.Contains(err.Error(), "by HTTP") {
		t.Errorf("error %v", err)
	}
}

func TestTokens(t *testing.T) {
	s := registrytest.New(t)
	s.Tokens, s.Username, s.Password = true, "me", "secret"
	s.Raw("team/app", "1", "x", []byte("{}"))
	c := client(t, plain)
	good, bad := registry.Credential{Username: "me", Password: "secret", From: "a secret"}, registry.Credential{Username: "me", Password: "old", From: "an older secret"}
	for range 2 {
		if _, err := c.Repo(repository(t, s.Host()+"/team/app"), []registry.Credential{bad, good}).Manifest(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Asked()); n != 6 { // 401, refused token, token, answer; then a refused token, and an answer
		t.Errorf("%d requests: %q", n, s.Asked())
	}
	_, err := c.Repo(repository(t, s.Host()+"/team/app"), []registry.Credential{bad}).Manifest(t.Context(), "1")
	if !errors.Is(err, registry.ErrLogin) || strings.Contains(err.Error(), "old\"") {
		t.Errorf("error %v", err)
	}
}

func TestTokens_RealmHasToBeTrusted(t *testing.T) {
	for realm, want := range map[string]string{
		"http://tokens.example/token": "by HTTP", "ftp://x/y": "no address of HTTPS", "": "names no place for its tokens", "https://127.0.0.1/token": "private network",
	} {
		o := registry.Options{Tries: 1, Lookup: func(context.Context, string) ([]net.IPAddr, error) { return nil, errors.New("no such host") }}
		o.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {`Bearer realm="` + realm + `"`}}, Body: http.NoBody}, nil
		})
		_, err := client(t, o).Repo(repository(t, "registry.example/team/app"), nil).Manifest(t.Context(), "1")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", realm, err, want)
		}
	}
}

func TestSecrets_AsTheKubeletMatches(t *testing.T) {
	var s registry.Secrets
	auth := func(keys ...string) []byte {
		auths := map[string]any{}
		for _, k := range keys {
			auths[k] = map[string]string{"username": k, "password": "p"}
		}
		raw, err := json.Marshal(map[string]any{"auths": auths})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if err := s.Add("secret a/b", auth("registry.example:5000", "registry.example:5000/team", "*.wild.example", "https://index.docker.io/v1/")); err != nil {
		t.Fatal(err)
	}
	for repo, want := range map[string]string{
		"registry.example:5000/team/app": "registry.example:5000/team registry.example:5000", "registry.example:5000/other": "registry.example:5000",
		"registry.example/team/app": "", "a.wild.example/x": "*.wild.example", "a.b.wild.example/x": "", "nginx": "https://index.docker.io/v1/",
	} {
		var got []string
		for _, c := range s.For(repository(t, repo)) {
			got = append(got, c.Username)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", repo, got, want)
		}
	}
	for text, shown := range map[string]string{`{"auths":{"r.example":{"auth":"!!"}}}`: "is not base64", `[1]`: "is no docker configuration"} {
		if err := s.Add("secret a/b", []byte(text)); err == nil || !strings.Contains(err.Error(), shown) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", s.For(repository(t, "nginx")), s.For(repository(t, "nginx")), s.For(repository(t, "nginx"))[0], s.For(repository(t, "nginx"))[0]); strings.Contains(shown, "Password") {
		t.Error(shown)
	}
}

func TestUpload_VerifiesNothingSilently(t *testing.T) {
	s := registrytest.New(t)
	repo := client(t, plain).Writable(repository(t, s.Host()+"/team/app"), nil, nil)
	content := []byte("content")
	open := func(raw []byte, err error) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(raw), failing{err})), nil
		}
	}
	if err := repo.Upload(t.Context(), sumOf(content), int64(len(content)), open(content, io.EOF)); err != nil {
		t.Error(err)
	}
	if err := repo.Upload(t.Context(), sumOf([]byte("other")), int64(len(content)), open(content, io.EOF)); err == nil || !strings.Contains(err.Error(), "DIGEST_INVALID") {
		t.Errorf("error %v", err)
	}
	err := repo.Upload(t.Context(), sumOf(content), int64(len(content)), open(content[:3], errors.New("the disk is broken")))
	if err == nil || !strings.Contains(err.Error(), "the disk is broken") || errors.Is(err, registry.ErrSilent) {
		t.Errorf("error %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A server that answers 200 to everything is no registry: what was sent is read back where the answer does not say what lies there.
func TestPut_IsReadBackWhereNobodySaysWhatLiesThere(t *testing.T) {
	s := registrytest.New(t)
	repo := client(t, plain).Writable(repository(t, s.Host()+"/team/app"), nil, nil)
	s.NoDigestHeader = true
	if err := repo.Put(t.Context(), "1", "x", []byte("{}")); err != nil {
		t.Error(err)
	}
	for kind, want := range map[string]string{"text/html": "answers with a web page in its place", "text/plain": "has another manifest under 1 than was sent"} {
		s.Before = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, "<html>please log in</html>")
			return true
		}
		if err := repo.Put(t.Context(), "1", "x", []byte("{}")); err == nil || !strings.Contains(err.Error(), s.Host()+" "+want) {
			t.Errorf("%s: error %v", kind, err)
		}
	}
}

// What became of a login is told, also when the registry was asked as no one after it.
func TestLogin_TheRefusalIsTold(t *testing.T) {
	s := registrytest.New(t)
	s.Username, s.Password = "me", "the right one"
	keys := []registry.Credential{{Username: "me", Password: "a wrong one", From: "docker's configuration"}}
	repo := client(t, plain).Repo(repository(t, s.Host()+"/team/app"), keys)
	for range 2 { // the second request knows already that the key is of no use
		_, err := repo.Manifest(t.Context(), "1")
		want := s.Host() + " does not let team/app in with the credential of docker's configuration: "
		if !errors.Is(err, registry.ErrLogin) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "a wrong one") {
			t.Errorf("error %v", err)
		}
	}
	s.Username = ""
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); ok {
			w.WriteHeader(http.StatusForbidden)
		} else {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(http.StatusUnauthorized)
		}
		return true
	}
	_, err := client(t, plain).Repo(repository(t, s.Host()+"/team/app"), keys).Manifest(t.Context(), "1")
	if err == nil || !strings.Contains(err.Error(), "answers 403 Forbidden") {
		t.Errorf("error %v", err)
	}
}

func TestAllowed(t *testing.T) {
	s := registrytest.New(t)
	o := plain
	o.Allowed = func(string) bool { return false }
	_, err := client(t, o).Repo(repository(t, s.Host()+"/team/app"), nil).Manifest(t.Context(), "1")
	if !errors.Is(err, registry.ErrNotAsked) || len(s.Asked()) > 0 {
		t.Errorf("error %v, asked %q", err, s.Asked())
	}
}

// TestRefusesOCI has what registries answer to types that they do not know, and what means something else.
func TestRefusesOCI(t *testing.T) {
	for _, c := range []struct {
		status int
		codes  []string
		want   bool
	}{
		{400, []string{"MANIFEST_INVALID"}, true}, {400, nil, true}, {400, []string{"SVCSTG.SWR.4000002"}, true}, {400, []string{"UNSUPPORTED"}, true},
		{415, nil, true}, {406, nil, true},
		{400, []string{"MANIFEST_BLOB_UNKNOWN"}, false}, {400, []string{"TAG_INVALID"}, false}, {400, []string{"MANIFEST_INVALID", "DENIED"}, false},
		{401, nil, false}, {403, []string{"DENIED"}, false}, {404, nil, false}, {500, nil, false},
	} {
		err := fmt.Errorf("put: %w", &registry.Error{Status: c.status, Codes: c.codes})
		if got := registry.RefusesOCI(err); got != c.want {
			t.Errorf("%d %v: %t", c.status, c.codes, got)
		}
	}
	if registry.RefusesOCI(registry.ErrSilent) {
		t.Error("a registry that does not answer")
	}
}
