package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
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

func TestRemove_FindsOutWhatTheInventoryCannotLose(t *testing.T) {
	r := newRun(t)
	r.file("inventory.yaml", strings.Replace(lab, "name: x86-1,", "name: x86-1, jump: arm-1,", 1))
	var errs []error
	r.front.Remove = func(_ context.Context, o provision.RemoveOptions) (provision.Result, error) {
		errs = []error{o.MayTakeOut([]string{"arm-1"}), o.MayTakeOut([]string{"x86-1"})}
		return provision.Result{Cluster: "lab"}, nil
	}
	r.want("remove arm-1 --yes", 0)
	if errs[0] == nil || !strings.Contains(errs[0].Error(), "arm-1 could not be taken out of inventory.yaml, which has to be mended first") || !strings.Contains(errs[0].Error(), "jump") || errs[1] != nil {
		t.Errorf("errors %v", errs)
	}
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

func TestStorageRemove_TakesStorageOutOfTheInventory(t *testing.T) {
	r := newRun(t)
	storage := "  storage:\n    ceph: {fsid: 4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b, monitors: ['10.0.0.5:6789'], rbd: {pool: kube, user: u, keyEnv: K, storageClass: c}}\n"
	r.file("inventory.yaml", strings.Replace(lab, "  hosts:\n", storage+"  hosts:\n", 1))
	r.front.StorageRemove = func(_ context.Context, o provision.StorageRemoveOptions) (provision.Result, error) {
		if !o.Force || !o.Ask(plan.Plan{Notes: []string{"it goes"}}) {
			t.Errorf("force %v", o.Force)
		}
		return provision.Result{Cluster: "lab", Changes: []report.Change{{Action: report.Deleted}, {Action: report.Unchanged}}}, o.TakeOut()
	}
	r.want("storage remove --yes --force", 0)
	contains(t, "stdout", r.stdout.String(), "ceph-csi left cluster lab, 1 object deleted; spec.storage was taken out of inventory.yaml\n")
	contains(t, "stderr", r.stderr.String(), "it goes\n")
	text, err := os.ReadFile("inventory.yaml")
	if err != nil || string(text) != lab {
		t.Errorf("%v\n%s", err, text)
	}
	r.want("storage remove", 2)
	r.front.StorageRemove = func(context.Context, provision.StorageRemoveOptions) (provision.Result, error) {
		return provision.Result{Cluster: "lab"}, fmt.Errorf("%w: pvc-1", provision.ErrVolumes)
	}
	r.want("storage remove --yes", 2)
	contains(t, "stderr", r.stderr.String(), "pvc-1")
}
