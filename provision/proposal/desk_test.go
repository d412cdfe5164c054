package proposal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/fleet/fleettest"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/fakeapi"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// remembered is a state directory's memory.
type remembered struct {
	has        plan.ID
	unfinished string
}

func (r remembered) Has(id plan.ID) bool         { return id == r.has }
func (r remembered) Unfinished(host string) bool { return host == r.unfinished }

// noVolumesTold is an API server that does not say which volumes there are.
type noVolumesTold struct{ *fakeapi.API }

func (noVolumesTold) StoredBy(context.Context, []string) ([]kube.Volume, error) {
	return nil, errors.New("connection refused")
}

// newDesk is that of a cluster of two control planes and a worker, none of which is connected. Its API server answers when a kubeconfig is kept.
func newDesk(t *testing.T) (*Desk, *fakeapi.API) {
	t.Helper()
	c, f, dir := fleettest.Three(t)
	api := fakeapi.New(bundletest.Version)
	for _, h := range c.Spec.Hosts {
		api.AddNode(h.Name)
		if h.Role == inventory.ControlPlane {
			api.ControlPlane(h.Name)
		}
	}
	server := access.New(access.Options{Cluster: c, StateDir: dir, Fleet: f, New: func([]byte, kube.Options) (access.API, error) { return api, nil }})
	return &Desk{Server: server, Cluster: c, StateDir: dir, Fleet: f, State: remembered{}}, api
}

// keep puts a kubeconfig into the state directory.
func (d *Desk) keep(t *testing.T, kubeconfig string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.StateDir, fleet.KubeconfigFile), []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
}

// seenPlain are the control planes, on which nothing tells of a cluster.
func seenPlain() survey.Hosts {
	return survey.Hosts{"host-1": {Name: "host-1"}, "host-2": {Name: "host-2"}, "host-3": {Name: "host-3"}}
}

// leaving are hosts that are to leave, with their nodes.
func leaving(d *Desk, api *fakeapi.API, names ...string) (survey.Seen, []plan.Leaver) {
	nodes, _ := api.Nodes(context.Background())
	seen := survey.Seen{Cluster: d.Cluster, Nodes: nodes}
	return seen, plan.Leavers(d.Cluster, survey.NodeFacts(nodes), names)
}

func TestSigns(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Desk)
		hosts  survey.Hosts
		none   bool
		says   string
	}{
		"nothing tells of a cluster":  {func(*Desk) {}, seenPlain(), true, ""},
		"a kubeconfig is kept":        {func(d *Desk) { d.keep(t, fakeapi.Kubeconfig()) }, seenPlain(), false, "has the kubeconfig of one"},
		"a kubeconfig is not to read": {func(d *Desk) { _ = os.Mkdir(filepath.Join(d.StateDir, fleet.KubeconfigFile), 0o700) }, seenPlain(), false, "cannot be read"},
		"the state knows of its init": {func(d *Desk) { d.State = remembered{has: "host-1/init"} }, seenPlain(), false, "knows of one"},
		"a control plane is not seen": {func(*Desk) {}, survey.Hosts{"host-1": {Name: "host-1"}, "host-2": {Name: "host-2", Err: errors.New("away")}}, false, ""},
		"a verb that only reads":      {func(d *Desk) { d.State = nil }, seenPlain(), true, ""},
	} {
		d, _ := newDesk(t)
		c.change(d)
		s := d.Signs(c.hosts)
		if s.None() != c.none || !strings.Contains(strings.Join(s.Found, "; "), c.says) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestObserve_NoneAndNotKnownAreTwoThings(t *testing.T) {
	d, api := newDesk(t)
	if _, there, err := d.Observe(t.Context(), survey.Seen{Cluster: d.Cluster, Hosts: seenPlain()}).API.Get(); there || err != nil {
		t.Errorf("nothing tells of a cluster: %t, %v", there, err)
	}
	d.State = remembered{has: "host-1/init"}
	if _, _, err := d.Observe(t.Context(), survey.Seen{Cluster: d.Cluster, Hosts: seenPlain()}).API.Get(); !errors.Is(err, fleet.ErrNoKubeconfig) {
		t.Errorf("no one gives a kubeconfig: %v", err)
	}
	d.keep(t, fakeapi.Kubeconfig())
	api.Failing["Nodes"] = errors.New("connection refused")
	if _, _, err := d.Observe(t.Context(), survey.Seen{Cluster: d.Cluster, Hosts: seenPlain()}).API.Get(); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("it does not answer: %v", err)
	}
}

