package provision

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// ConformanceOptions are Conformance's own.
type ConformanceOptions struct {
	Options
	ProofOptions
	Scenario      string   // "new-deployment" (default) or "scale-out"
	Checks        []string // IDs; nil = all
	Nodes         []string // of scale-out: the nodes that were added
	Quick         bool
	MaxPairs      int    // 0 = the default
	Seed          uint64 // 0 = a new one
	Keep          bool
	KeepOnFailure bool
}

func (o ConformanceOptions) wish() proof.Wish {
	return proof.Wish{Scenario: o.Scenario, Checks: o.Checks, Nodes: o.Nodes, Quick: o.Quick, MaxPairs: o.MaxPairs, Seed: o.Seed,
		Keep: o.Keep, KeepOnFailure: o.KeepOnFailure, Tool: o.Tool, Planned: o.Planned}
}

// Conformance proves a scenario on the running cluster, and leaves a report. The run is complete also when there is an error.
// Errors: ErrConformance when a cell failed, conformance.ErrFlaky, ErrUnproven, ErrUsage, ErrLeftovers, ErrSetup, or as for other verbs.
func Conformance(ctx context.Context, o ConformanceOptions) (report.ConformanceRun, error) {
	o.Options = o.withDefaults()
	if err := o.wish().Known(); err != nil {
		return report.ConformanceRun{}, err
	}
	dir, err := o.open(o.Options, "", nil, true) // before anything is connected
	if err != nil {
		return report.ConformanceRun{}, err
	}
	r, seen, err := lookAtRunning(ctx, o.Options)
	if err != nil {
		return report.ConformanceRun{}, err
	}
	defer r.end()
	if seen, err = r.desk.FetchBundle(r.reading, seen); err != nil {
		return report.ConformanceRun{}, err
	}
	run, err := proof.Run(r.reading, r.proofOptions(o.wish(), seen), dir)
	return run, r.watcher.Explain(err)
}

// ConformanceClean removes what earlier runs left in the cluster and on the hosts, and returns their IDs. What is at work is left, unless BreakLock.
func ConformanceClean(ctx context.Context, o Options) ([]string, error) {
	r, seen, err := lookAtRunning(ctx, o.withDefaults())
	if err != nil {
		return nil, err
	}
	defer r.end()
	return proof.Clean(r.reading, r.proofOptions(proof.Wish{}, seen), o.BreakLock)
}

// ConformanceSelfTest makes faults and reports whether exactly the right cells turned red. ErrConformance when not; ErrUsage.
func ConformanceSelfTest(ctx context.Context, o ConformanceOptions, done func(conformance.SelfTest)) ([]conformance.SelfTest, error) {
	o.Options = o.withDefaults()
	if err := o.wish().Known(); err != nil {
		return nil, err
	}
	r, seen, err := lookAtRunning(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	defer r.end()
	if seen, err = r.desk.FetchBundle(r.reading, seen); err != nil {
		return nil, err
	}
	tests, err := proof.TestSelf(r.reading, r.proofOptions(o.wish(), seen), done)
	return tests, r.watcher.Explain(err)
}

// lookAtRunning starts a run that is connected to the hosts of a running cluster, and knows the way to its API server. The caller ends it.
func lookAtRunning(ctx context.Context, o Options) (*run, survey.Seen, error) {
	r, err := look(ctx, o)
	if err != nil {
		return nil, survey.Seen{}, err
	}
	r.watcher.Begin(r.reading) // also the way to the API server may be long for what ends there again and again
	seen, err := r.desk.Standing(r.reading)
	if err != nil {
		r.end()
		return nil, survey.Seen{}, r.watcher.Explain(err)
	}
	return r, seen, nil
}
