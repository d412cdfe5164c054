//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// twoX86 makes an inventory of x86-1, the control plane, and x86-2, which has this role; the machines are booted with untouched disks.
func twoX86(t *testing.T, role string) *cluster {
	t.Helper()
	c := pristine(t, "lab-three", "x86-1", "x86-2")
	text := regexp.MustCompile(`(?m)^ *- \{name: arm-1.*\n`).ReplaceAllString(readFile(t, c.inventory), "")
	if role == "worker" { // one control plane needs no balancer
		text = regexp.MustCompile(`(?m)^ *endpoint:.*\n`).ReplaceAllString(text, "")
		text = regexp.MustCompile(`(name: x86-2,.*role: )control-plane`).ReplaceAllString(text, "${1}worker")
	}
	c.write("-two", text)
	return c
}

// asks runs a verb that is refused, or fails, with this exit code, and returns all that it said.
func (c *cluster) asks(want int, verb string, args ...string) string {
	c.t.Helper()
	_, out := c.hybridctl(want, verb, args...)
	return out.stdout + out.stderr
}

// othersThings puts onto a machine what others have there, a disk of its own for etcd among it. gone says what is not there any more.
const othersThings = `
set -e
modprobe loop 2>/dev/null || true
truncate -s 700M /var/tmp/etcd.img; mkfs.ext4 -q -F /var/tmp/etcd.img
mkdir -p /var/lib/etcd; mount -o loop /var/tmp/etcd.img /var/lib/etcd; chmod 700 /var/lib/etcd
truncate -s 20M /var/tmp/data.img; mkfs.ext4 -q -F /var/tmp/data.img
mkdir -p /etc/cni/net.d /opt/cni/bin /var/lib/cni/networks/podman
echo '{"cniVersion":"1.0.0","name":"podman","plugins":[]}' >/etc/cni/net.d/87-podman-bridge.conflist
echo mine >/opt/cni/bin/mine
echo mine >/var/lib/cni/networks/podman/10.88.0.2
iptables -w -N MINE
iptables -w -A MINE -s 203.0.113.7/32 -m comment --comment "the office in california" -j DROP
iptables -w -A MINE -s 203.0.113.8/32 -m comment --comment "KUBE-LIKE, flanneld and automatically localized" -j RETURN
iptables -w -A INPUT -j MINE
iptables -w -t nat -N CNI-0123456789abcdef01234567
iptables -w -t nat -A CNI-0123456789abcdef01234567 -d 10.88.0.0/16 -m comment --comment "name: podman" -j ACCEPT
iptables -w -t nat -A POSTROUTING -s 10.88.0.2/32 -m comment --comment "name: podman" -j CNI-0123456789abcdef01234567
`

// theirsToday prints what there is of it.
const theirsToday = `
mountpoint -q /var/lib/etcd && echo etcd has its disk
for f in /etc/cni/net.d/87-podman-bridge.conflist /opt/cni/bin/mine /var/lib/cni/networks/podman/10.88.0.2; do echo "$f: $(cat "$f" 2>&1)"; done
iptables -w -S | grep -E 'MINE'
iptables -w -t nat -S | grep -E '0123456789abcdef|10\.88\.0'
true`