// That no control plane gives a kubeconfig does not say that there is no cluster: the hint begins with what shows which of the two it is.
func TestRunning_NoOneGivesAKubeconfig(t *testing.T) {
	d, _ := newDesk(t)
	_, err := d.Running(t.Context())
	if want := `"hybridctl preflight -f ` + d.Cluster.Path + `" says what keeps a host from answering; where there is no cluster yet, "hybridctl up" makes it`; !errors.Is(err, ending.ErrRefused) || hint.Text(err) != want {
		t.Errorf("%v, hint %q", err, hint.Text(err))
	}
}

func TestReachForDestroy_WhoseClusterItIs(t *testing.T) {
	own := func(ca string) string {
		pins, err := kube.CAHashes([]byte(fakeapi.KubeconfigOf(ca)))
		if err != nil {
			t.Fatal(err)
		}
		return pins[0]
	}
	for name, c := range map[string]struct {
		kept    string // kubeconfig
		away    bool   // the API server
		state   remembered
		there   bool   // the API server is known
		unknown bool   // whether there is one
		hash    string // the own authority; "" = not known
	}{
		"there is no cluster":         {},
		"the one that is kept":        {kept: fakeapi.Kubeconfig(), there: true, hash: own(fakeapi.CA())},
		"it does not answer":          {kept: fakeapi.Kubeconfig(), away: true, unknown: true, hash: own(fakeapi.CA())},
		"another cluster answers":     {kept: fakeapi.KubeconfigOf(fakeapi.OtherCA()), unknown: true, hash: own(fakeapi.OtherCA())},
		"there is one, and no way in": {state: remembered{has: "host-1/init"}, unknown: true},
	} {
		d, api := newDesk(t)
		d.State = c.state
		if c.kept != "" {
			d.keep(t, c.kept)
		}
		if c.away {
			api.Failing["LeaseMark"] = errors.New("connection refused")
		}
		seen := survey.Seen{Cluster: d.Cluster, Hosts: seenPlain()}
		authority := destruction{d}.reachForDestroy(t.Context(), &seen)
		_, there, err := seen.API.Get()
		if there != c.there || (err != nil) != c.unknown || (d.API != nil) != c.there {
			t.Errorf("%s: there %t, error %v, API %v", name, there, err, d.API)
		}
		if (c.hash == "") != (authority.Unknown != nil) || c.hash != "" && !slices.Equal(authority.Hashes, []string{c.hash}) {
			t.Errorf("%s: authority %+v", name, authority)
		}
	}
}

