package cli

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestRemove_FlagsBecomeOptions(t *testing.T) {
	r := newRun(t)
	var o provision.RemoveOptions
	r.front.Remove = func(_ context.Context, got provision.RemoveOptions) (provision.Result, error) {
		if o = got; !o.Ask(plan.Plan{Notes: []string{"x86-1: its node is cordoned"}}) {
			return provision.Result{}, provision.ErrDeclined
		}
		return provision.Result{Cluster: "lab"}, nil
	}
	r.want("remove x86-1 arm-1 --yes --force --offline --timeout 90s --break-lock", 0)
	if !slices.Equal(o.Hosts, []string{"x86-1", "arm-1"}) || !o.Force || !o.Offline || o.Timeout != 90*time.Second || !o.BreakLock {
		t.Errorf("options %+v", o)
	}
	contains(t, "stderr", r.stderr.String(), "x86-1: its node is cordoned")
	r.terminal = &fakeTerminal{answers: []string{""}}
	r.want("remove x86-1", 1)
	contains(t, "stderr", r.stderr.String(), "nothing was done")
}

func TestRemove_Usage(t *testing.T) {
	r := newRun(t)
	r.want("remove", 2)
	contains(t, "stderr", r.stderr.String(), "names of hosts")
	r.want("remove x86-1", 2)
	contains(t, "stderr", r.stderr.String(), "--yes")
	r.want("remove x86-1 --yes --timeout 0s", 2)
}

func TestRemove_Text(t *testing.T) {
	var b bytes.Buffer
	err := writeRemove(&b, provision.Result{
		Cluster: "lab", Notes: []string{"x86-1 is still in /i.yaml: take it out there"},
		Changes: []report.Change{{Host: "x86-1", Kind: "cordon", Action: report.Configured}, {Host: "x86-1", Kind: "node", Action: report.Deleted}},
		Hosts:   []provision.HostResult{{Name: "x86-1", Arch: "amd64", Action: report.Deleted}},
	}, true, false)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "remove.txt", b.String())
}
