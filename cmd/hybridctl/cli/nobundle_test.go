package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is no bundle is told with what a bundle is.
func TestBundle_WhatIsNoBundle(t *testing.T) {
	r := newRun(t)
	r.file("notes", "precious")
	if err := os.Mkdir("folder", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"list", "verify", "import"} {
		r.want("bundle "+verb+" notes", 2)
		contains(t, verb+": stderr", r.stderr.String(), "error: notes is not a bundle in one file: ", "\nhint: a bundle is the folder that ")
		r.want("bundle "+verb+" folder", 2)
		contains(t, verb+": stderr", r.stderr.String(), "error: folder is not a bundle: it has no bundle.json\nhint: a bundle is the folder that ")
	}
}

// A verb about a bundle says so when neither the command line nor the inventory names one.
func TestBundle_NoneIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "inventory.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: hybridctl.dev/v1alpha1\nkind: Cluster\nmetadata: {name: a}\nspec:\n  kubernetes: {version: v1.36.3}\n"+
		"  hosts: [{name: a, address: 192.0.2.1, role: control-plane}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"verify", "list"} {
		r := newRun(t)
		if code := r.do("bundle " + verb + " -f " + arg(file)); code != exitUsage || !strings.Contains(r.stderr.String(), "names no bundle") || !strings.Contains(r.stderr.String(), "hybridctl bundle fetch") {
			t.Errorf("bundle %s: exit %d\n%s", verb, code, r.stderr.String())
		}
	}
}
