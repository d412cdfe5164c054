//go:build e2e

package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFault_WhileBuilding kills the tool, cuts a machine off and reboots one in the middle of a first up. Each time the next up goes
// on; steps that were finished are not done again.
func TestFault_WhileBuilding(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")

	c.upUntil("x86-1 runtime", func(up *exec.Cmd) { kill(t, up) })
	c.upUntil("x86-1 images", func(up *exec.Cmd) { kill(t, up) })
	finished := on(t, "x86-1", "stat -c '%n %Y %i' /var/lib/hybridctl/steps/os")

	exit, errs := c.upUntil("arm-1 images", func(*exec.Cmd) { lab(t, "unplug", "arm-1") })
	lab(t, "plug", "arm-1")
	if exit != 4 || !strings.Contains(errs, "arm-1") {
		t.Errorf("with arm-1's cable out: exit %d, want 4\n%s", exit, tail(errs, 20))
	}

	c.upUntil("arm-1 join  started", func(*exec.Cmd) {
		kubeadmRuns(t, "arm-1")
		lab(t, "reboot", "arm-1")
	})
	lab(t, "wait", "arm-1")

	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()
	if now := on(t, "x86-1", "stat -c '%n %Y %i' /var/lib/hybridctl/steps/os"); now != finished {
		t.Errorf("a finished step was done again: its marker was %q, is %q", finished, now)
	}
	c.podsTalk()

	t.Run("kill -9 while kubeadm runs", func(t *testing.T) {
		c.t = t
		c.hybridctl(0, "destroy", "--yes")
		c.upUntil("x86-1 init  started", func(up *exec.Cmd) {
			kubeadmRuns(t, "x86-1")
			kill(t, up)
		})
		r, _ := c.hybridctl(0, "up", "--yes")
		if a := r.change("x86-1/runtime"); a != "unchanged" {
			t.Errorf("the runtime is %s, want unchanged", a)
		}
		c.nodesAreReady()
	})
}

// TestFault_OnARunningCluster does to a cluster what happens to clusters, and has up mend it.
func TestFault_OnARunningCluster(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")
	c.hybridctl(0, "up", "--yes")

	step := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			c.t = t
			f(t)
		})
	}
	step("state deleted", func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(root, "inventories/.hybridctl", c.name)); err != nil {
			t.Fatal(err)
		}
		c.secondRunChangesNothing()
		if _, err := os.Stat(filepath.Join(root, "inventories/.hybridctl", c.name, "state.json")); err != nil {
			t.Error(err)
		}
	})
	step("drift", func(t *testing.T) {
		on(t, "arm-1", "echo '# by hand' >>/etc/containerd/config.toml; systemctl stop kubelet; modprobe -r br_netfilter")
		out := c.plan(10)
		for _, want := range []string{"/etc/containerd/config.toml", "kubelet.service", "br_netfilter"} {
			if !strings.Contains(out, want) {
				t.Errorf("the plan does not speak of %s:\n%s", want, out)
			}
		}
		r, _ := c.hybridctl(0, "up", "--yes")
		for _, s := range []string{"arm-1/os", "arm-1/runtime", "arm-1/join"} {
			if a := r.change(s); a != "configured" {
				t.Errorf("%s is %s, want configured", s, a)
			}
		}
		if a := r.change("x86-1/runtime"); a != "unchanged" {
			t.Errorf("x86-1/runtime is %s, want unchanged", a)
		}
		on(t, "arm-1", "! grep -q 'by hand' /etc/containerd/config.toml && systemctl is-active kubelet containerd && lsmod | grep -q br_netfilter")
		c.nodesAreReady()
	})
	step("one host unreachable", func(t *testing.T) {
		lab(t, "unplug", "arm-1")
		r, _ := c.hybridctl(4, "up", "--yes")
		lab(t, "plug", "arm-1")
		for _, h := range r.Hosts {
			if h.Name == "arm-1" && (h.Error == "" || h.Next == "") {
				t.Errorf("arm-1: %+v", h)
			}
			if h.Name == "x86-1" && h.Error != "" {
				t.Errorf("x86-1: %+v", h)
			}
		}
		c.hybridctl(0, "up", "--yes")
	})
	step("wrong architecture declared", func(t *testing.T) {
		wrong := strings.Replace(readFile(t, c.inventory), "role: worker, arch: arm64", "role: worker, arch: amd64", 1)
		path := filepath.Join(root, "inventories", "lab-wrong-arch.tmp.yaml")
		if err := os.WriteFile(path, []byte(wrong), 0o644); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		other := *c
		other.inventory = "inventories/lab-wrong-arch.tmp.yaml"
		r, _ := other.hybridctl(3, "up", "--yes")
		found := false
		for _, check := range r.Checks {
			found = found || check.Host == "arm-1" && check.Name == "arch-declared" && check.Status == "fail"
		}
		if !found {
			t.Errorf("checks: %+v", r.Checks)
		}
	})
	step("a pod network after all of it", func(*testing.T) { c.podsTalk() })
	// Last: a kubelet that saw a full disk takes no pods for minutes.
	step("disk full", func(t *testing.T) {
		t.Cleanup(func() { on(t, "arm-1", "rm -f /var/lib/filler") })
		on(t, "arm-1", "rm /usr/local/bin/kubectl")
		exit, errs := c.upUntil("arm-1 kubernetes  started", func(*exec.Cmd) {
			on(t, "arm-1", "fallocate -l $(($(stat -f -c '%a*%S' /var/lib) - 3000000)) /var/lib/filler")
		})
		if exit != 4 || !strings.Contains(errs, "space") && !strings.Contains(errs, "full") {
			t.Errorf("exit %d, want 4 and a word of the full disk:\n%s", exit, tail(errs, 20))
		}
		on(t, "arm-1", "! test -e /usr/local/bin/kubectl")
		on(t, "arm-1", "rm /var/lib/filler; ! ls /usr/local/bin/.hybridctl* 2>/dev/null")
		c.hybridctl(0, "up", "--yes")
		on(t, "arm-1", "/usr/local/bin/kubectl version --client")
	})
}

