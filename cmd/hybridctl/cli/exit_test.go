package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

func TestExitCode(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("around: %w", err) }
	for _, c := range []struct {
		name        string
		err         error
		interrupted bool
		want        int
	}{
		{"done", nil, false, 0},
		{"done although ^C was pressed", nil, true, 0},
		{"other", errors.New("x"), false, 1},
		{"declined", wrap(provision.ErrDeclined), false, 1},
		{"locked", wrap(provision.ErrLocked), false, 1},
		{"damaged bundle", wrap(bundle.ErrDamaged), false, 1},
		{"usage", usagef("x"), false, 2},
		{"inventory", wrap(&inventory.Problems{}), false, 2},
		{"bundle", wrap(provision.ErrBundle), false, 2},
		{"damaged bundle of an inventory", fmt.Errorf("%w: %w", provision.ErrBundle, bundle.ErrDamaged), false, 2},
		{"no bundle", wrap(bundle.ErrNotBundle), false, 2},
		{"bundle source", wrap(bundle.ErrSource), false, 2},
		{"preflight", wrap(provision.ErrPreflight), false, 3},
		{"part-way", wrap(provision.ErrPartial), false, 4},
		{"conformance failed", wrap(provision.ErrConformance), false, 5},
		{"conformance was flaky", wrap(conformance.ErrFlaky), false, 7},
		{"nothing was proven", wrap(conformance.ErrUnproven), false, 8},
		{"changes", errChanges, false, 10},
		{"findings", wrap(&findingsError{"x"}), false, 6},
		{"part-way after ^C", wrap(provision.ErrPartial), true, 130},
		{"cancelled", wrap(context.Canceled), false, 130},
		{"a deadline is no ^C", wrap(context.DeadlineExceeded), false, 1},
	} {
		if got := ExitCode(c.err, c.interrupted); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}

// What a host says is part of many errors; the terminal obeys none of it.
func TestPrintError_NoControlSequences(t *testing.T) {
	said := "step join: \x1b]0;title\x07\x1b[2J\x9b31mgone\u202e\r\nhint: look at it\x1b[1A"
	for _, err := range []error{errors.New(said), fmt.Errorf("%w: %s", bundle.ErrSource, said)} {
		var b strings.Builder
		a := &app{Deps: Deps{Stderr: &b}}
		a.printError(err)
		if got := b.String(); strings.ContainsAny(got, "\x1b\x07\r\u202e\u009b") || strings.Contains(got, "\x9b") || !strings.Contains(got, "\nhint: look at it") {
			t.Errorf("printed %q", got)
		}
	}
}
