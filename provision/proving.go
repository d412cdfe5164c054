package provision

import (
	"fmt"

	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/ready"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// ConformanceMode says how much of a scenario a run proves at its end.
type ConformanceMode string

const (
	ConformanceFull  ConformanceMode = "full"
	ConformanceQuick ConformanceMode = "quick"
	ConformanceOff   ConformanceMode = "off"
)

// ConformanceModes lists the modes.
func ConformanceModes() []ConformanceMode {
	return []ConformanceMode{ConformanceFull, ConformanceQuick, ConformanceOff}
}

// on reports whether anything is proven at all.
func (m ConformanceMode) on() bool { return m != "" && m != ConformanceOff }

// ProofOptions say how a run proves at its end what it built.
type ProofOptions struct {
	ReportDir string                         // "" = conformance in the state directory
	Tool      string                         // hybridctl's version
	Asked     bool                           // the user asked for it, by name: what cannot prove anything is refused
	Planned   func(cells []conformance.Cell) // is called with the matrix before anything runs
}

// open makes sure, before the work, that the report can be written. What the bundle lacks for a proof the plan says, and who asked for one is
// refused. Errors: ErrBundle, ErrReportDir.
func (p ProofOptions) open(o Options, lacks string, shown *plan.Plan, wanted bool) (*report.Dir, error) {
	switch {
	case !wanted:
		return nil, nil
	case lacks != "" && p.Asked:
		return nil, hint.With(fmt.Errorf("%w: %s, so that nothing can be proven", ErrBundle, lacks), "make it again with the probe, or leave --conformance away")
	case lacks != "" && shown.Changes() > 0:
		shown.Notes = append(shown.Notes, lacks+": nothing is proven at the end")
	}
	dir, err := report.OpenDir(ReportDir(o, p.ReportDir))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReportDir, err)
	}
	return dir, nil
}

// wish is the proof that ends a run.
func (p ProofOptions) wish(mode ConformanceMode) proof.Wish {
	return proof.Wish{Tool: p.Tool, Planned: p.Planned, Quick: mode == ConformanceQuick}
}

// prove ends a run with a scenario. before are the pods of before it began; nil = as they are now.
func (r *run) prove(w proof.Wish, seen survey.Seen, before []kube.Pod, dir *report.Dir) (ending.Proven, error) {
	if r.API == nil {
		return ending.Proven{Not: "the API server is not known, so that nothing was proven"}, conformance.ErrUnproven
	}
	if lacks := proof.Lacks(r.desk.Reader.Bundle); lacks != "" { // as the plan said
		return ending.Proven{Not: lacks + ", so that nothing was proven"}, nil
	}
	o := r.proofOptions(w, seen)
	o.PodsBefore = before
	run, err := proof.Run(r.reading, o, dir)
	return ending.Proven{Run: &run, Dir: dir.Path()}, err
}

func (r *run) proofOptions(w proof.Wish, seen survey.Seen) proof.Options {
	return proof.Options{Wish: w, API: r.API, Cluster: r.Cluster, Bundle: r.desk.Reader.Bundle, Fleet: r.fleet, Hosts: seen.Hosts, NodesBefore: seen.Nodes, Event: r.event}
}

// waitReady waits until what the run built or found is there; a wait that fails is a change of its own.
func (r *run) waitReady(seen survey.Seen, p plan.Plan, changes []report.Change) ([]report.Change, error) {
	err := ready.Wait(r.reading, ready.Options{API: r.API, Cluster: r.Cluster, Host: r.fleet.Host, Event: r.event,
		Nodes: ending.Members(seen.Hosts, changes), Plan: p, Changes: changes, Explain: r.watcher.Explain})
	if err == nil {
		return nil, nil
	}
	return ending.NotReady(err), err
}
