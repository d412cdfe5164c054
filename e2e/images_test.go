//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	imageAddress = registryAddress + "/private/"
	oneName      = imageAddress + "app:1.5"
	x86Name      = imageAddress + "legacy:3" // its name does not tell its architecture
	echoImage    = "bin/lab-bundle/oci:lab.test/kube/echo:1"
	plainHTTP    = "--plain-http=" + registryAddress
)

// TestImages_OneNameForBothArchitectures replaces the recipe of docker manifest create, annotate and push: two images of one architecture
// each become one, which an x86 and an Arm node pull under one name with a pull secret, and run. Then what there is for x86 alone fails on Arm; it is
// found, explained, and kept off.
func TestImages_OneNameForBothArchitectures(t *testing.T) {
	c := pristine(t, "lab-x86", "x86-1", "arm-1")
	c.hybridctl(0, "up", "--yes")
	c.nodesAreReady()
	passwordFile := c.realRegistry()
	password := strings.TrimSpace(mustRead(t, passwordFile))
	login := c.login(password)
	nobody := t.TempDir()

	t.Run("assemble", func(t *testing.T) {
		c.t = t
		c.assembled(login)
	})
	t.Run("pull", func(t *testing.T) {
		c.t = t
		c.pulledByBoth(nobody, password)
	})
	t.Run("conformance", func(t *testing.T) {
		c.t = t
		c.registryConforms(passwordFile)
	})
	t.Run("x86 alone", func(t *testing.T) {
		c.t = t
		c.keptOffArm(login, nobody, password)
	})
	c.t = t
	c.noSecretIn("password of the registry", password)
}

// assembled pushes the echo image of each architecture by itself, puts the two together, and looks at what came of it.
func (c *cluster) assembled(login string) {
	c.t.Helper()
	for _, arch := range []string{"amd64", "arm64"} { // as two builds would push them
		c.verb(login, 0, "image", "assemble", plainHTTP, imageAddress+"app-linux-"+arch+":1.5", "--"+arch, echoImage)
	}
	recipe := []string{"image", "assemble", plainHTTP, oneName, "--amd64", imageAddress + "app-linux-amd64:1.5", "--arm64", imageAddress + "app-linux-arm64:1.5", "--tag-children"}
	var made struct {
		Digest string
		Pushed struct {
			Unchanged     bool
			Mounted, Sent int
			Stats         struct{ BytesSent, Requests int }
		}
	}
	c.verbJSON(login, &made, recipe...)
	if p := made.Pushed; p.Unchanged || p.Sent != 0 || p.Mounted == 0 {
		c.t.Errorf("assembled: %+v", made)
	}
	first := made.Digest
	c.verbJSON(login, &made, recipe...)
	if !made.Pushed.Unchanged || made.Digest != first || !strings.HasPrefix(first, "sha256:") {
		c.t.Errorf("assembled again: %+v, the first was %s", made, first)
	}
	if quiet := strings.TrimSpace(c.verb(login, 0, append(recipe, "-q")...)); quiet != first {
		c.t.Errorf("-q prints %q", quiet)
	}
	c.verb(login, 0, "image", "inspect", plainHTTP, oneName, oneName+"@"+first)
	c.verb(login, 0, "image", "audit", plainHTTP, "--cache", "none", oneName)

	// The wrong way round: nothing is sent.
	c.verb(login, 2, "image", "assemble", plainHTTP, imageAddress+"wrong:1", "--amd64", imageAddress+"app-linux-arm64:1.5")
	c.verb(login, 6, "image", "audit", plainHTTP, "--cache", "none", "--fail-on", "warning", imageAddress+"wrong:1")
}

// pulledByBoth runs one name on both nodes with a pull secret. Each container's program is of the node's machine.
func (c *cluster) pulledByBoth(nobody, password string) {
	c.t.Helper()
	text := pullSecret(password)
	for _, m := range c.machines {
		text += fmt.Sprintf("---\napiVersion: v1\nkind: Pod\nmetadata: {name: app-%[1]s, labels: {app: app}}\nspec:\n  nodeSelector: {kubernetes.io/hostname: %[1]s}\n  tolerations: [{operator: Exists}]\n"+
			"  terminationGracePeriodSeconds: 1\n  automountServiceAccountToken: false\n  imagePullSecrets: [{name: registry}]\n  containers: [{name: app, image: %[2]q, imagePullPolicy: Always, command: [/echo, serve]}]\n", m, oneName)
	}
	file := c.manifest("app.yaml", text)
	// The pull secret stands beside the pods: no one has to be logged in.
	c.verb(nobody, 0, "workload", "lint", "-f", file, plainHTTP, "--fail-on", "warning")
	c.verb(nobody, 0, "image", "audit", "-f", file, plainHTTP, "--cache", "none", "--programs", "--fail-on", "warning")
	c.verb(nobody, 6, "image", "audit", plainHTTP, "--cache", "none", "--fail-on", "warning", oneName)

	c.kubectl("apply", "-f", file)
	c.kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=app", "--timeout=4m")
	machine := map[string]string{"amd64": "3e00", "arm64": "b700"} // e_machine of the ELF header: EM_X86_64, EM_AARCH64
	for _, m := range c.machines {
		got := strings.Fields(on(c.t, m, `for p in $(pgrep -f '^/echo serve'); do od -An -tx1 -j18 -N2 /proc/$p/exe | tr -d ' '; done`))
		if len(got) == 0 || slices.ContainsFunc(got, func(g string) bool { return g != machine[archOf(m)] }) {
			c.t.Errorf("%s runs programs for %q, want %s", m, got, machine[archOf(m)])
		}
		if said := c.kubectl("exec", "app-"+m, "--", "/echo", "get", "http://127.0.0.1:8080/"); !strings.Contains(said, archOf(m)) {
			c.t.Errorf("the pod on %s says %q", m, said)
		}
	}
	// Of the running cluster: its own pull secrets, read through the API.
	c.verb(nobody, 0, "image", "audit", "--kubeconfig", c.kubeconfig(), plainHTTP, "--registry", registryAddress, "--cache", "none")
	c.kubectl("delete", "pod", "-l", "app=app", "--timeout=2m")
}

