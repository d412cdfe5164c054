// Package registrytest is a registry in the test's own process. It keeps the blobs of each repository apart, as real ones do: a manifest
// whose blobs were never sent, or mounted, is refused.
package registrytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Server is a registry. Its fields may be set before it is first asked.
type Server struct {
	Username, Password string // of the only one who may ask; "" = everybody
	Tokens             bool   // it wants tokens, which it gives out itself
	DockerOnly         bool   // it takes Docker's manifests alone, as Huawei's SWR
	NoMounts           bool
	NoDigestHeader     bool
	Sparse             bool // it takes indexes whose images it does not have
	// Before may answer in the registry's place; true = it did.
	Before func(w http.ResponseWriter, r *http.Request) bool

	http  *httptest.Server
	mu    sync.Mutex
	repos map[string]*repo
	asked []string
	up    int64
}

type repo struct {
	blobs     map[string][]byte
	manifests map[string]document // by digest, and by tag
}

type document struct {
	media string
	raw   []byte
}

// New starts a registry that speaks HTTP.
func New(t testing.TB) *Server { return start(t, false) }

// NewTLS starts one that speaks HTTPS, with a certificate of no one's authority: Certificate has it.
func NewTLS(t testing.TB) *Server { return start(t, true) }

func start(t testing.TB, secure bool) *Server {
	s := &Server{repos: map[string]*repo{}}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	if secure {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	t.Cleanup(s.http.Close)
	return s
}

// Host is the registry's name in the names of images, with its port.
func (s *Server) Host() string { _, host, _ := strings.Cut(s.http.URL, "://"); return host }

// URL is its address.
func (s *Server) URL() string { return s.http.URL }

// TLS is the server, for its certificate and for a client that trusts it.
func (s *Server) TLS() *httptest.Server { return s.http }

// Asked lists the requests so far, as "GET /v2/…".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Count is how many requests of a method, "" = any, have come.
func (s *Server) Count(method string) int {
	n := 0
	for _, a := range s.Asked() {
		if method == "" || strings.HasPrefix(a, method+" ") {
			n++
		}
	}
	return n
}

// Up is how many bytes of blobs have come.
func (s *Server) Up() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up
}

// Forget forgets what was asked so far.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.up = nil, 0
}

func (s *Server) repo(name string) *repo {
	r := s.repos[name]
	if r == nil {
		r = &repo{blobs: map[string][]byte{}, manifests: map[string]document{}}
		s.repos[name] = r
	}
	return r
}

// Image puts an image under a tag, and returns its digest.
func (s *Server) Image(t testing.TB, repository, tag string, img v1.Image) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.image(t, repository, tag, img)
}

func (s *Server) image(t testing.TB, repository, tag string, img v1.Image) string {
	t.Helper()
	r := s.repo(repository)
	layers := must(img.Layers())(t)
	for _, l := range layers {
		in := must(l.Compressed())(t)
		r.blobs[must(l.Digest())(t).String()] = must(io.ReadAll(in))(t)
	}
	r.blobs[must(img.ConfigName())(t).String()] = must(img.RawConfigFile())(t)
	return r.put(string(must(img.MediaType())(t)), must(img.RawManifest())(t), tag)
}

// Index puts an index with all its images under a tag, and returns its digest.
func (s *Server) Index(t testing.TB, repository, tag string, index v1.ImageIndex) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range must(index.IndexManifest())(t).Manifests {
		if d.MediaType.IsImage() {
			s.image(t, repository, "", must(index.Image(d.Digest))(t))
		}
	}
	return s.repo(repository).put(string(must(index.MediaType())(t)), must(index.RawManifest())(t), tag)
}

// Raw puts a document under a tag, whatever it is.
func (s *Server) Raw(repository, tag, media string, raw []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repo(repository).put(media, raw, tag)
}

// Blob puts a blob, and returns its digest.
func (s *Server) Blob(repository string, raw []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := sum(raw)
	s.repo(repository).blobs[d] = raw
	return d
}

// Content is a blob of any repository; nil = it has none.
func (s *Server) Content(digest string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.repos {
		if raw, ok := r.blobs[digest]; ok {
			return raw
		}
	}
	return nil
}

// Delete takes a manifest away.
func (s *Server) Delete(repository, identifier string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.repo(repository).manifests, identifier)
}

// Manifest is what stands under a tag or digest; nil = nothing.
func (s *Server) Manifest(repository, identifier string) (media string, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.repo(repository).manifests[identifier]
	return d.media, d.raw
}

func (r *repo) put(media string, raw []byte, tag string) string {
	d := sum(raw)
	r.manifests[d] = document{media, raw}
	if tag != "" {
		r.manifests[tag] = r.manifests[d]
	}
	return d
}

