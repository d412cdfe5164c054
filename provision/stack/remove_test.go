package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// leaving is the plan of a removal of n hosts: each is drained, then its join is undone, then its node.
func leaving(n int) plan.Plan {
	p := plan.Plan{Cluster: "test", Part: true}
	for i := range n {
		host := fmt.Sprintf("host-%d", i)
		var before []plan.ID
		for _, s := range []struct {
			kind   plan.Kind
			action plan.Action
		}{{plan.Drain, plan.Update}, {plan.Join, plan.Delete}, {plan.Node, plan.Delete}} {
			id := plan.HostID(host, s.kind)
			p.Steps = append(p.Steps, plan.Step{ID: id, Kind: s.kind, Host: host, DependsOn: before, Digest: plan.Digest(id), Action: s.action})
			before = []plan.ID{id}
		}
	}
	return p
}

func leave(t testing.TB, s *Store, w *world, p plan.Plan) ([]string, error) {
	t.Helper()
	changes, err := Remove(context.Background(), s, p, w, Options{})
	return summary(t, p, changes), err
}

func TestRemove_InThePlansOrderHostAfterHost(t *testing.T) {
	s, w := open(t, t.TempDir()), newWorld()
	_, err := up(t, s, w, fleet(3))
	ok(t, err)
	w.done()
	got, err := leave(t, s, w, leaving(3))
	ok(t, err)
	equal(t, "changes", got[:3], []string{"configured host-0/drain", "deleted host-0/join", "deleted host-0/node"})
	var want []string
	for i := range 3 {
		want = append(want, fmt.Sprintf("apply host-%d/drain", i), fmt.Sprintf("undo host-%d/join", i), fmt.Sprintf("undo host-%d/node", i))
	}
	equal(t, "done", w.done(), want)
	for id := range s.done {
		if id != "cluster/cni" {
			t.Errorf("the state still has %s", id)
		}
	}
}

func TestRemove_OneThatFailsHoldsUpItsOwnStepsAlone(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), leaving(3)
	w.errs["host-0/join"] = errors.New("the disk is away")
	p.Steps[8].DependsOn = append(p.Steps[8].DependsOn, "host-0/node")
	got, err := leave(t, s, w, p)
	is(t, err, ErrFailed)
	equal(t, "changes", got, []string{
		"configured host-0/drain", "failed host-0/join", "skipped host-0/node",
		"configured host-1/drain", "deleted host-1/join", "deleted host-1/node",
		"configured host-2/drain", "deleted host-2/join", "skipped host-2/node", // which needs one of host-0's
	})
	delete(w.errs, "host-0/join")
	w.done()
	got, err = leave(t, s, w, p)
	ok(t, err)
	if len(s.done) > 0 || !slices.Contains(got, "deleted host-2/node") {
		t.Errorf("again: %v, left in the state %v", got, s.done)
	}
}

func TestRemove_StopEndsBeforeTheNextStep(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), leaving(2)
	stop := make(chan struct{})
	w.onUndo = func(_ context.Context, st plan.Step) {
		if st.ID == "host-0/join" {
			close(stop)
		}
	}
	changes, err := Remove(context.Background(), s, p, w, Options{Stop: stop})
	is(t, err, context.Canceled)
	equal(t, "done", w.done(), []string{"apply host-0/drain", "undo host-0/join"})
	if len(changes) != len(p.Steps) || changes[2].Action != report.Skipped || changes[5].Action != report.Skipped {
		t.Errorf("changes %+v", changes)
	}
}

func TestRemove_EventsNameTheSteps(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), leaving(1)
	var said []string
	_, err := Remove(context.Background(), s, p, w, Options{Progress: sinkFunc(func(e report.Event) {
		said = append(said, string(e.Kind)+" "+e.Host+" "+e.Step+" "+string(e.Action))
	})})
	ok(t, err)
	equal(t, "events", said, []string{
		"started host-0 drain ", "done host-0 drain configured", "started host-0 join ", "done host-0 join deleted", "started host-0 node ", "done host-0 node deleted",
	})
}

type sinkFunc func(report.Event)

func (f sinkFunc) Event(e report.Event) { f(e) }
