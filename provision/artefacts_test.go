package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/fetch"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry/registrytest"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
)

// internet has what the sim's bundle has: programs at dl.test and images at registry.test, both of them mirrors in spec.sources.
type internet struct {
	web      *httptest.Server
	registry *registrytest.Server

	mu    sync.Mutex
	asked []string
}

// fetches takes the sim's bundle away and gives it an internet, a catalogue and an empty cache.
func (s *sim) fetches() *internet {
	s.t.Helper()
	w := &internet{registry: registrytest.NewTLS(s.t)}
	files := map[string]string{}
	for _, b := range s.bundle.Manifest.Binaries {
		files["/dl.test/"+string(b.Arch)+"/"+b.Name] = filepath.Join(s.bundle.Dir, filepath.FromSlash(b.Path))
	}
	w.web = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.asked = append(w.asked, r.URL.Path)
		w.mu.Unlock()
		body, err := os.ReadFile(files[r.URL.Path])
		if err != nil {
			http.NotFound(rw, r)
			return
		}
		http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(body))
	}))
	s.t.Cleanup(w.web.Close)
	w.images(s)

	dir := s.t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	var authorities []byte
	for _, server := range []*httptest.Server{w.web, w.registry.TLS()} {
		authorities = append(authorities, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})...)
	}
	imagetest.WriteFile(s.t, ca, authorities, 0o644)
	imagetest.WriteFile(s.t, filepath.Join(dir, "catalogue.yaml"), []byte(catalogueOf(s.bundle.Manifest)), 0o644)
	for _, arch := range platform.All() {
		imagetest.WriteFile(s.t, filepath.Join(dir, "probe-"+string(arch)), imagetest.ELF(arch), 0o755)
	}
	s.c.Spec.Bundle, s.catalogue, s.cache, s.programs = "", filepath.Join(dir, "catalogue.yaml"), filepath.Join(dir, "cache"), dir
	s.c.Spec.Sources = map[string]string{"https://dl.test": w.web.URL + "/dl.test", "registry.test": w.registry.Host() + "/mirror", "caFile": ca}
	return w
}

// images puts the bundle's images into the registry, as they are.
func (w *internet) images(s *sim) {
	s.t.Helper()
	blob := func(digest string) []byte {
		raw, err := os.ReadFile(filepath.Join(s.bundle.Dir, bundle.LayoutDir, "blobs", strings.Replace(digest, ":", "/", 1)))
		if err != nil {
			s.t.Fatal(err)
		}
		return raw
	}
	type descriptor struct{ MediaType, Digest string }
	for _, i := range s.bundle.Manifest.Images {
		path := strings.TrimPrefix(i.Ref, "registry.test/")
		repository, tag, _ := strings.Cut("mirror/"+path, ":")
		var index struct {
			MediaType string
			Manifests []descriptor
		}
		if err := json.Unmarshal(blob(i.Digest), &index); err != nil {
			s.t.Fatal(err)
		}
		for _, m := range index.Manifests {
			var manifest struct {
				Config descriptor
				Layers []descriptor
			}
			if err := json.Unmarshal(blob(m.Digest), &manifest); err != nil {
				s.t.Fatal(err)
			}
			for _, b := range append(manifest.Layers, manifest.Config) {
				w.registry.Blob(repository, blob(b.Digest))
			}
			w.registry.Raw(repository, m.Digest, m.MediaType, blob(m.Digest))
		}
		w.registry.Raw(repository, tag, index.MediaType, blob(i.Digest))
	}
}

