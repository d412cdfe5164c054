//go:build e2e

package e2e

import (
	"bufio"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestScaleOut_X86ControlPlane adds Arm machines, one after another, to a cluster of one x86 machine that is in use: their scenario
// passes, nothing is asked of the old machine over SSH, and its pods stay what they were. Then one of them is removed, and joined again.
func TestScaleOut_X86ControlPlane(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")
	c.onlyHost("x86-1")
	c.machines = []string{"x86-1"}
	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()

	logins := c.operatorLogins("x86-1")
	c.scaleOut("arm-1", "--add", "arm-1=10.99.0.21", "--arch", "arm64")
	if now := c.operatorLogins("x86-1"); now != logins {
		t.Errorf("scale-out logged in to the old host: %d logins before, %d after", logins, now)
	}
	r, out := c.hybridctl(0, "scale-out", "--yes", "--conformance=off")
	if len(r.Changes) != 0 || !strings.Contains(out.stdout, "every host of the inventory is a node already") {
		t.Errorf("nothing was left to do: %s", out.stdout)
	}
	c.secondRunChangesNothing()

	t.Run("second", func(t *testing.T) { // its only way in is through the first
		c.t = t
		lab(t, "reset", "arm-2")
		lab(t, "up", "arm-2")
		before := on(t, "arm-2", tracesScript)
		c.scaleOut("arm-2", "--add", "arm-2=10.99.0.22,jump=arm-1")
		c.removedInUse("arm-2", before)
		c.scaleOut("arm-2", "--add", "arm-2=10.99.0.22,jump=arm-1")
	})
}

// removedInUse removes the machine that joined last, while a Deployment has a pod on it: the pod is placed elsewhere, the machine is as it
// was before it joined, and the inventory does not have it any more.
func (c *cluster) removedInUse(machine, before string) {
	c.t.Helper()
	c.kubectl("create", "deployment", "web", "--image=lab.test/kube/echo:1", "--replicas=4")
	c.kubectl("rollout", "status", "deployment/web", "--timeout=4m")
	where := []string{"get", "pods", "-l", "app=web", "-o", `jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}`}
	if nodes := c.kubectl(where...); !strings.Contains(nodes, machine) {
		c.t.Errorf("no pod of the Deployment is on %s, which is to be removed in use:\n%s", machine, nodes)
	}
	_, out := c.hybridctl(0, "remove", machine, "--yes")
	c.t.Logf("remove printed:\n%s", tail(out.stderr, 12))
	c.machines = c.machines[:len(c.machines)-1]
	c.nodesAreReady()
	c.kubectl("rollout", "status", "deployment/web", "--timeout=4m")
	if nodes := c.kubectl(where...); strings.Contains(nodes, machine) {
		c.t.Errorf("pods of the Deployment are still on %s:\n%s", machine, nodes)
	}
	c.kubectl("delete", "deployment", "web")
	if now := on(c.t, machine, tracesScript); now != before {
		c.t.Errorf("%s is not as it was; before:\n%s\nnow:\n%s", machine, before, now)
	}
	if strings.Contains(readFile(c.t, c.inventory), machine) {
		c.t.Errorf("%s is still in the inventory", machine)
	}
}

// TestScaleOut_MixedControlPlane makes a control plane of three hosts of both architectures, one after another, behind a load balancer. Then
// each of them loses its power in turn: the API reads and writes all the while, which takes the two others of etcd. The emulated one comes
// third, as of two members of etcd both have to answer in time, and goes last: nothing has to wait for its API server to start once more.
func TestScaleOut_MixedControlPlane(t *testing.T) {
	all := []string{"x86-1", "x86-2", "arm-1"}
	c := pristine(t, "lab-three", all[0])
	lab(t, "up", "balancer")
	t.Cleanup(func() { lab(t, "down", "balancer") })
	whole := readFile(t, c.inventory)
	c.onlyHost(all[0])
	c.machines = all[:1]
	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()

	c.write("-whole", whole)
	bring := func(m string) {
		lab(t, "reset", m)
		lab(t, "up", m)
	}
	bring(all[1])
	r, _ := c.hybridctl(0, "scale-out", "--host", all[1], "--yes", "--conformance=off")
	c.machines = all[:2]
	c.nodesAreReady()
	warned := false
	for _, check := range r.Checks {
		warned = warned || check.Name == "quorum" && check.Status == "warn"
	}
	if !warned {
		t.Errorf("nobody said that two members of etcd survive the loss of none: %+v", r.Checks)
	}
	bring(all[2])
	k := c.kill(regexp.MustCompile(` `+all[2]+` join  kubeadm join`), 15*time.Second, "scale-out", "--yes", "--conformance=off")
	if k.ended {
		t.Errorf("it ended before it was killed: exit %d\n%s", k.exit, tail(k.said, 40))
	}
	c.hybridctl(0, "scale-out", "--yes", "--conformance=off", "--break-lock") // kubeadm went on, and may have made a member of etcd of it
	c.machines = all
	c.nodesAreReady()
	key := strings.Split(on(t, all[0], "cat /etc/kubernetes/pki/ca.key"), "\n")[1]
	if out, err := try(t, time.Minute, "grep", "-rlF", "--", key, "inventories/.hybridctl/"+c.name); err != nil || out.exit != 1 {
		t.Errorf("the key of the cluster's CA stands in %s (%v)", out.stdout, err)
	}
	for _, m := range all {
		if found := on(t, m, "grep -rlF -- "+key+" /var/lib/hybridctl /run/hybridctl /var/log 2>/dev/null; true"); found != "" {
			t.Errorf("the key of the cluster's CA stands on %s in %s", m, found)
		}
	}

	for _, down := range all {
		t.Run(down+" goes down", func(t *testing.T) {
			c.t = t
			if down == all[2] {
				c.podsTalk()
			}
			lab(t, "kill", down)
			start := time.Now()
			c.eventually("the API to read and write without "+down, "create", "configmap", "without-"+down)
			t.Logf("the API writes %s after %s lost its power", time.Since(start).Round(time.Second), down)
			c.kubectl("get", "configmap", "without-"+down)
			if down == all[2] {
				return
			}
			lab(t, "up", down)
			c.eventually(down+"'s API server and etcd to be ready", "--server", "https://"+addressOf(down)+":6443", "get", "--raw", "/readyz")
			c.eventually(down+" to be Ready", "wait", "node/"+down, "--for=condition=Ready", "--timeout=1s")
		})
	}
	c.t = t
	c.hybridctl(0, "remove", all[2], "--offline", "--yes") // it is lost, and the cluster goes on with the others
	c.machines = all[:2]
	c.nodesAreReady()
	if members := c.etcd("member", "list"); strings.Contains(members, all[2]) || strings.Count(members, "started") != 2 {
		t.Errorf("etcd has:\n%s", members)
	}
	c.plan(0)
}

// TestScaleOut_HalfJoinedControlPlane cuts a second control plane's power when etcd counts on it already, and its node
// is not there yet. It comes back with its member of etcd, leaves it, and joins again. Then it is removed: etcd and the
// API server go on with the first.
func TestScaleOut_HalfJoinedControlPlane(t *testing.T) {
	all := []string{"x86-1", "x86-2"}
	c := pristine(t, "lab-three", all...)
	before := on(t, all[1], tracesScript)
	lab(t, "up", "balancer")
	t.Cleanup(func() { lab(t, "down", "balancer") })
	text := readFile(t, c.inventory)
	c.onlyHost(all[0])
	c.machines = all[:1]
	c.hybridctl(0, "up", "--yes", "--conformance=off")
	c.nodesAreReady()

	c.write("-two", regexp.MustCompile(`(?m)^.*name: arm-1.*\n`).ReplaceAllString(text, ""))
	exit, errs := c.until("kubeadm join", func(*exec.Cmd) {
		votes := regexp.MustCompile(all[1] + `,.*, false`)
		for end := time.Now().Add(10 * time.Minute * patience()); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if out, err := try(t, time.Minute, "e2e/lab/lab", append([]string{"exec", "bin/kubectl", "--kubeconfig", c.kubeconfig()}, c.etcdctl("member", "list")...)...); err == nil && votes.MatchString(out.stdout) {
				break
			}
		}
		on(t, all[1], "sync") // else its kubelet, which writes its certificates and does not sync them, may find them empty and never start
		lab(t, "kill", all[1])
	}, "scale-out", "-f", c.inventory, "--yes", "--conformance=off")
	if exit == 0 || !strings.Contains(errs, "the join token stays good") {
		t.Errorf("exit %d\n%s", exit, tail(errs, 20))
	}
	lab(t, "up", all[1])
	c.eventually("the API to answer when the second member of etcd is back", "get", "--raw", "/readyz")
	t.Logf("etcd before it is joined again:\n%s", c.etcd("member", "list"))
	c.hybridctl(0, "scale-out", "--yes", "--conformance=off")
	c.machines = all
	c.nodesAreReady()
	if members := c.etcd("member", "list"); strings.Count(members, "started") != 2 || strings.Count(members, "\n") != 2 {
		t.Errorf("etcd has:\n%s", members)
	}
	c.secondRunChangesNothing()

	_, out := c.hybridctl(0, "remove", all[1], "--yes")
	t.Logf("remove printed:\n%s", tail(out.stderr, 12))
	c.machines = all[:1]
	c.nodesAreReady()
	if members := c.etcd("member", "list"); strings.Contains(members, all[1]) || strings.Count(members, "\n") != 1 {
		t.Errorf("etcd has:\n%s", members)
	}
	if now := on(t, all[1], tracesScript); now != before {
		t.Errorf("%s is not as it was; before:\n%s\nnow:\n%s", all[1], before, now)
	}
}

