//go:build e2e

package e2e

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const (
	registryAddress  = "10.99.0.1:5000" // the operator's side of the lab's network
	registryImage    = registryAddress + "/private/echo:1"
	registryUser     = "lab"
	registryPassword = "HYBRIDCTL_E2E_REGISTRY_PASSWORD" // the environment variable that makes the test binary a registry
)

// TestMain makes this binary a private registry when it is started as one: it has to run inside the lab's network.
func TestMain(m *testing.M) {
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
	go func() { // ends with the process
		if err := push(password); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("ready")
	}()
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

// push puts the echo image of every architecture into the registry.
func push(password string) error {
	index, err := layout.ImageIndexFromPath(filepath.Join(root, "bin/lab-bundle/oci"))
	if err != nil {
		return err
	}
	found, err := partial.FindIndexes(index, match.Annotation("org.opencontainers.image.ref.name", "lab.test/kube/echo:1"))
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("the bundle has %d echo images, want 1", len(found))
	}
	ref, err := name.ParseReference(registryImage, name.Insecure)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return remote.WriteIndex(ref, found[0], remote.WithContext(ctx), remote.WithAuth(&authn.Basic{Username: registryUser, Password: password}))
}

// privateRegistry starts a registry in the lab's network for the time of the test, and has the nodes reach it without TLS, as an
// administrator of such a site would. It returns the file with the password.
func (c *cluster) privateRegistry() (passwordFile string) {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	password := fmt.Sprintf("lab-%d", time.Now().UnixNano())
	passwordFile = filepath.Join(c.t.TempDir(), "registry-password")
	if err := os.WriteFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	run := exec.Command("../e2e/lab/lab", "exec", self) // from the package's folder, as tests run
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