// registryConforms has conformance pull the name on every node with a pull secret of its own.
func (c *cluster) registryConforms(passwordFile string) {
	c.t.Helper()
	before := c.inventory
	defer func() { c.inventory = before }()
	c.also(fmt.Sprintf("  conformance:\n    registry: {image: %q, username: %s, passwordFile: %s}\n", oneName, registryUser, passwordFile))
	run := c.conformancePasses([]string{"R"}, "--checks", "R")
	on := map[string]bool{}
	for _, cell := range run.Cells {
		if cell.ID == "R" && cell.Verdict == "pass" && cell.Src != nil {
			on[cell.Src.Node] = true
		}
		if cell.ID == "R" && cell.Verdict == "pass" && cell.Dst != nil {
			on[cell.Dst.Node] = true
		}
	}
	if !on["x86-1"] || !on["arm-1"] {
		c.t.Errorf("pulled and run on %v", on)
	}
}

// keptOffArm has a Deployment of an image for x86 alone fail on the Arm node, then found by lint, explained, patched, and running on x86.
func (c *cluster) keptOffArm(login, nobody, password string) {
	c.t.Helper()
	c.verb(login, 0, "image", "assemble", plainHTTP, x86Name, "--amd64", echoImage)
	file := c.manifest("legacy.yaml", pullSecret(password)+fmt.Sprintf(`---
apiVersion: apps/v1
kind: Deployment
metadata: {name: legacy, namespace: default}
spec:
  selector: {matchLabels: {app: legacy}}
  template:
    metadata: {labels: {app: legacy}}
    spec:
      tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      imagePullSecrets: [{name: registry}]
      containers:
        - name: legacy
          image: %q # not in its name
          imagePullPolicy: Always
`, x86Name))
	// While the x86 node is cordoned, the Arm one is all that the scheduler has.
	c.kubectl("cordon", "x86-1")
	c.kubectl("apply", "-f", file)
	failed := c.podUntil("legacy", func(p pod) bool { return strings.Contains(p.waiting(), "Image") })
	if failed.Spec.NodeName != "arm-1" {
		c.t.Errorf("it fails on %q", failed.Spec.NodeName)
	}
	c.t.Logf("on %s: %s", failed.Spec.NodeName, failed.waiting())
	if by := c.explained(nobody, file); by["x86-1"] != "cordon" || by["arm-1"] != "image" {
		c.t.Errorf("explained: %v", by)
	}
	c.kubectl("uncordon", "x86-1")

	found := c.verb(nobody, 6, "workload", "lint", "-f", file, plainHTTP)
	if !strings.Contains(found, "legacy.yaml:21:18: error L1: Deployment default/legacy: the image "+x86Name+" is not made for arm64") {
		c.t.Errorf("lint says\n%s", found)
	}
	c.verb(login, 6, "workload", "lint", "--kubeconfig", c.kubeconfig(), plainHTTP, "--rule", "L1")
	c.verb(nobody, 6, "image", "audit", "-f", file, plainHTTP, "--cache", "none")
	if by := c.explained(nobody, file); by["x86-1"] != "fits" || by["arm-1"] != "image" {
		c.t.Errorf("explained: %v", by)
	}
	if said := c.verb(login, 0, "workload", "explain", "-f", c.inventory, "deploy/legacy", "-n", "default", plainHTTP); !strings.Contains(said, "the image "+x86Name+" of container legacy is not made for arm64") {
		c.t.Errorf("explain says\n%s", said)
	}

	c.patchedToX86(nobody, file)
	c.kubectl("delete", "-f", file, "--timeout=2m")
}

