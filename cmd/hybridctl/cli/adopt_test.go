package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// kubeconfig is one of no one; the certificate is a public one, of an authority that was made for this test.
const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: k, cluster: {server: "https://192.0.2.1:6443", certificate-authority-data: %s}}]
users: [{name: u, user: {token: not-a-secret}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
current-context: c
`

// adopted is a cluster of one node, as the engine finds it.
func adopted(ssh inventory.SSH) provision.Adoption {
	no := false
	c := inventory.Cluster{APIVersion: inventory.APIVersion, Kind: inventory.Kind, Metadata: inventory.Metadata{Name: "old"}}
	c.Spec.Kubernetes = inventory.Kubernetes{Version: "v1.36.3", Endpoint: "192.0.2.1:6443"}
	c.Spec.Bundle, c.Spec.CNI.Provider, c.Spec.SSH = "./bundle", inventory.CNINone, ssh
	c.Spec.Hosts = []inventory.Host{{Name: "x86-1", Address: "192.0.2.1", Role: inventory.ControlPlane, Arch: "amd64", Managed: &no}}
	return provision.Adoption{Cluster: c, Found: []string{"node x86-1: Kubernetes v1.36.3", "pod network: flannel"}, Notes: []string{"the bundle has to be made"},
		Kubeconfig: fmt.Appendf(nil, kubeconfig, testAuthority)}
}

func TestAdopt_WritesAnInventoryAndKeepsTheKubeconfig(t *testing.T) {
	r := newRun(t)
	r.file("admin.conf", "a kubeconfig")
	var o provision.AdoptOptions
	r.front.Adopt = func(_ context.Context, got provision.AdoptOptions) (provision.Adoption, error) {
		o = got
		return adopted(inventory.SSH{}), nil
	}
	r.want("adopt --kubeconfig admin.conf --name old --out sub.yaml --bundle b", 0)
	if string(o.Kubeconfig) != "a kubeconfig" || o.Cluster.Metadata.Name != "old" || o.Bundle != "b" || o.BundleDir != filepath.Join(r.dir, "b") || len(o.Cluster.Spec.Hosts) != 0 {
		t.Errorf("options %+v", o)
	}
	contains(t, "stdout", r.stdout.String(), "node x86-1: Kubernetes v1.36.3\n", "note: the bundle has to be made\n", "sub.yaml: written, 1 host; ")
	text, err := os.ReadFile("sub.yaml")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "the inventory", string(text), "# pod network: flannel\n", "managed: false", "provider: none", "  # ssh:\n  #   user: root\n")
	r.want("inventory validate -f sub.yaml", 0)
	if info, err := os.Stat(".hybridctl/old/kubeconfig"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v", err)
	}
	// without --bundle, and with none beside the inventory, none is named
	r.want("adopt --kubeconfig admin.conf --name old --out other.yaml", 0)
	if o.Bundle != "" || o.BundleDir != "" {
		t.Errorf("bundle %q in %q", o.Bundle, o.BundleDir)
	}
	// a second time it is there already, and no one is asked
	r.front.Adopt = nil
	r.want("adopt --kubeconfig admin.conf --out sub.yaml", 2)
	contains(t, "stderr", r.stderr.String(), "sub.yaml is there already")
}

func TestAdopt_OverSSHTheLoginIsTheInventorys(t *testing.T) {
	r := newRun(t)
	r.file("key", "")
	var o provision.AdoptOptions
	r.front.Adopt = func(_ context.Context, got provision.AdoptOptions) (provision.Adoption, error) {
		o = got
		return adopted(got.Cluster.Spec.SSH), nil
	}
	r.want("adopt --ssh-host admin@192.0.2.1:2222 --identity-file key --out a.yaml", 0)
	h := o.Cluster.Bootstrap()
	if s := o.Cluster.Spec.SSH; h.Address != "192.0.2.1" || s.Port != 2222 || s.User != "admin" || len(s.IdentityFiles) != 1 || o.Kubeconfig != nil {
		t.Errorf("%+v, %+v", h, s)
	}
	text, err := os.ReadFile("a.yaml")
	if err != nil || strings.Contains(string(text), "# ssh:") {
		t.Errorf("%v\n%s", err, text)
	}
	contains(t, "the inventory", string(text), "user: admin", filepath.Join(r.dir, "key"))
}

func TestAdopt_WhatIsNotKnownOfTheLoginIsLeftToFillIn(t *testing.T) {
	for args, want := range map[string]string{
		"--ssh-host 192.0.2.1 --identity-file key": "  ssh:\n    # user: admin #",
		"--ssh-host admin@192.0.2.1":               "  ssh:\n    # identityFiles: [",
		"--ssh-host 192.0.2.1":                     "  # ssh:\n",
	} {
		r := newRun(t)
		r.file("key", "")
		r.front.Adopt = func(_ context.Context, got provision.AdoptOptions) (provision.Adoption, error) {
			return adopted(got.Cluster.Spec.SSH), nil
		}
		r.want("adopt --out a.yaml "+args, 0)
		text, err := os.ReadFile("a.yaml")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, "the inventory with "+args, string(text), want)
		if _, err := inventory.Parse("a.yaml", text); err != nil {
			t.Error(err)
		}
	}
}

func TestAdopt_Mistakes(t *testing.T) {
	r := newRun(t)
	for line, want := range map[string]string{
		"adopt --out a.yaml":                                   "--ssh-host",
		"adopt --out a.yaml --kubeconfig none.conf":            "none.conf: no such file",
		"adopt --out a.yaml --ssh-host root@":                  "[USER@]ADDRESS",
		"adopt --out a.yaml --ssh-host x:y":                    "no port",
		"adopt --out a.yaml --ssh-host x --identity-file none": "--identity-file",
		"adopt --out inventory.yaml --ssh-host x":              "inventory.yaml is there already",
	} {
		r.want(line, 2)
		contains(t, "stderr", r.stderr.String(), want)
	}
	r.front.Adopt = func(context.Context, provision.AdoptOptions) (provision.Adoption, error) {
		a := adopted(inventory.SSH{})
		a.Cluster.Spec.Hosts[0].Name = "Not_A_Name"
		return a, nil
	}
	r.want("adopt --out a.yaml --ssh-host x", 2)
	contains(t, "stderr", r.stderr.String(), "a.yaml:", "is not a node name")
	for _, path := range []string{"a.yaml", ".hybridctl"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was written", path)
		}
	}
}

// testAuthority is that certificate, in base64.
const testAuthority = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJkVENDQVJ1Z0F3SUJBZ0lVZVdsdzV2YVJWSmphWjFJUGNESStrM3ZTWVJjd0NnWUlLb1pJemowRUF3SXcKRHpFTk1Bc0dBMVVFQXd3RWRHVnpkREFnRncweU5qRXhNakV4TnpFMU5EWmFHQTh5TVRJMk1UQXlPREUzTVRVMApObG93RHpFTk1Bc0dBMVVFQXd3RWRHVnpkREJaTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSEEwSUFCT095CjFmV3FpaU1SN3o5amZQK0dTQkJodlNqc24rVlhZeFIxb2lOUlZRYzNvR0pNTDNsMHVscElVL2N0bWxCb2tUUXYKdU9EclhocjFmaHY3ZDBoWmdzdWpVekJSTUIwR0ExVWREZ1FXQkJRN0RPRHp6d0ovdDdESjVHZE1Yenlva09ldgpWekFmQmdOVkhTTUVHREFXZ0JRN0RPRHp6d0ovdDdESjVHZE1Yenlva09ldlZ6QVBCZ05WSFJNQkFmOEVCVEFECkFRSC9NQW9HQ0NxR1NNNDlCQU1DQTBnQU1FVUNJQUhMOTgrZi9WQmphWk4yQXNJSGZGYmtCOVcxcHYxR0NDVloKdGxON3E1V3RBaUVBdkxPL0wzMCtkU1dMZFVYUlRia3hSSTVFc2ZFNnQwY2dKSHpZL1NUOG1KWT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="
