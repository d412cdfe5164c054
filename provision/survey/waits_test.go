package survey

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// A host whose answer an interrupt cut off did not fail.
func TestReader_AnInterruptedHostIsSkipped(t *testing.T) {
	var got []report.Event
	r := Reader{Event: func(e report.Event) { got = append(got, e) }}
	r.done("a", "facts", fmt.Errorf("a: stopped while connecting: %w", context.Canceled))
	r.done("b", "facts", errors.New("no answer"))
	if got[0].Action != report.Skipped || got[0].Err != nil || got[0].Message != "the run was interrupted" || got[1].Action != report.Failed || got[1].Err == nil {
		t.Errorf("%+v", got)
	}
}

// Whoever looks on is told what is waited for, while it lasts: registries, and programs that may ask a person.
func TestReader_TellsWhatItWaitsFor(t *testing.T) {
	var said []string
	open := 0
	r := Reader{Cluster: &inventory.Cluster{Path: filepath.Join(t.TempDir(), "inventory.yaml")}, Patience: time.Minute,
		Waiting: func(what string) func() {
			said = append(said, what)
			open++
			return func() { open-- }
		},
		AskRegistry: func(context.Context, string) ([]platform.Arch, error) {
			if open != 1 {
				t.Errorf("%d waits are open while a registry is asked", open)
			}
			return nil, nil
		},
	}
	r.Registries(t.Context(), nil)
	r.Registries(t.Context(), []string{"registry.test/pause:1"})
	if text, err := r.printed(t.Context(), []string{"echo", "a key"}); err != nil || text != "a key\n" {
		t.Errorf("%q, %v", text, err)
	}
	if want := []string{"what registries say of 1 image", "echo, which prints a secret"}; !slices.Equal(said, want) || open != 0 {
		t.Errorf("%q, want %q; %d are still open", said, want, open)
	}
}
