package ending

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

func change(host string, kind plan.Kind, action report.Action, err string) report.Change {
	return report.Change{Host: host, Step: host + "/" + string(kind), Kind: string(kind), Action: action, Error: err}
}

func TestHosts_TheStrongestOfTheirSteps(t *testing.T) {
	failed := change("a", plan.Kind("runtime"), report.Failed, "no space")
	failed.Hint = "make room"
	away := hint.With(errors.New("no route to host"), "look at the cable")
	for name, c := range map[string]struct {
		seen    facts.Host
		changes []report.Change
		want    HostResult
	}{
		"no step":            {want: HostResult{Action: report.Unchanged}},
		"some created":       {changes: []report.Change{change("a", "os", report.Created, ""), change("a", "runtime", report.Unchanged, ""), change("a", "images", report.Configured, "")}, want: HostResult{Action: report.Created}},
		"deleted":            {changes: []report.Change{change("a", "join", report.Deleted, ""), change("a", "os", report.Created, "")}, want: HostResult{Action: report.Deleted}},
		"another host's":     {changes: []report.Change{change("b", "os", report.Failed, "no")}, want: HostResult{Action: report.Unchanged}},
		"the first failure":  {changes: []report.Change{change("a", "os", report.Created, ""), failed, change("a", "join", report.Failed, "later")}, want: HostResult{Action: report.Failed, Error: "runtime: no space", Hint: "make room", Next: "hybridctl up"}},
		"skipped":            {changes: []report.Change{change("a", "os", report.Deleted, ""), change("a", "join", report.Skipped, "")}, want: HostResult{Action: report.Skipped, Next: "hybridctl up"}},
		"it was not reached": {seen: facts.Host{Err: away}, changes: []report.Change{change("a", "os", report.Skipped, "")}, want: HostResult{Action: report.Failed, Error: "no route to host", Hint: "look at the cable", Next: "hybridctl up"}},
		"its architecture":   {seen: facts.Host{Arch: "arm64"}, want: HostResult{Action: report.Unchanged, Arch: "arm64"}},
	} {
		c.want.Name = "a"
		if got := Hosts([]inventory.Host{{Name: "a"}}, map[string]facts.Host{"a": c.seen}, c.changes, "hybridctl up"); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if got := Hosts([]inventory.Host{{Name: "b"}, {Name: "a"}}, nil, nil, ""); got[0].Name != "b" || got[1].Name != "a" {
		t.Errorf("not in their order: %+v", got)
	}
}

func TestPartial(t *testing.T) {
	no := errors.New("no")
	one := []HostResult{{Name: "a"}, {Name: "b", Error: "no"}}
	for name, c := range map[string]struct {
		err   error
		hosts []HostResult
		says  string // "" = no error
	}{
		"all is well":       {nil, one[:1], ""},
		"a host failed":     {nil, one, "stopped part-way: 1 of 2 hosts failed"},
		"and the run too":   {no, one, "stopped part-way: 1 of 2 hosts failed"},
		"the run alone":     {no, one[:1], "stopped part-way: no"},
		"without any hosts": {no, nil, "stopped part-way: no"},
	} {
		err := Partial(c.err, c.hosts)
		if (err == nil) != (c.says == "") || err != nil && (err.Error() != c.says || !errors.Is(err, ErrPartial)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Partial(no, nil); !errors.Is(err, no) {
		t.Errorf("what failed is lost: %v", err)
	}
}

func TestMembers_AndUnfinished(t *testing.T) {
	seen := map[string]facts.Host{"away": {Err: errors.New("no route")}}
	changes := []report.Change{
		change("b", plan.Join, report.Created, ""), change("a", plan.Init, report.Unchanged, ""), change("c", plan.Join, report.Failed, "no"), change("d", plan.Join, report.Skipped, ""),
		change("away", plan.Join, report.Unchanged, ""), change("e", "os", report.Created, ""), change("c", "labels", report.Skipped, ""),
	}
	if got := Members(seen, changes); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("members %q", got)
	}
	if got := Unfinished(changes); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("unfinished %q", got)
	}
}

func TestLostControlPlane(t *testing.T) {
	c := &inventory.Cluster{}
	c.Spec.Hosts = []inventory.Host{{Name: "cp", Role: inventory.ControlPlane}, {Name: "w", Role: inventory.Worker}}
	for name, test := range map[string]struct {
		change report.Change
		lost   bool
	}{
		"it was reset":          {change("cp", plan.Init, report.Deleted, ""), true},
		"one that joined":       {change("cp", plan.Join, report.Deleted, ""), true},
		"a worker":              {change("w", plan.Join, report.Deleted, ""), false},
		"another of its steps":  {change("cp", "images", report.Deleted, ""), false},
		"it could not be reset": {change("cp", plan.Init, report.Failed, "no"), false},
	} {
		if got := LostControlPlane(c, []report.Change{test.change}); got != test.lost {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestUnchanged_EveryStep(t *testing.T) {
	p := plan.Plan{Steps: []plan.Step{{ID: "a/os", Host: "a", Kind: "os"}, {ID: "cluster/cni", Kind: "cni"}}}
	got := Unchanged(p)
	if len(got) != 2 || got[0] != (report.Change{Host: "a", Step: "a/os", Kind: "os", Action: report.Unchanged}) || got[1].Host != "" {
		t.Errorf("%+v", got)
	}
}

func TestRefused(t *testing.T) {
	no := errors.New("no")
	if err := Refused(nil); err != nil {
		t.Errorf("nothing is refused: %v", err)
	}
	if err := Refused(no); !errors.Is(err, ErrRefused) || !errors.Is(err, no) {
		t.Error(err)
	}
}

func TestVolumes_SaysWhereTheyStay(t *testing.T) {
	rbd := inventory.Ceph{RBD: inventory.CephRBD{Pool: "kube"}}
	both := inventory.Ceph{RBD: inventory.CephRBD{Pool: "kube"}, CephFS: inventory.CephFS{FSName: "shared"}}
	if err := Volumes(inventory.Storage{Ceph: []inventory.Ceph{rbd}}, nil, "the cluster is deleted"); err != nil {
		t.Errorf("there are none: %v", err)
	}
	for want, s := range map[string]inventory.Storage{
		"stays in Ceph":                     {},
		"stays in the pool kube":            {Ceph: []inventory.Ceph{rbd}},
		"the pool kube or the file system ": {Ceph: []inventory.Ceph{both}},
	} {
		err := Volumes(s, []string{"pvc-1"}, "the cluster is deleted")
		if !errors.Is(err, ErrVolumes) || !strings.Contains(hint.Text(err), want) || !strings.Contains(err.Error(), "pvc-1") || !strings.Contains(hint.Text(err), "with --force the cluster is deleted") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := PerhapsVolumes(errors.New("away"), "the cluster is deleted"); !errors.Is(err, ErrVolumes) || !strings.HasSuffix(err.Error(), "perhaps: the API server could not be asked (away)") ||
		!strings.HasPrefix(hint.Text(err), "with --force the cluster is deleted anyway") {
		t.Error(err)
	}
}