// patchedToX86 has patch keep the Deployment of a manifest off the Arm node: nothing else in the file changes, and it runs.
func (c *cluster) patchedToX86(nobody, file string) {
	c.t.Helper()
	before := mustRead(c.t, file)
	c.verb(nobody, 0, "workload", "patch", "-f", file, plainHTTP, "--write")
	after := mustRead(c.t, file)
	if !strings.HasPrefix(after, before) || !strings.Contains(after[len(before):], "values: [amd64]") {
		c.t.Errorf("patched:\n%s", after[max(0, len(before)-200):])
	}
	c.verb(nobody, 0, "workload", "lint", "-f", file, plainHTTP)
	c.kubectl("apply", "-f", file)
	c.kubectl("rollout", "status", "deployment/legacy", "--timeout=4m")
	if p := c.podUntil("legacy", func(p pod) bool { return p.Status.Phase == "Running" && p.Metadata.DeletionTimestamp == "" }); p.Spec.NodeName != "x86-1" {
		c.t.Errorf("it runs on %q", p.Spec.NodeName)
	}
	if by := c.explained(nobody, file); by["x86-1"] != "fits" || by["arm-1"] != "affinity" {
		c.t.Errorf("explained: %v", by)
	}
}

// pod is what is looked at of one.
type pod struct {
	Metadata struct{ Name, DeletionTimestamp string }
	Spec     struct{ NodeName string }
	Status   struct {
		Phase             string
		ContainerStatuses []struct {
			State struct {
				Waiting *struct{ Reason, Message string }
			}
		}
	}
}

// waiting is what its container waits for: "ErrImagePull: no match for platform in manifest".
func (p pod) waiting() string {
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return w.Reason + ": " + w.Message
		}
	}
	return ""
}

// podUntil waits until a pod of an app is as it is to be.
func (c *cluster) podUntil(app string, is func(pod) bool) pod {
	c.t.Helper()
	for end := time.Now().Add(10 * time.Minute * patience()); ; time.Sleep(2 * time.Second) {
		var list struct{ Items []pod }
		if err := json.Unmarshal([]byte(c.kubectl("get", "pods", "-n", "default", "-l", "app="+app, "-o", "json")), &list); err != nil {
			c.t.Fatal(err)
		}
		if i := slices.IndexFunc(list.Items, is); i >= 0 {
			return list.Items[i]
		}
		if time.Now().After(end) {
			c.t.Fatalf("no pod of %s is as it is to be: %+v", app, list.Items)
		}
	}
}

// explained is what keeps the pods of a manifest off each node, or "fits".
func (c *cluster) explained(login, file string) map[string]string {
	c.t.Helper()
	var all []struct {
		Nodes []struct {
			Node, By string
			Fits     bool
		}
	}
	c.verbJSON(login, &all, "workload", "explain", "--kubeconfig", c.kubeconfig(), "-f", file, plainHTTP)
	out := map[string]string{}
	for _, e := range all {
		for _, n := range e.Nodes {
			if out[n.Node] = n.By; n.Fits {
				out[n.Node] = "fits"
			}
		}
	}
	return out
}

// dockerConfig is the login of the registry as docker keeps it.
func dockerConfig(password string) []byte {
	auth := base64.StdEncoding.EncodeToString([]byte(registryUser + ":" + password))
	return fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, registryAddress, auth)
}

func pullSecret(password string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: registry, namespace: default}\ntype: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: " +
		base64.StdEncoding.EncodeToString(dockerConfig(password)) + "}\n"
}

// manifest writes a file that only this user may read.
func (c *cluster) manifest(name, text string) string {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return file
}

// login writes docker's configuration for the registry, and returns its folder.
func (c *cluster) login(password string) string {
	c.t.Helper()
	dir := c.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), dockerConfig(password), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return dir
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// verb runs hybridctl in the lab's network, with docker's configuration in this folder, and returns what it printed.
func (c *cluster) verb(docker string, exit int, args ...string) string {
	c.t.Helper()
	command := append([]string{"exec", "env", "DOCKER_CONFIG=" + docker, "XDG_CACHE_HOME=" + docker, "bin/hybridctl"}, args...)
	out, err := try(c.t, 5*time.Minute, "e2e/lab/lab", command...)
	c.t.Logf("hybridctl %s: exit %d\n%s%s", strings.Join(args, " "), out.exit, out.stdout, tail(out.stderr, 20))
	if err != nil || out.exit != exit {
		c.t.Fatalf("hybridctl %s: exit %d, want %d, %v", strings.Join(args, " "), out.exit, exit, err)
	}
	return out.stdout
}

// verbJSON is verb for what succeeds and prints JSON.
func (c *cluster) verbJSON(docker string, into any, args ...string) {
	c.t.Helper()
	if text := c.verb(docker, 0, append(args, "-o", "json")...); json.Unmarshal([]byte(text), into) != nil {
		c.t.Fatalf("hybridctl %s printed no JSON: %s", strings.Join(args, " "), text)
	}
}
