package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// world plays the hosts: what is on them, and what was done to them.
type world struct {
	mu      sync.Mutex
	there   map[plan.ID]string // digest of each step in place
	log     []string           // "apply ID", "undo ID", in the order they ended
	errs    map[plan.ID]error
	onApply func(context.Context, plan.Step)
	onUndo  func(context.Context, plan.Step)
}

func newWorld() *world {
	return &world{there: map[plan.ID]string{}, errs: map[plan.ID]error{}}
}

func (w *world) Apply(ctx context.Context, s plan.Step) (report.Change, error) {
	if w.onApply != nil {
		w.onApply(ctx, s)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, "apply "+string(s.ID))
	if err := w.errs[s.ID]; err != nil {
		return report.Change{}, err
	}
	if err := ctx.Err(); err != nil {
		return report.Change{}, err
	}
	w.there[s.ID] = s.Digest
	return report.Change{Detail: "did " + string(s.ID)}, nil
}

func (w *world) Undo(ctx context.Context, s plan.Step) (report.Change, error) {
	if w.onUndo != nil {
		w.onUndo(ctx, s)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, "undo "+string(s.ID))
	if err := w.errs[s.ID]; err != nil {
		return report.Change{}, err
	}
	delete(w.there, s.ID)
	return report.Change{}, nil
}

// done returns what was done since the last call.
func (w *world) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log
	w.log = nil
	return log
}

// look sets the actions of the plan to what the world asks for, as plan.Build does from the facts.
func (w *world) look(p plan.Plan) plan.Plan {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.Steps = slices.Clone(p.Steps)
	for i, s := range p.Steps {
		switch w.there[s.ID] {
		case s.Digest:
			p.Steps[i].Action = plan.Unchanged
		case "":
			p.Steps[i].Action = plan.Create
		default:
			p.Steps[i].Action = plan.Update
		}
	}
	return p
}

// fleet is a plan of n hosts: each a chain of os, runtime, join, where joins need the first host's; and a step of the cluster.
func fleet(n int) plan.Plan {
	p := plan.Plan{Cluster: "test"}
	for i := range n {
		host := fmt.Sprintf("host-%d", i)
		var before []plan.ID
		for _, kind := range []plan.Kind{plan.OS, plan.Runtime, plan.Join} {
			if kind == plan.Join && i > 0 {
				before = append(before, "host-0/join")
			}
			id := plan.ID(host + "/" + string(kind))
			p.Steps = append(p.Steps, plan.Step{
				ID: id, Kind: kind, Host: host, DependsOn: before, Digest: plan.Digest(id), Action: plan.Create,
				Inputs: map[string]string{"body": "swordfish"}, // must not reach the state
			})
			before = []plan.ID{id}
		}
	}
	return with(p, plan.Step{ID: "cluster/cni", Kind: plan.CNI, DependsOn: []plan.ID{"host-0/join"}, Digest: plan.Digest("cni")})
}

func with(p plan.Plan, s plan.Step) plan.Plan {
	if s.Action == "" {
		s.Action = plan.Create
	}
	p.Steps = append(slices.Clone(p.Steps), s)
	return p
}

// change gives the step new inputs.
func change(p plan.Plan, id plan.ID) plan.Plan {
	p.Steps = slices.Clone(p.Steps)
	i := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.ID == id })
	p.Steps[i].Digest = plan.Digest(p.Steps[i].Digest)
	return p
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// up looks at the world, runs Up and returns the changes of interest, "action ID" each.
func up(t testing.TB, s *Store, w *world, p plan.Plan) ([]string, error) {
	t.Helper()
	changes, err := Up(context.Background(), s, w.look(p), w, Options{})
	return summary(t, p, changes), err
}

func destroy(t testing.TB, s *Store, w *world, p plan.Plan) ([]string, error) {
	t.Helper()
	changes, err := Destroy(context.Background(), s, w.look(p), w, Options{})
	return summary(t, p, changes), err
}

// summary checks that there is one change per step in the plan's order, and returns them without the unchanged ones.
func summary(t testing.TB, p plan.Plan, changes []report.Change) []string {
	t.Helper()
	if len(changes) != len(p.Steps) {
		t.Fatalf("%d changes for %d steps", len(changes), len(p.Steps))
	}
	var lines []string
	for i, c := range changes {
		s := p.Steps[i]
		if c.Step != string(s.ID) || c.Host != s.Host || c.Kind != string(s.Kind) {
			t.Fatalf("change %d is of %q %q %q, want step %v", i, c.Step, c.Host, c.Kind, s)
		}
		if c.Action != report.Unchanged {
			lines = append(lines, string(c.Action)+" "+c.Step)
		}
	}
	return lines
}

func each(action report.Action, p plan.Plan) []string {
	var lines []string
	for _, s := range p.Steps {
		lines = append(lines, string(action)+" "+string(s.ID))
	}
	return lines
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error is %v, want %v", err, target)
	}
}

// within waits for the channel, so that a deadlock fails one test and not the whole run.
func within(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s did not happen", what)
	}
}
