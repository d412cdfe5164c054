// Package provision is the front door: one function per verb, each a table of contents of what the rooms beneath do: read, judge, decide,
// ask, write under the lock, wait, prove, report. A file per verb; verbs share run, and do not call one another. Only this package sees
// both ends of the street, the inventory and the reports.
package provision

import (
	"errors"

	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/stack"
)

// The sentinels that cmd maps to exit codes; each error that a verb returns wraps at most one of them.
var (
	// ErrPreflight: a check failed; nothing was written. The user mends the host, or names the check in preflight.ignore.
	ErrPreflight = errors.New("preflight checks failed")
	// ErrPartial: some hosts failed, the rest finished. Running the same command again goes on.
	ErrPartial = errors.New("stopped part-way")
	// ErrConformance: a cell of a conformance run failed. The report tells which, and why.
	ErrConformance = proof.ErrFailed
	// ErrReportDir: a report cannot be written there. The user names another directory.
	ErrReportDir = errors.New("report")
	// ErrDeclined: the user said no to the plan. Nothing was written.
	ErrDeclined = errors.New("nothing was done: the plan was not confirmed")
	// ErrRefused: the inventory or the cluster has not what was asked for, or it would do harm. Nothing was done; the user asks otherwise.
	ErrRefused = errors.New("refused")
	// ErrLocked: another run holds the cluster's state. The user waits for it.
	ErrLocked = stack.ErrLocked
	// ErrVolumes: volumes would stay in Ceph that no cluster knows of any more. The user deletes them first, or forces.
	ErrVolumes = errors.New("there are volumes in Ceph")
	// ErrBundle: the bundle is missing, damaged, or lacks what the inventory asks for. The user mends it.
	ErrBundle = errors.New("bundle")
)
