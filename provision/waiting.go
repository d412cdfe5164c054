package provision

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/restarts"
)

// waitingFor notes that the run waits for something, which is told when that takes long.
func (s *session) waitingFor(what string) (over func()) {
	if s.reminder == nil { // a session that a test made
		return func() {}
	}
	return s.reminder.Waiting(what)
}

// watchControlPlanes looks from now to the end of the session at the static pods of the control planes that are connected.
func (s *session) watchControlPlanes(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restarts != nil {
		return
	}
	s.restarts = restarts.Begin(ctx, func() map[string]restarts.Host {
		s.mu.Lock()
		defer s.mu.Unlock()
		connected := map[string]restarts.Host{}
		for _, h := range s.controlPlanes() {
			if r, ok := s.runners[h.Name]; ok {
				connected[h.Name] = host.New(r)
			}
		}
		return connected
	}, s.Progress)
}

// explained adds to the error of a wait what was noticed of the control planes while it waited.
func (s *session) explained(err error) error {
	s.mu.Lock()
	watch := s.restarts
	s.mu.Unlock()
	if watch == nil {
		return err
	}
	return watch.Explain(err)
}

// stopWaiting ends what looks and reminds beside the run.
func (s *session) stopWaiting() {
	s.mu.Lock()
	watch := s.restarts
	s.mu.Unlock()
	if watch != nil {
		watch.Stop()
	}
	if s.reminder != nil {
		s.reminder.Close()
	}
}
