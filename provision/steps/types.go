// Package steps carries out one planned step on one host or on the cluster: Apply makes it true, Undo takes it away. What is in place
// stands in the plan, which was made from this run's facts. It knows nothing of the engine that calls it, and composes no commands: package
// host has the vocabulary.
package steps

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Executor carries out steps of any kind. All methods are safe for concurrent use by steps that do not depend on each other.
type Executor interface {
	// Apply makes the step true. It may be called again after any interruption.
	Apply(ctx context.Context, s plan.Step) (report.Change, error)
	// Undo takes away what Apply made. It may be called again after any interruption, and when nothing is there.
	Undo(ctx context.Context, s plan.Step) (report.Change, error)
}
