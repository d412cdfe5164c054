//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	imageAddress = registryAddress + "/private/"
	oneName      = imageAddress + "app:1.5"
)

// TestImages_OneNameForBothArchitectures replaces the recipe of docker manifest create, annotate and push: two images of one architecture
// each become one, which an x86 and an Arm node pull under one name with a pull secret, and run.
func TestImages_OneNameForBothArchitectures(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")
	c.hybridctl(0, "up", "--yes")
	passwordFile := c.privateRegistry()
	login := c.login(passwordFile)
	for _, arch := range []string{"amd64", "arm64"} { // as two builds would push them
		c.image(login, 0, "assemble", "--plain-http", imageAddress+"app-linux-"+arch+":1.5", "--"+arch, "bin/lab-bundle/oci:lab.test/kube/echo:1")
	}
	recipe := []string{"assemble", "--plain-http", oneName, "--amd64", imageAddress + "app-linux-amd64:1.5", "--arm64", imageAddress + "app-linux-arm64:1.5", "--tag-children"}
	digest := strings.TrimSpace(c.image(login, 0, append(recipe, "-q")...))
	if again := strings.TrimSpace(c.image(login, 0, append(recipe, "-q")...)); again != digest || !strings.HasPrefix(digest, "sha256:") {
		t.Errorf("the digests are %q and %q", digest, again)
	}
	c.image(login, 0, "inspect", "--plain-http", oneName)
	c.image(login, 0, "audit", "--plain-http", "--cache", "none", oneName)

	// The wrong way round: nothing is sent.
	wrong := []string{"assemble", "--plain-http", imageAddress + "wrong:1", "--amd64", imageAddress + "app-linux-arm64:1.5"}
	c.image(login, 2, wrong...)
	c.image(login, 6, "audit", "--plain-http", "--cache", "none", "--fail-on", "warning", imageAddress+"wrong:1")

	c.also(fmt.Sprintf("  conformance:\n    registry: {image: %q, username: %s, passwordFile: %s}\n", oneName, registryUser, passwordFile))
	run := c.conformancePasses([]string{"R"}, "--checks", "R")
	on := map[string]bool{}
	for _, cell := range run.Cells {
		if cell.ID == "R" && cell.Verdict == "pass" && cell.Src != nil {
			on[cell.Src.Node] = true
		}
		if cell.ID == "R" && cell.Verdict == "pass" && cell.Dst != nil {
			on[cell.Dst.Node] = true
		}
	}
	if !on["x86-1"] || !on["arm-1"] {
		t.Errorf("pulled and run on %v", on)
	}
}

// login writes docker's configuration for the registry, and returns its folder.
func (c *cluster) login(passwordFile string) string {
	c.t.Helper()
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		c.t.Fatal(err)
	}
	auth := base64.StdEncoding.EncodeToString([]byte(registryUser + ":" + strings.TrimSpace(string(password))))
	raw, err := json.Marshal(map[string]any{"auths": map[string]any{registryAddress: map[string]string{"auth": auth}}})
	if err != nil {
		c.t.Fatal(err)
	}
	dir := c.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return dir
}

// image runs hybridctl image in the lab's network, as somebody who is logged in, and returns what it printed.
func (c *cluster) image(login string, exit int, args ...string) string {
	c.t.Helper()
	command := append([]string{"exec", "env", "HOME=" + login, "DOCKER_CONFIG=" + login, "bin/hybridctl", "image"}, args...)
	out, err := try(c.t, 5*time.Minute, "e2e/lab/lab", command...)
	c.t.Logf("hybridctl image %s: exit %d\n%s%s", strings.Join(args, " "), out.exit, out.stdout, tail(out.stderr, 20))
	if err != nil || out.exit != exit {
		c.t.Fatalf("hybridctl image %s: exit %d, want %d, %v", strings.Join(args, " "), out.exit, exit, err)
	}
	return out.stdout
}