// upUntil starts up, does something as soon as a line of its progress holds the words, and waits for its end.
func (c *cluster) upUntil(words string, do func(up *exec.Cmd)) (exit int, stderr string) {
	c.t.Helper()
	return c.until(words, do, "up", "-f", c.inventory, "--yes", "--conformance=off")
}

// until starts hybridctl, does something as soon as a line of its progress holds the words, and waits for its end.
func (c *cluster) until(words string, do func(*exec.Cmd), args ...string) (exit int, stderr string) {
	c.t.Helper()
	up := exec.Command("e2e/lab/lab", append([]string{"exec", "bin/hybridctl"}, args...)...)
	up.Dir = root
	pipe, err := up.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := up.Start(); err != nil {
		c.t.Fatal(err)
	}
	limit := time.AfterFunc(30*time.Minute*patience(), func() { up.Process.Kill() })
	defer limit.Stop()
	var all strings.Builder
	done := false
	for sc := bufio.NewScanner(pipe); sc.Scan(); {
		all.WriteString(sc.Text() + "\n")
		if !done && strings.Contains(sc.Text(), words) {
			done = true
			do(up)
		}
	}
	_ = up.Wait() // its exit code is what the caller looks at
	if !done {
		c.t.Fatalf("it never said %q; exit %d\n%s", words, up.ProcessState.ExitCode(), tail(all.String(), 40))
	}
	c.t.Logf("%s, disturbed at %q: exit %d", args[0], words, up.ProcessState.ExitCode())
	return up.ProcessState.ExitCode(), all.String()
}

// kubeadmRuns returns while kubeadm is at work on the machine.
func kubeadmRuns(t *testing.T, machine string) {
	t.Helper()
	on(t, machine, "for i in $(seq 300); do [ \"$(systemctl is-active hybridctl-kubeadm.service)\" != activating ] || exit 0; sleep 0.2; done; exit 1")
}

// kill is kill -9: the lab's exec and ip netns exec replace themselves, so the process is hybridctl.
func kill(t *testing.T, up *exec.Cmd) {
	t.Helper()
	if err := up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}
