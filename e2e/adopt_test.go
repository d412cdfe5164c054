//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAdopt_PlainKubeadm adopts a cluster that kubeadm made without hybridctl, finds nothing to do, and adds Arm
// machines to it: no one logs in to the old machine, its pods stay what they were. What joined can be taken out again,
// and joined again; what was there before is left alone.
func TestAdopt_PlainKubeadm(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")
	c.plainCluster("x86-1")
	c.machines = []string{"x86-1"}
	c.nodesAreReady()

	logins := c.operatorLogins("x86-1")
	if out := c.plan(0); !strings.Contains(out, "no changes") {
		t.Errorf("plan says:\n%s", out)
	}
	c.scaleOut("arm-1", "--add", "arm-1=10.99.0.21", "--arch", "arm64")
	if out := c.plan(0); !strings.Contains(out, "no changes") {
		t.Errorf("plan says:\n%s", out)
	}
	if now := c.operatorLogins("x86-1"); now != logins {
		t.Errorf("somebody logged in to the old host: %d logins before, %d after", logins, now)
	}
	t.Run("second", func(t *testing.T) { // its only way in is through the first
		c.t = t
		lab(t, "reset", "arm-2")
		lab(t, "up", "arm-2")
		before := on(t, "arm-2", tracesScript)
		c.scaleOut("arm-2", "--add", "arm-2=10.99.0.22,jump=arm-1")
		c.removedInUse("arm-2", before)
		c.scaleOut("arm-2", "--add", "arm-2=10.99.0.22,jump=arm-1")
	})
	t.Run("what was there is left alone", func(t *testing.T) {
		c.t = t
		for verb, args := range map[string][]string{"destroy": {"--yes"}, "remove": {"x86-1", "--yes"}} {
			out, err := try(t, time.Minute, "e2e/lab/lab", append([]string{"exec", "bin/hybridctl", verb, "-f", c.inventory}, args...)...)
			if err != nil || out.exit != 2 || !strings.Contains(out.stderr, "managed: false") {
				t.Errorf("%s: exit %d, %v\n%s", verb, out.exit, err, out.stderr)
			}
		}
		c.nodesAreReady()
	})
}

// plainCluster makes a cluster of one machine with kubeadm alone, and its inventory with adopt.
func (c *cluster) plainCluster(machine string) {
	c.t.Helper()
	start := time.Now()
	out, err := try(c.t, 40*time.Minute, "e2e/plain.sh", machine)
	c.t.Logf("kubeadm by hand: exit %d after %s", out.exit, time.Since(start).Round(time.Second))
	if err != nil || out.exit != 0 {
		c.t.Fatalf("plain.sh: exit %d, %v\n%s", out.exit, err, tail(out.stderr, 40))
	}
	admin := filepath.Join(c.t.TempDir(), "admin.conf")
	if err := os.WriteFile(admin, []byte(out.stdout), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.name, c.inventory = "plain", "inventories/plain.yaml"
	for _, path := range []string{c.inventory, "inventories/.hybridctl/plain"} {
		if err := os.RemoveAll(filepath.Join(root, path)); err != nil {
			c.t.Fatal(err)
		}
	}
	c.t.Cleanup(func() { _ = os.Remove(filepath.Join(root, c.inventory)) })
	out, err = try(c.t, 5*time.Minute, "e2e/lab/lab", "exec", "bin/hybridctl", "adopt", "--kubeconfig", admin, "--out", c.inventory, "--bundle", "../bin/lab-bundle", "--identity-file", "bin/lab-key")
	c.t.Logf("hybridctl adopt: exit %d\n%s", out.exit, out.stdout)
	if err != nil || out.exit != 0 {
		c.t.Fatalf("adopt: exit %d, %v\n%s", out.exit, err, out.stderr)
	}
	// What the slow machines of the lab want, adopt cannot know.
	text := readFile(c.t, c.inventory)
	text = strings.Replace(text, "\n  kubernetes:\n", `
  timeouts: {step: 30m, ready: 15m}
  kubernetes:
    ignorePreflightErrors: [NumCPU, Mem, SystemVerification]
    timeouts: {kubeletHealthCheck: 10m, kubernetesAPICall: 5m, tlsBootstrap: 10m, discovery: 10m}
`, 1)
	text = strings.Replace(text, "\n  ssh:\n", "\n  ssh:\n    user: root\n    connectTimeout: 60s\n    commandTimeout: 10m\n", 1)
	if err := os.WriteFile(filepath.Join(root, c.inventory), []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}
