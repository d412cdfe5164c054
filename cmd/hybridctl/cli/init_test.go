package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// begin is a run without an inventory.
func begin(t *testing.T) *run {
	t.Helper()
	r := newRun(t)
	if err := os.Remove(filepath.Join(r.dir, "inventory.yaml")); err != nil {
		t.Fatal(err)
	}
	return r
}

// With hosts the file loads, and what init decided stands in it.
func TestInit_WithHosts(t *testing.T) {
	for name, line := range map[string]string{
		"init-hosts.yaml": "init lab --host x86-1=192.0.2.11 --host arm-1=192.0.2.21,user=ops,label=rack=a1",
		"init-roles.yaml": "init lab --host x86-1=192.0.2.11 --host arm-1=192.0.2.21,role=control-plane --kubernetes v1.35.8 --bundle b.tar",
		"init-ha.yaml":    "init lab --ha --endpoint 192.0.2.100:6443 --host a=192.0.2.1 --host b=192.0.2.2,role=worker --host c=192.0.2.3 --host d=192.0.2.4",
	} {
		golden.Check(t, name, inFolder(t, func(t *testing.T) string {
			r := begin(t)
			r.want(line, 0)
			r.want("inventory validate", 0)
			contains(t, "stdout", r.stdout.String(), "inventory.yaml: cluster lab, ", " no problems")
			return r.inventory()
		}))
	}
}

// Without hosts the file waits for them: it is said where, and with them it loads.
func TestInit_WithoutHosts(t *testing.T) {
	for name, line := range map[string]string{"init.yaml": "init lab", "init-ha-empty.yaml": "init lab --ha"} {
		golden.Check(t, name, inFolder(t, func(t *testing.T) string {
			r := begin(t)
			r.want(line, 0)
			contains(t, "stdout", r.stdout.String(), "written, without hosts yet; put them in", "inventory add -f inventory.yaml NAME=ADDRESS,role=control-plane")
			text := r.inventory()
			r.want("inventory validate", 2)
			contains(t, "stderr", r.stderr.String(), "spec.hosts: has no value (name a host: - {name: NAME, address: ADDRESS, role: control-plane})")
			r.file("inventory.yaml", strings.ReplaceAll(text, "    # - {", "    - {"))
			r.want("inventory validate", 0)
			return text
		}))
	}
	r := begin(t)
	r.want("init lab", 0)
	r.want("inventory add x86-1=192.0.2.11,role=control-plane", 0)
	r.want("inventory validate", 0)
}

// A newcomer adds hosts and sets fields in any order: what stands in the file afterwards reads like the comments that showed it, and the
// examples that are left may still be uncommented.
func TestInit_ThenAddAndSet(t *testing.T) {
	golden.Check(t, "init-then.yaml", inFolder(t, func(t *testing.T) string {
		r := begin(t)
		r.want("init lab", 0)
		r.want("inventory add x86-9=192.0.2.19,role=control-plane", 0)
		r.want("inventory set spec.ssh.user=ops spec.kubernetes.podCIDR=10.1.0.0/16", 0)
		r.want("inventory add arm-9=192.0.2.29 arm-8=192.0.2.28,user=root", 0)
		r.want("inventory set spec.bundle=b.tar spec.hosts[arm-9].labels.rack=a2 spec.sources[registry.k8s.io]=harbor.example/k8s", 0)
		r.want("inventory validate", 0)
		return r.inventory()
	}))
	for _, flags := range []string{"", " --ha"} {
		r := begin(t)
		r.want("init lab"+flags, 0)
		r.want("inventory add x86-9=192.0.2.19,role=control-plane", 0)
		r.file("inventory.yaml", strings.ReplaceAll(r.inventory(), "    # - {", "    - {"))
		r.want("inventory set spec.kubernetes.endpoint=api.example.com:6443", 0)
		r.want("inventory validate", 0)
		r.want("inventory rm arm-1", 0)
		r.want("inventory validate", 0)
	}
}

func TestInit_NamesTheClusterAfterTheFolder(t *testing.T) {
	r := begin(t)
	folder := filepath.Join(r.dir, "My Lab_7")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(folder)
	r.want("init --host a=192.0.2.1", 0)
	c, err := inventory.Load(filepath.Join(folder, "inventory.yaml"))
	if err != nil || c.Metadata.Name != "my-lab-7" {
		t.Errorf("%v, %+v", err, c)
	}
}

