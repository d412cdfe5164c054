package kube

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
)

// fixture is a kubeadm kubeconfig, always with the same keys.
func fixture(t *testing.T, server string) []byte {
	t.Helper()
	return bytes.ReplaceAll(adminConf(t), []byte("https://a:6443"), []byte(server))
}

var madeConf []byte

func adminConf(t *testing.T) []byte {
	if madeConf == nil {
		madeConf = kubetest.AdminConf(t, "https://a:6443")
	}
	return madeConf
}

func TestCAHashes(t *testing.T) {
	kubeconfig := fixture(t, "https://a:6443")
	got, err := CAHashes(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(config.Clusters["kubernetes"].CertificateAuthorityData)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(cert.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	if diff := cmp.Diff([]string{"sha256:" + hex.EncodeToString(sum[:])}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNew_RefusesWhatItCannotTrust(t *testing.T) {
	good := string(fixture(t, "https://a:6443"))
	secret := base64.StdEncoding.EncodeToString([]byte("very secret"))
	tests := []struct{ name, old, new, want string }{
		{"not YAML", "clusters:", "clusters: [" + secret, "not readable at line"},
		{"wrong type", "clusters:", "extensions: " + secret + "\nclusters:", "not readable"},
		{"no context", "current-context: kubernetes-admin@kubernetes", "current-context: else", "has no current context"},
		{"no cluster", "{cluster: kubernetes,", "{cluster: other,", "has no cluster"},
		{"no user", ", user: kubernetes-admin}", ", user: other}", "has no user"},
		{"a program", "  user:\n    client-certificate-data", "  user:\n    exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, interactiveMode: Never}\n    client-certificate-data", "is a program to run"},
		{"a file", "  user:\n    client-certificate-data", "  user:\n    tokenFile: /etc/shadow\n    client-certificate-data", "names other files"},
		{"a file of an authority", "certificate-authority-data", "certificate-authority: /etc/ssl/ca.crt\n    certificate-authority-data", "names other files"},
		{"no authority", "certificate-authority-data", "x-data", "no certificate-authority-data"},
		{"a broken key", "client-key-data: ", "client-key-data: " + secret + "\n    x: ", "certificates are not usable"},
	}
	for _, tt := range tests {
		bad := strings.Replace(good, tt.old, tt.new, 1)
		if bad == good {
			t.Fatalf("%s: the case does not fit the fixture", tt.name)
		}
		_, err := New([]byte(bad), Options{})
		if !errors.Is(err, ErrKubeconfig) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want ErrKubeconfig with %q", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error quotes the document: %v", tt.name, err)
		}
	}
	if _, err := New([]byte(good), Options{}); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestRenameContext(t *testing.T) {
	renamed, err := RenameContext(fixture(t, "https://a:6443"), "kunpeng-lab")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.Load(renamed)
	if err != nil {
		t.Fatal(err)
	}
	current := config.Contexts["kunpeng-lab"]
	if config.CurrentContext != "kunpeng-lab" || current == nil || current.Cluster != "kunpeng-lab" || current.AuthInfo != "kunpeng-lab" {
		t.Errorf("contexts: %v", config.Contexts)
	}
	if len(config.Clusters) != 1 || len(config.AuthInfos) != 1 || len(config.Contexts) != 1 {
		t.Error("old names are left")
	}
	if config.Clusters["kunpeng-lab"].Server != "https://a:6443" || len(config.AuthInfos["kunpeng-lab"].ClientKeyData) == 0 {
		t.Error("server or credentials are lost")
	}
	again, err := RenameContext(renamed, "kunpeng-lab")
	if err != nil || !bytes.Equal(again, renamed) {
		t.Errorf("renaming again changes it: %v", err)
	}
}

func TestWriteKubeconfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	kubeconfig := fixture(t, "https://a:6443")
	if err := WriteKubeconfig(path, kubeconfig); err != nil {
		t.Fatal(err)
	}
	assertFile(t, path, kubeconfig, 0o600)
	before := inode(t, path)
	if err := WriteKubeconfig(path, kubeconfig); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, inode(t, path)) {
		t.Error("an unchanged file was written again")
	}
	if err := WriteKubeconfig(path, []byte("nonsense: [")); !errors.Is(err, ErrKubeconfig) {
		t.Errorf("nonsense was taken: %v", err)
	}
	assertFile(t, path, kubeconfig, 0o600)
	assertAlone(t, path)
}

func inode(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func assertFile(t *testing.T, path string, content []byte, mode os.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, content) {
		t.Errorf("%s has other content", path)
	}
	if info := inode(t, path); info.Mode() != mode {
		t.Errorf("%s has mode %v, want %v", path, info.Mode(), mode)
	}
}

// assertAlone finds temporary files and locks that were left.
func assertAlone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("files are left: %v", entries)
	}
}