// TestReset_LeavesWhatIsOthers makes a cluster on a machine whose etcd has a disk of its own and that others use besides, mounts a volume with
// a blank in its path below the kubelet's directory, and takes the cluster away: twice, as what a reset left must not be in the way either.
func TestReset_LeavesWhatIsOthers(t *testing.T) {
	const machine = "x86-1"
	c := pristine(t, "lab-x86", machine)
	c.onlyHost(machine)
	on(t, machine, othersThings)
	before := on(t, machine, theirsToday)
	for _, want := range []string{"etcd has its disk", "california", "CNI-0123456789abcdef01234567", "podman"} {
		if !strings.Contains(before, want) {
			t.Fatalf("the machine has no %s to begin with:\n%s", want, before)
		}
	}
	for _, time := range []string{"first", "second"} {
		t.Run(time, func(t *testing.T) {
			c.t = t
			c.hybridctl(0, "up", "--yes")
			c.nodesAreReady()
			if used := on(t, machine, "ls /var/lib/etcd/member && mountpoint /var/lib/etcd"); !strings.Contains(used, "is a mountpoint") {
				t.Errorf("etcd does not use its disk: %s", used)
			}
			on(t, machine, `mkdir -p "/var/lib/kubelet/plugins/back up" && mount -o loop /var/tmp/data.img "/var/lib/kubelet/plugins/back up" && echo `+time+` >>"/var/lib/kubelet/plugins/back up/kept"`)
			c.hybridctl(0, "destroy", "--yes")
			if now := on(t, machine, theirsToday); now != before {
				t.Errorf("before:\n%s\nnow:\n%s", before, now)
			}
			if left := on(t, machine, "ls -A /var/lib/etcd | grep -v '^lost+found$'; ls -d /var/lib/kubelet /etc/kubernetes /var/lib/hybridctl /var/lib/hybridctl.lock 2>/dev/null; true"); left != "" {
				t.Errorf("the reset left:\n%s", left)
			}
			if kept := on(t, machine, "mkdir -p /mnt/data && mount -o loop /var/tmp/data.img /mnt/data && cat /mnt/data/kept && umount /mnt/data"); !strings.Contains(kept, time) {
				t.Errorf("the volume has %q", kept)
			}
		})
	}
}

// TestDestroy_LeavesAnotherClustersHosts destroys a cluster of two machines while one is away. Another cluster is made of both, which takes the
// one that was away only when it is named. The first cluster's destroy, which is to be run again, then refuses both: by what their kubelets
// trust, and where that is gone, by their marks.
func TestDestroy_LeavesAnotherClustersHosts(t *testing.T) {
	a := twoX86(t, "worker")
	a.hybridctl(0, "up", "--yes")
	a.nodesAreReady()
	mark := on(t, "x86-2", "cat /var/lib/hybridctl/cluster")
	if !regexp.MustCompile(`^ca sha256:[0-9a-f]{64}\nname lab-three\n$`).MatchString(mark) {
		t.Errorf("the mark of x86-2: %q", mark)
	}
	lab(t, "unplug", "x86-2")
	a.hybridctl(4, "destroy", "--yes")
	lab(t, "plug", "x86-2")
	lab(t, "wait", "x86-2")

	b := *a
	b.name = "lab-b"
	b.write("-b", strings.Replace(readFile(t, a.inventory), "name: lab-three", "name: lab-b", 1))
	if err := os.RemoveAll(filepath.Join(root, "inventories/.hybridctl", b.name)); err != nil {
		t.Fatal(err)
	}
	if said := b.asks(3, "up", "--yes"); !strings.Contains(said, "x86-2") || !strings.Contains(said, "other-cluster") {
		t.Errorf("up of another cluster with x86-2: %s", said)
	}
	whole := readFile(t, b.inventory)
	b.onlyHost("x86-1")
	b.hybridctl(0, "up", "--yes")
	b.write("-whole", whole)
	b.asks(3, "scale-out", "--yes", "--conformance=off")
	if now := on(t, "x86-2", "cat /var/lib/hybridctl/cluster"); now != mark {
		t.Errorf("the mark of x86-2 became %q", now)
	}
	b.hybridctl(0, "scale-out", "--yes", "--conformance=off", "--force=x86-2")
	b.nodesAreReady()

	refused := func(what string) {
		t.Helper()
		said := a.asks(2, "destroy", "--yes")
		for _, m := range a.machines {
			if !strings.Contains(said, m) {
				t.Errorf("%s: destroy of the first cluster did not speak of %s: %s", what, m, said)
			}
		}
	}
	refused("both are nodes of the other")
	on(t, "x86-2", "systemctl stop kubelet && mkdir /root/away && mv /etc/kubernetes/kubelet.conf /etc/kubernetes/pki /root/away/")
	refused("x86-2 without its files")
	on(t, "x86-2", "mv /root/away/kubelet.conf /root/away/pki /etc/kubernetes/ && systemctl start kubelet")
	b.eventually("x86-2 to be Ready as before", "wait", "node/x86-2", "--for=condition=Ready", "--timeout=1s")
	b.nodesAreReady()
	b.hybridctl(0, "destroy", "--yes")
	for _, m := range b.machines {
		if left := on(t, m, "ls -d /var/lib/hybridctl /var/lib/hybridctl.lock 2>/dev/null; true"); left != "" {
			t.Errorf("%s: %s", m, left)
		}
	}
}

