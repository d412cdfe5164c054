// Package realtest holds provision/registry and provision/image against a real registry: github.com/distribution/distribution, started in
// the test's own process. It is a module of its own, as the registry's dependencies (three clouds' storage, Redis, OpenTelemetry) would raise
// versions of the product's.
package realtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/google/go-containerregistry/pkg/name"

	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
)

const user, password = "me", "a secret of the test"

// real is a registry with what was asked of it.
type real struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	up    int64

	ranges map[string]string // that were asked for, by the last part of the path
}

func (r *real) host() string { _, h, _ := strings.Cut(r.URL, "://"); return h }

func (r *real) forget() { r.mu.Lock(); defer r.mu.Unlock(); r.asked, r.up = nil, 0 }

// serve starts distribution with this authentication, and counts. before may answer in its place.
func serve(t *testing.T, secure bool, auth configuration.Auth, extra http.Handler, before func(http.ResponseWriter, *http.Request) bool) *real {
	t.Helper()
	config := &configuration.Configuration{Storage: configuration.Storage{"inmemory": configuration.Parameters{}}, Auth: auth}
	logrus.SetLevel(logrus.FatalLevel) // distribution writes to the library's own logger
	config.HTTP.Secret = "of the test"
	app := handlers.NewApp(context.Background(), config)
	r := &real{ranges: map[string]string{}}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.asked = append(r.asked, req.Method+" "+req.URL.RequestURI())
		if asked := req.Header.Get("Range"); asked != "" {
			r.ranges[path.Base(req.URL.Path)] = asked
		}
		r.mu.Unlock()
		if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/blobs/uploads/") {
			req.Body = counted{req.Body, r}
		}
		switch {
		case extra != nil && req.URL.Path == "/token":
			extra.ServeHTTP(w, req)
		case before != nil && before(w, req):
		default:
			app.ServeHTTP(w, req)
		}
	}))
	if secure {
		r.StartTLS()
	} else {
		r.Start()
	}
	t.Cleanup(r.Close)
	return r
}

type counted struct {
	io.ReadCloser
	r *real
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.r.mu.Lock()
	c.r.up += int64(n)
	c.r.mu.Unlock()
	return n, err
}

// tokens is a token server, and what makes distribution trust it.
type tokens struct {
	key  *ecdsa.PrivateKey
	cert []byte
}

func newTokens(t *testing.T) *tokens {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tokens{key: key, cert: cert}
}

func (k *tokens) auth(t *testing.T, realm string) configuration.Auth {
	t.Helper()
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	return configuration.Auth{"token": configuration.Parameters{"realm": realm, "service": "real", "issuer": "issuer", "rootcertbundle": file}}
}

// ServeHTTP gives those who know the password a token for what they ask (docs/content/spec/auth/jwt.md of distribution).
func (k *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if u, p, _ := r.BasicAuth(); u != user || p != password {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	var access []map[string]any
	for _, scope := range r.URL.Query()["scope"] {
		parts := strings.SplitN(scope, ":", 3)
		access = append(access, map[string]any{"type": parts[0], "name": parts[1], "actions": strings.Split(parts[2], ",")})
	}
	encode := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	now := time.Now().Unix()
	head := encode(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(k.cert)}})
	body := encode(map[string]any{"iss": "issuer", "sub": user, "aud": "real", "exp": now + 600, "nbf": now - 60, "iat": now, "jti": "1", "access": access})
	digest := sha(head + "." + body)
	x, y, err := ecdsa.Sign(rand.Reader, k.key, digest)
	if err != nil {
		panic(err)
	}
	signature := append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)
	fmt.Fprintf(w, `{"token":%q}`, head+"."+body+"."+base64.RawURLEncoding.EncodeToString(signature))
}

