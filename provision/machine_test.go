package provision

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// A run of conformance outlives the start of a host: what is asked of it later is asked on a new connection.
func TestMachine_ConnectsAgainToAHostThatStartedAnew(t *testing.T) {
	s := newSim(t, 1, remotetest.Options{})
	s.fleet.On(remotetest.Prefix("uname -m"), func(session *remotetest.Session) int {
		_, _ = session.Stdout.Write([]byte("aarch64\n"))
		return 0
	})
	mustUp(t, s)
	session, err := openReached(context.Background(), s.options().withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer session.close()
	machines, _ := session.machines()
	m, h := machines["host-1"], s.fleet.Hosts[0]
	ask := func() string {
		name, err := m.UnameM(context.Background())
		if err != nil {
			return err.Error()
		}
		return name
	}
	before := h.Stats().Connections
	for range 2 {
		h.Cut()
		if got := ask(); got != "aarch64" {
			t.Errorf("after a cut: %s", got)
		}
	}
	if ask(); h.Stats().Connections != before+2 {
		t.Errorf("%d connections more, want 2", h.Stats().Connections-before)
	}
	h.Cut()
	h.Refuse()
	start := time.AfterFunc(100*time.Millisecond, h.Start)
	if got := ask(); got != "aarch64" {
		t.Errorf("asked while it starts: %s", got)
	}
	start.Stop()
	h.Cut()
	h.Refuse()
	m.(*machine).patience = 0
	if got := ask(); !strings.Contains(got, "connection lost") || !strings.Contains(got, "no other could be made") {
		t.Errorf("while it is away: %s", got)
	}
	h.Start()
	if got := ask(); got != "aarch64" {
		t.Errorf("back again: %s", got)
	}
}
