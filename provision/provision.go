// Package provision is the front door: one function per verb, each of which reads like a table of contents and decides nothing
// itself. Only this package sees both ends of the street, the inventory and the reports.
package provision

import (
	"context"
	"errors"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
)

// The sentinels that cmd maps to exit codes; each error that a verb returns wraps at most one of them.
var (
	// ErrPreflight: a check failed; nothing was written. The user mends the host, or names the check in preflight.ignore.
	ErrPreflight = errors.New("preflight checks failed")
	// ErrPartial: some hosts failed, the rest finished. Running the same command again goes on.
	ErrPartial = errors.New("stopped part-way")
	// ErrConformance: a cell of a conformance run failed. The report tells which, and why.
	ErrConformance = errors.New("conformance checks failed")
	// ErrReportDir: a report cannot be written there. The user names another directory.
	ErrReportDir = errors.New("report")
	// ErrDeclined: the user said no to the plan. Nothing was written.
	ErrDeclined = errors.New("nothing was done: the plan was not confirmed")
	// ErrRefused: the inventory or the cluster has not what was asked for, or it would do harm. Nothing was done; the user asks otherwise.
	ErrRefused = errors.New("refused")
	// ErrLocked: another run holds the cluster's state. The user waits for it.
	ErrLocked = stack.ErrLocked
	// ErrBundle: the bundle is missing, damaged, or lacks what the inventory asks for. The user mends it.
	ErrBundle = errors.New("bundle")
)

// Plan tells what Up would do; it writes nothing anywhere but known_hosts.
func Plan(ctx context.Context, o Options) (plan.Plan, []report.Check, error) {
	o = o.withDefaults()
	s, err := open(o)
	if err != nil {
		return plan.Plan{}, nil, err
	}
	defer s.close()
	ctx, cancel := o.stoppable(ctx)
	defer cancel()
	return s.survey(ctx)
}

// Preflight runs every check on every host and returns all results, sorted by host and name. ErrPreflight when one failed.
func Preflight(ctx context.Context, o Options) ([]report.Check, error) {
	o = o.withDefaults()
	s, err := open(o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	ctx, cancel := o.stoppable(ctx)
	defer cancel()
	if err := s.openBundle(); err != nil {
		return nil, err
	}
	s.gather(ctx)
	s.readCephKeys(ctx)
	s.lookUpCephImages(ctx)
	s.probeCeph(ctx, s.cephHosts(nil))
	checks := s.checks()
	if err := ctx.Err(); err != nil {
		return checks, err
	}
	for _, c := range checks {
		if c.Status == report.Fail {
			return checks, ErrPreflight
		}
	}
	return checks, nil
}
