//go:build e2e

package e2e

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

const (
	registryAddress  = "10.99.0.1:5000" // the operator's side of the lab's network
	registryImage    = registryAddress + "/private/echo:1"
	registryUser     = "lab"
	registryPassword = "HYBRIDCTL_E2E_REGISTRY_PASSWORD" // the environment variable that makes the test binary a registry
)

// TestMain makes this binary a private registry when it is started as one: it has to run inside the lab's network.
func TestMain(m *testing.M) {
	if dir := os.Getenv(internetFolder); dir != "" {
		fmt.Fprintln(os.Stderr, serveInternet(dir))
		os.Exit(1)
	}
	if password := os.Getenv(registryPassword); password != "" {
		fmt.Fprintln(os.Stderr, serveRegistry(password))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serveRegistry serves the echo image of the lab's bundle to those who know the password, until it is killed.
func serveRegistry(password string) error {
	l, err := net.Listen("tcp", registryAddress)
	if err != nil {
		return err
	}
	all := registry.New()
	if err := push(all); err != nil {
		return err
	}
	fmt.Println("ready")
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, given, _ := r.BasicAuth()
		if user != registryUser || subtle.ConstantTimeCompare([]byte(given), []byte(password)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		all.ServeHTTP(w, r)
	}))
}

// descriptor is what an index or a manifest names.
type descriptor struct {
	MediaType, Digest string
	Annotations       map[string]string
}

// push puts the echo image of every architecture into the registry.
func push(to http.Handler) error { return pushImage(to, "private/echo", "1", "lab.test/kube/echo:1") }

// pushImage puts an image of every architecture into a registry, out of the bundle's OCI layout.
func pushImage(to http.Handler, repository, tag, ref string) error {
	var all struct{ Manifests []descriptor }
	if err := readJSON("index.json", &all); err != nil {
		return err
	}
	i := slices.IndexFunc(all.Manifests, func(d descriptor) bool {
		return d.Annotations["org.opencontainers.image.ref.name"] == ref
	})
	if i < 0 {
		return errors.New("the bundle has no image " + ref)
	}
	var index struct{ Manifests []descriptor }
	if err := readJSON(blobPath(all.Manifests[i].Digest), &index); err != nil {
		return err
	}
	for _, m := range index.Manifests {
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		if err := readJSON(blobPath(m.Digest), &manifest); err != nil {
			return err
		}
		for _, b := range append(manifest.Layers, manifest.Config) {
			if err := send(to, repository+"/blobs/uploads/", true, b); err != nil {
				return err
			}
		}
		if err := send(to, repository+"/manifests/"+m.Digest, false, m); err != nil {
			return err
		}
	}
	return send(to, repository+"/manifests/"+tag, false, all.Manifests[i])
}

// send gives the registry one of the bundle's blobs as a manifest, or as a blob when it is to be uploaded.
func send(to http.Handler, path string, upload bool, d descriptor) error {
	body, err := os.ReadFile(filepath.Join(root, "bin/lab-bundle/oci", blobPath(d.Digest)))
	if err != nil {
		return err
	}
	ask := func(method, url string, body []byte, want int) (http.Header, error) {
		r := httptest.NewRequest(method, url, bytes.NewReader(body))
		r.Header.Set("Content-Type", d.MediaType)
		w := httptest.NewRecorder()
		if to.ServeHTTP(w, r); w.Code != want {
			return nil, fmt.Errorf("%s %s: %d %s", method, url, w.Code, w.Body)
		}
		return w.Header(), nil
	}
	path = "/v2/" + path
	if upload {
		at, err := ask(http.MethodPost, path, nil, http.StatusAccepted)
		if err != nil {
			return err
		}
		place, err := url.Parse(at.Get("Location"))
		if err != nil {
			return err
		}
		query := place.Query()
		query.Set("digest", d.Digest)
		path = place.Path + "?" + query.Encode()
	}
	_, err = ask(http.MethodPut, path, body, http.StatusCreated)
	return err
}

func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

func readJSON(path string, v any) error {
	b, err := os.ReadFile(filepath.Join(root, "bin/lab-bundle/oci", path))
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// privateRegistry starts a registry with the echo image in the lab's network, and returns the file with its password.
func (c *cluster) privateRegistry() (passwordFile string) {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	return c.serving(self)
}

// realRegistry starts an empty one of github.com/distribution/distribution, which keeps repositories apart and holds pushes against what is there.
func (c *cluster) realRegistry() (passwordFile string) {
	c.t.Helper()
	return c.serving(registryProgram(c.t), registryAddress, c.t.TempDir(), registryUser)
}

// registryProgram builds the real registry.
func registryProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "registry")
	out, err := try(t, 20*time.Minute, "go", "-C", "provision/registry/realtest", "build", "-mod=readonly", "-o", program, "./serve")
	if err != nil || out.exit != 0 {
		t.Fatalf("build the registry: exit %d, %v\n%s", out.exit, err, out.stderr)
	}
	return program
}

// serving runs a registry in the lab's network for the time of the test, and has the nodes reach it without TLS, as an administrator of such a
// site would.
func (c *cluster) serving(program string, args ...string) (passwordFile string) {
	c.t.Helper()
	password := fmt.Sprintf("lab-%d", time.Now().UnixNano())
	passwordFile = filepath.Join(c.t.TempDir(), "registry-password")
	if err := os.WriteFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	run := exec.Command("../e2e/lab/lab", append([]string{"exec", program}, args...)...) // from the package's folder, as tests run
	run.Env = append(os.Environ(), registryPassword+"="+password)
	var errs strings.Builder
	run.Stderr = &errs
	out, err := run.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
	})
	line := make([]byte, 16)
	if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "ready") {
		c.t.Fatalf("the registry does not start: %q, %v: %s", line[:n], err, errs.String())
	}
	for _, m := range c.machines {
		on(c.t, m, fmt.Sprintf(`mkdir -p /etc/containerd/certs.d/%[1]s && echo '[host."http://%[1]s"]' >/etc/containerd/certs.d/%[1]s/hosts.toml`, registryAddress))
	}
	return passwordFile
}