// etcd runs etcdctl in the first machine's etcd.
func (c *cluster) etcd(args ...string) string {
	c.t.Helper()
	return c.kubectl(c.etcdctl(args...)...)
}

// etcdctl are kubectl's arguments that do so.
func (c *cluster) etcdctl(args ...string) []string {
	const pki = "/etc/kubernetes/pki/etcd/"
	return append([]string{"-n", "kube-system", "exec", "etcd-" + c.machines[0], "--", "etcdctl", "--endpoints=https://127.0.0.1:2379",
		"--cacert=" + pki + "ca.crt", "--cert=" + pki + "server.crt", "--key=" + pki + "server.key"}, args...)
}

// eventually runs kubectl until it succeeds, for ten minutes on an ordinary host.
func (c *cluster) eventually(what string, args ...string) {
	c.t.Helper()
	args = append([]string{"exec", "bin/kubectl", "--kubeconfig", c.kubeconfig(), "--request-timeout=20s"}, args...)
	for end := time.Now().Add(10 * time.Minute * patience()); ; time.Sleep(2 * time.Second) {
		out, err := try(c.t, time.Minute, "e2e/lab/lab", args...)
		if err == nil && out.exit == 0 || strings.Contains(out.stderr, "AlreadyExists") {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("waited long enough for %s: exit %d, %v\n%s%s", what, out.exit, err, out.stdout, out.stderr)
		}
	}
}

