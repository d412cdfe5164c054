package stack

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

func TestUp_SecondRunDoesNothing(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(3)
	if s.InSync(w.look(p)) {
		t.Error("an empty state is in sync with a plan")
	}
	got, err := up(t, s, w, p)
	ok(t, err)
	equal(t, "first run", got, each(report.Created, p))
	if n := len(w.done()); n != len(p.Steps) {
		t.Errorf("%d steps were applied, want %d", n, len(p.Steps))
	}
	if !s.InSync(w.look(p)) {
		t.Error("after the run the state is not in sync")
	}
	if _, err := os.Stat(filepath.Join(dir, journalFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the journal was not folded: %v", err)
	}
	got, err = up(t, s, w, p)
	ok(t, err)
	equal(t, "second run", got, nil)
	equal(t, "done in the second run", w.done(), nil)
	if !s.InSync(w.look(p)) {
		t.Error("after the second run the state is not in sync")
	}
}

func TestUp_OrderIsThePlans(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(4)
	_, err := up(t, s, w, p)
	ok(t, err)
	log := w.done()
	for _, step := range p.Steps {
		for _, d := range step.DependsOn {
			if slices.Index(log, "apply "+string(d)) > slices.Index(log, "apply "+string(step.ID)) {
				t.Errorf("%s was applied before %s", step.ID, d)
			}
		}
	}
}

func TestUp_ChangedDigestIsAppliedAlone(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.done()
	p = change(p, "host-1/os")
	got, err := up(t, s, w, p)
	ok(t, err)
	equal(t, "changes", got, []string{"configured host-1/os"})
	equal(t, "done", w.done(), []string{"apply host-1/os"})
	if !s.InSync(w.look(p)) {
		t.Error("the new digest is not in the state")
	}
}

func TestUp_ChangedOrderIsSavedWithoutApplying(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(2)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.done()
	last := len(p.Steps) - 1
	p.Steps[last].DependsOn = []plan.ID{"host-1/join"}
	if s.InSync(w.look(p)) {
		t.Error("in sync although the order has changed")
	}
	_, err = up(t, s, w, p)
	ok(t, err)
	equal(t, "done", w.done(), nil)
	if !s.InSync(w.look(p)) {
		t.Error("the new order is not in the state")
	}
}

func TestUp_DriftIsAppliedAgain(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.done()
	delete(w.there, "host-0/runtime")   // the host was wiped
	w.there["host-1/os"] = "sha256:bad" // a file was edited
	if s.InSync(w.look(p)) {
		t.Error("in sync in spite of drift")
	}
	got, err := up(t, s, w, p)
	ok(t, err)
	equal(t, "changes", got, []string{"created host-0/runtime", "configured host-1/os"})
}

func TestUp_LostStateIsMadeAnewWithoutApplying(t *testing.T) {
	dir := t.TempDir()
	s, w, p := open(t, dir), newWorld(), fleet(3)
	_, err := up(t, s, w, p)
	ok(t, err)
	ok(t, s.Close())
	ok(t, os.RemoveAll(dir))
	w.done()
	s = open(t, dir)
	got, err := up(t, s, w, p)
	ok(t, err)
	equal(t, "changes", got, nil)
	equal(t, "done", w.done(), nil)
	if !s.InSync(w.look(p)) {
		t.Error("the state was not made anew")
	}
}

// What the plan found in place is recorded, and not done again.
func TestUp_WhatIsInPlaceIsOnlyRecorded(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(1)
	for _, step := range p.Steps[1:] {
		w.there[step.ID] = step.Digest
	}
	p = w.look(p)
	changes, err := Up(context.Background(), s, p, w, Options{})
	ok(t, err)
	equal(t, "changes", summary(t, p, changes), []string{"created host-0/os"})
	equal(t, "done", w.done(), []string{"apply host-0/os"})
	if !s.InSync(w.look(p)) {
		t.Error("the state does not have what was in place")
	}
}

func TestUp_RemovedStepsAreForgottenNotUndone(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(3)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.done()
	smaller := p
	smaller.Steps = slices.DeleteFunc(slices.Clone(p.Steps), func(s plan.Step) bool { return s.Host == "host-1" })
	got, err := up(t, s, w, smaller)
	ok(t, err)
	equal(t, "changes", got, nil)
	equal(t, "done", w.done(), nil)
	if !s.InSync(w.look(smaller)) {
		t.Error("the state still knows the removed host")
	}

	// host-0/join is what all others need: forgetting it must leave the rest sound.
	rest := plan.Plan{Cluster: p.Cluster}
	for _, step := range smaller.Steps {
		if step.ID != "host-0/join" {
			step.DependsOn = slices.DeleteFunc(slices.Clone(step.DependsOn), func(d plan.ID) bool { return d == "host-0/join" })
			rest.Steps = append(rest.Steps, step)
		}
	}
	_, err = up(t, s, w, rest)
	ok(t, err)
	equal(t, "done", w.done(), nil)
	if !s.InSync(w.look(rest)) {
		t.Error("the state is not the plan's")
	}
}

// The saved state stays sound when what a kept step needed is forgotten, and the run then stops before the kept step is reached.
func TestUp_ForgettingLeavesASoundState(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	_, err := up(t, s, w, p)
	ok(t, err)
	p.Steps = slices.DeleteFunc(slices.Clone(p.Steps), func(s plan.Step) bool { return s.Host == "host-0" || s.Host == "" })
	p.Steps[len(p.Steps)-1].DependsOn = []plan.ID{"host-1/runtime"}
	delete(w.there, "host-1/os")
	w.errs["host-1/os"] = errors.New("no")
	_, err = up(t, s, w, p)
	is(t, err, ErrFailed)
	if len(s.done) != 3 {
		t.Errorf("the state holds %v", s.done)
	}
	snap, err := s.snapshot(t.Context())
	ok(t, err)
	ok(t, snap.VerifyIntegrity())
}

func TestUp_RenamedClusterStartsAnew(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(1)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.done()
	p.Cluster = "other"
	_, err = up(t, s, w, p)
	ok(t, err)
	equal(t, "done", w.done(), nil)
}

func TestUp_FailureStopsOnlyWhatNeedsIt(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(3)
	boom := errors.New("containerd: exit status 1: {bold}no space{/bold}")
	w.errs["host-1/os"] = boom
	p = with(p, plan.Step{ID: "cluster/last", DependsOn: []plan.ID{"host-1/join", "host-2/join"}, Digest: "sha256:1"})
	changes, err := Up(context.Background(), s, w.look(p), w, Options{})
	is(t, err, ErrFailed)
	want := each(report.Created, p)
	want[3], want[4], want[5] = "failed host-1/os", "skipped host-1/runtime", "skipped host-1/join"
	want[len(want)-1] = "skipped cluster/last"
	equal(t, "changes", summary(t, p, changes), want)
	if changes[3].Error != boom.Error() {
		t.Errorf("the error was rewritten to %q", changes[3].Error)
	}
	for _, i := range []int{4, 5, len(changes) - 1} {
		if changes[i].Detail != "needs host-1/os, which failed" {
			t.Errorf("the cause of %s is given as %q", changes[i].Step, changes[i].Detail)
		}
	}

	w.done()
	delete(w.errs, "host-1/os")
	got, err := up(t, s, w, p)
	ok(t, err)
	equal(t, "resumed", got, []string{"created host-1/os", "created host-1/runtime", "created host-1/join", "created cluster/last"})
	if !s.InSync(w.look(p)) {
		t.Error("not in sync after all is done")
	}
}

// A step that fails when it is to be changed keeps what depends on it in the state, and does not undo it.
func TestUp_FailedUpdateKeepsDependents(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.done()
	changed := change(change(p, "host-0/join"), "host-1/os")
	w.errs["host-0/join"] = errors.New("no")
	got, err := up(t, s, w, changed)
	is(t, err, ErrFailed)
	equal(t, "changes", got, []string{"failed host-0/join", "configured host-1/os"})
	if len(s.done) != len(p.Steps) {
		t.Errorf("the state holds %d steps, want %d", len(s.done), len(p.Steps))
	}
	w.done()
	delete(w.errs, "host-0/join")
	_, err = up(t, s, w, changed)
	ok(t, err)
	equal(t, "done", w.done(), []string{"apply host-0/join"})
}

// An executor may report failure in the change instead of the error.
type reporting struct{ *world }

func (r reporting) Apply(context.Context, plan.Step) (report.Change, error) {
	return report.Change{Action: report.Failed, Error: "it said so"}, nil
}

func TestUp_FailedChangeIsAFailure(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(1)
	changes, err := Up(context.Background(), s, p, reporting{w}, Options{})
	is(t, err, ErrFailed)
	if c := changes[0]; c.Action != report.Failed || c.Error != "it said so" {
		t.Errorf("got %+v", c)
	}
}

func TestUp_PanicBecomesAnError(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	w.onApply = func(_ context.Context, s plan.Step) {
		if s.ID == "host-1/os" {
			panic("index out of range")
		}
	}
	changes, err := Up(context.Background(), s, p, w, Options{})
	is(t, err, ErrFailed)
	if c := changes[3]; c.Action != report.Failed || c.Error != "internal error, please report it: index out of range" {
		t.Errorf("got %+v", c)
	}
	if changes[2].Action != report.Created {
		t.Errorf("the other host did not go on: %+v", changes[2])
	}
}

func TestUp_RefusesImpossiblePlans(t *testing.T) {
	s, w := open(t, t.TempDir()), newWorld()
	for want, steps := range map[string][]plan.Step{
		"the plan has step a twice":                         {{ID: "a"}, {ID: "a"}},
		"the plan has step a before b, which it depends on": {{ID: "a", DependsOn: []plan.ID{"b"}}, {ID: "b"}},
	} {
		p := plan.Plan{Cluster: "c", Steps: steps}
		if _, err := Up(context.Background(), s, p, w, Options{}); err == nil || err.Error() != want {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
	bad := plan.Plan{Cluster: "no/name", Steps: fleet(1).Steps}
	if _, err := Up(context.Background(), s, bad, w, Options{}); err == nil {
		t.Error("a name that the engine cannot use was taken")
	}
	equal(t, "done", w.done(), nil)
}

// What a step waits for in one run is an order and no dependency: the step behind one that failed is left, and the next run is in sync without it.
func TestUp_BehindIsForThisRun(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(3)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.done()
	rolled := change(change(p, "host-1/runtime"), "host-2/runtime")
	behind := slices.IndexFunc(rolled.Steps, func(s plan.Step) bool { return s.ID == "host-2/runtime" })
	rolled.Steps[behind].Behind = []plan.ID{"host-1/runtime"}
	w.errs["host-1/runtime"] = errors.New("no space")
	_, err = Up(context.Background(), s, w.look(rolled), w, Options{})
	is(t, err, ErrFailed)
	if slices.Contains(w.done(), "apply host-2/runtime") {
		t.Error("the step behind a failed one was applied")
	}
	delete(w.errs, "host-1/runtime")
	_, err = up(t, s, w, rolled)
	ok(t, err)
	log := w.done()
	if first, second := slices.Index(log, "apply host-1/runtime"), slices.Index(log, "apply host-2/runtime"); first < 0 || second < first {
		t.Errorf("done: %v", log)
	}
	rolled.Steps[behind].Behind = nil
	if !s.InSync(w.look(rolled)) {
		t.Error("not in sync without the order of the run before")
	}
	if err := s.Forget(context.Background(), "test", "host-1"); err != nil {
		t.Error(err)
	}
}
