//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// conformanceRun is what report.json holds, as far as it is looked at here.
type conformanceRun struct {
	ID, Verdict, Error string
	Nodes              []struct{ Name, Arch string }
	Cells              []struct {
		ID, Cell, Class, Verdict, Reason string
		Src, Dst                         *struct{ Node, Where string }
	}
	Phases []struct {
		Name                string
		DurationNanoseconds int64
	}
}

// allChecks are those that can pass in the lab.
var allChecks = []string{"N1", "N2", "D", "S3", "S4", "S5", "S6", "S7", "S8"}

// TestConformance_X86ControlPlane proves the new-deployment scenario, then that it can fail.
func TestConformance_X86ControlPlane(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")
	c.hybridctl(0, "up", "--yes")
	c.conformancePasses(allChecks)
	t.Run("outside", func(t *testing.T) { // a host that is no node dials the nodes
		c.t = t
		lab(t, "up", "x86-2")
		defer lab(t, "down", "x86-2")
		before := c.inventory
		defer func() { c.inventory = before }()
		c.also("  conformance:\n    outside: [{name: x86-2, address: 10.99.0.12, user: debian}]\n")
		run := c.conformancePasses([]string{"S7"}, "--checks", "S7")
		outside := 0
		for _, cell := range run.Cells {
			if cell.ID == "S7" && cell.Verdict == "pass" && strings.HasPrefix(cell.Src.Where, "x86-2 via ") {
				outside++
			}
		}
		if outside < 2*4 { // on both nodes, each cell that needs no datagrams
			t.Errorf("%d cells from the host outside passed", outside)
		}
	})
	t.Run("self-test", func(t *testing.T) {
		c.t = t
		c.selfTest()
	})
	t.Run("interrupted", func(t *testing.T) {
		c.t = t
		c.conformanceInterrupted()
	})
	t.Run("leftovers", func(t *testing.T) {
		c.t = t
		c.conformanceLeftovers()
	})
}

// TestConformance_ArmControlPlane proves it the other way round, with a private registry. Then the scenario of the x86 node as the one that
// was added.
func TestConformance_ArmControlPlane(t *testing.T) {
	c := pristine(t, "lab-arm", "arm-1", "x86-1")
	c.hybridctl(0, "up", "--yes")
	c.also(fmt.Sprintf(`  conformance:
    registry: {image: %q, username: %s, passwordFile: %s}
`, registryImage, registryUser, c.privateRegistry()))
	c.conformancePasses(append(allChecks, "R"))
	t.Run("scale-out", func(t *testing.T) {
		c.t = t
		c.conformancePasses([]string{"S1", "S2", "D", "S3", "S4", "S5", "S6", "S7", "S8", "R", "G"}, "--scenario", "scale-out", "--nodes", "x86-1")
	})
}

// conformancePasses runs the scenario: each of these checks has cells that pass, and none that fail; blocked are only those that have to be.
func (c *cluster) conformancePasses(checks []string, args ...string) conformanceRun {
	c.t.Helper()
	dir := c.t.TempDir()
	start := time.Now()
	out, err := try(c.t, 30*time.Minute, "e2e/lab/lab", append([]string{"exec", "bin/hybridctl", "conformance", "-f", c.inventory, "--report-dir", dir}, args...)...)
	c.t.Logf("hybridctl conformance: exit %d after %s\n%s", out.exit, time.Since(start).Round(time.Second), out.stdout)
	if err != nil || out.exit != 0 {
		c.t.Fatalf("hybridctl conformance: exit %d, %v\n%s", out.exit, err, tail(out.stderr, 60))
	}
	run := readRun(c.t, dir)
	for _, name := range []string{"junit.xml", "report.html"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			c.t.Error(err)
		}
	}
	if len(run.Nodes) != len(c.machines) {
		c.t.Errorf("%d nodes in the report, want %d", len(run.Nodes), len(c.machines))
	}
	count := map[string]map[string]int{}
	for _, cell := range run.Cells {
		if count[cell.ID] == nil {
			count[cell.ID] = map[string]int{}
		}
		count[cell.ID][cell.Verdict]++
		expected := strings.HasPrefix(cell.Reason, "needs two ") || strings.HasPrefix(cell.Reason, "operator does not reach arm-2") || cell.Reason == "an SSH connection carries no datagrams" ||
			strings.HasPrefix(cell.Reason, "no Ceph storage") || cell.ID == "R" && strings.HasPrefix(cell.Reason, "no private registry") || cell.Reason == "the pod has no IPv6"
		if cell.Verdict != "pass" && !(cell.Verdict == "blocked" && expected) {
			c.t.Errorf("%s/%s %s: %s: %s", cell.ID, cell.Cell, cell.Class, cell.Verdict, cell.Reason)
		}
	}
	for _, id := range checks {
		if count[id]["pass"] == 0 {
			c.t.Errorf("nothing of %s passed: %v", id, count[id])
		}
	}
	for _, p := range run.Phases {
		c.t.Logf("%s: %s", p.Name, time.Duration(p.DurationNanoseconds).Round(time.Second))
	}
	c.nothingLeft()
	return run
}

