package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/catalogue"
)

// identifies answers for the hosts that are asked, in their order.
func identifies(t *testing.T, names []string, answers ...provision.Identity) func(context.Context, provision.Options, []string) ([]provision.Identity, error) {
	return func(_ context.Context, o provision.Options, asked []string) ([]provision.Identity, error) {
		if !slices.Equal(asked, names) {
			t.Errorf("asked %v, want %v", asked, names)
		}
		for _, name := range asked {
			if _, ok := o.Cluster.Host(name); !ok {
				t.Errorf("%s is no host of the cluster", name)
			}
		}
		return answers, nil
	}
}

func (r *run) inventory() string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "inventory.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

func TestInventoryAdd_ProbeFillsInWhatWasNotGiven(t *testing.T) {
	r := newRun(t)
	r.front.Identify = identifies(t, []string{"192.0.2.12", "x86-3"},
		provision.Identity{Hostname: "arm-7.example.com", Arch: "arm64", OS: "Debian GNU/Linux 13 (trixie)"},
		provision.Identity{Hostname: "other", Arch: "amd64", OS: "Debian\x1b[2J"})
	r.want("inventory add --probe 192.0.2.12 x86-3=192.0.2.13,user=me", 0)
	want := lab + "    - {name: arm-7, address: 192.0.2.12, arch: arm64}\n    - {name: x86-3, address: 192.0.2.13, arch: amd64, user: me}\n"
	if got := r.inventory(); got != want {
		t.Errorf("got\n%s", got)
	}
	contains(t, "stderr", r.stderr.String(), "192.0.2.12 is arm-7.example.com, arm64, Debian GNU/Linux 13 (trixie)\n")
	if strings.Contains(r.stderr.String(), "\x1b") {
		t.Error("what the host says reaches the terminal as it is")
	}
}

// A hostname is no node's name as it is: capitals, underscores and a domain.
func TestInventoryAdd_ProbeMakesAName(t *testing.T) {
	r := newRun(t)
	r.front.Identify = identifies(t, []string{"192.0.2.12"}, provision.Identity{Hostname: "PHost_01.Rack-7.example", Arch: "arm64"})
	r.want("inventory add --probe 192.0.2.12", 0)
	contains(t, "inventory", r.inventory(), "    - {name: phost-01, address: 192.0.2.12, arch: arm64}\n")
	r = newRun(t)
	r.front.Identify = identifies(t, []string{"192.0.2.12"}, provision.Identity{Host: "192.0.2.12", Hostname: "___", Arch: "arm64"})
	r.want("inventory add --probe 192.0.2.12", 1)
	contains(t, "stderr", r.stderr.String(), "no node can have its hostname ___", "hint: NAME=192.0.2.12 gives it a name")
}

// The only host cannot be taken out: an inventory has one at least.
func TestInventoryRm_TheOnlyHost(t *testing.T) {
	r := newRun(t)
	r.want("inventory rm arm-1 x86-1", 2)
	contains(t, "stderr", r.stderr.String(), "error: without x86-1 no host would be left, and an inventory has one at least\nhint: add another first\n")
	r.want("inventory rm x86-1", 0)
	r.want("inventory rm arm-1", 2)
	contains(t, "stderr", r.stderr.String(), "error: without arm-1 no host would be left, and an inventory has one at least\nhint: add another first\n")
	contains(t, "inventory", r.inventory(), "arm-1")
}

