//go:build e2e

package e2e

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

// TestCompare_PlainKubeadm makes the same cluster of one machine twice, each time on an untouched disk: with kubeadm and kubectl by hand, and
// with hybridctl, which looks at the machine first, brings it the same software and waits for the same state. Both are given a machine that
// answers, and end with a node that is Ready.
func TestCompare_PlainKubeadm(t *testing.T) {
	const machine, goal = "x86-1", 0.8
	pristine(t, "lab-x86", machine)
	start := time.Now()
	out, err := try(t, 60*time.Minute, "e2e/plain.sh", machine)
	plain := time.Since(start)
	if err != nil || out.exit != 0 {
		t.Fatalf("plain.sh: exit %d, %v\n%s", out.exit, err, tail(out.stderr, 40))
	}

	c := pristine(t, "lab-x86", machine)
	c.onlyHost(machine)
	start = time.Now()
	r, _ := c.hybridctl(0, "up", "--yes")
	ours := time.Since(start)
	c.nodesAreReady()

	slices.SortFunc(r.Changes, func(a, b change) int { return cmp.Compare(b.DurationNanoseconds, a.DurationNanoseconds) })
	var steps time.Duration
	for _, x := range r.Changes {
		t.Logf("%6s  %s", x.DurationNanoseconds.Round(time.Second), x.Step)
		steps += x.DurationNanoseconds
	}
	t.Logf("%6s  all steps together, of which runtime and kubernetes run side by side", steps.Round(time.Second))
	ratio := ours.Seconds() / plain.Seconds()
	t.Logf("kubeadm by hand %s, hybridctl up %s: ratio %.2f, goal %.1f", plain.Round(time.Second), ours.Round(time.Second), ratio, goal)
	if ratio > goal {
		t.Errorf("hybridctl up takes %.2f times as long as kubeadm by hand, want at most %.1f", ratio, goal)
	}
}