// catalogueOf is a catalogue of what a bundle has, each program by itself.
func catalogueOf(m bundle.Manifest) string {
	var y strings.Builder
	fmt.Fprintf(&y, "apiVersion: %s\nkind: Catalogue\ndownloads:\n", bundle.APIVersion)
	set := ""
	for _, b := range m.Binaries {
		if b.Arch != platform.AMD64 {
			continue
		}
		fmt.Fprintf(&y, "- {name: %s, component: %s, url: 'https://dl.test/{arch}/%s', programs: [{name: %s}], versions: [{version: %s, source: a test, sha256: {", b.Name, b.Component, b.Name, b.Name, b.Version)
		for _, other := range m.Binaries {
			if other.Name == b.Name && other.Component == b.Component {
				fmt.Fprintf(&y, "%s: %q, ", other.Arch, other.SHA256)
			}
		}
		y.WriteString("}}]}\n")
		set += fmt.Sprintf("%s: %s, ", b.Name, b.Version)
	}
	y.WriteString("programs:\n- {component: probe, ref: 'hybridctl.test/probe:1', file: 'probe-{arch}'}\n")
	fmt.Fprintf(&y, "sets:\n- kubernetes: %s\n  source: a test\n  downloads: {%s}\n  images:\n", m.KubernetesVersion, set)
	for _, i := range m.Images {
		if i.Component != "" {
			fmt.Fprintf(&y, "  - {component: %s, ref: %q}\n", i.Component, i.Ref)
		}
	}
	return y.String()
}

// requests are how often anything was asked for since it was called last.
func (w *internet) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.asked) + w.registry.Count("")
	w.asked = nil
	w.registry.Forget()
	return n
}

// down ends both servers.
func (w *internet) down() {
	w.web.Close()
	w.registry.TLS().Close()
}

func checkOf(all []report.Check, name string) report.Check {
	for _, c := range all {
		if c.Name == name {
			return c
		}
	}
	return report.Check{}
}

func TestArtefacts_NobodyIsAskedForThemByVerbsThatRead(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	w := s.fetches()
	s.c.Spec.Sources["https://elsewhere.test"] = "https://mirror.test"
	checks, err := Preflight(context.Background(), s.options())
	if c := checkOf(checks, "sources"); c.Status != report.Warn || !strings.HasPrefix(c.Message, "https://elsewhere.test fits no file that there is, and changes nothing: files come from dl.test") {
		t.Errorf("preflight: %+v", c)
	}
	delete(s.c.Spec.Sources, "https://elsewhere.test")
	if c := checkOf(checks, "bundle-version"); err != nil || c.Status != report.Pass || !strings.Contains(c.Message, "files and") || !strings.Contains(c.Message, "would be fetched") {
		t.Errorf("preflight: %v, %+v", err, c)
	}
	p, _, err := Plan(context.Background(), s.options())
	if err != nil || p.Changes() == 0 {
		t.Fatalf("plan: %d changes, %v", p.Changes(), err)
	}
	host := strings.TrimPrefix(w.web.URL, "https://")
	if len(p.Notes) == 0 || !strings.HasPrefix(p.Notes[0], "fetched before a host is written to: ") || !strings.Contains(p.Notes[0], host) {
		t.Errorf("the plan says %q", p.Notes)
	}
	for _, st := range p.Steps {
		if st.Host != "" && st.Kind != plan.Node && st.Action != plan.Create {
			t.Errorf("%s: %s", st.ID, st.Action)
		}
	}
	if _, err := Status(context.Background(), s.options()); err != nil {
		t.Errorf("status: %v", err)
	}
	if n := w.requests(); n > 0 || s.changed() > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestArtefacts_UpFetchesThemOnce(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	w := s.fetches()
	r := mustUp(t, s)
	if n := w.requests(); n == 0 || s.changed() == 0 {
		t.Errorf("%d requests", n)
	}
	for _, n := range r.Plan.Notes {
		if strings.Contains(n, "fetched before") {
			t.Errorf("the plan that was carried out says %q", n)
		}
	}
	w.down()
	if got := changedSteps(mustUp(t, s)); len(got) > 0 {
		t.Errorf("again, with the mirrors down: %q", got)
	}
	if n := w.requests(); n > 0 {
		t.Errorf("again: %d requests", n)
	}

	s.cache = t.TempDir() // an empty one: what hosts have cannot be compared
	p, _, err := Plan(context.Background(), s.options())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range p.Steps {
		want := plan.Unchanged
		if st.Kind == plan.Runtime || st.Kind == plan.Kubernetes || st.Kind == plan.Images {
			want = plan.Unknown
		}
		if st.Action != want {
			t.Errorf("%s: %s (%s), want %s", st.ID, st.Action, st.Reason, want)
		}
	}
}

// Only what the hosts are by fact is fetched: the second host, the only one for Arm, is not there yet.
func TestArtefacts_AreOfTheHostsArchitectures(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	w := s.fetches()
	all := s.c.Spec.Hosts
	s.c.Spec.Hosts = all[:1]
	mustUp(t, s)
	for _, path := range w.asked {
		if strings.Contains(path, "/"+string(platform.ARM64)+"/") {
			t.Errorf("fetched %s", path)
		}
	}
	w.requests()
	s.c.Spec.Hosts = all
	if _, err := s.scaleOut(nil); err != nil || !s.hosts["host-2"].member {
		t.Fatalf("scale-out: %v", err)
	}
	arm := 0
	for _, path := range w.asked {
		if strings.Contains(path, "/"+string(platform.ARM64)+"/") {
			arm++
		}
	}
	if arm == 0 || arm != len(w.asked) {
		t.Errorf("a scale-out by an Arm host fetched %q", w.asked)
	}
}

func TestArtefacts_WithoutInternet(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	w := s.fetches()
	w.down()
	r, err := s.up()
	host := strings.TrimPrefix(w.web.URL, "https://")
	if !errors.Is(err, fetch.ErrUnreachable) || !strings.Contains(err.Error(), "does not answer") && !strings.Contains(err.Error(), host) {
		t.Errorf("got %v", err)
	}
	text := hint.Text(err)
	for _, way := range []string{"spec.sources", "bundle export", "bundle create"} {
		if !strings.Contains(text, way) {
			t.Errorf("the hint lacks %q: %s", way, text)
		}
	}
	if s.changed() > 0 || len(r.Changes) > 0 {
		t.Error("a host was written to")
	}
}

func TestArtefacts_ABundleThatIsNotThere(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{})
	s.c.Spec.Bundle = filepath.Join(t.TempDir(), "bundle")
	_, err := s.up()
	if text := hint.Text(err); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), "there is no bundle "+s.c.Spec.Bundle) || !strings.Contains(text, "hybridctl bundle fetch") || !strings.Contains(text, "hybridctl init") {
		t.Errorf("%v; hint: %s", err, text)
	}
}

