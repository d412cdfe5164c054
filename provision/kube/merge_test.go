package kube

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
)

const existing = `apiVersion: v1
kind: Config
preferences: {}
clusters:
- name: prod
  cluster: {server: "https://prod:6443", certificate-authority: certs/ca.crt}
- name: lab
  cluster: {server: "https://old:6443"}
users:
- name: kubernetes-admin
  user: {client-certificate: certs/admin.crt, client-key: certs/admin.key}
- name: sso
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: login, interactiveMode: IfAvailable}}
contexts:
- name: prod
  context: {cluster: prod, user: kubernetes-admin, namespace: web}
current-context: prod
`

func TestMergeKubeconfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := errors.Join(os.WriteFile(path, []byte(existing), 0o640), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second merge is the same
		if err := MergeKubeconfig(path, fixture(t, "https://new:6443"), "lab"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := clientcmd.Load([]byte(existing))
	if err != nil {
		t.Fatal(err)
	}
	got.Clusters["prod"].LocationOfOrigin, got.Contexts["prod"].LocationOfOrigin = "", ""
	if diff := cmp.Diff(want.Clusters["prod"], got.Clusters["prod"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Contexts["prod"], got.Contexts["prod"]); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"kubernetes-admin", "sso"} {
		if got.AuthInfos[name] == nil || got.AuthInfos[name].ClientKey != want.AuthInfos[name].ClientKey ||
			(got.AuthInfos[name].Exec == nil) != (want.AuthInfos[name].Exec == nil) {
			t.Errorf("user %s was touched", name)
		}
	}
	if got.CurrentContext != "lab" || got.Clusters["lab"].Server != "https://new:6443" || got.Contexts["lab"].AuthInfo != "lab" {
		t.Errorf("current context %q, server %q", got.CurrentContext, got.Clusters["lab"].Server)
	}
	if len(got.Clusters) != 2 || len(got.AuthInfos) != 3 || len(got.Contexts) != 2 {
		t.Errorf("%d clusters, %d users, %d contexts", len(got.Clusters), len(got.AuthInfos), len(got.Contexts))
	}
	if mode := inode(t, path).Mode(); mode != 0o640 {
		t.Errorf("mode %v, want the old one", mode)
	}
	assertAlone(t, path)
}

func TestMergeKubeconfig_MakesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".kube", "config")
	if err := MergeKubeconfig(path, fixture(t, "https://new:6443"), "lab"); err != nil {
		t.Fatal(err)
	}
	renamed, err := RenameContext(fixture(t, "https://new:6443"), "lab")
	if err != nil {
		t.Fatal(err)
	}
	assertFile(t, path, renamed, 0o600)
}

func TestMergeKubeconfig_LeavesABrokenFileAlone(t *testing.T) {
	for _, broken := range []string{"a: [", "clusters: secret-word", "\x00\x01"} {
		path := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		err := MergeKubeconfig(path, fixture(t, "https://new:6443"), "lab")
		if !errors.Is(err, ErrKubeconfig) || !strings.HasPrefix(err.Error(), path+" is not a kubeconfig") {
			t.Errorf("%q: %v", broken, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret-word") {
			t.Errorf("the error quotes the file: %v", err)
		}
		assertFile(t, path, []byte(broken), 0o600)
		assertAlone(t, path)
	}
}

func TestMergeKubeconfig_FollowsLinks(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "dotfiles"), filepath.Join(dir, "config")
	if err := os.WriteFile(target, []byte(existing), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("dotfiles", link); err != nil {
		t.Fatal(err)
	}
	if err := MergeKubeconfig(link, fixture(t, "https://new:6443"), "lab"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	if config, err := clientcmd.LoadFromFile(target); err != nil || config.CurrentContext != "lab" {
		t.Errorf("the linked file was not changed: %v", err)
	}
}

func TestMergeKubeconfig_WaitsForTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	unlock, err := lockKubeconfig(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockKubeconfig(path, 0); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "remove "+path+".lock") {
		t.Errorf("locked: %v", err)
	}
	merged := make(chan error, 1)
	go func() { merged <- MergeKubeconfig(path, fixture(t, "https://new:6443"), "lab") }()
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-merged; err != nil {
		t.Errorf("after the lock was free: %v", err)
	}
}
