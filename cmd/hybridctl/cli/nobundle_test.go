package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
