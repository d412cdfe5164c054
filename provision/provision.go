// Package provision is the front door: one function per verb, each a table of contents of what the rooms beneath do: read, judge, decide,
// ask, write under the lock, wait, prove, report. A file per verb; verbs share run, and do not call one another. Only this package sees
// both ends of the street, the inventory and the reports.
package provision

import (
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/stack"
)

// The sentinels that cmd maps to exit codes; each error that a verb returns wraps at most one of them.
var (
	ErrPreflight = ending.ErrPreflight
	ErrPartial   = ending.ErrPartial
	// ErrConformance: a cell of a conformance run failed. The report tells which, and why.
	ErrConformance = proof.ErrFailed
	ErrReportDir   = ending.ErrReportDir
	ErrDeclined    = ending.ErrDeclined
	ErrRefused     = ending.ErrRefused
	// ErrLocked: another run holds the cluster's state. The user waits for it.
	ErrLocked  = stack.ErrLocked
	ErrVolumes = ending.ErrVolumes
	ErrBundle  = ending.ErrBundle
)

// Result is what Up, ScaleOut, Remove and Destroy leave, and HostResult the end of one host.
type (
	Result     = ending.Result
	HostResult = ending.HostResult
)