func TestInit_ProbeFillsInWhatWasNotGiven(t *testing.T) {
	r := begin(t)
	r.front.Identify = identifies(t, []string{"192.0.2.11", "arm-1"},
		provision.Identity{Host: "192.0.2.11", Hostname: "x86-7.example", Arch: "amd64", OS: "Debian GNU/Linux 13"},
		provision.Identity{Host: "arm-1", Hostname: "other", Arch: "arm64", OS: "openEuler 24.03"})
	r.want("init lab --probe --host 192.0.2.11 --host arm-1=192.0.2.21,user=ops", 0)
	contains(t, "stderr", r.stderr.String(), "192.0.2.11 is x86-7.example, amd64, Debian GNU/Linux 13\n", "192.0.2.21 is other, arm64, openEuler 24.03\n")
	contains(t, "inventory", r.inventory(), "    - {name: x86-7, address: 192.0.2.11, role: control-plane, arch: amd64}\n    - {name: arm-1, address: 192.0.2.21, arch: arm64, user: ops}\n")
	r.want("inventory validate", 0)

	r = begin(t)
	r.front.Identify = identifies(t, []string{"a"}, provision.Identity{Host: "a", Machine: "riscv64"})
	r.want("init lab --probe --host a=192.0.2.1", 1)
	contains(t, "stderr", r.stderr.String(), `error: nothing was written: a: its architecture "riscv64" is not supported`)
	r.absent("inventory.yaml")
}

func (r *run) absent(name string) {
	r.t.Helper()
	if _, err := os.Lstat(filepath.Join(r.dir, name)); err == nil {
		r.t.Errorf("%s was written", name)
	}
}

func TestInit_RefusesAndWritesNothing(t *testing.T) {
	for line, want := range map[string]string{
		"init lab --out none/inventory.yaml":  "there is no folder none for none/inventory.yaml",
		"init a b":                            "hybridctl init takes one name at most, but 2 were given",
		"init lab --probe":                    "--probe asks hosts, and none is named",
		"init lab --host 192.0.2.1":           `"192.0.2.1" has no name`,
		"init lab --host a=192.0.2.1,rolle=x": "did you mean role?",
		"init lab --ha --host a=192.0.2.1":    "too few of the hosts can become control planes: 3 wanted, 2 missing",
		"init lab --ha --host a=192.0.2.1 --host b=192.0.2.2 --host c=192.0.2.3":               "3 control planes need one address that leads to all of them",
		"init lab --host a=192.0.2.1,role=control-plane --host b=192.0.2.2,role=control-plane": "hint: give it with --endpoint HOST:PORT",
		"init Lab! --host a=192.0.2.1": "metadata.name",
		"init Lab!":                    "metadata.name",
		"init lab --kubernetes 1.36.3 --host a=192.0.2.1": "spec.kubernetes.version",
		"init lab --host a=192.0.2.1 --host a=192.0.2.2":  "spec.hosts[1].name",
		"init lab --host a=192.0.2.1,role=worker":         "too few of the hosts can become control planes: 1 wanted, 1 missing",
	} {
		r := begin(t)
		r.want(line, 2)
		contains(t, line+": stderr", r.stderr.String(), want)
		r.absent("inventory.yaml")
	}
	r := newRun(t)
	r.want("init other --host a=192.0.2.1", 2)
	contains(t, "stderr", r.stderr.String(), "error: inventory.yaml is there already\nhint: name another file with --out, or move it away\n")
	if r.inventory() != lab {
		t.Error("the inventory that was there is another")
	}
	r.want("init other --host a=192.0.2.1 --out other.yaml", 0)
	r.want("inventory validate -f other.yaml", 0)
}

func TestInventoryImport_NamesTheFileThatIsNotThere(t *testing.T) {
	r := begin(t)
	r.want("inventory import hosts.ini", 2)
	contains(t, "stderr", r.stderr.String(), "error: hosts.ini: no such file\nhint: name an inventory of Ansible or k0sctl\n")
}

// An inventory is a file that is there: nothing else is taken for one, nor written in its place.
func TestInventory_IsAFile(t *testing.T) {
	r := begin(t)
	for line, want := range map[string]string{
		"plan -f -":                                  "error: an inventory is not read from standard input\nhint: name its file with -f FILE: the cluster's state lies beside it\n",
		"inventory set -f - metadata.name=x":         "error: an inventory is not read from standard input\n",
		"plan --inventory=":                          "error: -f names no file\nhint: -f FILE names the inventory; without -f it is inventory.yaml\n",
		"init lab --out -":                           "error: an inventory is a file, and - names none\nhint: name one with --out FILE\n",
		"plan lab.yaml":                              "\nhint: an inventory is named with -f: hybridctl plan -f lab.yaml\n",
		"bundle create":                              "error: bundle.yaml: no such file\nhint: -f FILE names what the bundle is made of",
		"inventory set -f /dev/null metadata.name=x": "/dev/null: is a pipe or a device, and cannot be edited (name the file that has the inventory)\n",
	} {
		r.want(line, 2)
		contains(t, line+": stderr", r.stderr.String(), want)
	}
	r.absent("-")
}

// Who has no inventory is told how to begin.
func TestNoInventory_NamesInit(t *testing.T) {
	r := begin(t)
	for _, line := range []string{"plan", "up --yes", "preflight", "inventory validate", "inventory add a=192.0.2.1", "bundle verify"} {
		r.want(line, 2)
		contains(t, line+": stderr", r.stderr.String(), "error: inventory.yaml: no such inventory\nhint: \"hybridctl init\" writes one to begin with; -f FILE names another\n")
	}
}