// TestUp_BeginsNoSecondCluster reinstalls the first of two control planes while the other is away, and has the state
// directory lost: up refuses to begin another cluster, and says at which host to look.
func TestUp_BeginsNoSecondCluster(t *testing.T) {
	c := twoX86(t, "control-plane")
	lab(t, "up", "balancer")
	t.Cleanup(func() { lab(t, "down", "balancer") })
	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()
	lab(t, "down", "x86-2")
	lab(t, "reset", "x86-1")
	lab(t, "up", "x86-1")
	if err := os.RemoveAll(filepath.Join(root, "inventories/.hybridctl", c.name)); err != nil {
		t.Fatal(err)
	}
	if said := c.asks(2, "up", "--yes"); !strings.Contains(said, "second cluster") || !strings.Contains(said, "x86-2") {
		t.Errorf("it said: %s", said)
	}
	if left := on(t, "x86-1", tracesScript); strings.Contains(left, "/etc/kubernetes") || strings.Contains(left, "hybridctl") {
		t.Errorf("something was begun on x86-1:\n%s", left)
	}
}

// TestUp_LostLeaseStopsIt takes the cluster's lease from an up that prepares a host: the running step is finished, the host is not joined, and
// the run says who has the lease. Another up goes on.
func TestUp_LostLeaseStopsIt(t *testing.T) {
	c := twoX86(t, "worker")
	whole := readFile(t, c.inventory)
	c.onlyHost("x86-1")
	c.machines = c.machines[:1]
	c.hybridctl(0, "up", "--yes")
	c.write("-whole", whole)
	exit, errs := c.upUntil("x86-2 runtime  started", func(*exec.Cmd) {
		c.kubectl("-n", "kube-system", "patch", "lease", "hybridctl", "--type=merge", "-p", `{"spec":{"holderIdentity":"eve@elsewhere/1/abcdefgh"}}`)
	})
	if exit != 1 || !strings.Contains(errs, "eve@elsewhere") {
		t.Errorf("exit %d\n%s", exit, tail(errs, 20))
	}
	if left := on(t, "x86-2", "ls /etc/kubernetes/kubelet.conf /var/lib/hybridctl/steps/join 2>/dev/null; true"); left != "" {
		t.Errorf("x86-2 was joined:\n%s", left)
	}
	if nodes := strings.Fields(c.kubectl("get", "nodes", "-o", "name")); len(nodes) != 1 {
		t.Errorf("nodes %q", nodes)
	}
	c.hybridctl(0, "up", "--yes", "--break-lock")
	c.machines = []string{"x86-1", "x86-2"}
	c.nodesAreReady()
	c.secondRunChangesNothing()
}

// TestUp_FromTwoMachines begins another up, from another machine's state directory, while the first is at work and there is no API server yet:
// it is told who is. A first up that was killed is gone on with from where it was, and from elsewhere with --break-lock alone.
func TestUp_FromTwoMachines(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1")
	c.onlyHost("x86-1")
	elsewhere := []string{"--yes", "--state-dir", t.TempDir()}
	second := ""
	c.upUntil("x86-1 runtime  started", func(up *exec.Cmd) {
		second = c.asks(1, "up", elsewhere...)
		kill(t, up)
	})
	if !strings.Contains(second, "/var/lib/hybridctl.lock") || !strings.Contains(second, "--break-lock") {
		t.Errorf("the second was told: %s", second)
	}
	if said := c.asks(1, "up", elsewhere...); !strings.Contains(said, "/var/lib/hybridctl.lock") {
		t.Errorf("after the first was killed: %s", said)
	}
	c.upUntil("x86-1 kubernetes  started", func(up *exec.Cmd) { kill(t, up) })
	c.hybridctl(0, "up", append(elsewhere, "--break-lock")...)
	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()
	if left := on(t, "x86-1", "ls /var/lib/hybridctl.lock 2>/dev/null; true"); left != "" {
		t.Errorf("the lock stays: %s", left)
	}
}
