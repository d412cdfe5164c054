package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/fetch"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/publish"
	"github.com/hybridctl/hybridctl/provision/report"
)

const (
	exitDone        = 0
	exitOther       = 1
	exitUsage       = 2 // usage, inventory, or a bundle that lacks what the inventory asks for
	exitPreflight   = 3
	exitPartial     = 4
	exitConformance = 5
	exitFindings    = 6  // image and workload: something was found that --fail-on names
	exitFlaky       = 7  // conformance: no cell failed, and some were right only at a later attempt
	exitUnproven    = 8  // conformance: no cell could be tried
	exitChanges     = 10 // plan --exit-code: there is something to do; bundle diff: the bundles differ
	exitInterrupted = 130
)

// errChanges tells that a plan has changes, or that bundles differ; it is an exit code, not a failure.
var errChanges = errors.New("there are changes")

// ExitCode is the one place where errors become exit codes.
func ExitCode(err error, interrupted bool) int {
	var usage *usageError
	var problems *inventory.Problems
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errChanges):
		return exitChanges
	case interrupted, errors.Is(err, context.Canceled):
		return exitInterrupted
	case isFindings(err):
		return exitFindings
	case errors.As(err, &usage), errors.As(err, &problems):
		return exitUsage
	case errors.Is(err, provision.ErrBundle), errors.Is(err, bundle.ErrNotBundle), errors.Is(err, bundle.ErrSource):
		return exitUsage
	case errors.Is(err, catalogue.ErrBad), errors.Is(err, catalogue.ErrUnknownVersion), errors.Is(err, catalogue.ErrIncomplete):
		return exitUsage
	case errors.Is(err, fetch.ErrInput), errors.Is(err, publish.ErrInput):
		return exitUsage
	case errors.Is(err, provision.ErrRefused), errors.Is(err, provision.ErrVolumes):
		return exitUsage
	case errors.Is(err, provision.ErrPreflight):
		return exitPreflight
	case errors.Is(err, provision.ErrPartial):
		return exitPartial
	case errors.Is(err, conformance.ErrUsage), errors.Is(err, provision.ErrReportDir):
		return exitUsage
	case errors.Is(err, provision.ErrConformance):
		return exitConformance
	case errors.Is(err, conformance.ErrFlaky):
		return exitFlaky
	case errors.Is(err, conformance.ErrUnproven):
		return exitUnproven
	default:
		return exitOther
	}
}

// printError writes the error for the user: what is wrong and why, and each hint on a line of its own. Problems of a file stand on lines of
// their own, as compilers write them. What a host or a server said may be part of it: no control sequence of theirs reaches the terminal.
func (a *app) printError(err error) {
	var problems *inventory.Problems
	switch {
	case err == nil, errors.Is(err, errChanges):
	case errors.Is(err, syscall.EPIPE): // whoever read the output has seen enough
	case a.global.logFormat == logJSON:
		var attrs []any
		if h := hint.Text(err); h != "" {
			attrs = append(attrs, "hint", h)
		}
		slog.New(slog.NewJSONHandler(jsonWriter{a.Stderr}, nil)).Error(err.Error(), attrs...)
	case errors.As(err, &problems), errors.Is(err, bundle.ErrSource), errors.Is(err, catalogue.ErrBad):
		fmt.Fprintln(a.Stderr, report.Lines(err.Error()))
		printHints(a.Stderr, err)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(a.Stderr, "interrupted")
	default:
		fmt.Fprintf(a.Stderr, "error: %s\n", report.Lines(err.Error()))
		printHints(a.Stderr, err)
	}
}

func printHints(w io.Writer, err error) {
	for _, h := range hint.Of(err) {
		fmt.Fprintf(w, "hint: %s\n", report.Lines(h))
	}
}
