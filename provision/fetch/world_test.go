package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
)

// world is an internet of the test's own: a web server that has the files of dl.test, a registry that has the images of registry.test, and a
// set that is made of them.
type world struct {
	t        testing.TB
	web      *httptest.Server
	registry *registrytest.Server
	ca       string
	set      catalogue.Set

	mu    sync.Mutex
	files map[string][]byte // by path
	asked []asked
	sent  int64
	// before may answer in the server's place; true = it did.
	before func(w http.ResponseWriter, r *http.Request, body []byte) bool
}

type asked struct{ path, ranges string }

// newWorld has a kubelet of size bytes, an archive with containerd, one with plugins, and two images that share a layer.
func newWorld(t testing.TB, size int) *world {
	w := &world{t: t, files: map[string][]byte{}, set: catalogue.Set{Kubernetes: "v1.36.4", Archs: platform.All()}}
	w.web = httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	w.web.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it are part of the tests
	w.web.StartTLS()
	t.Cleanup(w.web.Close)
	w.registry = registrytest.NewTLS(t)
	w.ca = filepath.Join(t.TempDir(), "ca.pem")
	var authorities []byte
	for _, s := range []*httptest.Server{w.web, w.registry.TLS()} {
		authorities = append(authorities, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})...)
	}
	imagetest.WriteFile(t, w.ca, authorities, 0o644)
	for _, a := range platform.All() {
		w.file("kubelet", bundle.Kubernetes, "v1.36.4", a, "/kubelet/"+string(a)+"/kubelet", program(a, "kubelet", size), catalogue.Program{Name: "kubelet"})
		w.file("containerd", bundle.Containerd, "v2.3.4", a, "/containerd/"+string(a)+".tar.gz", archive(t,
			member{name: "bin/", dir: true}, member{name: "bin/containerd", body: program(a, "containerd", 2000)},
			member{name: "bin/ctr", body: program(a, "ctr", 1000)}, member{name: "bin/containerd-stress", body: program(a, "no", 10)},
		), catalogue.Program{Name: "containerd", Path: "bin/containerd"}, catalogue.Program{Name: "ctr", Path: "bin/ctr"})
		w.file("cni", bundle.CNIPlugins, "v1.9.1", a, "/cni/"+string(a)+".tgz", archive(t, member{name: "./", dir: true},
			member{name: "./bridge", body: program(a, "bridge", 500)}, member{name: "./LICENSE", body: []byte("text"), mode: 0o644}))
	}
	for component, tag := range map[string]string{bundle.Etcd: "3.6.8-0", bundle.Pause: "3.10.2"} {
		w.image(component, component, tag, platform.All()...)
	}
	return w
}

// program is an executable of that architecture.
func program(a platform.Arch, name string, size int) []byte {
	body := append(imagetest.ELF(a), name...)
	random := rand.NewChaCha8(sha256.Sum256([]byte(name + string(a))))
	more := make([]byte, size)
	_, _ = random.Read(more) // it never fails
	return append(body, more...)
}

func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// file puts a file on the server and into the set.
func (w *world) file(name, component, version string, a platform.Arch, path string, body []byte, programs ...catalogue.Program) {
	w.files["/dl.test"+path] = body
	w.set.Files = append(w.set.Files, catalogue.File{Component: component, Name: name, Version: version, Arch: a, URL: "https://dl.test" + path,
		SHA256: sumOf(body), Programs: programs, AllPrograms: len(programs) == 0})
}

// image puts an image into the registry and into the set, and returns its digest.
func (w *world) image(component, repository, tag string, archs ...platform.Arch) string {
	images := map[platform.Arch]v1.Image{}
	for _, a := range archs {
		shared := imagetest.Layer(imagetest.File{Name: "shared", Body: program(a, "shared", 20000)})
		images[a] = imagetest.Program(a, repository+tag, shared)
	}
	digest := w.registry.Index(w.t, "k8s/"+repository, tag, imagetest.Index(images))
	w.set.Images = append(w.set.Images, catalogue.Image{Component: component, Ref: "registry.test/" + repository + ":" + tag})
	slices.SortFunc(w.set.Images, func(a, b catalogue.Image) int { return strings.Compare(a.Ref, b.Ref) })
	return digest
}

// member is one of an archive.
type member struct {
	name, link string
	body       []byte
	mode       int64
	dir        bool
}

func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, m := range members {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: m.name, Size: int64(len(m.body)), Mode: m.mode, Linkname: m.link}
		switch {
		case m.dir:
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		case m.link != "":
			h.Typeflag = tar.TypeSymlink
		case m.mode == 0:
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked = append(w.asked, asked{r.URL.Path, r.Header.Get("Range")})
	body, ok := w.files[r.URL.Path]
	before := w.before
	w.mu.Unlock()
	counted := &counting{rw, w}
	if before != nil && before(counted, r, body) {
		return
	}
	if !ok {
		http.Error(rw, "no such file", http.StatusNotFound)
		return
	}
	http.ServeContent(counted, r, "", time.Time{}, bytes.NewReader(body))
}

// counting counts what a server sends.
type counting struct {
	http.ResponseWriter
	w *world
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.w.mu.Lock()
	c.w.sent += int64(n)
	c.w.mu.Unlock()
	return n, err
}

func (c *counting) Flush() { c.ResponseWriter.(http.Flusher).Flush() }

// options ask the world, with a cache of the test's own.
func (w *world) options(cache string) Options {
	return Options{
		Cache: cache, CAFile: w.ca, Sources: Sources{"https://dl.test": w.web.URL + "/dl.test", "registry.test": w.registry.Host() + "/k8s"},
		Wait:     func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Keychain: func(context.Context, string) ([]registry.Credential, error) { return nil, nil },
	}
}

// requests forgets and returns what both servers were asked.
func (w *world) requests() (files []asked, registry int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	files, w.asked, w.sent = w.asked, nil, 0
	registry = w.registry.Count("")
	w.registry.Forget()
	return files, registry
}

// on has before answer for one path.
func (w *world) on(path string, answer func(w http.ResponseWriter, r *http.Request, body []byte, n int) bool) {
	n := 0
	w.before = func(rw http.ResponseWriter, r *http.Request, body []byte) bool {
		if r.URL.Path != "/dl.test"+path {
			return false
		}
		w.mu.Lock()
		n++
		now := n
		w.mu.Unlock()
		return answer(rw, r, body, now)
	}
}

// cut sends the beginning of an answer, and ends the connection.
func cut(w http.ResponseWriter, body []byte, at int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body[:at])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func mustBundle(t testing.TB, set catalogue.Set, o Options) string {
	t.Helper()
	dir, err := Bundle(t.Context(), set, o)
	if err != nil {
		t.Fatal(err)
	}
	findings, err := bundle.Verify(t.Context(), dir)
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v %v", findings, err)
	}
	return dir
}

func read(t testing.TB, path ...string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