func addressOf(machine string) string {
	return map[string]string{"x86-1": "10.99.0.11", "x86-2": "10.99.0.12", "arm-1": "10.99.0.21", "arm-2": "10.99.0.22"}[machine]
}

// scaleOut joins a machine and proves it; the report has every check of the scenario. It returns how many cells of each passed.
func (c *cluster) scaleOut(machine string, args ...string) map[string]int {
	c.t.Helper()
	dir := c.t.TempDir()
	_, out := c.hybridctl(0, "scale-out", append(args, "--yes", "--report-dir", dir)...)
	c.machines = append(c.machines, machine)
	c.nodesAreReady()
	count := map[string]map[string]int{}
	for _, cell := range readRun(c.t, dir).Cells {
		if count[cell.ID] == nil {
			count[cell.ID] = map[string]int{}
		}
		count[cell.ID][cell.Verdict]++
		if cell.Verdict == "fail" || cell.Verdict == "flaky" {
			c.t.Errorf("%s/%s %s: %s: %s", cell.ID, cell.Cell, cell.Class, cell.Verdict, cell.Reason)
		}
	}
	for _, id := range []string{"S1", "S2", "S4", "S5", "S6", "G"} {
		if count[id]["pass"] == 0 {
			c.t.Errorf("nothing of %s passed: %v", id, count[id])
		}
	}
	c.t.Logf("%s joined: %v\n%s", machine, count, tail(out.stderr, 3))
	c.nothingLeft()
	passed := map[string]int{}
	for id, verdicts := range count {
		passed[id] = verdicts["pass"]
	}
	return passed
}

