package plan

import (
	"errors"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// Absence of evidence is no evidence: a control plane that was not reached may be the cluster.
func TestMayInit_OnlyWhereItIsKnownThatThereIsNoCluster(t *testing.T) {
	c := &inventory.Cluster{Spec: inventory.Spec{Hosts: []inventory.Host{
		{Name: "cp-1", Role: inventory.ControlPlane}, {Name: "cp-2", Role: inventory.ControlPlane}, {Name: "w-1", Role: inventory.Worker}}}}
	away := errors.New("no route to host")
	clean := []facts.Host{{Name: "cp-1"}, {Name: "cp-2"}, {Name: "w-1", Err: away}}
	with := func(i int, change func(*facts.Host)) []facts.Host {
		out := append([]facts.Host{}, clean...)
		change(&out[i])
		return out
	}
	marked := func(f *facts.Host) {
		f.Markers = map[string]facts.Marker{"init": {Marker: host.Marker{Step: "init", State: "started"}}}
	}
	done := func(f *facts.Host) {
		f.Markers = map[string]facts.Marker{"init": {Marker: host.Marker{Step: "init", State: host.MarkerDone}}}
	}
	unread := func(f *facts.Host) { f.BadMarkers = []string{"init"} }
	for name, x := range map[string]struct {
		hosts []facts.Host
		told  []string
		want  string // "" = it may
	}{
		"nothing anywhere":            {hosts: clean},
		"a control plane not reached": {hosts: with(1, func(f *facts.Host) { f.Err = away }), want: "to be looked at: cp-2"},
		"a control plane not asked":   {hosts: clean[:1], want: "to be looked at: cp-2"},
		"etcd's data on another":      {hosts: with(1, func(f *facts.Host) { f.Kubeadm.Etcd = true }), want: "cp-2 has etcd's data"},
		"etcd's data on the first":    {hosts: with(0, func(f *facts.Host) { f.Kubeadm.Etcd = true }), want: "cp-1 has etcd's data"},
		"another has an admin.conf":   {hosts: with(1, func(f *facts.Host) { f.Kubeadm.AdminConf = true }), want: "an admin.conf"},
		"a kubeconfig is kept":        {hosts: clean, told: []string{"a kubeconfig is kept"}, want: "a kubeconfig is kept"},
		"an init that was begun":      {hosts: with(0, marked)},
		"begun, and another is away":  {hosts: []facts.Host{with(0, marked)[0], {Name: "cp-2", Err: away}}},
		"one that was finished and reset by hand, and another is away": {hosts: []facts.Host{with(0, done)[0], {Name: "cp-2", Err: away}}, want: "to be looked at: cp-2"},
		"one whose mark cannot be read":                                {hosts: with(0, unread), want: "cp-1 has hybridctl's mark of a member, which cannot be read (/var/lib/hybridctl/steps/init)"},
		"the first is away: it is told":                                {hosts: with(0, func(f *facts.Host) { f.Err = away })},
	} {
		p := Plan{Steps: []Step{{ID: HostID("cp-1", Init), Kind: Init, Host: "cp-1", Action: Create}}}
		err := FindSigns(c, x.hosts, x.told...).MayInit(c, p, x.hosts)
		if (err == nil) != (x.want == "") || err != nil && (!errors.Is(err, ErrSecond) || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s: %v", name, err)
		}
		for _, done := range []Action{Unchanged, Update} { // of several control planes, the first one's kubelet may have stopped
			p.Steps[0].Action = done
			if err := FindSigns(c, x.hosts, x.told...).MayInit(c, p, x.hosts); err != nil {
				t.Errorf("%s, and init is done (%s): %v", name, done, err)
			}
		}
	}
}
