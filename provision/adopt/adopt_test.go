package adopt

import (
	"context"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/fleet/fleettest"
)

// The control plane that is named may take long to answer, and that is said.
func TestAdminConf_SaysForWhatItWaits(t *testing.T) {
	_, f, _ := fleettest.Three(t)
	var said []string
	lasts := 0
	f.Waiting = func(what string) func() {
		said = append(said, what)
		lasts++
		return func() { lasts-- }
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no one is asked
	if err := new(Adoption).AdminConf(ctx, f); err == nil || !slices.Equal(said, []string{"host-1, whose kubeconfig is read"}) || lasts != 0 {
		t.Errorf("error %v; %q was said, and %d are not over", err, said, lasts)
	}
}