// onlyHost makes an inventory of the first days: one host.
func (c *cluster) onlyHost(name string) {
	c.t.Helper()
	var kept []string
	for line := range strings.Lines(readFile(c.t, c.inventory)) {
		if strings.HasPrefix(line, "    - {name: ") && !strings.HasPrefix(line, "    - {name: "+name+",") {
			continue
		}
		kept = append(kept, line)
	}
	c.write("-first", strings.Join(kept, ""))
}

// ending is how a run came to its end that was to be killed.
type ending struct {
	ended bool // by itself, before it was killed
	exit  int
	said  string
}

// kill runs a verb on the cluster, and ends it with kill -9 a while after it has said something.
func (c *cluster) kill(begun *regexp.Regexp, after time.Duration, verb string, args ...string) ending {
	c.t.Helper()
	run := exec.Command("e2e/lab/lab", append([]string{"exec", "bin/hybridctl", verb, "-f", c.inventory}, args...)...)
	run.Dir = root
	pipe, err := run.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		c.t.Fatal(err)
	}
	limit := time.AfterFunc(30*time.Minute*patience(), func() { _ = run.Process.Kill() })
	defer limit.Stop()
	var said []string
	var timer *time.Timer
	for sc := bufio.NewScanner(pipe); sc.Scan(); {
		said = append(said, sc.Text())
		if timer == nil && begun.MatchString(sc.Text()) {
			timer = time.AfterFunc(after, func() { _ = run.Process.Kill() })
		}
	}
	_ = run.Wait() // killed, or done: what it says of either is looked at
	if timer != nil {
		timer.Stop()
	}
	return ending{run.ProcessState.Exited(), run.ProcessState.ExitCode(), strings.Join(said, "\n")}
}

// operatorLogins counts how often someone came from the operator's address.
func (c *cluster) operatorLogins(machine string) int {
	c.t.Helper()
	return strings.Count(on(c.t, machine, "journalctl -u ssh -u sshd -o cat --no-pager"), "Accepted publickey for root from 10.99.0.1 ")
}

// TestScaleOut_KilledAtTenRandomMoments kills the tool with kill -9 ten times while an Arm machine joins. The run after the last one finishes it: the
// node is there once, nothing that was finished is done again, and no token of the killed runs can be used for longer than its hour.
func TestScaleOut_KilledAtTenRandomMoments(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")
	c.onlyHost("x86-1")
	c.machines = []string{"x86-1"}
	c.hybridctl(0, "up", "--yes")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	// The step that a run is killed in, a random while after it or a later one has begun: earlier runs may have finished it. A run that is
	// done before was not in time.
	order := []string{"facts", "os", "runtime", "kubernetes", "images", "join", "node"}
	killed := 0
	for i, step := range []string{"facts", "facts", "os", "images", "images", "join", "join", "join", "node", "node"} {
		after := time.Duration(random.IntN(6000)) * time.Millisecond
		begun := regexp.MustCompile(` arm-1 (` + strings.Join(order[slices.Index(order, step):], "|") + `)  `)
		k := c.kill(begun, after, "scale-out", "--add", "arm-1=10.99.0.21", "--yes", "--conformance=off", "--break-lock")
		t.Logf("kill %d, %s after %s began: exit %d, %s", i+1, after, step, k.exit, tail(k.said, 1))
		switch {
		case !k.ended:
			killed++
		case k.exit != 0:
			t.Fatalf("it ended before it was killed\n%s", tail(k.said, 40))
		}
	}
	if killed < 7 {
		t.Errorf("only %d of ten runs were killed: the others were done before", killed)
	}
	c.hybridctl(0, "scale-out", "--yes", "--conformance=off", "--break-lock")
	c.machines = append(c.machines, "arm-1")
	c.nodesAreReady()
	c.podsTalk()
	c.secondRunChangesNothing()
	if text := readFile(t, c.inventory); strings.Count(text, "name: arm-1") != 1 {
		t.Errorf("the inventory holds arm-1 %d times", strings.Count(text, "name: arm-1"))
	}
}