func sum(raw []byte) string {
	s := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(s[:])
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var route = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs/uploads|blobs)/(.*)$`)

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	s.mu.Unlock()
	if s.Before != nil && s.Before(w, r) {
		return
	}
	if r.URL.Path == "/token" {
		s.token(w, r)
		return
	}
	m := route.FindStringSubmatch(r.URL.Path)
	if m == nil {
		fail(w, http.StatusNotFound, "NAME_INVALID", "no such place")
		return
	}
	if !s.allowed(w, r, m[1]) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m[2] {
	case "manifests":
		s.manifests(w, r, m[1], m[3])
	case "blobs":
		s.blobs(w, r, m[1], m[3])
	default:
		s.uploads(w, r, m[1])
	}
}

func (s *Server) known(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	return s.Username == "" || user == s.Username && password == s.Password
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if !s.known(r) {
		fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	fmt.Fprintf(w, `{"token":%q}`, "for "+strings.Join(r.URL.Query()["scope"], " "))
}

func (s *Server) allowed(w http.ResponseWriter, r *http.Request, repository string) bool {
	switch {
	case s.Tokens:
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer for ")
		wanted := "pull"
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			wanted = "push"
		}
		if i := strings.Index(token, "repository:"+repository+":"); i >= 0 && strings.Contains(strings.SplitN(token[i:]+" ", " ", 2)[0], wanted) {
			return true
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="test",scope="repository:%s:pull"`, s.http.URL, repository))
	case s.known(r):
		return true
	default:
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	}
	fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
}

func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body, _ := json.Marshal(map[string]any{"errors": []map[string]any{{"code": code, "message": message, "detail": map[string]any{}}}})
	_, _ = w.Write(body) // no one reads it then
}

func (s *Server) manifests(w http.ResponseWriter, r *http.Request, repository, identifier string) {
	in := s.repo(repository)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		d, ok := in.manifests[identifier]
		if !ok {
			fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
			return
		}
		if !s.NoDigestHeader {
			w.Header().Set("Docker-Content-Digest", sum(d.raw))
		}
		w.Header().Set("Content-Type", d.media)
		w.Header().Set("Content-Length", strconv.Itoa(len(d.raw)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(d.raw)
		}
	case http.MethodPut:
		raw, _ := io.ReadAll(r.Body)
		media := r.Header.Get("Content-Type")
		if s.DockerOnly && strings.HasPrefix(media, "application/vnd.oci.image.") {
			fail(w, http.StatusBadRequest, "MANIFEST_INVALID", "Invalid image, fail to parse 'manifest.json'")
			return
		}
		if missing := in.missing(raw, s.Sparse); missing != "" {
			fail(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry: "+missing)
			return
		}
		if strings.Contains(identifier, ":") && identifier != sum(raw) {
			fail(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
			return
		}
		tag := identifier
		if strings.Contains(tag, ":") {
			tag = ""
		}
		w.Header().Set("Docker-Content-Digest", in.put(media, raw, tag))
		w.WriteHeader(http.StatusCreated)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// missing is a blob or manifest that a document names and the repository does not have.
func (r *repo) missing(raw []byte, sparse bool) string {
	var d struct {
		Manifests []struct{ Digest string }
		Config    struct{ Digest string }
		Layers    []struct{ Digest string }
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return err.Error()
	}
	for _, m := range d.Manifests {
		if _, ok := r.manifests[m.Digest]; !ok && !sparse {
			return m.Digest
		}
	}
	for _, l := range append(d.Layers, d.Config) {
		if _, ok := r.blobs[l.Digest]; !ok && l.Digest != "" {
			return l.Digest
		}
	}
	return ""
}

func (s *Server) blobs(w http.ResponseWriter, r *http.Request, repository, digest string) {
	raw, ok := s.repo(repository).blobs[digest]
	if !ok {
		fail(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	w.Header().Set("Docker-Content-Digest", digest)
	http.ServeContent(w, r, "", noTime, bytes.NewReader(raw))
}

func (s *Server) uploads(w http.ResponseWriter, r *http.Request, repository string) {
	q := r.URL.Query()
	switch r.Method {
	case http.MethodPost:
		if d := q.Get("mount"); d != "" && !s.NoMounts {
			if raw, ok := s.repo(q.Get("from")).blobs[d]; ok {
				s.repo(repository).blobs[d] = raw
				w.WriteHeader(http.StatusCreated)
				return
			}
		}
		w.Header().Set("Location", "/v2/"+repository+"/blobs/uploads/1?state=x")
		w.WriteHeader(http.StatusAccepted)
	case http.MethodPut:
		raw, _ := io.ReadAll(r.Body)
		s.up += int64(len(raw))
		if d := q.Get("digest"); d != sum(raw) || q.Get("state") != "x" {
			fail(w, http.StatusBadRequest, "DIGEST_INVALID", "provided digest did not match uploaded content")
			return
		}
		s.repo(repository).blobs[sum(raw)] = raw
		w.WriteHeader(http.StatusCreated)
	}
}

var noTime time.Time