// What the catalogue does not have is a check that fails, among all others.
func TestArtefacts_UnknownVersion(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	s.fetches()
	s.c.Spec.Kubernetes.Version = "v1.99.0"
	r, err := s.up()
	f := failed(r.Checks)
	if !errors.Is(err, ErrPreflight) || len(f) != 1 || f[0].Name != "bundle-version" || !strings.Contains(f[0].Message, "v1.99.0") || !strings.Contains(f[0].Hint, "--catalogue") {
		t.Errorf("%v, %+v", err, f)
	}
	s.catalogue = filepath.Join(t.TempDir(), "none.yaml")
	if _, err := s.up(); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a catalogue that is not there: %v", err)
	}
	if s.changed() > 0 {
		t.Error("a host was written to")
	}
}

// A bundle that has to be made of what the cache has, or read again, may take long: that is waited for, and said.
func TestArtefacts_OfTheCacheAreWaitedFor(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	s.fetches()
	mustUp(t, s)
	r, err := begin(t.Context(), s.options().withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer r.end()
	if r.desk.Artefacts.Waiting == nil {
		t.Fatal("no one is told")
	}
	waits, waited := 0, ""
	r.desk.Artefacts.Waiting = func(what string) func() {
		waits, waited = waits+1, what
		return func() { waits-- }
	}
	if _, _, _, err := r.desk.Whole(r.reading); err != nil || waits != 0 || waited != "the bundle of what was fetched to be made or read" {
		t.Errorf("%v, %d waits, the last for %q", err, waits, waited)
	}
}
