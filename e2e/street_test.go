//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSmoke is the short way down the street, for every change: an x86 control plane with an Arm worker, up, up again, destroy.
func TestSmoke(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")
	before := c.traces()
	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()
	c.podsTalk()
	c.secondRunChangesNothing()
	c.hybridctl(0, "destroy", "--yes")
	c.hostsAreClean(before)
}

// TestStreet_X86ControlPlane is the whole street with an x86 control plane and an Arm worker.
func TestStreet_X86ControlPlane(t *testing.T) { street(t, "lab-x86", "x86-1", "arm-1") }

// TestStreet_ArmControlPlane is the whole street with an Arm control plane and an x86 worker.
func TestStreet_ArmControlPlane(t *testing.T) { street(t, "lab-arm", "arm-1", "x86-1") }

// TestStreet_SudoAndJumpHost reaches one machine as a user whose sudo wants a password, another through a jump host. Its two Arm
// workers are the pair that the smaller clusters do not have.
func TestStreet_SudoAndJumpHost(t *testing.T) {
	c := pristine(t, "lab-all", "x86-1", "x86-2", "arm-1", "arm-2")
	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()
	c.secondRunChangesNothing()
	run := c.conformancePasses([]string{"N1", "S4", "S5"}, "--checks", "N1,S4,S5,S8")
	passed := 0
	for _, cell := range run.Cells {
		if cell.ID == "S5" && cell.Class == "arm64 → arm64" && cell.Verdict == "pass" {
			passed++
		}
	}
	if passed < 2*7 { // both directions, each flow
		t.Errorf("%d cells from Arm to Arm passed", passed)
	}
	c.noSecretIn("sudo-password", strings.TrimSpace(readFile(t, "bin/lab-sudo-password")))
	c.hybridctl(0, "destroy", "--yes")
}

func street(t *testing.T, name string, machines ...string) {
	c := pristine(t, name, machines...)
	before := c.traces()
	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()
	c.podsTalk()
	c.secondRunChangesNothing()
	c.hybridctl(0, "destroy", "--yes")
	c.hostsAreClean(before)
	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()
	c.podsTalk()
}

// nodesAreReady looks at every node as kubectl shows it: Ready, and of its machine's architecture.
func (c *cluster) nodesAreReady() {
	c.t.Helper()
	nodes := c.kubectl("get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.labels.kubernetes\.io/arch} {.status.nodeInfo.architecture} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
	for _, m := range c.machines {
		if want := fmt.Sprintf("%s %s %s True\n", m, archOf(m), archOf(m)); !strings.Contains(nodes, want) {
			c.t.Errorf("want the node %q, have:\n%s", want, nodes)
		}
	}
	if n := strings.Count(nodes, "\n"); n != len(c.machines) {
		c.t.Errorf("%d nodes, want %d:\n%s", n, len(c.machines), nodes)
	}
}

// podsTalk runs the echo image, of each node's own architecture, on every node, and has each pod ask each other pod over the overlay
// who it is: the answer names the pod, the architecture of its executable and that of its kernel.
func (c *cluster) podsTalk() {
	c.t.Helper()
	manifest := filepath.Join(c.t.TempDir(), "echo.yaml")
	if err := os.WriteFile(manifest, []byte(echoManifest(c.machines)), 0o644); err != nil {
		c.t.Fatal(err)
	}
	c.kubectl("apply", "-f", manifest)
	defer c.kubectl("delete", "-f", manifest, "--wait=true")
	c.kubectl("wait", "pod", "-l", "app=echo", "--for=condition=Ready", "--timeout=4m")
	ip := map[string]string{}
	for _, m := range c.machines {
		ip[m] = c.kubectl("get", "pod", "echo-"+m, "-o", "jsonpath={.status.podIP}")
	}
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}
	for _, from := range c.machines {
		for _, to := range c.machines {
			if from == to {
				continue
			}
			got := strings.TrimSpace(c.kubectl("exec", "echo-"+from, "--", "/echo", "get", "http://"+ip[to]+":8080/"))
			want := fmt.Sprintf("echo-%s %s %s", to, archOf(to), machine[archOf(to)])
			if got != want {
				c.t.Errorf("the pod on %s asked the pod on %s and heard %q, want %q", from, to, got, want)
			}
			c.t.Logf("%s -> %s: %s", from, to, got)
		}
		if got := strings.TrimSpace(c.kubectl("exec", "echo-"+from, "--", "/echo", "lookup", "kubernetes.default.svc.cluster.local")); !strings.Contains(got, "10.112.0.1") {
			c.t.Errorf("the pod on %s asked the cluster's DNS for the API server and heard %q", from, got)
		}
	}
}

