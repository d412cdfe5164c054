//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// plainSettings are the cluster that plain.sh makes, with the same settings: those that the lab's own inventories have for slow machines are not among them,
// since they make a quick one wait. The lines of the machines are added.
const plainSettings = `apiVersion: hybridctl.dev/v1alpha1
kind: Cluster
metadata: {name: lab-x86}
spec:
  kubernetes:
    ignorePreflightErrors: [NumCPU, Mem, SystemVerification]
    version: v1.36.3
    podCIDR: 10.244.0.0/16
    serviceCIDR: 10.112.0.0/16
    encryptionAlgorithm: ECDSA-P256
    patches: ../e2e/lab/patches
    timeouts: {controlPlaneComponentHealthCheck: 20m, kubernetesAPICall: 10m, etcdAPICall: 10m, kubeletHealthCheck: 10m, tlsBootstrap: 15m}
    controllerManager:
      extraArgs: &patient
        - {name: leader-elect-lease-duration, value: 60s}
        - {name: leader-elect-renew-deadline, value: 40s}
        - {name: leader-elect-retry-period, value: 5s}
    scheduler: {extraArgs: *patient}
    kubelet: {runtimeRequestTimeout: 10m}
    kubeProxy: {mode: iptables, conntrack: {maxPerCore: 0}}
  bundle: ../bin/lab-bundle
  cni: {provider: flannel}
  ssh: {user: root, identityFiles: [../bin/lab-key], connectTimeout: 60s, commandTimeout: 10m}
  timeouts: {step: 30m, ready: 15m}
  hosts:
`

// TestCompare_PlainKubeadm makes the same cluster twice, each time on untouched disks: with kubeadm and kubectl by hand, and with hybridctl, which
// looks at the machines first and brings them the same software. Both are given machines that answer, and are compared by when every node is
// Ready. By hand that is the end; hybridctl goes on until nothing restarts and the cluster's DNS answers from every node, which is told, too. On
// one machine alone there is little to do at once: that ratio has no goal.
func TestCompare_PlainKubeadm(t *testing.T) {
	t.Run("one machine", func(t *testing.T) { compare(t, "x86-1") })
	t.Run("a control plane and a worker", func(t *testing.T) {
		const goal = 0.8
		if ratio := compare(t, "x86-1", "arm-1"); ratio > goal {
			t.Errorf("hybridctl up takes %.2f times as long as kubeadm by hand, want at most %.1f", ratio, goal)
		}
	})
}

// compare returns how many times as long hybridctl takes until the nodes of these machines are Ready.
func compare(t *testing.T, machines ...string) float64 {
	pristine(t, "lab-x86", machines...)
	start := time.Now()
	out, err := try(t, 60*time.Minute, "e2e/plain.sh", machines...)
	whole := time.Since(start)
	if err != nil || out.exit != 0 {
		t.Fatalf("plain.sh: exit %d, %v\n%s", out.exit, err, tail(out.stderr, 40))
	}
	plain := lastReady(t, machines).Sub(start)
	t.Logf("%s by hand: Ready after %s, at its end after %s", strings.Join(machines, " and "), plain.Round(time.Second), whole.Round(time.Second))

	c := pristine(t, "lab-x86", machines...)
	text := plainSettings
	for line := range strings.Lines(readFile(t, c.inventory)) {
		for _, machine := range machines {
			if strings.HasPrefix(line, "    - {name: "+machine+",") {
				text += line
			}
		}
	}
	c.write("-plain", text)
	start = time.Now()
	r, _ := c.hybridctl(0, "up", "--yes")
	whole = time.Since(start)
	c.nodesAreReady()
	ours := lastReady(t, machines).Sub(start)

	slices.SortFunc(r.Changes, func(a, b change) int { return cmp.Compare(b.DurationNanoseconds, a.DurationNanoseconds) })
	for _, x := range r.Changes {
		t.Logf("%6s  %s", x.DurationNanoseconds.Round(time.Second), x.Step)
	}
	ratio := ours.Seconds() / plain.Seconds()
	t.Logf("hybridctl up: Ready after %s, at its end after %s: ratio %.2f", ours.Round(time.Second), whole.Round(time.Second), ratio)
	return ratio
}

// lastReady is when the last of the nodes became Ready, to the second: the machines' clock is the host's.
func lastReady(t *testing.T, machines []string) time.Time {
	out := lab(t, "root", machines[0], "KUBECONFIG=/etc/kubernetes/admin.conf kubectl get nodes -o json")
	var nodes struct {
		Items []struct {
			Status struct {
				Conditions []struct {
					Type, Status       string
					LastTransitionTime time.Time
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &nodes); err != nil {
		t.Fatal(err)
	}
	var last time.Time
	ready := 0
	for _, n := range nodes.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" {
				ready++
				if c.LastTransitionTime.After(last) {
					last = c.LastTransitionTime
				}
			}
		}
	}
	if ready != len(machines) {
		t.Fatalf("%d nodes are Ready, want %d", ready, len(machines))
	}
	return last
}
