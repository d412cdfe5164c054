package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// UpOptions are Up's own.
type UpOptions struct {
	Options
	MergeKubeconfig string // path of a kubeconfig to merge into; "" = do not
	// Conformance says how a run that changed something ends: ConformanceFull, ConformanceQuick, or "" for not at all.
	Conformance ConformanceMode
	Proof       ConformanceOptions // how, but for Options and Quick
}

// ConformanceMode says how much of the new-deployment scenario a run proves at its end.
type ConformanceMode string

// The modes.
const (
	ConformanceFull  ConformanceMode = "full"
	ConformanceQuick ConformanceMode = "quick"
	ConformanceOff   ConformanceMode = "off"
)

// ConformanceModes lists the modes.
func ConformanceModes() []ConformanceMode {
	return []ConformanceMode{ConformanceFull, ConformanceQuick, ConformanceOff}
}

// Up makes the cluster what the inventory says.
// Errors: ErrPreflight, ErrPartial, ErrDeclined, ErrLocked, ErrBundle, ErrConformance, context.Canceled, or others for the user.
func Up(ctx context.Context, o UpOptions) (Result, error) {
	o.Options = o.withDefaults()
	o.Proof.ReportDir = ReportDir(o.Options, o.Proof.ReportDir)
	r := Result{Cluster: o.Cluster.Metadata.Name}
	store, s, end, err := begin(o.Options)
	if err != nil {
		return r, err
	}
	defer end()

	reading, cancel := o.stoppable(ctx)
	defer cancel()
	s.markEarly(reading)
	if r.Plan, r.Checks, err = s.survey(reading); err != nil {
		return r, err
	}
	if r.Checks, err = s.checkStorage(reading, r.Plan, r.Checks); err != nil {
		return r, err
	}
	if o.Conformance.proves(r.Plan) {
		if err := o.Proof.openReport(); err != nil {
			return r, err
		}
	}
	if err := s.confirm(r.Plan); err != nil {
		return r, err
	}
	var failed error
	if r.Plan.Changes() == 0 && store.InSync(r.Plan) {
		r.Changes = unchanged(r.Plan)
	} else {
		lock, err := s.lock(reading)
		if err != nil {
			return r, err
		}
		r.Changes, failed = s.carryOut(ctx, store, r.Plan)
		r.Hosts = s.hostResults(r.Changes, "up")
		lost := lock.giveBack(ctx)
		switch {
		case errors.Is(lost, ErrLocked):
			return r, lost
		case errors.Is(failed, context.Canceled):
			return r, failed
		}
		failed = errors.Join(failed, lost)
	}
	if s.api != nil {
		if r.Kubeconfig, err = s.saveKubeconfig(); err != nil {
			return r, err
		}
		failed = errors.Join(failed, s.waitReady(reading, &r))
		if err := s.merge(o.MergeKubeconfig); err != nil {
			return r, err
		}
	}
	r.Hosts = s.hostResults(r.Changes, "up")
	if err := partial(failed, r.Hosts); err != nil {
		return r, err
	}
	if !o.Conformance.proves(r.Plan) {
		return r, nil
	}
	return r, s.prove(reading, o.Conformance, o.Proof, &r)
}

// on tells whether anything is proven at all.
func (m ConformanceMode) on() bool { return m != "" && m != ConformanceOff }

// proves tells whether a plan that is carried out is proven.
func (m ConformanceMode) proves(p plan.Plan) bool { return m.on() && p.Changes() > 0 }

// prove ends a run with a scenario.
func (s *session) prove(ctx context.Context, mode ConformanceMode, c ConformanceOptions, r *Result) error {
	if s.api == nil {
		return nil
	}
	if _, ok := s.bundle.Image(bundle.Probe); !ok {
		r.NotProven = "the bundle has no image of the probe (component \"probe\"), so that nothing was proven"
		return nil
	}
	c.Options, c.Quick = s.Options, mode == ConformanceQuick
	run, err := s.conformance(ctx, c)
	r.Conformance, r.ReportDir = &run, c.ReportDir
	return err
}

// confirm shows the plan and asks, when there is something to do and somebody to ask.
func (s *session) confirm(p plan.Plan) error {
	if s.Ask == nil || p.Changes() == 0 || s.Ask(p) {
		return nil
	}
	return ErrDeclined
}

// carryOut runs the plan through the engine.
func (s *session) carryOut(ctx context.Context, store *stack.Store, p plan.Plan) ([]report.Change, error) {
	s.watchControlPlanes(ctx)
	x := s.steps()
	changes, err := stack.Up(ctx, store, p, x, stack.Options{Parallel: s.Parallel, Progress: s.Progress, Stop: s.Stop})
	return changes, errors.Join(err, s.closeSteps(ctx, x))
}

// closeSteps deletes the run's join token, also after an interrupt: it must not stay good.
func (s *session) closeSteps(ctx context.Context, x *steps.Steps) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := x.Close(ctx); err != nil {
		return fmt.Errorf("the join token could not be deleted; it ends by itself within the hour: %w", err)
	}
	return nil
}

// steps returns the executor of this session.
func (s *session) steps() *steps.Steps {
	return steps.New(steps.Env{
		Host:  s.hostOrMember,
		Facts: func(name string) facts.Host { return s.facts[name] },
		Kube:  s.kube,
		Initialised: func(kubeconfig []byte) error {
			if err := s.useKubeconfig(kubeconfig); err != nil {
				return err
			}
			_, err := s.saveKubeconfig() // at once: who watches the rest of the run wants it
			return err
		},
		JoinTaint: s.joinTaint(),
		Bootstrap: s.pkiHost(),
		Bundle:    s.bundle,
		Progress:  s.Progress,
		Timeout:   s.Cluster.Spec.Timeouts.Step.Std(),

		RegisterWithin: s.registerWithin,
	})
}

// unchanged is the result of a run that had nothing to do.
func unchanged(p plan.Plan) []report.Change {
	out := make([]report.Change, len(p.Steps))
	for i, st := range p.Steps {
		out[i] = report.Change{Host: st.Host, Step: string(st.ID), Kind: string(st.Kind), Action: report.Unchanged}
	}
	return out
}

// partial makes the error of a run some hosts of which failed.
func partial(err error, hosts []HostResult) error {
	failed := 0
	for _, h := range hosts {
		if h.Error != "" {
			failed++
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%w: %d of %d hosts failed", ErrPartial, failed, len(hosts))
	case err != nil:
		return fmt.Errorf("%w: %w", ErrPartial, err)
	}
	return nil
}
