//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestCeph_WrongInputs gets everything wrong that people get wrong about their Ceph.
func TestCeph_WrongInputs(t *testing.T) {
	c := withCeph(t, "lab-x86-ceph", "x86-1", "arm-1")
	c.wrongInputs(c.traces())
}

// TestCeph_X86ControlPlane installs ceph-csi for a real Ceph, and moves volumes between an x86 and an Arm node, which is added when the driver is there.
func TestCeph_X86ControlPlane(t *testing.T) {
	c := withCeph(t, "lab-x86-ceph", "x86-1", "arm-1")
	before := c.traces()
	c.onlyHost("x86-1")
	c.machines = []string{"x86-1"}
	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()
	if passed := c.scaleOut("arm-1", "--add", "arm-1=10.99.0.21", "--arch", "arm64"); passed["S9"] == 0 {
		t.Errorf("nothing of S9 passed on the node that was added: %v", passed)
	}
	c.volumesMove()
	c.withoutCluster(before)
}

// TestCeph_WhenThingsGoWrong takes away, under volumes in use, what they need.
func TestCeph_WhenThingsGoWrong(t *testing.T) {
	c := withCeph(t, "lab-x86-ceph", "x86-1", "arm-1")
	before := c.traces()
	c.onlyHost("x86-1")
	c.machines = []string{"x86-1"}
	c.hybridctl(0, "up", "--yes")
	c.hybridctl(0, "scale-out", "--add", "arm-1=10.99.0.21", "--yes", "--conformance=off")
	c.machines = append(c.machines, "arm-1")
	c.nodesAreReady()
	c.secondRunChangesNothing()
	c.thingsGoWrong()
	c.t = t
	c.withoutCluster(before)
}

// TestCeph_ArmControlPlane is the other way round.
func TestCeph_ArmControlPlane(t *testing.T) {
	c := withCeph(t, "lab-arm-ceph", "arm-1", "x86-1")
	before := c.traces()
	c.hybridctl(0, "up", "--yes", "--conformance=off") // volumesMove proves it
	c.nodesAreReady()
	c.volumesMove()
	c.withoutCluster(before)
}

func (c *cluster) volumesMove() {
	c.t.Helper()
	c.secondRunChangesNothing()
	c.conformancePasses([]string{"N1", "S9"}, "--checks", "N1,S9")
	c.noKeyAnywhere()
}

func (c *cluster) withoutCluster(before map[string]string) {
	c.t.Helper()
	c.hybridctl(0, "destroy", "--yes")
	c.hostsAreClean(before)
}

// withCeph starts machines and a new Ceph.
func withCeph(t *testing.T, name string, machines ...string) *cluster {
	t.Helper()
	if os.Getenv("LAB_IMAGES") == "" {
		t.Skip("it runs where LAB_IMAGES names archives of the CSI driver: make e2e-ceph")
	}
	c := pristine(t, name, machines...)
	lab(t, "reset", "ceph")
	lab(t, "up", "ceph")
	return c
}

// noKeyAnywhere looks for the keys of Ceph's users where they must not be.
func (c *cluster) noKeyAnywhere() {
	c.t.Helper()
	for _, file := range []string{"bin/lab-csi-rbd.key", "bin/lab-csi-cephfs.key"} {
		c.noSecretIn(file, strings.TrimSpace(readFile(c.t, file)))
	}
}

// wrongInputs gives hybridctl, one after another, what people get wrong about their Ceph: each is told with its remedy from both machines, with
// exit code 3, and nothing is installed anywhere.
func (c *cluster) wrongInputs(before map[string]string) {
	t := c.t
	lab(t, "ceph", "ceph", "auth", "get-or-create", "client.no-caps", "mon", "allow r")
	key := func(user string) string { return strings.TrimSpace(lab(t, "ceph", "ceph", "auth", "get-key", user)) }
	const rbdKey = "keyFile: ../bin/lab-csi-rbd.key"
	for _, x := range []struct {
		name  string
		edits []string // what stands in the inventory's text, and what instead
		key   string   // in the environment
		want  string
	}{
		{"pool", []string{"pool: kube", "pool: none"}, "", "the pool none does not exist"},
		{"user", []string{"user: csi-rbd", "user: nobody"}, "", "nobody"},
		{"key of another user", []string{rbdKey, "keyEnv: LAB_CEPH_KEY"}, key("client.csi-cephfs"), "key"},
		{"user without capabilities", []string{"user: csi-rbd", "user: no-caps", rbdKey, "keyEnv: LAB_CEPH_KEY"}, key("client.no-caps"), "capabilities"},
		{"malformed key", []string{rbdKey, "keyEnv: LAB_CEPH_KEY"}, "this is no key", "key"},
		{"file system", []string{"fsName: kubefs", "fsName: none"}, "", "none"},
		{"subvolume group", []string{"fsName: kubefs", "fsName: kubefs\n        subvolumeGroup: none"}, "", "none"},
		{"fsid", []string{"fsid: 5ceb6f2a", "fsid: 6ceb6f2a"}, "", "fsid"},
		{"address", []string{"10.99.0.5:6789", "10.99.0.6:6789"}, "", "10.99.0.6"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c.t = t
			text := readFile(t, c.inventory)
			for i := 0; i < len(x.edits); i += 2 {
				if !strings.Contains(text, x.edits[i]) {
					t.Fatalf("the inventory has no %q", x.edits[i])
				}
				text = strings.ReplaceAll(text, x.edits[i], x.edits[i+1])
			}
			wrong := *c
			wrong.write("-wrong", text)
			t.Setenv("LAB_CEPH_KEY", x.key)
			out := wrong.refused()
			for _, m := range c.machines {
				if !strings.Contains(out, m) {
					t.Errorf("%s is not named:\n%s", m, out)
				}
			}
			if !strings.Contains(out, x.want) {
				t.Errorf("want %q, have:\n%s", x.want, out)
			}
			if x.key != "" && strings.Contains(out, x.key) {
				t.Error("the key is shown")
			}
			c.hostsAreClean(before)
		})
	}
}

// refused runs up, which has to end with the exit code of preflight, and returns what it says.
func (c *cluster) refused() string {
	c.t.Helper()
	out, err := try(c.t, 5*time.Minute, "e2e/lab/lab", "exec", "bin/hybridctl", "up", "-f", c.inventory, "--yes")
	if err != nil || out.exit != 3 {
		c.t.Errorf("exit %d, want 3, %v", out.exit, err)
	}
	c.t.Log(tail(out.stdout+out.stderr, 12))
	return out.stdout + out.stderr
}
