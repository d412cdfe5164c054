//go:build e2e

package e2e

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// thingsGoWrong does to volumes in use what happens to them: Ceph goes away and comes back, the driver's pods are killed, a node is rebooted, a node
// dies. Each time the run that is disturbed ends by itself, tells what it saw, and the next passes.
func (c *cluster) thingsGoWrong() {
	t := c.t
	for _, x := range []struct {
		name    string
		disturb func(t *testing.T)
		mend    func(t *testing.T)
		node    bool // it is of a node
		lost    bool // which stays away; what else is disturbed is only delayed
	}{
		{"the driver's pods are killed", func(*testing.T) {
			c.kubectl("-n", "ceph-csi", "delete", "pods", "--all", "--wait=false")
		}, func(*testing.T) {
			c.kubectl("-n", "ceph-csi", "wait", "pods", "--all", "--for=condition=Ready", "--timeout=10m")
		}, false, false},
		{"Ceph stops and starts", func(t *testing.T) {
			lab(t, "down", "ceph")
			time.Sleep(time.Minute)
			lab(t, "up", "ceph")
		}, func(*testing.T) {}, false, false},
		{"a node reboots", func(t *testing.T) { lab(t, "reboot", "arm-1") }, func(t *testing.T) { lab(t, "wait", "arm-1") }, true, false},
		{"a node dies", func(t *testing.T) { lab(t, "kill", "arm-1") }, func(t *testing.T) { lab(t, "up", "arm-1") }, true, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			all := c.inventory
			defer func() { c.inventory = all }()
			c.t = t
			if x.node {
				c.onlyBlockDevices() // a volume of one node is what a lost node keeps; half of the cells, and of the time
			}
			c.disturbed(x.disturb, x.lost)
			x.mend(t)
			if x.node { // a node that was away is Ready again when its kubelet has told so, and the driver's pods come after that
				c.eventually("arm-1 to be Ready", "wait", "node/arm-1", "--for=condition=Ready", "--timeout=1s")
				c.eventually("the driver to be at work", "-n", "ceph-csi", "wait", "pods", "--all", "--for=condition=Ready", "--timeout=1s")
			}
			c.nodesAreReady()
			if !x.node {
				return // it was green, and what comes next shows that it stays so
			}
			if out, err := try(t, 10*time.Minute, "e2e/lab/lab", "exec", "bin/hybridctl", "conformance", "clean", "-f", c.inventory); err != nil || out.exit != 0 {
				t.Fatalf("clean: exit %d, %v\n%s%s", out.exit, err, out.stdout, out.stderr)
			}
			c.conformancePasses([]string{"N1", "S9"}, "--checks", "N1,S9")
		})
	}
	t.Run("nothing stays in Ceph", func(t *testing.T) {
		if left := strings.TrimSpace(lab(t, "ceph", "rbd", "-p", "kube", "ls")); left != "" {
			t.Errorf("images are left: %s", left)
		}
		if left := strings.TrimSpace(lab(t, "ceph", "ceph", "fs", "subvolume", "ls", "kubefs", "csi")); left != "[]" {
			t.Errorf("subvolumes are left: %s", left)
		}
	})
}

// onlyBlockDevices makes an inventory without the shared file system.
func (c *cluster) onlyBlockDevices() {
	c.t.Helper()
	head, rest, found := strings.Cut(readFile(c.t, c.inventory), "\n      cephfs:\n")
	_, tail, ended := strings.Cut(rest, "\n  ssh:\n")
	if !found || !ended {
		c.t.Fatalf("%s has no cephfs before its ssh", c.inventory)
	}
	c.write("-rbd", head+"\n  ssh:\n"+tail)
}

// disturbed runs the cells of volumes and does something as soon as one of them has passed, while others are in use.
func (c *cluster) disturbed(disturb func(*testing.T), lost bool) {
	c.t.Helper()
	dir := c.t.TempDir()
	start := time.Now()
	exit, errs := c.until("S9  ", func(*exec.Cmd) { disturb(c.t) }, "conformance", "-f", c.inventory, "--report-dir", dir, "--checks", "S9")
	run := readRun(c.t, dir)
	c.t.Logf("exit %d after %s, verdict %s, %s", exit, time.Since(start).Round(time.Second), run.Verdict, run.Error)
	told := false
	for _, cell := range run.Cells {
		if cell.Verdict != "pass" {
			c.t.Logf("%s %s %s: %s", cell.Cell, cell.Class, cell.Verdict, cell.Reason)
			told = told || strings.Contains(cell.Reason, "node arm-1 went away")
		}
	}
	switch {
	case !lost && exit != 0:
		c.t.Errorf("exit %d, want 0: what was asked for is only late\n%s", exit, tail(errs, 30))
	case lost && exit == 0:
		c.t.Errorf("exit 0, although a node went away under its volumes")
	case lost && !told:
		c.t.Error("no cell says that arm-1 went away")
	}
}