func TestRefuseForgotten(t *testing.T) {
	unknown := survey.Unknown[facts.Cluster](errors.New("away"))
	found, none := survey.Found(facts.Cluster{}), survey.None[facts.Cluster]()
	some := []kube.Volume{{Name: "pvc-1"}}
	for name, c := range map[string]struct {
		api     survey.Known[facts.Cluster]
		ceph    bool
		state   plan.ID
		silent  bool
		lost    bool
		volumes []kube.Volume
		want    error
	}{
		"there is no cluster":                  {api: none, ceph: true},
		"it has no volumes":                    {api: found, ceph: true},
		"it has volumes":                       {api: found, ceph: true, volumes: some, want: ending.ErrVolumes},
		"storage is in the inventory no more":  {api: found, volumes: some, want: ending.ErrVolumes},
		"it does not answer":                   {api: unknown, ceph: true, want: ending.ErrVolumes},
		"it does not answer, and has no Ceph":  {api: unknown, state: plan.ClusterID(plan.CNI)},
		"it does not answer, and had Ceph":     {api: unknown, state: plan.ClusterID(plan.CSI), want: ending.ErrVolumes},
		"it never was, and had Ceph":           {api: none, state: plan.ClusterID(plan.CSI)},
		"it does not say which there are":      {api: found, ceph: true, silent: true, want: ending.ErrVolumes},
		"its etcd lost its data":               {api: found, ceph: true, lost: true, want: ending.ErrVolumes},
		"it lost its data, and has no Ceph":    {api: found, lost: true},
		"of a driver that is not Ceph's alone": {api: found, ceph: true, volumes: []kube.Volume{{Name: "pvc-1", Driver: "other.example"}}},
	} {
		d, api := newDesk(t)
		api.AllVolumes = c.volumes
		if api.Config.Endpoint = "host-1:6443"; c.lost {
			api.Config.Endpoint = ""
		}
		d.API, d.State = api, remembered{has: c.state}
		if c.silent {
			d.API = noVolumesTold{api}
		}
		if c.ceph {
			d.Cluster.Spec.Storage.Ceph = []inventory.Ceph{{RBD: inventory.CephRBD{Pool: "kube"}}}
		}
		if err := (destruction{d}).refuseForgotten(t.Context(), survey.Seen{API: c.api}); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	d, _ := newDesk(t)
	d.State = nil
	if err := (destruction{d}).refuseForgotten(t.Context(), survey.Seen{API: unknown}); err != nil {
		t.Errorf("in a verb that only reads: %v", err)
	}
}

func TestStorage(t *testing.T) {
	objects := map[kube.Object]bool{{Kind: "StorageClass", Name: "ceph-rbd"}: true, {Kind: "Secret", Name: "csi", Namespace: "ceph-csi"}: true}
	class := kube.Object{Kind: "StorageClass", Name: "of-a-backup"}
	space, inside := kube.Object{Kind: "Namespace", Name: "ceph-csi"}, kube.Object{Kind: "Secret", Name: "theirs", Namespace: "ceph-csi"}
	const alone = "left alone, as they are not known to be hybridctl's (another made them, or a backup brought them back): StorageClass/of-a-backup"
	for name, c := range map[string]struct {
		objects map[kube.Object]bool // false = another's
		volumes []kube.Volume
		ceph    bool
		force   bool
		want    error
		note    string
		others  string // a further note, or what the error says besides
	}{
		"one of another's": {objects: map[kube.Object]bool{class: false}, ceph: true, note: "ceph-csi is taken out of cluster sim: 0 objects; nothing in Ceph is changed",
			others: alone + ": where they are not needed, kubectl delete takes them away, by the label app.kubernetes.io/name=ceph-csi"},
		"nothing but another's": {objects: map[kube.Object]bool{class: false}, want: ending.ErrRefused, others: alone},
		"another's in ours": {objects: map[kube.Object]bool{space: true, inside: false}, note: "ceph-csi is taken out of cluster sim: 1 object, among them Namespace/ceph-csi; nothing in Ceph is changed",
			others: "deleted with their namespace, although they are not known to be hybridctl's: Secret/ceph-csi/theirs"},
		"classes and secrets":    {objects: objects, note: "ceph-csi is taken out of cluster sim: 2 objects, among them StorageClass/ceph-rbd; nothing in Ceph is changed"},
		"nothing is left":        {ceph: true, note: "ceph-csi is taken out of cluster sim: 0 objects; nothing in Ceph is changed"},
		"there never was any":    {want: ending.ErrRefused},
		"volumes would stay":     {objects: objects, volumes: []kube.Volume{{Name: "pvc-1"}}, want: ending.ErrVolumes},
		"volumes may stay there": {objects: objects, volumes: []kube.Volume{{Name: "pvc-1"}}, force: true, note: "ceph-csi is taken out of cluster sim: 2 objects, among them StorageClass/ceph-rbd; nothing in Ceph is changed"},
	} {
		d, api := newDesk(t)
		d.keep(t, fakeapi.Kubeconfig())
		api.AllVolumes = c.volumes
		ours := 0
		for o, own := range c.objects {
			if api.OwnedObjects[o] = own; own {
				ours++
			}
		}
		notes := []string{c.note}
		if c.others != "" {
			notes = append(notes, c.others)
		}
		if c.ceph {
			d.Cluster.Spec.Storage.Ceph = []inventory.Ceph{{}}
		}
		found, p, err := d.Storage(t.Context(), c.force)
		if !errors.Is(err, c.want) || c.want == nil && (err != nil || len(found) != ours || !p.Part || !slices.Equal(p.Notes, notes)) {
			t.Errorf("%s: %v, %v, %q", name, err, found, p.Notes)
		}
		if c.want != nil && !strings.Contains(err.Error(), c.others) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d, _ := newDesk(t)
	if _, _, err := d.Storage(t.Context(), false); !errors.Is(err, ending.ErrRefused) {
		t.Errorf("there is no cluster: %v", err)
	}
}

func TestMayLeave_WhatTheInventorySaysNoTo(t *testing.T) {
	no := false
	for name, c := range map[string]struct {
		o    RemovalOptions
		says string // "" = it may
	}{
		"a host":                     {RemovalOptions{Hosts: []string{"host-3"}}, ""},
		"none":                       {RemovalOptions{}, "no host was named"},
		"not in the inventory":       {RemovalOptions{Hosts: []string{"host-9"}}, `inventory.yaml has no host "host-9"; it has host-1, host-2, host-3`},
		"forced, and not named":      {RemovalOptions{Hosts: []string{"host-3"}, ForceHosts: []string{"host-2"}}, "--force=host-2 names a host that is not one of host-3"},
		"forced, and nowhere":        {RemovalOptions{Hosts: []string{"host-3"}, ForceHosts: []string{"host-9"}}, "no host"},
		"not managed":                {RemovalOptions{Hosts: []string{"host-2"}}, "does not manage host-2"},
		"not managed, its node only": {RemovalOptions{Hosts: []string{"host-2"}, Offline: true}, ""},
	} {
		d, _ := newDesk(t)
		d.Cluster.Spec.Hosts[1].Managed = &no
		err := removal{d}.mayLeave(c.o)
		if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, ending.ErrRefused) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d, _ := newDesk(t)
	d.Cluster.Spec.Hosts[1].Managed = &no
	if err := refuseUnmanaged(d.Cluster, []string{"host-1", "host-3"}); err != nil {
		t.Errorf("managed ones: %v", err)
	}
	if err := refuseUnmanaged(d.Cluster, []string{"host-1", "host-2"}); !errors.Is(err, ending.ErrRefused) || !strings.Contains(err.Error(), "host-2") {
		t.Errorf("one that is not: %v", err)
	}
}

func TestClusterStays(t *testing.T) {
	members := []kube.EtcdMember{{ID: 1, Name: "host-1", Healthy: true}, {ID: 2, Name: "host-2", Healthy: true}}
	offline := RemovalOptions{Offline: true}
	silent := func(_ *Desk, a *fakeapi.API) { a.Failing["EtcdMembers"] = errors.New("away") }
	for name, c := range map[string]struct {
		leaves []string
		change func(*Desk, *fakeapi.API)
		says   string // "" = it may
		asked  int    // etcd was
		o      RemovalOptions
	}{
		"a worker":                       {leaves: []string{"host-3"}},
		"a control plane of two":         {leaves: []string{"host-2"}, asked: 1},
		"both":                           {leaves: []string{"host-1", "host-2"}, says: "no control plane"},
		"the other is not Ready":         {leaves: []string{"host-2"}, change: func(_ *Desk, a *fakeapi.API) { a.SetReady("host-1", false) }, says: "no control plane"},
		"it is the endpoint":             {leaves: []string{"host-2"}, change: func(d *Desk, _ *fakeapi.API) { d.Cluster.Spec.Kubernetes.Endpoint = "192.0.2.2:6443" }, says: "endpoint"},
		"the cluster says it is":         {leaves: []string{"host-2"}, change: func(_ *Desk, a *fakeapi.API) { a.Config.Endpoint = "192.0.2.2:6443" }, says: "endpoint"},
		"the other's member is not well": {leaves: []string{"host-2"}, change: func(_ *Desk, a *fakeapi.API) { a.Members[0].Healthy = false }, says: "quorum", asked: 1},
		"etcd is elsewhere":              {leaves: []string{"host-2"}, change: func(_ *Desk, a *fakeapi.API) { a.Config.Endpoint, a.Config.ExternalEtcd = "api.example:6443", true }},
		"a worker that is not asked":     {leaves: []string{"host-3"}, asked: 1, o: offline},
		"a worker, and etcd does not answer": {leaves: []string{"host-3"}, change: silent, o: offline,
			says: "whether etcd has a member of host-3, and would go on counting on it, is not known: on host-1: away"},
		"a worker that is named, and etcd does not answer": {leaves: []string{"host-3"}, change: silent, o: RemovalOptions{Offline: true, ForceHosts: []string{"host-3"}}},
		"a worker, and etcd is elsewhere":                  {leaves: []string{"host-3"}, change: func(_ *Desk, a *fakeapi.API) { a.Config.Endpoint, a.Config.ExternalEtcd = "api.example:6443", true }, o: offline},
		"a worker that is a member, and another is not well": {leaves: []string{"host-3"}, change: func(_ *Desk, a *fakeapi.API) {
			a.Members = append(a.Members, kube.EtcdMember{ID: 3, Name: "host-3", Healthy: true})
			a.Members[0].Healthy = false
		}, asked: 1, o: offline, says: "quorum"},
		"a worker that is a member, and the endpoint": {leaves: []string{"host-3"}, change: func(d *Desk, a *fakeapi.API) {
			a.Members = append(a.Members, kube.EtcdMember{ID: 3, Name: "host-3", Healthy: true})
			d.Cluster.Spec.Kubernetes.Endpoint = "host-3:6443"
		}, asked: 1, o: offline, says: "endpoint"},
		"etcd does not answer": {leaves: []string{"host-2"}, change: func(_ *Desk, a *fakeapi.API) { a.Failing["EtcdMembers"] = errors.New("away") }, says: "away"},
	} {
		d, api := newDesk(t)
		api.Members = slices.Clone(members)
		d.Cluster.Spec.Kubernetes.Endpoint = "api.example:6443"
		if c.change != nil {
			c.change(d, api)
		}
		d.API = api
		seen, those := leaving(d, api, c.leaves...)
		err := removal{d}.clusterStays(t.Context(), seen, those, c.o)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || api.EtcdAsked != c.asked {
			t.Errorf("%s: %v, etcd was asked %d times", name, err, api.EtcdAsked)
		}
		if err == nil && c.asked > 0 && !c.o.Offline && those[0].Member.ID != 2 {
			t.Errorf("%s: its member is %+v", name, those[0].Member)
		}
	}
}

func TestFindPods(t *testing.T) {
	pod := kube.DrainPod{Namespace: "default", Name: "bare", Unmanaged: true}
	for name, c := range map[string]struct {
		pods  []kube.DrainPod
		force bool
		found int
		want  error
	}{
		"none":                           {},
		"one that no one makes again":    {pods: []kube.DrainPod{pod}, found: 1, want: ending.ErrRefused},
		"the same, forced":               {pods: []kube.DrainPod{pod}, force: true, found: 1},
		"one that a controller replaces": {pods: []kube.DrainPod{{Namespace: "default", Name: "web"}}, found: 1},
	} {
		d, api := newDesk(t)
		d.API = api
		api.Evictable["host-3"] = c.pods
		_, those := leaving(d, api, "host-3")
		err := removal{d}.findPods(t.Context(), those, c.force)
		if !errors.Is(err, c.want) || c.want == nil && err != nil || len(those[0].Pods) != c.found {
			t.Errorf("%s: %v, %+v", name, err, those[0].Pods)
		}
	}
}

// Who is no node yet joins, and who an earlier run did not come to the end with.
func TestCandidates(t *testing.T) {
	for name, c := range map[string]struct {
		state    remembered
		unproven []string
		want     []string
	}{
		"no node yet":            {want: []string{"host-3"}},
		"a step is not finished": {state: remembered{unfinished: "host-2"}, want: []string{"host-2", "host-3"}},
		"it is not proven":       {unproven: []string{"host-2"}, want: []string{"host-2", "host-3"}},
	} {
		d, api := newDesk(t)
		delete(api.AllNodes, "host-3")
		d.State = c.state
		if err := proof.NoteUnproven(d.StateDir, c.unproven, true); err != nil {
			t.Fatal(err)
		}
		nodes, _ := api.Nodes(t.Context())
		hosts, err := growth{d}.candidates(facts.Cluster{Nodes: survey.NodeFacts(nodes)}, nil)
		if err != nil || !slices.Equal(names(hosts), c.want) {
			t.Errorf("%s: %q, %v", name, names(hosts), err)
		}
	}
}

// A run that changes nothing about storage asks no kernel.
func TestKernels_NoOneIsAsked(t *testing.T) {
	d, _ := newDesk(t)
	if _, _, asked, err := d.Kernels(t.Context(), survey.Seen{Cluster: d.Cluster, Hosts: seenPlain()}, plan.Plan{}, nil); asked || err != nil {
		t.Errorf("asked: %t, %v", asked, err)
	}
}
