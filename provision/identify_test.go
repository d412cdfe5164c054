package provision

import (
	"context"
	"testing"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

func TestIdentify_AsksTheNamedHostsOnly(t *testing.T) {
	s := newSim(t, 3, remotetest.Options{})
	names := []string{s.fleet.Hosts[2].Name, s.fleet.Hosts[1].Name}
	got, err := Identify(context.Background(), s.options(), names)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	for i, arch := range []platform.Arch{platform.AMD64, platform.ARM64} {
		if id := got[i]; id.Host != names[i] || id.Err != nil || id.Arch != arch || id.Hostname == "" || id.OS != "Debian GNU/Linux 13 (trixie)" {
			t.Errorf("%+v", id)
		}
	}
}

func TestIdentify_AHostThatIsNotThere(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{})
	if _, err := Identify(context.Background(), s.options(), []string{"nobody"}); err == nil {
		t.Error("no error")
	}
	s.c.Spec.Hosts[0].Port = 1
	got, err := Identify(context.Background(), s.options(), []string{s.c.Spec.Hosts[0].Name})
	if err != nil || got[0].Err == nil {
		t.Errorf("%v, %v", got, err)
	}
}
