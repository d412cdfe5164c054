package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// Files whose marker cannot be read were brought once: a kube-apiserver may mount them, and they are brought again.
func TestBuild_FilesWhoseMarkerCannotBeRead(t *testing.T) {
	in := withFiles(t, 1, true)
	unreadable(&in, 1, "files")
	s, _ := mustBuild(t, in).Step("arm-1/files")
	if s.Action != Create || !strings.Contains(s.Reason, "its marker cannot be read") || strings.Contains(strings.Join(s.Details, "\n"), "mounts none of them") {
		t.Errorf("%s: %s, %q", s.Action, s.Reason, s.Details)
	}
}

// What a host was told of registries is taken back also where the marker of it cannot be read.
func TestBuild_RegistriesWhoseMarkerCannotBeRead(t *testing.T) {
	in := finished(t)
	in.Hosts[0].BadMarkers = []string{"registries"}
	if s, ok := mustBuild(t, in).Step("x86-1/registries"); !ok || s.Action != Update || !strings.Contains(s.Reason, "is not in the inventory any more") {
		t.Errorf("%t, %s: %s", ok, s.Action, s.Reason)
	}
}

// A host whose mark of a member cannot be read, and that is not the machine that its node knows, joins again: for that reason, and no other.
func TestBuild_AMemberWhoseMarkerCannotBeRead(t *testing.T) {
	in := finished(t)
	unreadable(&in, 0, "join")
	in.Hosts[0].MachineID = "other"
	if s, _ := mustBuild(t, in).Step("x86-1/join"); s.Action != Create || s.Reason != "its marker cannot be read (/var/lib/hybridctl/steps/join), and it is not known to be a node" {
		t.Errorf("%s: %s", s.Action, s.Reason)
	}
}

// A host may be a node whose mark of that cannot be read: what restarts something there waits for its turn.
func TestWorks_AMarkThatCannotBeRead(t *testing.T) {
	for step, want := range map[Kind]bool{Init: true, Join: true, Images: false} {
		b := &builder{facts: map[string]facts.Host{"a": {BadMarkers: []string{string(step)}}}}
		if got := b.works("a"); got != want {
			t.Errorf("%s: %t", step, got)
		}
	}
}

// Whatever has a marker is undone; what cannot be undone without reading it is told.
func TestRemoval_MarkersThatCannotBeRead(t *testing.T) {
	c := &inventory.Cluster{Spec: inventory.Spec{Hosts: []inventory.Host{{Name: "a", Role: inventory.ControlPlane}}}}
	for step, told := range map[Kind]bool{OS: true, Runtime: true, Registries: true, Kubernetes: true, Images: false, Init: false, Join: false} {
		f := facts.Host{Name: "a", BadMarkers: []string{string(step)}}
		if s, ok := Removal(c, []facts.Host{f}).Step(HostID("a", step)); !ok || s.Action != Delete {
			t.Errorf("%s is not undone", step)
		}
		var want []string
		if told {
			want = []string{host.MarkerPath(string(step))}
		}
		if got := UnreadFiles(f); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", step, got, want)
		}
	}
}