func readRun(t *testing.T, dir string) conformanceRun {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var run conformanceRun
	if err := json.Unmarshal(b, &run); err != nil {
		t.Fatal(err)
	}
	return run
}

// nothingLeft looks for what a run makes: in the cluster, and on the machines.
func (c *cluster) nothingLeft() {
	c.t.Helper()
	if left := c.kubectl("get", "namespaces", "-l", "hybridctl.dev/conformance-run", "-o", "name"); strings.TrimSpace(left) != "" {
		c.t.Errorf("left in the cluster: %s", left)
	}
	for _, m := range c.machines {
		if left := on(c.t, m, "ls /var/lib/hybridctl/conformance 2>/dev/null; /usr/local/bin/ctr -n k8s.io images ls -q | grep conformance.hybridctl; iptables-save 2>/dev/null | grep self-test; true"); strings.TrimSpace(left) != "" {
			c.t.Errorf("left on %s: %s", m, left)
		}
	}
}

// selfTest has every fault turn exactly the right cells red.
func (c *cluster) selfTest() {
	c.t.Helper()
	out, err := try(c.t, 90*time.Minute, "e2e/lab/lab", "exec", "bin/hybridctl", "conformance", "-f", c.inventory, "--self-test")
	c.t.Logf("hybridctl conformance --self-test: exit %d\n%s", out.exit, out.stdout)
	if err != nil || out.exit != 0 {
		c.t.Fatalf("exit %d, %v\n%s", out.exit, err, tail(out.stderr, 60))
	}
	c.nothingLeft()
}

// conformanceInterrupted ends a run with ^C while its cells are tried: the report is written, and nothing is left.
func (c *cluster) conformanceInterrupted() {
	c.t.Helper()
	dir := c.t.TempDir()
	exit, errs := c.conformanceUntil(dir, "S4  ", func(run *exec.Cmd) {
		if err := run.Process.Signal(syscall.SIGINT); err != nil {
			c.t.Fatal(err)
		}
	})
	if exit != 130 {
		c.t.Errorf("exit %d, want 130\n%s", exit, tail(errs, 20))
	}
	run := readRun(c.t, dir)
	if run.Error == "" || !slices.ContainsFunc(run.Cells, func(x struct {
		ID, Cell, Class, Verdict, Reason string
		Src, Dst                         *struct{ Node, Where string }
	}) bool {
		return x.Verdict == "blocked" && strings.Contains(x.Reason, "interrupted")
	}) {
		c.t.Errorf("the report says %q of the interruption", run.Error)
	}
	c.nothingLeft()
}

// conformanceLeftovers kills a run: clean leaves it alone as long as its lease has not lapsed, which is looked at first, as that takes two minutes at
// most; the next run refuses to start; and clean takes away what is left, once it is told that the run is gone.
func (c *cluster) conformanceLeftovers() {
	c.t.Helper()
	c.conformanceUntil(c.t.TempDir(), "S4  ", func(run *exec.Cmd) { kill(c.t, run) })
	out, err := try(c.t, 5*time.Minute, "e2e/lab/lab", "exec", "bin/hybridctl", "conformance", "clean", "-f", c.inventory)
	if err != nil || out.exit != 1 || !strings.Contains(out.stderr, "is at work, and is left alone") {
		c.t.Errorf("clean, as long as it is not known that the run is gone: exit %d\n%s%s", out.exit, out.stdout, tail(out.stderr, 10))
	}
	out, err = try(c.t, 5*time.Minute, "e2e/lab/lab", "exec", "bin/hybridctl", "conformance", "-f", c.inventory, "--report-dir", c.t.TempDir())
	if err != nil || out.exit != 1 || !strings.Contains(out.stderr, "hybridctl conformance clean") {
		c.t.Errorf("over another run's leftovers: exit %d\n%s", out.exit, tail(out.stderr, 10))
	}
	out, err = try(c.t, 5*time.Minute, "e2e/lab/lab", "exec", "bin/hybridctl", "conformance", "clean", "--break-lock", "-f", c.inventory)
	if err != nil || out.exit != 0 || !strings.HasPrefix(out.stdout, "removed: ") {
		c.t.Errorf("clean: exit %d\n%s%s", out.exit, out.stdout, tail(out.stderr, 10))
	}
	c.nothingLeft()
}

// conformanceUntil starts a run and does something to it as soon as a line of its progress holds the words.
func (c *cluster) conformanceUntil(dir, words string, do func(run *exec.Cmd)) (exit int, stderr string) {
	c.t.Helper()
	return c.until(words, do, "conformance", "-f", c.inventory, "--report-dir", dir)
}
