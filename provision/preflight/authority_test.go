package preflight

import (
	"errors"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

func TestMayReset_UnknownIsNotOurs(t *testing.T) {
	lost := errors.New("no kubeconfig is kept")
	node := facts.Host{Name: "w-3", Markers: map[string]facts.Marker{"join": {}}, Kubeadm: facts.Kubeadm{CACertHash: "sha256:b", Server: "https://b:6443"}}
	clean := facts.Host{Name: "w-3", Markers: map[string]facts.Marker{"os": {}}}
	for name, c := range map[string]struct {
		of   Authority
		host facts.Host
		want string // "" = it may
	}{
		"ours":              {Authority{Hashes: []string{"sha256:a", "sha256:b"}}, node, ""},
		"another's":         {Authority{Hashes: []string{"sha256:a"}}, node, "of another cluster (https://b:6443)"},
		"not known":         {Authority{Unknown: lost}, node, "is not known: no kubeconfig is kept"},
		"a node of nothing": {Authority{Unknown: lost}, clean, ""},
		"not reached":       {Authority{Unknown: lost}, facts.Host{Name: "w-3", Err: lost}, ""},
	} {
		err := c.of.MayReset(c.host)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAgrees_HostsOfTwoClustersAreNotOne(t *testing.T) {
	c := &inventory.Cluster{Spec: inventory.Spec{Hosts: []inventory.Host{{Name: "cp-1", Role: inventory.ControlPlane}, {Name: "w-2"}}}}
	with := func(name, ca string) facts.Host {
		f := facts.Host{Name: name, Markers: map[string]facts.Marker{"join": {}}}
		f.Kubeadm.CACertHash = ca
		return f
	}
	ours := Authority{Hashes: []string{"sha256:a"}}
	for name, x := range map[string]struct {
		of    Authority
		hosts []facts.Host
		want  string
	}{
		"all ours":                           {ours, []facts.Host{with("cp-1", "sha256:a"), with("w-2", "sha256:a")}, ""},
		"the first is of another":            {ours, []facts.Host{with("cp-1", "sha256:b"), with("w-2", "sha256:a")}, "cp-1: of another cluster"},
		"a worker is of another":             {ours, []facts.Host{with("cp-1", "sha256:a"), with("w-2", "sha256:b")}, "w-2: of another cluster"},
		"a worker, and the first has none":   {ours, []facts.Host{with("cp-1", ""), with("w-2", "sha256:b")}, "w-2: of another cluster"},
		"a worker, and the first is away":    {ours, []facts.Host{{Name: "cp-1", Err: errors.New("away")}, with("w-2", "sha256:b")}, "w-2: of another cluster"},
		"all were initialised again":         {ours, []facts.Host{with("cp-1", "sha256:b"), with("w-2", "sha256:b")}, ""},
		"what is kept is not known: as ever": {Authority{Unknown: errors.New("none")}, []facts.Host{with("w-2", "sha256:b")}, ""},
	} {
		err := x.of.Agrees(c, x.hosts)
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
