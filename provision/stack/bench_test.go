package stack

import (
	"context"
	"fmt"
	"testing"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// idle is an executor that has nothing to do: what is measured is the engine and the store.
type idle struct{}

func (idle) Apply(context.Context, plan.Step) (report.Change, error) { return report.Change{}, nil }
func (idle) Undo(context.Context, plan.Step) (report.Change, error)  { return report.Change{}, nil }

// sized is a fleet's plan of about that many steps.
func sized(steps int) plan.Plan { return fleet(steps / 3) }

func as(p plan.Plan, a plan.Action) plan.Plan {
	for i := range p.Steps {
		p.Steps[i].Action = a
	}
	return p
}

func perStep(b *testing.B, p plan.Plan) {
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(p.Steps)), "µs/step")
}

func BenchmarkUp(b *testing.B) {
	for _, n := range []int{50, 500, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := sized(n)
			for b.Loop() {
				s, err := OpenStore(b.TempDir())
				ok(b, err)
				_, err = Up(b.Context(), s, p, idle{}, Options{})
				ok(b, err)
				ok(b, s.Close())
			}
			perStep(b, p)
		})
	}
}

// BenchmarkResume is Up with one step left to do.
func BenchmarkResume(b *testing.B) {
	s, p := open(b, b.TempDir()), as(sized(2000), plan.Unchanged)
	_, err := Up(b.Context(), s, p, idle{}, Options{})
	ok(b, err)
	p.Steps[len(p.Steps)-1].Action = plan.Update
	for b.Loop() {
		_, err := Up(b.Context(), s, p, idle{}, Options{})
		ok(b, err)
	}
	perStep(b, p)
}

func BenchmarkDestroy(b *testing.B) {
	p := sized(500)
	for b.Loop() {
		s, err := OpenStore(b.TempDir())
		ok(b, err)
		_, err = Destroy(b.Context(), s, p, idle{}, Options{})
		ok(b, err)
		ok(b, s.Close())
	}
	perStep(b, p)
}

// BenchmarkInSync is all of a run that finds nothing to do.
func BenchmarkInSync(b *testing.B) {
	dir, p := b.TempDir(), as(sized(4000), plan.Unchanged)
	s := open(b, dir)
	_, err := Up(b.Context(), s, p, idle{}, Options{})
	ok(b, err)
	ok(b, s.Close())
	for b.Loop() {
		s, err := OpenStore(dir)
		ok(b, err)
		if !s.InSync(p) {
			b.Fatal("not in sync")
		}
		ok(b, s.Close())
	}
	perStep(b, p)
}
