// Package steps carries out one planned step on one host or on the cluster: Check reads, Apply changes, Undo takes away. It
// knows nothing of the engine that calls it, and composes no commands: package host has the vocabulary.
package steps

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Executor carries out steps of any kind. All methods are safe for concurrent use by steps that do not depend on each other.
type Executor interface {
	// Check says whether the step is in place (report.Unchanged), absent (report.Created: it would be created) or different
	// (report.Configured). It uses the facts of this run and opens no session.
	Check(ctx context.Context, s plan.Step) (report.Action, error)
	// Apply makes the step true. It may be called again after any interruption.
	Apply(ctx context.Context, s plan.Step) (report.Change, error)
	// Undo takes away what Apply made. It may be called again after any interruption, and when nothing is there.
	Undo(ctx context.Context, s plan.Step) (report.Change, error)
}
