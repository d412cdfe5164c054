package stack

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// partOf keeps the steps of these hosts.
func partOf(p plan.Plan, hosts ...string) plan.Plan {
	p.Part = true
	p.Steps = slices.DeleteFunc(slices.Clone(p.Steps), func(s plan.Step) bool { return !slices.Contains(hosts, s.Host) })
	return p
}

func TestUp_PartAddsItsStepsAndKeepsTheOthers(t *testing.T) {
	dir := t.TempDir()
	s, w := open(t, dir), newWorld()
	_, err := up(t, s, w, partOf(fleet(3), "host-0", "host-1"))
	ok(t, err)
	w.done()
	got, err := up(t, s, w, partOf(fleet(3), "host-2"))
	ok(t, err)
	equal(t, "changes", got, []string{"created host-2/os", "created host-2/runtime", "created host-2/join"})
	equal(t, "done", w.done(), []string{"apply host-2/os", "apply host-2/runtime", "apply host-2/join"})
	if !s.InSync(w.look(partOf(fleet(3), "host-2"))) {
		t.Error("the state does not hold the part")
	}
	_, err = up(t, s, w, fleet(3)) // adds the cluster's own step
	ok(t, err)
	equal(t, "done by the whole plan", w.done(), []string{"apply cluster/cni"})
	if !s.InSync(w.look(fleet(3))) {
		t.Error("after parts and the whole the state is not in sync")
	}
}

func TestUp_WholeAfterPartsIsInSync(t *testing.T) {
	dir := t.TempDir()
	s, w := open(t, dir), newWorld()
	_, err := up(t, s, w, fleet(2))
	ok(t, err)
	// host-2 comes as a part, with the join that needs host-0's
	_, err = up(t, s, w, partOf(fleet(3), "host-2"))
	ok(t, err)
	if !s.InSync(w.look(fleet(3))) {
		t.Error("up would have something to do although a part did it")
	}
	ok(t, s.Close())
	s = open(t, dir)
	if !s.InSync(w.look(fleet(3))) {
		t.Error("the state on the disk is another")
	}
}

func TestDestroy_PartTakesItsStepsAlone(t *testing.T) {
	s, w := open(t, t.TempDir()), newWorld()
	_, err := up(t, s, w, fleet(3))
	ok(t, err)
	w.done()
	_, err = destroy(t, s, w, partOf(fleet(3), "host-1"))
	ok(t, err)
	equal(t, "done", w.done(), []string{"undo host-1/join", "undo host-1/runtime", "undo host-1/os"})
	if left := len(s.done); left != 7 {
		t.Errorf("the state holds %d steps, want the 7 of the others", left)
	}
	_, err = up(t, s, w, fleet(3))
	ok(t, err)
	equal(t, "done again", w.done(), []string{"apply host-1/os", "apply host-1/runtime", "apply host-1/join"})
	if !s.InSync(w.look(fleet(3))) {
		t.Error("the state is not in sync")
	}
}

func TestDestroy_PartForgetsWhatItDoesNotNameOfAHostThatIsGone(t *testing.T) {
	s, w := open(t, t.TempDir()), newWorld()
	_, err := up(t, s, w, fleet(2))
	ok(t, err)
	p := partOf(fleet(2), "host-1")
	p.Steps = p.Steps[:2] // not its join
	_, err = destroy(t, s, w, p)
	ok(t, err)
	if s.Unfinished("host-1") || len(s.done) != 4 {
		t.Errorf("the state holds %d steps, want the 4 that are not host-1's", len(s.done))
	}
	ok(t, s.Forget(t.Context(), "test", "host-0"))
	if len(s.done) != 1 {
		t.Errorf("the state holds %d steps, want the cluster's own", len(s.done))
	}
	_, err = up(t, s, w, fleet(2)) // the engine takes what is left
	ok(t, err)
}

// TestFold_PartTwice: a crash between the save and the journal's removal makes the next run fold again.
func TestFold_PartTwice(t *testing.T) {
	dir := t.TempDir()
	s, w := open(t, dir), newWorld()
	_, err := up(t, s, w, fleet(2))
	ok(t, err)
	var journal string
	part := partOf(fleet(3), "host-2")
	ex := &keepJournal{world: w, path: filepath.Join(dir, journalFile), t: t, text: &journal}
	_, err = Up(t.Context(), s, w.look(part), ex, Options{})
	ok(t, err)
	ok(t, s.Close())
	write(t, journal, dir, journalFile) // as it was before the last step ended
	s = open(t, dir)
	if n := len(s.done); n != 9 {
		t.Errorf("the state holds %d steps, want the 7 of before and 2 of the part's", n)
	}
	if _, there := s.done["host-2/join"]; there {
		t.Error("the step that was cut off counts as done")
	}
}

// keepJournal reads the journal while the part's last step is at work.
type keepJournal struct {
	*world
	t    *testing.T
	path string
	text *string
}

func (k *keepJournal) Apply(ctx context.Context, s plan.Step) (report.Change, error) {
	if s.Kind == plan.Join {
		*k.text = read(k.t, k.path)
	}
	return k.world.Apply(ctx, s)
}
