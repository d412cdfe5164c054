package provision

import (
	"errors"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
	"github.com/hybridctl/hybridctl/provision/report"
)

// What can be done about nodes that do not become Ready stands beside that in every form of the result.
func TestUp_AWaitThatFailsKeepsItsHint(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{})
	s.api.Failing = map[string]error{"WaitNodesReady": hint.With(errors.New("node host-1: not ready"), "look at its kubelet")}
	r, err := s.up()
	if !errors.Is(err, ErrPartial) {
		t.Errorf("got %v", err)
	}
	i := slices.IndexFunc(r.Changes, func(c report.Change) bool { return c.Step == "cluster/ready" })
	if i < 0 {
		t.Fatalf("changes %+v", r.Changes)
	}
	if c := r.Changes[i]; c.Action != report.Failed || c.Error != "node host-1: not ready" || c.Hint != "look at its kubelet" {
		t.Errorf("change %+v", c)
	}
}
