//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// root is the repository's top.
const root = ".."

// cluster is an inventory of the lab with its machines, the control plane first.
type cluster struct {
	t         *testing.T
	inventory string // relative to the top
	name      string
	machines  []string
}

// archOf is what the node of a lab machine must say.
func archOf(machine string) string {
	if strings.HasPrefix(machine, "arm") {
		return "arm64"
	}
	return "amd64"
}

// pristine boots the machines with untouched disks, and forgets the state of earlier clusters.
func pristine(t *testing.T, name string, machines ...string) *cluster {
	t.Helper()
	// Two machines at a time are what a small host can run well. The inventory is for those that are to run, not for those of an earlier test.
	lab(t, "down")
	c := &cluster{t: t, inventory: strings.TrimSpace(lab(t, "inventory", name)), name: name, machines: machines}
	if err := os.RemoveAll(filepath.Join(root, "inventories/.hybridctl", name)); err != nil {
		t.Fatal(err)
	}
	lab(t, append([]string{"reset"}, machines...)...)
	lab(t, append([]string{"up"}, machines...)...)
	t.Cleanup(func() {
		if t.Failed() {
			c.evidence()
		}
	})
	return c
}

// also adds lines to the spec of the cluster's inventory.
func (c *cluster) also(lines string) {
	c.t.Helper()
	c.write("-also", strings.Replace(readFile(c.t, c.inventory), "\nspec:\n", "\nspec:\n"+lines, 1))
}

// write makes another inventory the cluster's: one beside its own, which goes with the test.
func (c *cluster) write(suffix, text string) {
	c.t.Helper()
	c.inventory = strings.TrimSuffix(c.inventory, ".yaml") + suffix + ".yaml"
	path := filepath.Join(root, c.inventory)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = os.Remove(path) })
}

// evidence says what a failed test's machines look like.
func (c *cluster) evidence() {
	for _, m := range c.machines {
		out, _ := try(c.t, time.Minute, "e2e/lab/lab", "root", m, "tail -n 15 /var/lib/hybridctl/*.log; systemctl --failed --no-legend; journalctl -u kubelet -n 15 --no-pager -o cat; ip -br a; df -h /")
		c.t.Logf("%s:\n%s", m, out.stdout)
	}
	out, _ := try(c.t, time.Minute, "e2e/lab/lab", "exec", "bin/kubectl", "--kubeconfig", c.kubeconfig(), "get", "nodes,pods", "-A", "-o", "wide")
	c.t.Logf("%s%s", out.stdout, out.stderr)
}

type output struct {
	stdout, stderr string
	exit           int
	peak           int64 // memory of the command, or of the largest of its children, in bytes
}

// patience is how many times longer than on an ordinary host machines may take here, as the lab's trial says.
var patience = sync.OnceValue(func() time.Duration {
	cmd := exec.Command("e2e/lab/lab", "patience")
	cmd.Dir = root
	out, err := cmd.Output()
	n, bad := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || bad != nil || n < 1 {
		panic(fmt.Sprintf("e2e/lab/lab patience: %q, %v: is the lab built? (make lab)", out, err))
	}
	return time.Duration(n)
})

// try runs a command from the repository's top; the error is of starting it, or of the time it had: limit on an ordinary host.
func try(t *testing.T, limit time.Duration, name string, args ...string) (output, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit*patience())
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.WaitDelay = root, 10*time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	o := output{stdout: out.String(), stderr: errs.String(), exit: cmd.ProcessState.ExitCode()}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		o.peak = u.Maxrss << 10
	}
	return o, err
}

// lab runs a command of the lab, which must succeed.
func lab(t *testing.T, args ...string) string {
	t.Helper()
	out, err := try(t, 15*time.Minute, "e2e/lab/lab", args...) // "lab up" itself waits ten minutes for a machine
	if err != nil || out.exit != 0 {
		t.Fatalf("lab %s: exit %d, %v\n%s%s", strings.Join(args, " "), out.exit, err, out.stdout, out.stderr)
	}
	return out.stdout
}

// change is what was done for a step.
type change struct {
	Host, Step, Kind, Action, Error string
	DurationNanoseconds             time.Duration
}

// result is what up and destroy print with -o json.
type result struct {
	Changes []change
	Checks  []struct {
		Host, Name, Status, Message string
	}
	Hosts []struct {
		Name, Action, Error, Next string
	}
	Kubeconfig string
}

// change returns what was done for a step, "" when it was not planned.
func (r result) change(step string) string {
	for _, c := range r.Changes {
		if c.Step == step {
			return c.Action
		}
	}
	return ""
}

// hybridctl runs a verb on the cluster inside the lab's network, where the operator is, and expects this exit code.
func (c *cluster) hybridctl(want int, verb string, args ...string) (result, output) {
	c.t.Helper()
	start := time.Now()
	all := append([]string{"exec", "bin/hybridctl", verb, "-f", c.inventory, "-o", "json"}, args...)
	if verb == "up" { // what it proves has tests of its own
		all = append(all, "--conformance=off")
	}
	out, err := try(c.t, 40*time.Minute, "e2e/lab/lab", all...)
	c.t.Logf("hybridctl %s %s: exit %d after %s, peak memory %d MB", verb, strings.Join(args, " "), out.exit, time.Since(start).Round(time.Second), out.peak/1e6)
	if err != nil || out.exit != want {
		c.t.Fatalf("hybridctl %s: exit %d, want %d, %v\n%s\n%s", verb, out.exit, want, err, out.stdout, tail(out.stderr, 40))
	}
	var r result
	if out.stdout != "" {
		if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
			c.t.Fatalf("hybridctl %s printed no JSON: %v\n%s", verb, err, out.stdout)
		}
	}
	return r, out
}

// plan returns what hybridctl plan prints, with this exit code.
func (c *cluster) plan(want int) string {
	c.t.Helper()
	out, err := try(c.t, 5*time.Minute, "e2e/lab/lab", "exec", "bin/hybridctl", "plan", "-f", c.inventory, "--exit-code")
	if err != nil || out.exit != want {
		c.t.Fatalf("hybridctl plan: exit %d, want %d, %v\n%s\n%s", out.exit, want, err, out.stdout, tail(out.stderr, 40))
	}
	return out.stdout
}

func tail(s string, lines int) string {
	l := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(l[max(0, len(l)-lines):], "\n")
}

func (c *cluster) kubeconfig() string {
	return filepath.Join("inventories/.hybridctl", c.name, "kubeconfig")
}

// kubectl runs kubectl on the cluster; it must succeed.
func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	args = slices.Clone(args)
	for i, a := range args { // how long kubectl waits itself
		if limit, err := time.ParseDuration(strings.TrimPrefix(a, "--timeout=")); err == nil && strings.HasPrefix(a, "--timeout=") {
			args[i] = "--timeout=" + (limit * patience()).String()
		}
	}
	out, err := try(c.t, 5*time.Minute, "e2e/lab/lab", append([]string{"exec", "bin/kubectl", "--kubeconfig", c.kubeconfig(), "--request-timeout=60s"}, args...)...)
	if err != nil || out.exit != 0 {
		c.t.Fatalf("kubectl %s: exit %d, %v\n%s%s", strings.Join(args, " "), out.exit, err, out.stdout, out.stderr)
	}
	return out.stdout
}

// on runs a command as root on a machine; it must succeed.
func on(t *testing.T, machine, command string) string {
	t.Helper()
	return lab(t, "root", machine, command)
}
