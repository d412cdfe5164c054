//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// An internet of the lab's own, and a site's registry, at the operator's side of the lab's network.
const (
	internetFolder = "HYBRIDCTL_E2E_INTERNET" // the environment variable that makes the test binary serve the internet in this folder
	internetFiles  = "10.99.0.1:8443"
	internetImages = "10.99.0.1:5443"
	siteRegistry   = "10.99.0.1:5444"
	// What stands behind the two, without TLS.
	internetImagesBehind = "10.99.0.1:5453"
	siteRegistryBehind   = "10.99.0.1:5454"

	siteUser        = "robot"
	internetVersion = "v1.36.3"
)

// TestInternet goes from nothing to a cluster in a network that has mirrors and nothing else; then without them; then with one file and a
// registry of the site.
func TestInternet(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")
	w := newInternet(t)
	stop := w.start()

	// An inventory to begin with is one that loads.
	begin := filepath.Join(t.TempDir(), "inventory.yaml")
	w.run(c, 0, "init", "begin", "--host", "x86-1=10.99.0.11", "--host", "arm-1=10.99.0.21", "--out", begin)
	w.run(c, 0, "inventory", "validate", "-f", begin)

	c.withoutBundle(w.sources())
	w.run(c, 0, "preflight", "-f", c.inventory, "--catalogue", w.catalogue())
	if asked := w.asked(); asked != "" {
		t.Errorf("preflight asked for\n%s", asked)
	}
	if planned := w.run(c, 0, "plan", "-f", c.inventory, "--catalogue", w.catalogue()); !strings.Contains(planned.stdout, "fetched before a host is written to") {
		t.Errorf("the plan does not say what is fetched:\n%s", planned.stdout)
	}
	w.run(c, 0, "up", "-f", c.inventory, "--catalogue", w.catalogue(), "--yes", "--conformance=off")
	c.nodesAreReady()
	asked := w.asked()
	for _, arch := range []string{"amd64", "arm64"} {
		if !strings.Contains(asked, "/bin/linux/"+arch+"/kubelet") {
			t.Errorf("no kubelet for %s was fetched:\n%s", arch, asked)
		}
	}

	// Nothing is asked for twice.
	stop()
	again := w.run(c, 0, "up", "-f", c.inventory, "--catalogue", w.catalogue(), "--yes", "--conformance=off", "-o", "json")
	var r result
	if err := json.Unmarshal([]byte(again.stdout), &r); err != nil {
		t.Fatal(err)
	}
	for _, ch := range r.Changes {
		if ch.Action != "unchanged" {
			t.Errorf("with the mirror down: %s %s", ch.Step, ch.Action)
		}
	}
	bundle, file := filepath.Join(t.TempDir(), "bundle"), filepath.Join(t.TempDir(), "bundle.tar")
	fetch := append([]string{"bundle", "fetch", bundle, "--kubernetes", internetVersion, "--arch", "amd64,arm64", "--catalogue", w.catalogue(), "--ca-file", w.ca()}, w.sourceFlags()...)
	w.run(c, 0, fetch...)
	w.run(c, 0, "bundle", "export", file, bundle)

	// Without internet and without a bundle: who did not answer, and the ways out.
	w.cache = t.TempDir()
	silent := w.run(c, 1, "up", "-f", c.inventory, "--catalogue", w.catalogue(), "--yes", "--conformance=off")
	for _, want := range []string{"does not answer", "spec.sources", "bundle export", "bundle create"} {
		if !strings.Contains(silent.stderr, want) {
			t.Errorf("without internet, the error lacks %q:\n%s", want, silent.stderr)
		}
	}
	w.run(c, 0, "destroy", "-f", c.inventory, "--yes")

	// One file, a registry of the site that wants a login, and an empty cache.
	w.start()
	c.withoutBundle(w.site(file))
	w.run(c, 0, "bundle", "push", siteRegistry+"/site", "--bundle", file, "--ca-file", w.ca())
	w.asked()
	w.run(c, 0, "up", "-f", c.inventory, "--yes", "--conformance=off")
	c.nodesAreReady()
	asked = w.asked()
	for _, image := range []string{"kube-proxy", "pause", "flannel"} {
		if !strings.Contains(asked, siteRegistry+" /v2/site/") || !strings.Contains(asked, "/"+image+"/manifests/sha256:") {
			t.Errorf("no node pulled %s from the site's registry", image)
		}
	}
	if strings.Contains(asked, internetFiles) || strings.Contains(asked, internetImages) {
		t.Errorf("something went to the internet:\n%s", tail(asked, 40))
	}
	c.noSecretIn("site-password", w.password(), "/etc/containerd/conf.d/hybridctl-registries.toml")
	run := c.conformancePasses([]string{"R"}, "--checks", "R")
	passed := map[string]bool{}
	for _, cell := range run.Cells {
		if cell.ID == "R" && cell.Verdict == "pass" && cell.Dst != nil {
			passed[cell.Dst.Node] = true
		}
	}
	if !passed["x86-1"] || !passed["arm-1"] {
		t.Errorf("check R passed on %v", passed)
	}

	// Taken out of the inventory, nothing of it stays.
	c.withoutBundle(fmt.Sprintf("  bundle: %s\n", file))
	w.run(c, 0, "up", "-f", c.inventory, "--yes", "--conformance=off")
	for _, m := range c.machines {
		if left := on(t, m, "ls -d /etc/containerd/certs.d/* /etc/containerd/conf.d /var/lib/kubelet/config.json 2>/dev/null || true"); strings.TrimSpace(left) != "" {
			t.Errorf("%s keeps %s", m, left)
		}
	}
	w.run(c, 0, "destroy", "-f", c.inventory, "--yes")
}

// withoutBundle makes an inventory without the lab's bundle, and with these lines in its spec.
func (c *cluster) withoutBundle(lines string) {
	c.t.Helper()
	text := readFile(c.t, strings.Replace(c.inventory, "-internet", "", 1))
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "  bundle:") {
			kept = append(kept, line)
		}
	}
	c.inventory = strings.Replace(c.inventory, "-internet", "", 1)
	c.write("-internet", strings.Replace(strings.Join(kept, ""), "\nspec:\n", "\nspec:\n"+lines, 1))
}
