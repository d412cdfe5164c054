package provision

import (
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestScaleOut_ProvisionersFollowTheWorkersAndUpHasNothingLeft(t *testing.T) {
	s := storageOn(t, 3, 1)
	before, was := s.connections(), s.api.CSI
	if !strings.Contains(was, "replicas: 1\n") {
		t.Fatal("one provisioner was to be there")
	}
	r, err := s.scaleOut(func(o *ScaleOutOptions) {
		o.Progress = sinkFunc(func(e report.Event) {
			if e.Host == "host-1" {
				t.Errorf("the old host: %+v", e)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	st, _ := r.Plan.Step(plan.ClusterID(plan.CSI))
	if st.Action != plan.Update || !strings.Contains(s.api.CSI, "replicas: 2\n") {
		t.Errorf("planned %q (%s)", st.Action, st.Reason)
	}
	s.wantAlone(before, "host-2", "host-3")
	if n := s.probes(); len(n) != 2 || n["host-1"] != 0 {
		t.Errorf("kernels asked: %v", n)
	}
	s.changed()
	if r := mustUp(t, s); r.Plan.Changes() != 0 || s.changed() != 0 {
		t.Errorf("the next up has %d changes", r.Plan.Changes())
	}
}

func TestScaleOut_AnEditOfStorageIsForUp(t *testing.T) {
	s := storageOn(t, 3, 1)
	was := s.api.CSI
	s.setKey("fs", "three")
	r, err := s.scaleOut(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Plan.Step(plan.ClusterID(plan.CSI)); ok || s.api.CSI != was {
		t.Errorf("ceph-csi was changed for every node")
	}
	if notes := strings.Join(r.Plan.Notes, "\n"); !strings.Contains(notes, `another ceph-csi than the cluster has: "hybridctl up"`) {
		t.Errorf("notes %q", notes)
	}
}

func TestScaleOut_DoesNotInstallStorage(t *testing.T) {
	s := grown(t, 2, 1).withCeph()
	r, err := s.scaleOut(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Plan.Step(plan.ClusterID(plan.CSI)); ok || s.api.CSI != "" || s.api.Waited != nil {
		t.Errorf("ceph-csi was installed by a scale-out; waited %v", s.api.Waited)
	}
	if notes := strings.Join(r.Plan.Notes, "\n"); !strings.Contains(notes, `not in the cluster yet: "hybridctl up" installs it`) {
		t.Errorf("notes %q", notes)
	}
}
