package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/golden"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestScaleOut_FlagsBecomeOptions(t *testing.T) {
	r := newRun(t)
	var o provision.ScaleOutOptions
	r.front.ScaleOut = func(_ context.Context, got provision.ScaleOutOptions) (provision.Result, error) {
		if o = got; !o.Ask(somePlan()) {
			return provision.Result{}, provision.ErrDeclined
		}
		return goodResult(), nil
	}
	r.want("scale-out --yes --host arm-1 --host x86-1 --arch aarch64 --conformance quick --report-dir /r --audit-registry a.test:5000,b.test --audit-registry c.test", 0)
	if !slices.Equal(o.AuditRegistries, []string{"a.test:5000", "b.test", "c.test"}) {
		t.Errorf("registries %q", o.AuditRegistries)
	}
	if !slices.Equal(o.Hosts, []string{"arm-1", "x86-1"}) || o.Arch != platform.ARM64 || o.Conformance != provision.ConformanceQuick || o.Proof.ReportDir != "/r" || o.Audit != provision.AuditBlock {
		t.Errorf("options %+v", o)
	}
	contains(t, "stderr", r.stderr.String(), "2 to create")
	r.terminal = &fakeTerminal{answers: []string{"n"}}
	r.want("scale-out", 1)
	contains(t, "stderr", r.stderr.String(), "nothing was done")
}

func TestScaleOut_ExitCodes(t *testing.T) {
	r := newRun(t)
	r.want("scale-out", 2)
	contains(t, "stderr", r.stderr.String(), "--yes")
	r.want("scale-out --yes --arch riscv64", 2)
	r.want("scale-out --yes --conformance never", 2)
	r.want("scale-out --yes --audit maybe", 2)
	for _, c := range []struct {
		err  error
		code int
	}{
		{provision.ErrRefused, 2}, {provision.ErrBundle, 2}, {provision.ErrPreflight, 3}, {provision.ErrPartial, 4}, {provision.ErrConformance, 5}, {provision.ErrLocked, 1},
	} {
		r.front.ScaleOut = func(context.Context, provision.ScaleOutOptions) (provision.Result, error) {
			return provision.Result{Cluster: "lab"}, fmt.Errorf("%w: why", c.err)
		}
		r.want("scale-out --yes", c.code)
		contains(t, "stderr", r.stderr.String(), ": why")
	}
	r.front.ScaleOut = func(context.Context, provision.ScaleOutOptions) (provision.Result, error) {
		return provision.Result{Cluster: "lab", Nothing: "every host of the inventory is a node already"}, nil
	}
	r.want("scale-out --yes", 0)
	contains(t, "stdout", r.stdout.String(), "cluster lab: nothing to do: every host of the inventory is a node already\n")
}

func TestScaleOut_Text(t *testing.T) {
	one := provision.Result{Cluster: "lab", Kubeconfig: "/k", Plan: plan.Plan{Part: true},
		Changes: []report.Change{{Host: "arm-1", Step: "arm-1/join", Kind: "join", Action: report.Created}},
		Hosts:   []provision.HostResult{{Name: "arm-1", Arch: "arm64", Action: report.Created}},
		Checks:  []report.Check{{Name: "quorum", Status: report.Warn, Message: "etcd will have 2 members"}},
	}
	var b bytes.Buffer
	if err := writeScaleOut(&b, one, true, false); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "scale-out.txt", b.String())
}

func TestScaleOut_AddWritesTheHostFirst(t *testing.T) {
	r := newRun(t)
	joined := 0
	r.front.ScaleOut = func(_ context.Context, o provision.ScaleOutOptions) (provision.Result, error) {
		if h, ok := o.Cluster.Host("new-1"); !ok || h.Address != "192.0.2.77" || h.Labels["rack"] != "a1" {
			t.Errorf("the inventory has %+v", h)
		}
		joined++
		return goodResult(), nil
	}
	const add = "scale-out --yes --add new-1=192.0.2.77,label=rack=a1"
	r.want(add, 0)
	contains(t, "stderr", r.stderr.String(), "+    - {name: new-1, address: 192.0.2.77")
	r.want(add, 0) // the same command again, after some hosts failed
	if joined != 2 {
		t.Errorf("scale-out ran %d times", joined)
	}
	r.want("scale-out --yes --add new-1=192.0.2.78", 2)
	r.want("scale-out --yes --add 192.0.2.79", 2)
	if joined != 2 {
		t.Error("scale-out ran although the host could not be added")
	}
}

func TestRemove_TakesTheHostOutOfTheInventory(t *testing.T) {
	r := newRun(t)
	r.front.Remove = func(_ context.Context, o provision.RemoveOptions) (provision.Result, error) {
		return goodResult(), o.TakeOut(o.Hosts[0])
	}
	r.want("inventory add new-1=192.0.2.77", 0)
	r.want("remove --yes new-1", 0)
	r.want("inventory ls", 0)
	if bytes.Contains(r.stdout.Bytes(), []byte("new-1")) {
		t.Errorf("new-1 is still there:\n%s", r.stdout.String())
	}
}

// What --add says of a host that is there already is not passed over in silence.
func TestScaleOut_AddDoesNotForgetItsWords(t *testing.T) {
	r := newRun(t)
	r.front.ScaleOut = func(context.Context, provision.ScaleOutOptions) (provision.Result, error) {
		return provision.Result{Cluster: "lab"}, provision.ErrPreflight
	}
	r.want("scale-out --yes --add arm-9=10.0.0.9", 3)
	contains(t, "stderr", r.stderr.String(), "inventory.yaml: written", "inventory.yaml has what was added: the same command goes on, hybridctl inventory rm takes it out")
	r.want("scale-out --yes --add arm-9=10.0.0.9,role=worker", 3)
	r.want("scale-out --yes --add arm-9=10.0.0.9,jump=x86-1,label=a=b", 2)
	contains(t, "stderr", r.stderr.String(), "arm-9 stands in inventory.yaml already, with another jump, label a", "hybridctl inventory set")
}
