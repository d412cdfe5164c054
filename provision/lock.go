package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// leaseName is the lock of the whole cluster, in kube-system; the state directory's lock holds off runs on this machine alone.
const leaseName = "hybridctl"

// leaseTTL is how long the lock outlives a holder that does not renew it.
const leaseTTL = time.Minute

// askLock is how long an API server has to answer that may be gone.
const askLock = 10 * time.Second

// markEarly does what markLock does before the hosts are looked at, where the state directory has the way to an API server that answers
// directly. Later, useKubeconfig forgets the mark when it is of another cluster.
func (s *session) markEarly(ctx context.Context) {
	b, err := os.ReadFile(filepath.Join(s.StateDir, kubeconfigFile))
	if err != nil || s.useKubeconfig(b) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askLock)
	defer cancel()
	_ = s.markLock(ctx) // it is asked again
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api, s.config, s.lockOf = nil, nil, s.config // whether the kubeconfig is this cluster's, the hosts have to tell
}

// markLock notes what the cluster's lock looks like before the cluster is looked at: who writes later wants to know that nobody has since.
func (s *session) markLock(ctx context.Context) (err error) {
	s.lockMark, err = s.api.LeaseMark(ctx, leaseName)
	return err
}

// clusterLock is the cluster's lock in the hands of this run; without held there was no API server to take it from.
type clusterLock struct {
	s            *session
	held         *kube.Held
	stop         <-chan struct{} // the session's own
	over, either chan struct{}
}

// lock takes the cluster's lock for the part of a run that writes, so that nobody does so from another machine. While there is no API
// server, there is none to take. A lock that is lost ends the run as ^C does: running steps finish, no others start.
// ErrLocked: another run has it, or had it since this one looked at the cluster.
func (s *session) lock(ctx context.Context) (*clusterLock, error) {
	l := &clusterLock{s: s}
	if s.api == nil {
		return l, nil
	}
	held, err := kube.Hold(ctx, s.api, kube.LeaseOptions{Name: leaseName, Holder: kube.NewHolder(), TTL: s.leaseTTL, Break: s.BreakLock, Mark: s.lockMark})
	switch {
	case errors.Is(err, kube.ErrHeld):
		return nil, fmt.Errorf("%w, or was ended in the middle: the cluster's lock is %w; when that run is gone the lock ends within a minute or two, and --break-lock takes it at once", ErrLocked, err)
	case errors.Is(err, kube.ErrStale):
		return nil, fmt.Errorf("%w: %w, and the cluster may not be any more what this run was going to change; nothing was done: run it again", ErrLocked, err)
	case err != nil:
		return nil, err
	}
	l.held, l.stop, l.over, l.either = held, s.Stop, make(chan struct{}), make(chan struct{})
	s.Stop = l.either
	go func() { // ends with detach
		defer close(l.either)
		select {
		case <-l.stop:
		case <-held.Lost():
		case <-l.over:
		}
	}()
	return l, nil
}

func (l *clusterLock) detach() {
	close(l.over)
	<-l.either
	l.s.Stop = l.stop
}

// giveBack ends it, and tells of a lock that was lost: ErrLocked.
func (l *clusterLock) giveBack(ctx context.Context) error {
	if l.held == nil {
		return nil
	}
	l.detach()
	err := l.held.Release(ctx)
	if lost := l.held.Err(); lost != nil {
		return fmt.Errorf("%w: the cluster's lock was taken from this run: it is %w", ErrLocked, lost)
	}
	if err != nil {
		return fmt.Errorf("the cluster's lock could not be given back; it ends by itself in a minute: %w", err)
	}
	return nil
}

// leave ends it when the cluster is gone, and the lock with it.
func (l *clusterLock) leave() {
	if l.held == nil {
		return
	}
	l.detach()
	l.held.Leave()
}
