package inventory

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridctl/hybridctl/provision/platform"
)

func TestDefault_FillsInWhatIsNotSaid(t *testing.T) {
	c := mustParse(t, edit(t, [2]string{"role: control-plane}", "role: control-plane}\n  - {name: b, address: b.example.com, arch: AArch64}"}))
	k := c.Spec.Kubernetes
	got := []string{k.Endpoint, k.PodCIDR, k.ServiceCIDR, k.DNSDomain, c.Spec.CNI.Provider, c.Spec.SSH.HostKeys,
		c.Spec.SSH.ConnectTimeout.String(), c.Spec.SSH.CommandTimeout.String(), c.Spec.SSH.KeepAlive.String(),
		c.Spec.Timeouts.Step.String(), c.Spec.Timeouts.Ready.String()}
	want := []string{"10.0.0.1:6443", "10.244.0.0/16", "10.96.0.0/12", "cluster.local", "flannel", "",
		"15s", "2m0s", "15s", "15m0s", "10m0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	hosts := []Host{
		{Name: "a", Address: "10.0.0.1", Role: ControlPlane, NodeIP: "10.0.0.1"},
		{Name: "b", Address: "b.example.com", Role: Worker, Arch: platform.ARM64},
	}
	if diff := cmp.Diff(hosts, c.Spec.Hosts); diff != "" {
		t.Error(diff)
	}
	// ~/.ssh/config has a say in these.
	if c.Spec.SSH.User != "" || c.Spec.SSH.Port != 0 {
		t.Errorf("user %q, port %d", c.Spec.SSH.User, c.Spec.SSH.Port)
	}
}

func TestDefault_LeavesWhatIsSaid(t *testing.T) {
	first := mustParse(t, mustRead(t, "../../inventories/example-small-boards.yaml", "./example-small-boards-patches", "/"))
	again := *first
	Default(&again)
	if diff := cmp.Diff(*first, again, ignoreDocument); diff != "" {
		t.Errorf("a second time:\n%s", diff)
	}
	if got := first.Spec.Timeouts.Step.String(); got != "45m0s" {
		t.Errorf("step timeout %s", got)
	}
}

func TestDefault_NoEndpointForSeveralControlPlanes(t *testing.T) {
	c := &Cluster{Spec: Spec{Hosts: []Host{{Address: "10.0.0.1", Role: ControlPlane}, {Address: "10.0.0.2", Role: ControlPlane}}}}
	if Default(c); c.Spec.Kubernetes.Endpoint != "" {
		t.Errorf("endpoint %s", c.Spec.Kubernetes.Endpoint)
	}
}

// Hosts behind one address differ by port; none of them has that address itself.
func TestDefault_SharedAddressIsNoNodeIP(t *testing.T) {
	c := mustParse(t, edit(t, [2]string{"role: control-plane}", "role: control-plane}\n  - {name: b, address: 10.0.0.1, port: 2222}"}))
	for _, h := range c.Spec.Hosts {
		if h.NodeIP != "" {
			t.Errorf("%s has the node IP %s", h.Name, h.NodeIP)
		}
	}
}

func TestParse_OneHostWithoutRoleIsAskedFor(t *testing.T) {
	_, err := Parse("F", []byte(edit(t, [2]string{", role: control-plane", ""})))
	want := "F:8:3: spec.hosts: holds no control-plane host (write role: control-plane at a, the only host)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestParse_PathsStartAtTheFileOrAtHome(t *testing.T) {
	text := edit(t,
		[2]string{"bundle: b", "bundle: ../b/./c\n  ssh: {identityFiles: [~/.ssh/id, keys/k, /x/../k], sudoPasswordFile: '~'}"},
		[2]string{"role: control-plane}", "role: control-plane, identityFiles: [~/k], sudoPasswordFile: s}"})
	c, err := parse("/etc/lab/inventory.yaml", []byte(text), func() (string, error) { return "/home/me", nil })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range pathFields(c) {
		got = append(got, f.path+" "+*f.value)
	}
	want := []string{
		"spec.bundle /etc/b/c", "spec.kubernetes.patches ", "spec.cni.path ", "spec.ssh.sudoPasswordFile /home/me", "spec.conformance.registry.passwordFile ",
		"spec.ssh.identityFiles[0] /home/me/.ssh/id", "spec.ssh.identityFiles[1] /etc/lab/keys/k", "spec.ssh.identityFiles[2] /k",
		"spec.hosts[0].sudoPasswordFile /etc/lab/s", "spec.hosts[0].identityFiles[0] /home/me/k",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParse_HomeIsOnlyAskedForWhenNeeded(t *testing.T) {
	homeless := func() (string, error) { return "", errors.New("$HOME is not defined") }
	if _, err := parse("F", []byte(valid), homeless); err != nil {
		t.Error(err)
	}
	_, err := parse("F", []byte(edit(t, [2]string{"bundle: b", "bundle: ~/b"})), homeless)
	want := "F:7:11: spec.bundle: your home directory is not known: $HOME is not defined (write the path itself)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestParse_CNIManifest(t *testing.T) {
	dir := t.TempDir()
	manifest := filepath.Join(dir, "calico.yaml")
	text := edit(t, [2]string{"bundle: b", "bundle: b\n  cni: {provider: manifest, path: calico.yaml}"})
	if _, err := Parse(filepath.Join(dir, "i.yaml"), []byte(text)); err == nil {
		t.Error("a manifest that is not there is accepted")
	}
	if err := os.WriteFile(manifest, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse(filepath.Join(dir, "i.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if c.Spec.CNI.Path != manifest {
		t.Errorf("path %s", c.Spec.CNI.Path)
	}
}

func mustRead(t *testing.T, file, old, replacement string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return replaceOnce(t, string(data), old, replacement)
}
