//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// internet is what is upstream's, made of the lab's bundle: files below their own paths, images under their own names.
type internet struct {
	t     *testing.T
	dir   string // with ca.pem, server.pem, server.key, catalogue.yaml, password, registry, asked, blobs* and files/
	cache string
	login string // docker's configuration for the site's registry
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	w := &internet{t: t, dir: t.TempDir(), cache: t.TempDir(), login: t.TempDir()}
	if err := os.Rename(registryProgram(t), filepath.Join(w.dir, "registry")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.certificates(), w.artefacts(), os.WriteFile(w.passwordFile(), fmt.Appendf(nil, "site-%d\n", time.Now().UnixNano()), 0o600)); err != nil {
		t.Fatal(err)
	}
	password := w.password()
	config, err := json.Marshal(map[string]any{"auths": map[string]any{siteRegistry: map[string]string{"username": siteUser, "password": password}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.login, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *internet) ca() string           { return filepath.Join(w.dir, "ca.pem") }
func (w *internet) catalogue() string    { return filepath.Join(w.dir, "catalogue.yaml") }
func (w *internet) passwordFile() string { return filepath.Join(w.dir, "password") }

func (w *internet) password() string {
	w.t.Helper()
	b, err := os.ReadFile(w.passwordFile())
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// prefixes are upstream's places and their mirrors.
func (w *internet) prefixes() map[string]string {
	return map[string]string{
		"https://dl.k8s.io": "https://" + internetFiles + "/dl.k8s.io", "https://github.com": "https://" + internetFiles + "/github.com",
		"registry.k8s.io": internetImages + "/k8s", "ghcr.io": internetImages + "/ghcr",
	}
}

func (w *internet) sources() string {
	lines := "  sources:\n    caFile: " + w.ca() + "\n"
	for from, to := range w.prefixes() {
		lines += fmt.Sprintf("    %q: %q\n", from, to)
	}
	return lines
}

func (w *internet) sourceFlags() (flags []string) {
	for from, to := range w.prefixes() {
		flags = append(flags, "--source", from+"="+to)
	}
	return flags
}

// site is an inventory's spec with a bundle in one file, whose images the nodes pull from the site's registry.
func (w *internet) site(file string) string {
	return fmt.Sprintf(`  bundle: %s
  images: registry
  registries:
  - {host: registry.k8s.io, mirrors: [%[2]s/site], only: true}
  - {host: ghcr.io, mirrors: [%[2]s/site], only: true}
  - {host: "%[2]s", caFile: %[3]s, username: %[4]s, passwordFile: %[5]s}
  conformance: {registry: {image: "%[2]s/site/pause:3.10.2"}}
`, file, siteRegistry, w.ca(), siteUser, w.passwordFile())
}

// run runs hybridctl inside the lab's network with a cache of the test's own, as someone who is logged in at the site's
// registry.
func (w *internet) run(c *cluster, exit int, args ...string) output {
	w.t.Helper()
	start := time.Now()
	all := append([]string{"exec", "env", "XDG_CACHE_HOME=" + w.cache, "DOCKER_CONFIG=" + w.login, "bin/hybridctl"}, args...)
	out, err := try(w.t, 40*time.Minute, "e2e/lab/lab", all...)
	w.t.Logf("hybridctl %s: exit %d after %s", strings.Join(args, " "), out.exit, time.Since(start).Round(time.Second))
	if err != nil || out.exit != exit {
		w.t.Fatalf("hybridctl %s: exit %d, want %d, %v\n%s\n%s", args[0], out.exit, exit, err, out.stdout, tail(out.stderr, 40))
	}
	return out
}

// start serves the internet and the site's registry until stop, or the test's end.
func (w *internet) start() (stop func()) {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	run := exec.Command("../e2e/lab/lab", "exec", self) // from the package's folder, as tests run
	run.Env = append(os.Environ(), internetFolder+"="+w.dir)
	var errs bytes.Buffer
	run.Stderr = &errs
	out, err := run.StdoutPipe()
	if err == nil {
		err = run.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			_ = run.Process.Kill()
			_ = run.Wait()
			stopped = true
		}
	}
	w.t.Cleanup(stop)
	line := make([]byte, 16)
	if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "ready") {
		w.t.Fatalf("the internet does not start: %q, %v: %s", line[:n], err, errs.String())
	}
	return stop
}

// asked returns what was asked for since it was called last, a request a line with the server's address before it.
func (w *internet) asked() string {
	w.t.Helper()
	name := filepath.Join(w.dir, "asked")
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	if err == nil {
		if err := os.Truncate(name, 0); err != nil {
			w.t.Fatal(err)
		}
	}
	return string(b)
}

// certificates makes an authority and a server's certificate by it.
func (w *internet) certificates() error {
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the lab's internet"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(240 * time.Hour)}
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.ParseIP("10.99.0.1")},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	cert, err := x509.CreateCertificate(rand.Reader, server, authority, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	write := func(name, kind string, der []byte) error {
		return os.WriteFile(filepath.Join(w.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	return errors.Join(write("ca.pem", "CERTIFICATE", ca), write("server.pem", "CERTIFICATE", cert), write("server.key", "PRIVATE KEY", raw))
}

// labBundle is as much of bundle.json as is needed.
type labBundle struct {
	Binaries []struct{ Component, Name, Version, Arch, Path string }
	Images   []struct{ Component, Ref, Digest string }
}

func readLabBundle() (b labBundle, err error) {
	raw, err := os.ReadFile(filepath.Join(root, "bin/lab-bundle/bundle.json"))
	if err == nil {
		err = json.Unmarshal(raw, &b)
	}
	return b, err
}

// download is one of the catalogue: where it lies, and what is in it.
type download struct {
	name, component, version, url string
	archive                       bool
	programs                      []string
}

// artefacts puts the lab's programs below upstream's paths, and writes the catalogue that says so.
func (w *internet) artefacts() error {
	b, err := readLabBundle()
	if err != nil {
		return err
	}
	version := map[string]string{}
	for _, bin := range b.Binaries {
		version[bin.Component] = bin.Version
	}
	releases := "https://github.com/"
	downloads := []download{
		{"containerd", "containerd", version["containerd"], releases + "containerd/containerd/releases/download/{version}/containerd-static-{number}-linux-{arch}.tar.gz", true, []string{"containerd", "containerd-shim-runc-v2", "ctr"}},
		{"runc", "runc", version["runc"], releases + "opencontainers/runc/releases/download/{version}/runc.{arch}", false, []string{"runc"}},
		{"cni-plugins", "cni-plugins", version["cni-plugins"], releases + "containernetworking/plugins/releases/download/{version}/cni-plugins-linux-{arch}-{version}.tgz", true, nil},
	}
	for _, name := range []string{"kubelet", "kubeadm", "kubectl"} {
		downloads = append(downloads, download{name, "kubernetes", version["kubernetes"], "https://dl.k8s.io/release/{version}/bin/linux/{arch}/" + name, false, []string{name}})
	}
	var y strings.Builder
	y.WriteString("apiVersion: hybridctl.dev/v1alpha1\nkind: Catalogue\ndownloads:\n")
	set := ""
	for _, d := range downloads {
		sums := map[string]string{}
		for _, arch := range []string{"amd64", "arm64"} {
			if sums[arch], err = w.file(b, d, arch); err != nil {
				return err
			}
		}
		fmt.Fprintf(&y, "- name: %s\n  component: %s\n  url: %q\n", d.name, d.component, d.url)
		switch {
		case d.programs == nil:
			y.WriteString("  allPrograms: true\n")
		default:
			y.WriteString("  programs:\n")
		}
		for _, p := range d.programs {
			where := ""
			if d.archive {
				where = ", path: bin/" + p
			}
			fmt.Fprintf(&y, "  - {name: %s%s}\n", p, where)
		}
		fmt.Fprintf(&y, "  versions:\n  - {version: %s, source: the lab, sha256: {amd64: %s, arm64: %s}}\n", d.version, sums["amd64"], sums["arm64"])
		set += fmt.Sprintf("%s: %s, ", d.name, d.version)
	}
	fmt.Fprintf(&y, "sets:\n- kubernetes: %s\n  source: the lab\n  downloads: {%s}\n  images:\n", internetVersion, strings.TrimSuffix(set, ", "))
	for _, i := range b.Images {
		if ref := upstreamName(i.Component, i.Ref); ref != "" {
			fmt.Fprintf(&y, "  - {component: %s, ref: %q, digest: %q}\n", i.Component, ref, i.Digest)
		}
	}
	return os.WriteFile(w.catalogue(), []byte(y.String()), 0o644)
}

// upstreamName is what an image of the lab is called upstream; "" = it is the lab's own.
func upstreamName(component, ref string) string {
	_, tagged, _ := strings.Cut(ref, "/kube/")
	switch component {
	case "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "pause":
		return "registry.k8s.io/" + tagged
	case "coredns":
		return "registry.k8s.io/coredns/" + tagged
	case "flannel", "flannel-cni-plugin":
		return "ghcr.io/flannel-io/" + tagged
	case "probe":
		return "ghcr.io/hybridctl/" + tagged
	}
	return ""
}

// file writes a download for one architecture where the server has it, and returns its sum.
func (w *internet) file(b labBundle, d download, arch string) (string, error) {
	url := strings.NewReplacer("{version}", d.version, "{number}", strings.TrimPrefix(d.version, "v"), "{arch}", arch).Replace(d.url)
	path := filepath.Join(w.dir, "files", strings.TrimPrefix(url, "https://"))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	var body bytes.Buffer
	if d.archive {
		z := gzip.NewWriter(&body)
		t := tar.NewWriter(z)
		for _, bin := range b.Binaries {
			if bin.Component != d.component || bin.Arch != arch {
				continue
			}
			program, err := os.ReadFile(filepath.Join(root, "bin/lab-bundle", bin.Path))
			if err != nil {
				return "", err
			}
			name := bin.Name
			if d.programs != nil {
				name = "bin/" + name
			}
			if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(program))}); err != nil {
				return "", err
			}
			if _, err := t.Write(program); err != nil {
				return "", err
			}
		}
		if err := errors.Join(t.Close(), z.Close()); err != nil {
			return "", err
		}
	} else {
		i := slices.IndexFunc(b.Binaries, func(x struct{ Component, Name, Version, Arch, Path string }) bool {
			return x.Name == d.programs[0] && x.Arch == arch
		})
		if i < 0 {
			return "", fmt.Errorf("the lab's bundle has no %s for %s", d.name, arch)
		}
		program, err := os.ReadFile(filepath.Join(root, "bin/lab-bundle", b.Binaries[i].Path))
		if err != nil {
			return "", err
		}
		body.Write(program)
	}
	sum := sha256.Sum256(body.Bytes())
	return hex.EncodeToString(sum[:]), os.WriteFile(path, body.Bytes(), 0o644)
}

// serveInternet serves the folder's files, and by two real registries upstream's images and an empty place of the site that wants a login, until
// it is killed. TLS and the notes of what is asked for stand before the registries.
func serveInternet(dir string) error {
	password, err := os.ReadFile(filepath.Join(dir, "password"))
	if err != nil {
		return err
	}
	upstream, err := realRegistryBehind(dir, internetImagesBehind)
	if err != nil {
		return err
	}
	site, err := realRegistryBehind(dir, siteRegistryBehind, registryPassword+"="+strings.TrimSpace(string(password)))
	if err != nil {
		return err
	}
	if err := pushUpstream(upstream); err != nil {
		return err
	}
	asked, err := os.OpenFile(filepath.Join(dir, "asked"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	for address, handler := range map[string]http.Handler{
		internetFiles: http.FileServer(http.Dir(filepath.Join(dir, "files"))), internetImages: upstream, siteRegistry: site,
	} {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		noting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(asked, "%s %s %s\n", r.Method, address, r.URL.Path)
			handler.ServeHTTP(w, r)
		})
		s := &http.Server{Handler: noting, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
		go func() { failed <- s.ServeTLS(l, "", "") }()
	}
	fmt.Println("ready")
	return <-failed
}

// pushUpstream puts the images of the lab's bundle into a registry, under the names that they have upstream.
func pushUpstream(to http.Handler) error {
	b, err := readLabBundle()
	if err != nil {
		return err
	}
	for _, i := range b.Images {
		ref := upstreamName(i.Component, i.Ref)
		if ref == "" {
			continue
		}
		host, path, _ := strings.Cut(ref, "/")
		name, tag, _ := strings.Cut(path, ":")
		folder := map[string]string{"registry.k8s.io": "k8s/", "ghcr.io": "ghcr/"}[host]
		if err := pushImage(to, folder+name, tag, i.Ref); err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
	}
	return nil
}

// realRegistryBehind starts the folder's registry at an address of the lab's network, with a login when the environment brings a password, and
// returns the way to it. It ends with this process.
func realRegistryBehind(dir, address string, env ...string) (http.Handler, error) {
	folder, err := os.MkdirTemp(dir, "blobs")
	if err != nil {
		return nil, err
	}
	args := []string{address, folder}
	if len(env) > 0 {
		args = append(args, siteUser)
	}
	runtime.LockOSThread() // the kernel kills the child when the thread that started it ends
	run := exec.Command(filepath.Join(dir, "registry"), args...)
	run.Env = append(os.Environ(), env...)
	run.Stderr = os.Stderr
	run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := run.StdoutPipe()
	if err == nil {
		err = run.Start()
	}
	if err != nil {
		return nil, err
	}
	line := make([]byte, 16)
	if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "ready") {
		return nil, fmt.Errorf("the registry at %s does not start: %q, %w", address, line[:n], err)
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetXForwarded()
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", address, r.In.Host
	}}, nil
}