// No bundle is written that is not there: what is needed is then fetched, as with the inventory that init writes.
func TestInventoryImport_NamesABundleOnlyWhereOneIs(t *testing.T) {
	r := newRun(t)
	r.file("hosts.ini", "[kube_control_plane]\ncp ansible_host=192.0.2.1\n")
	newest := catalogue.Embedded().Versions()[0]
	r.want("inventory import hosts.ini --out new.yaml", 0)
	text, err := os.ReadFile("new.yaml")
	if err != nil || strings.Contains(string(text), "bundle") {
		t.Errorf("%v\n%s", err, text)
	}
	contains(t, "new.yaml", string(text), "version: "+newest+"\n")
	contains(t, "stderr", r.stderr.String(), "hosts.ini: version of Kubernetes: is not named; "+newest+", the newest of hybridctl's catalogue, is written")

	if err := os.Mkdir("sub", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Create(t.Context(), bundletest.Write(t, t.TempDir()), "sub/bundle", bundle.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want("inventory import hosts.ini --out sub/new.yaml", 0)
	if text, err = os.ReadFile("sub/new.yaml"); err != nil {
		t.Fatal(err)
	}
	contains(t, "sub/new.yaml", string(text), "bundle: ./bundle\n", "version: "+bundletest.Version+"\n")
	r.want("inventory import hosts.ini --bundle none", 2)
	contains(t, "stderr", r.stderr.String(), "hosts.ini names no version of Kubernetes, and none is no bundle that does\nhint: give --kubernetes VERSION, or another --bundle\n")
}

// --bundle means what spec.bundle will: ~ is the user's home, and the rest starts at the new inventory's folder.
func TestInventoryImport_FindsTheBundleAsTheInventoryWill(t *testing.T) {
	r := newRun(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	r.file("hosts.ini", "[kube_control_plane]\ncp ansible_host=192.0.2.1\n")
	if _, err := bundle.Create(t.Context(), bundletest.Write(t, t.TempDir()), filepath.Join(home, "made"), bundle.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.want("inventory import hosts.ini --out new.yaml --bundle ~/made", 0)
	text, err := os.ReadFile("new.yaml")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "new.yaml", string(text), "bundle: ~/made\n", "version: "+bundletest.Version+"\n")
	r.want("inventory import hosts.ini --bundle $HOME/made", 2)
	contains(t, "stderr", r.stderr.String(), "error: --bundle: environment variables are not expanded\nhint: write ~/… or a path relative to the inventory\n")
}

// An import that is refused tells what was left out, and its problems stand in the file that was given.
func TestInventoryImport_RefusedWithEveryNote(t *testing.T) {
	r := newRun(t)
	file := filepath.Join(r.dir, "hosts.ini")
	if err := os.WriteFile(file, []byte("[kube_control_plane]\ncp ansible_host=192.0.2.1 ansible_port=99999 etcd_member_name=e\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.want("inventory import --kubernetes v1.36.3 --out new.yaml "+arg(file), 2)
	for _, want := range []string{file + ":2: variable etcd_member_name: has no counterpart\n", file + ":2:1: spec.ssh.port: 99999 is not a port", "nothing was written"} {
		contains(t, "stderr", r.stderr.String(), want)
	}
	if err := os.WriteFile(file, []byte("[kube_control_plane]\ncp ansible_connection=local\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = newRun(t)
	r.want("inventory import --output json --kubernetes-version v1.36.3 "+arg(file), 2)
	contains(t, "stderr", r.stderr.String(), file+":2: host cp: is not reached over SSH")
}

// What the other tool's file does not say is given by a flag, and the refusal names it.
func TestInventoryImport_RefusalNamesTheFlag(t *testing.T) {
	r := newRun(t)
	r.file("hosts.ini", "[kube_control_plane]\na ansible_host=192.0.2.1\nb ansible_host=192.0.2.2\n\n[all:vars]\nkube_version=v1.30.0\n")
	r.want("inventory import hosts.ini", 2)
	contains(t, "stderr", r.stderr.String(), "spec.kubernetes.endpoint: is missing", "\nhint: --endpoint HOST:PORT gives it\n", "\nhint: --kubernetes VERSION takes another version\n")
	for _, flag := range []string{"--kubernetes", "--kubernetes-version"} { // the second as it was called once
		r.want("inventory import hosts.ini --endpoint api.test:6443 "+flag+" v1.36.3", 0)
		contains(t, "stdout", r.stdout.String(), "version: v1.36.3")
	}
}

func TestInventoryAdd_ProbeRefuses(t *testing.T) {
	for want, answer := range map[string]provision.Identity{
		"x86-2: connection refused\nhint: without --probe no host is asked; hybridctl preflight looks at them later": {Err: errors.New("connection refused")},
		`x86-2: its architecture "riscv64" is not supported`:                                                         {Hostname: "x", Machine: "riscv64"},
		"x86-2: it is arm64, and not amd64 as given":                                                                 {Hostname: "x", Arch: "arm64"},
	} {
		r := newRun(t)
		answer.Host = "x86-2"
		r.front.Identify = identifies(t, []string{"x86-2"}, answer)
		r.want("inventory add --probe x86-2=192.0.2.12,arch=amd64", 1)
		if got := r.stderr.String(); got != "error: nothing was written: "+want+"\n" {
			t.Error(got)
		}
		if r.inventory() != lab || r.stdout.Len() > 0 {
			t.Errorf("%s: something was written", want)
		}
	}
}

func TestInventoryAdd_ProbeAsksNobodyWhenTheHostCannotBeAdded(t *testing.T) {
	r := newRun(t)
	r.want("inventory add --probe x86-2=192.0.2.11", 2)
	contains(t, "stderr", r.stderr.String(), "192.0.2.11 is taken by spec.hosts[1]")
}

func TestInventoryAdd_DoesNotRepeatWhatMayBeAPassword(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.13,sudoPasswordEnv=hunter2":    "\"192.0.2.13\" has no name\nhint: write NAME=192.0.2.13, or ask the host with --probe",
		"x86-3=192.0.2.13,sudoPassword=hunter2": `"x86-3=192.0.2.13": "sudoPassword" is nothing that a host has; did you mean sudoPasswordEnv?`,
	} {
		r := newRun(t)
		r.want("inventory add "+host, 2)
		if got := r.stderr.String(); got != "error: "+want+"\n" {
			t.Error(got)
		}
	}
}

func TestCutAssignment(t *testing.T) {
	for arg, want := range map[string][2]string{
		"a.b=c":             {"a.b", "c"},
		"a[x=y].b=c=d":      {"a[x=y].b", "c=d"},
		"a=":                {"a", ""},
		"a.taints[0]=k=v:E": {"a.taints[0]", "k=v:E"},
	} {
		if path, value, ok := cutAssignment(arg); !ok || path != want[0] || value != want[1] {
			t.Errorf("%s: %q, %q, %v", arg, path, value, ok)
		}
	}
	for _, arg := range []string{"a", "=b", "a[x=y]"} {
		if _, _, ok := cutAssignment(arg); ok {
			t.Errorf("%s was taken", arg)
		}
	}
}