// kinds are the ways to reach a registry.
func kinds(t *testing.T) map[string]func(before func(http.ResponseWriter, *http.Request) bool) (*real, registry.Options) {
	return map[string]func(func(http.ResponseWriter, *http.Request) bool) (*real, registry.Options){
		"HTTP": func(before func(http.ResponseWriter, *http.Request) bool) (*real, registry.Options) {
			return serve(t, false, nil, nil, before), registry.Options{PlainHTTP: []string{"*"}}
		},
		"TLS with a password": func(before func(http.ResponseWriter, *http.Request) bool) (*real, registry.Options) {
			hashed, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "htpasswd")
			if err := os.WriteFile(file, []byte(user+":"+string(hashed)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			r := serve(t, true, configuration.Auth{"htpasswd": configuration.Parameters{"realm": "real", "path": file}}, nil, before)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			return r, registry.Options{CAFile: ca}
		},
		"tokens": func(before func(http.ResponseWriter, *http.Request) bool) (*real, registry.Options) {
			k := newTokens(t)
			late := httptest.NewServer(k) // the realm has to be known before the registry starts
			t.Cleanup(late.Close)
			return serve(t, false, k.auth(t, late.URL+"/token"), nil, before), registry.Options{PlainHTTP: []string{"*"}}
		},
	}
}

func places(t *testing.T, o registry.Options) *image.Places {
	t.Helper()
	c, err := registry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &image.Places{Registry: c, Keys: func(context.Context, name.Repository) ([]registry.Credential, error) {
		return []registry.Credential{{Username: user, Password: password, From: "the test"}}, nil
	}}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// push puts an image of one architecture into the registry, as a build of that architecture does.
func push(t *testing.T, o registry.Options, target string, arch platform.Arch) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "saved.tar")
	imagetest.DockerArchive(t, dir, "build.test/app:1.5", imagetest.Program(arch, ""))
	p := places(t, o)
	made, err := image.Assemble(t.Context(), p, &image.Inspector{}, image.AssembleOptions{Target: target, Parts: []image.Part{image.PartFor(arch, dir)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.Push(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func TestTheRecipe(t *testing.T) {
	for kind, start := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			r, o := start(nil)
			var parts []image.Part
			for _, arch := range platform.All() {
				ref := r.host() + "/build/app-linux-" + arch.String() + ":1.5"
				push(t, o, ref, arch)
				parts = append(parts, image.PartFor(arch, ref))
			}
			target := r.host() + "/team/app:1.5"
			assemble := func() (*image.Assembly, image.Pushed) {
				t.Helper()
				r.forget()
				p := places(t, o)
				made, err := image.Assemble(t.Context(), p, &image.Inspector{}, image.AssembleOptions{Target: target, Parts: parts, TagChildren: true})
				if err != nil {
					t.Fatal(err)
				}
				pushed, err := made.Push(t.Context(), p)
				if err != nil {
					t.Fatalf("%v\n%s", err, strings.Join(r.asked, "\n"))
				}
				t.Logf("%d requests, %d bytes of blobs up", len(r.asked), r.up)
				return made, pushed
			}
			first, pushed := assemble()
			budget := 20 + len(parts) // each source is an index of one platform here, and that costs a request more
			if r.up != 0 || pushed.Mounted != 4 || len(r.asked) > budget {
				t.Errorf("%d bytes up, %d requests, %+v\n%s", r.up, len(r.asked), pushed, strings.Join(r.asked, "\n"))
			}
			again, pushed := assemble()
			if again.Digest != first.Digest || !pushed.Unchanged || r.up != 0 {
				t.Errorf("again: %s, %+v", again.Digest, pushed)
			}
			c, err := registry.New(o)
			if err != nil {
				t.Fatal(err)
			}
			for _, ref := range []string{target, target + "@" + first.Digest} {
				a := (&image.Asker{Registry: c}).Ask(t.Context(), ref, []registry.Credential{{Username: user, Password: password}}, platform.All())
				for _, arch := range platform.All() {
					if v, why := a.For(arch); v != image.VerdictYes {
						t.Errorf("%s, %s: %s %s", ref, arch, v, why)
					}
				}
			}
			sets, err := places(t, o).Open(t.Context(), target, nil)
			if err != nil {
				t.Fatal(err)
			}
			report, err := new(image.Inspector).Inspect(t.Context(), sets[0])
			if err != nil || report.Worst() != "" || len(report.Platforms) != 2 {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// TestDockerOnly is the registry of the handed case before a real one.
func TestDockerOnly(t *testing.T) {
	r, o := kinds(t)["HTTP"](func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPut || !strings.HasPrefix(req.Header.Get("Content-Type"), "application/vnd.oci.image.") {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_INVALID","message":"Invalid image, fail to parse 'manifest.json'","detail":{}}]}`)
		return true
	})
	layout := "../../image/testdata/cases/02-registry-takes-docker-only:srv:1-"
	options := image.AssembleOptions{Target: r.host() + "/team/srv:1"}
	for _, arch := range platform.All() {
		options.Parts = append(options.Parts, image.PartFor(arch, layout+arch.String()))
	}
	run := func() error {
		p := places(t, o)
		made, err := image.Assemble(t.Context(), p, &image.Inspector{}, options)
		if err != nil {
			t.Fatal(err)
		}
		_, err = made.Push(t.Context(), p)
		return err
	}
	if err := run(); err == nil || !strings.Contains(hint.Text(err), "--format docker") {
		t.Errorf("error %v, hint %q", err, hint.Text(err))
	}
	p := places(t, o)
	if _, err := p.Open(t.Context(), options.Target, nil); !registry.IsNotFound(err) {
		t.Errorf("the tag is there: %v", err)
	}
	options.Format = image.FormatDocker
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if sets, err := places(t, o).Open(t.Context(), options.Target, nil); err != nil || sets[0].Media != "application/vnd.docker.distribution.manifest.list.v2+json" || len(sets[0].Images) != 2 {
		t.Errorf("%+v, %v", sets, err)
	}
}

func TestAWrongPassword(t *testing.T) {
	r, o := kinds(t)["TLS with a password"](nil)
	p := places(t, o)
	p.Keys = func(context.Context, name.Repository) ([]registry.Credential, error) {
		return []registry.Credential{{Username: user, Password: "another", From: "the test"}}, nil
	}
	_, err := p.Open(t.Context(), r.host()+"/team/app:1", nil)
	if err == nil || !strings.Contains(registry.Hint(err), "log in") || strings.Contains(err.Error(), "another") {
		t.Errorf("error %v", err)
	}
}

func sha(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
