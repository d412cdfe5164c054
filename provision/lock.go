package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// leaseName is the lock of the whole cluster, in kube-system; the state directory's lock holds off runs on this machine alone.
const leaseName = "hybridctl"

// leaseTTL is how long the lock outlives a holder that does not renew it.
const leaseTTL = time.Minute

// lock takes the cluster's lock for the part of a run that writes, so that nobody does so from another machine. While there is no API
// server, there is none to take. A lock that is lost ends the run as ^C does: running steps finish, no others start.
// The returned function gives it back, and tells of a lock that was lost. ErrLocked: another run has it.
func (s *session) lock(ctx context.Context) (unlock func(context.Context) error, err error) {
	if s.api == nil {
		return func(context.Context) error { return nil }, nil
	}
	held, err := kube.Hold(ctx, s.api, kube.LeaseOptions{Name: leaseName, Holder: kube.NewHolder(), TTL: s.leaseTTL, Break: s.BreakLock})
	if errors.Is(err, kube.ErrHeld) {
		return nil, fmt.Errorf("%w, from another machine: the cluster's lock is %w; when that run is gone the lock ends within a minute or two, and --break-lock takes it at once", ErrLocked, err)
	}
	if err != nil {
		return nil, err
	}
	stop := s.Stop
	either := make(chan struct{})
	s.Stop = either
	over := make(chan struct{})
	go func() { // ends with unlock
		defer close(either)
		select {
		case <-stop:
		case <-held.Lost():
		case <-over:
		}
	}()
	return func(ctx context.Context) error {
		close(over)
		<-either
		s.Stop = stop
		err := held.Release(ctx)
		if lost := held.Err(); lost != nil {
			return fmt.Errorf("%w: the cluster's lock was taken from this run: it is %w", ErrLocked, lost)
		}
		if err != nil {
			return fmt.Errorf("the cluster's lock could not be given back; it ends by itself in a minute: %w", err)
		}
		return nil
	}, nil
}
