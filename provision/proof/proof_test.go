package proof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// images is an API server that knows which images nodes have, and no more.
type images struct {
	API
	of map[string][][]string
}

func (a images) NodeImages(context.Context) (map[string][][]string, error) { return a.of, nil }

func TestWithoutProbe_NodesThatAreNotManagedAndLackTheImage(t *testing.T) {
	no := false
	c := &inventory.Cluster{Spec: inventory.Spec{Hosts: []inventory.Host{{Name: "host-1", Managed: &no}, {Name: "host-2", Managed: &no}, {Name: "host-3"}}}}
	ref := "registry.example/probe:1"
	has := map[string][][]string{"host-1": {{"a", ref}}, "host-2": {{"a"}}, "host-3": {}}
	o := Options{Cluster: c, API: images{of: has}}
	without := o.withoutProbe(context.Background(), ref)
	has["stranger"], has["equipped"] = [][]string{{"a"}}, [][]string{{ref}} // nodes that are not in the inventory
	if without := o.withoutProbe(context.Background(), ref); len(without) != 2 || !strings.Contains(without["stranger"], "is not in the inventory: load "+ref) {
		t.Errorf("nodes that nobody named: %v", without)
	}
	delete(has, "stranger")
	if len(without) != 1 || !strings.Contains(without["host-2"], ref) {
		t.Errorf("%v", without)
	}
	has["host-2"] = make([][]string, maxReportedImages)
	if without := o.withoutProbe(context.Background(), ref); len(without) != 0 {
		t.Errorf("a node that does not report all its images: %v", without)
	}
}

// empty is an API server with a node that is not Ready, on which nothing can be tried.
type empty struct{ API }

func (empty) TakeLease(context.Context, kube.LeaseOptions) error        { return nil }
func (empty) ReleaseLease(context.Context, kube.LeaseOptions) error     { return nil }
func (empty) NodeImages(context.Context) (map[string][][]string, error) { return nil, nil }
func (empty) Namespaces(context.Context, string) ([]string, error)      { return nil, nil }
func (empty) Services(context.Context, string) ([]kube.Service, error)  { return nil, nil }
func (empty) DeleteNamespace(context.Context, string) error             { return nil }
func (empty) Nodes(context.Context) ([]kube.Node, error) {
	return []kube.Node{{Name: "host-1", Arch: "arm64"}}, nil
}
func (empty) Apply(context.Context, []byte, kube.ApplyOptions) ([]kube.ObjectChange, error) {
	return nil, nil
}
func (empty) Volumes(context.Context, []string) ([]kube.Volume, error) { return nil, nil }
func (empty) WaitNoVolumes(context.Context, string, string, kube.WaitOptions) error {
	return nil
}
func (empty) WaitPods(ctx context.Context, _ string, _ func([]kube.Pod, []kube.Event) []kube.Missing, _ kube.WaitOptions) error {
	<-ctx.Done()
	return ctx.Err()
}

// What a run came to is its error: one of which nothing could be tried is no pass. Its report is written even so.
func TestRun_NothingCouldBeTried(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	dir, err := report.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle.Bundle{Manifest: bundle.Manifest{Images: []bundle.Image{{Component: bundle.Probe, Ref: "registry.example/probe:1"}}}}
	o := Options{Wish: Wish{Checks: []string{"S9"}}, API: empty{}, Cluster: &inventory.Cluster{}, Bundle: b, Event: func(report.Event) {}}
	run, err := Run(t.Context(), o, dir)
	if !errors.Is(err, conformance.ErrUnproven) || len(run.Cells) == 0 || run.Error != "" {
		t.Errorf("error %v, %+v", err, run)
	}
	if written, err := os.ReadDir(path); err != nil || len(written) == 0 {
		t.Errorf("%v, %v", written, err)
	}
}

// The DaemonSets that every node has to have are named where hybridctl made them: one that is missing is no pass.
func TestDaemonSets_ByName(t *testing.T) {
	const proxy, flannel = "kube-system/kube-proxy", "kube-flannel/kube-flannel-ds"
	no := false
	for name, c := range map[string]struct {
		cni   string
		first inventory.Host
		want  []string
	}{
		"flannel":           {inventory.CNIFlannel, inventory.Host{}, []string{proxy, flannel}},
		"another's network": {inventory.CNINone, inventory.Host{}, []string{proxy}},
		"adopted":           {inventory.CNIFlannel, inventory.Host{Managed: &no}, nil},
	} {
		c.first.Role = inventory.ControlPlane
		got := daemonSets(&inventory.Cluster{Spec: inventory.Spec{CNI: inventory.CNI{Provider: c.cni}, Hosts: []inventory.Host{c.first}}})
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

type untainted []string

func (u *untainted) Untaint(_ context.Context, node, key string) error {
	*u = append(*u, node+" "+key)
	return nil
}

func TestLetIn_WhatIsProvenAlone(t *testing.T) {
	run := &report.ConformanceRun{}
	for name, c := range map[string]struct {
		run      *report.ConformanceRun
		unproven error
		want     untainted
	}{
		"no one looked": {},
		"proven":        {run, nil, untainted{"a hybridctl.dev/not-proven", "b hybridctl.dev/not-proven"}},
		"a cell failed": {run, ErrFailed, nil},
		"interrupted":   {nil, context.Canceled, nil},
	} {
		var u untainted
		notes, err := LetIn(t.Context(), &u, []string{"a", "b"}, c.run, c.unproven)
		if err != nil || !slices.Equal(u, c.want) || (len(notes) == 0) != (len(c.want) > 0) {
			t.Errorf("%s: %v, notes %q, done %q", name, err, notes, u)
		}
		if len(notes) > 0 && !strings.Contains(notes[0], "kubectl taint nodes a b hybridctl.dev/not-proven-") {
			t.Errorf("%s: %q", name, notes)
		}
	}
}

func TestEnded(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{{nil, true}, {fmt.Errorf("%w: 2 cells", ErrFailed), true}, {conformance.ErrFlaky, true}, {conformance.ErrSetup, false}, {context.Canceled, false}, {conformance.ErrUnproven, false}} {
		if got := Ended(c.err); got != c.want {
			t.Errorf("%v: %t", c.err, got)
		}
	}
}

func TestLeftGuarded_NamesTheNodes(t *testing.T) {
	nodes := []kube.Node{{Name: "a", Taints: []string{"x=y:NoExecute"}}, {Name: "b", Taints: []string{GuardTaint.Key + ":NoSchedule"}}}
	got := LeftGuarded(nodes, nil)
	if len(got) != 1 || !strings.Contains(got[0], "kubectl taint nodes b hybridctl.dev/not-proven-") || strings.Contains(got[0], "nodes a") {
		t.Errorf("%q", got)
	}
	for name, got := range map[string][]string{"not guarded": LeftGuarded(nodes[:1], nil), "proven now": LeftGuarded(nodes, []string{"b"})} {
		if len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestUnproven_IsKeptUntilItIsTakenAway(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []struct {
		hosts []string
		are   bool
		want  []string
	}{{nil, true, nil}, {[]string{"a", "b"}, true, []string{"a", "b"}}, {[]string{"b", "c"}, true, []string{"a", "b", "c"}}, {[]string{"a", "c"}, false, []string{"b"}}, {[]string{"b"}, false, nil}} {
		if err := NoteUnproven(dir, step.hosts, step.are); err != nil {
			t.Fatal(err)
		}
		if got, err := Unproven(dir); err != nil || !slices.Equal(got, step.want) {
			t.Errorf("%+v: %q, %v", step, got, err)
		}
	}
}