func echoManifest(machines []string) string {
	var b strings.Builder
	for _, m := range machines {
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: Pod
metadata: {name: echo-%s, labels: {app: echo}}
spec:
  nodeName: %s
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 1
  enableServiceLinks: false
  automountServiceAccountToken: false
  containers: [{name: echo, image: "lab.test/kube/echo:1", imagePullPolicy: Never}]
`, m, m)
	}
	return b.String()
}

// secondRunChangesNothing runs up again: every step is unchanged, and no file of ours has a new time.
func (c *cluster) secondRunChangesNothing() {
	c.t.Helper()
	stamp := func() string {
		var all strings.Builder
		for _, m := range c.machines {
			all.WriteString(on(c.t, m, "find /var/lib/hybridctl /etc/containerd /etc/systemd/system /usr/local /opt/cni /etc/sysctl.d /etc/modules-load.d -type f -printf '%p %T@ %i\n' | sort"))
		}
		return all.String()
	}
	before := stamp()
	r, _ := c.hybridctl(0, "up", "--yes")
	if len(r.Changes) == 0 {
		c.t.Error("the second run reports no steps at all")
	}
	for _, x := range r.Changes {
		if x.Action != "unchanged" {
			c.t.Errorf("the second run: %s %s", x.Step, x.Action)
		}
	}
	if after := stamp(); after != before {
		c.t.Errorf("the second run wrote files; before:\n%s\nafter:\n%s", before, after)
	}
}

// traces is what of a cluster can be seen on the machines: what destroy must take away again.
func (c *cluster) traces() map[string]string {
	out := map[string]string{}
	for _, m := range c.machines {
		out[m] = on(c.t, m, tracesScript)
	}
	return out
}

const tracesScript = `
ls -d /etc/kubernetes /var/lib/kubelet /var/lib/etcd /etc/cni /opt/cni /var/lib/cni /etc/containerd /var/lib/containerd /run/containerd /run/flannel /var/lib/hybridctl /var/lib/hybridctl.lock /run/hybridctl 2>/dev/null
find /usr/local/bin /usr/local/sbin /etc/systemd/system /etc/modules-load.d /etc/sysctl.d -type f -o -type l | sort
ps -eo comm= | grep -E '^(kubelet|containerd|containerd-shim|runc|kube|etcd|flanneld|coredns|pause)' | sort
ip -br link | awk '{print $1}' | grep -vE '^(lo|eth0|vec0)' | sed 's/@.*//' | sort
awk '{print $2}' /proc/mounts | grep -E 'kubelet|containerd|netns' | sort
for s in iptables-nft-save iptables-legacy-save; do command -v $s >/dev/null && $s 2>/dev/null | grep -E 'KUBE|FLANNEL|CNI' ; done
systemctl list-units --all --no-legend --plain | awk '{print $1}' | grep -E 'kube|containerd|hybridctl' | sort
true`

// hostsAreClean compares with traces of before.
func (c *cluster) hostsAreClean(before map[string]string) {
	c.t.Helper()
	for m, now := range c.traces() {
		if now != before[m] {
			c.t.Errorf("%s is not as it was; before:\n%s\nnow:\n%s", m, before[m], now)
		}
	}
}

// noSecretIn looks for a secret in everything that hybridctl keeps and in what the machines have in their logs and settings. It may stand in
// these files of the machines, which root alone reads.
func (c *cluster) noSecretIn(what, secret string, but ...string) {
	c.t.Helper()
	if len(secret) < 8 {
		c.t.Fatalf("the %s is %d characters long: too short to look for", what, len(secret))
	}
	out, err := try(c.t, time.Minute, "grep", "-rlF", "--", secret, "inventories/.hybridctl")
	if err != nil || out.exit != 1 {
		c.t.Errorf("the %s stands in %s (%v)", what, out.stdout, err)
	}
	for _, m := range c.machines {
		for found := range strings.FieldsSeq(on(c.t, m, "grep -rlF -- "+secret+" /var/lib/hybridctl /var/log /etc 2>/dev/null | grep -v shadow; true")) {
			if !slices.Contains(but, found) {
				c.t.Errorf("the %s stands on %s in %s", what, m, found)
			} else if mode := strings.TrimSpace(on(c.t, m, "stat -c '%a %u' "+found)); mode != "600 0" {
				c.t.Errorf("%s: %s has mode and owner %s", m, found, mode)
			}
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
