//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRemove_KilledAtEachStep kills a removal with kill -9 as soon as each of its steps begins, in turn. Each next run goes on from what is
// still there, and the last one finishes: the machine is as it was before it joined, its node is gone, and the cluster goes on.
func TestRemove_KilledAtEachStep(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")
	c.onlyHost("x86-1")
	c.machines = []string{"x86-1"}
	c.hybridctl(0, "up", "--yes")
	before := on(t, "arm-1", tracesScript)
	c.hybridctl(0, "scale-out", "--add", "arm-1=10.99.0.21", "--yes", "--conformance=off")
	c.machines = []string{"x86-1", "arm-1"}
	c.nodesAreReady()
	c.machines = c.machines[:1] // those that stay
	web := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(web, []byte(webManifest), 0o644); err != nil {
		t.Fatal(err)
	}
	c.kubectl("apply", "-f", web)
	c.kubectl("rollout", "status", "deployment/web", "--timeout=4m")

	planned, out := c.hybridctl(0, "remove", "arm-1", "--dry-run")
	t.Logf("the plan of the removal:\n%s", out.stdout)
	if len(planned.Changes) != 0 || !strings.Contains(c.kubectl("get", "nodes", "-o", "name"), "node/arm-1") {
		t.Error("a dry run did something")
	}
	order := []string{"facts", "cordon", "drain", "join", "images", "kubernetes", "runtime", "os", "node", "inventory"}
	killed := 0
	for i, step := range order {
		if !strings.Contains(readFile(t, c.inventory), "name: arm-1") {
			break // a run was faster than the kill, and came to its end
		}
		begun := regexp.MustCompile(` arm-1 (` + strings.Join(order[i:], "|") + `)  started`)
		k := c.kill(begun, 0, "remove", "arm-1", "--yes", "--force", "--break-lock")
		t.Logf("kill %d, as %s began: exit %d, %s", i+1, step, k.exit, tail(k.said, 1))
		switch {
		case !k.ended:
			killed++
		case k.exit != 0:
			t.Fatalf("it ended before it was killed\n%s", tail(k.said, 40))
		}
	}
	if killed < len(order)-2 {
		t.Errorf("only %d of %d runs were killed: the others were done before", killed, len(order))
	}
	if strings.Contains(readFile(t, c.inventory), "name: arm-1") {
		c.hybridctl(0, "remove", "arm-1", "--yes", "--force", "--break-lock")
	}
	if now := on(t, "arm-1", tracesScript); now != before {
		t.Errorf("arm-1 is not as it was; before:\n%s\nnow:\n%s", before, now)
	}
	if nodes := strings.Fields(c.kubectl("get", "nodes", "-o", "name")); !slices.Equal(nodes, []string{"node/x86-1"}) {
		t.Errorf("the cluster has %q", nodes)
	}
	c.nodesAreReady()
	c.kubectl("rollout", "status", "deployment/web", "--timeout=4m")
	c.kubectl("delete", "deployment", "web")
	c.hybridctl(0, "up", "--yes", "--break-lock") // what the killed runs left in the state is forgotten
	c.secondRunChangesNothing()
}

// webManifest has pods that may move to the control plane, too: it is all that stays.
const webManifest = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers: [{name: echo, image: "lab.test/kube/echo:1", imagePullPolicy: Never}]
`
