package stack

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// reversed fails unless each step was undone after all that depend on it.
func reversed(t *testing.T, p plan.Plan, log []string) {
	t.Helper()
	for _, step := range p.Steps {
		for _, d := range step.DependsOn {
			if slices.Index(log, "undo "+string(d)) < slices.Index(log, "undo "+string(step.ID)) {
				t.Errorf("%s was undone before %s", d, step.ID)
			}
		}
	}
}

func TestDestroy_UndoesInReverse(t *testing.T) {
	for name, lost := range map[string]bool{"with state": false, "state lost": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, w, p := open(t, dir), newWorld(), fleet(3)
			_, err := up(t, s, w, p)
			ok(t, err)
			w.done()
			if lost {
				ok(t, s.Close())
				ok(t, os.RemoveAll(dir))
				s = open(t, dir)
			}
			got, err := destroy(t, s, w, p)
			ok(t, err)
			equal(t, "changes", got, each(report.Deleted, p))
			log := w.done()
			if len(log) != len(p.Steps) {
				t.Errorf("done: %v", log)
			}
			reversed(t, p, log)
			if len(w.there) != 0 || len(s.done) != 0 {
				t.Errorf("left on hosts %v, in the state %v", w.there, s.done)
			}
			if !s.InSync(plan.Plan{Cluster: p.Cluster}) {
				t.Error("the state is not empty")
			}
		})
	}
}

// What an interrupted step left behind is in no state, and is undone even so.
func TestDestroy_UndoesWhatTheStateDoesNotKnow(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	w.errs["host-1/runtime"] = errors.New("half done")
	_, err := up(t, s, w, p)
	is(t, err, ErrFailed)
	w.done()
	clear(w.errs)
	_, err = destroy(t, s, w, p)
	ok(t, err)
	log := w.done()
	if !slices.Contains(log, "undo host-1/runtime") {
		t.Errorf("done: %v", log)
	}
	reversed(t, p, log)
}

func TestDestroy_OrderIsThePlansNotTheStates(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.done()
	p.Steps[len(p.Steps)-1].DependsOn = []plan.ID{"host-1/join"}
	_, err = destroy(t, s, w, p)
	ok(t, err)
	reversed(t, p, w.done())
}

func TestDestroy_FailingHostStaysAndTheNextRunFinishes(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(3)
	_, err := up(t, s, w, p)
	ok(t, err)
	w.done()
	w.errs["host-1/runtime"] = errors.New("host-1 does not answer")
	got, err := destroy(t, s, w, p)
	is(t, err, ErrFailed)
	want := each(report.Deleted, p)
	want[3], want[4] = "skipped host-1/os", "failed host-1/runtime"
	equal(t, "changes", got, want)
	if len(s.done) != 2 || s.done["host-1/runtime"].Digest == "" || s.done["host-1/os"].Digest == "" {
		t.Errorf("the state holds %v", s.done)
	}
	w.done()
	clear(w.errs)
	_, err = destroy(t, s, w, p)
	ok(t, err)
	if len(w.there) != 0 || len(s.done) != 0 {
		t.Errorf("left on hosts %v, in the state %v", w.there, s.done)
	}
}

func TestDestroy_CauseIsTheDependent(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(1)
	w.errs["host-0/join"] = errors.New("no")
	changes, err := Destroy(t.Context(), s, p, w, Options{})
	is(t, err, ErrFailed)
	for i, want := range []string{"needs host-0/join, which failed", "needs host-0/join, which failed", ""} {
		if changes[i].Detail != want {
			t.Errorf("%s: detail %q, want %q", changes[i].Step, changes[i].Detail, want)
		}
	}
}

func TestDestroy_ThenUp(t *testing.T) {
	s, w, p := open(t, t.TempDir()), newWorld(), fleet(2)
	for range 2 {
		got, err := up(t, s, w, p)
		ok(t, err)
		equal(t, "up", got, each(report.Created, p))
		_, err = destroy(t, s, w, p)
		ok(t, err)
	}
}
