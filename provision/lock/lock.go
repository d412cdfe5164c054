// Package lock is the lock of a whole cluster in the hands of one run: the Lease kube-system/hybridctl or, while there is no API server, a
// file on the host where the cluster begins. It decides nothing about who wins: it takes, tells of a loss, and gives back. The state directory
// has its own lock, which holds off runs on this machine.
package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
)

// name is the Lease's, in kube-system.
const name = "hybridctl"

// TTL is how long the lock outlives a holder that does not renew it.
const TTL = time.Minute

// Options say how the lock is taken.
type Options struct {
	TTL   time.Duration // 0 = TTL
	Break bool          // take it from its holder: for one that is gone
	Mark  string        // of before the cluster was looked at; see Mark. "" = it was not
}

// Mark notes what the lock looks like before the cluster is looked at: who writes later wants to know that no other run has since.
func Mark(ctx context.Context, api kube.LeaseAPI) (string, error) { return api.LeaseMark(ctx, name) }

// Lock is the cluster's lock in the hands of this run. Stop is its own: a lost lock ends the run as ^C does, and changes nothing
// of the caller's.
type Lock struct {
	held    atomic.Pointer[kube.Held] // nil = there was no API server to take it from
	onHost  *onHost                   // nil = it is not on a host
	refused error                     // why the lease was not given to who has the lock on the host; set before refusal is closed
	refusal chan struct{}
	leased  chan struct{} // is told of the lease that is taken later
	stop    <-chan struct{}

	outlived atomic.Bool   // the API server is taken away by this run: that the lease lapses is no loss
	over     chan struct{} // is closed when the lock is given back
	end      sync.Once
	done     chan struct{} // is closed when no goroutine of the lock is left
}

// None is the lock of a run that has no API server to take it from: it is never lost.
func None(stop <-chan struct{}) *Lock { return &Lock{stop: stop} }

// hold takes the lease.
func hold(ctx context.Context, api kube.LeaseAPI, o Options) (*kube.Held, error) {
	held, err := kube.Hold(ctx, api, kube.LeaseOptions{Name: name, Holder: kube.NewHolder(), TTL: cmp.Or(o.TTL, TTL), Break: o.Break, Mark: o.Mark})
	switch {
	case errors.Is(err, kube.ErrHeld):
		return nil, hint.With(fmt.Errorf("the cluster's lock is %w", err), "when that run is gone, the lock ends within a minute or two; --break-lock takes it at once")
	case errors.Is(err, kube.ErrStale):
		return nil, hint.With(fmt.Errorf("%w, and the cluster may not be any more what this run was going to change; nothing was done", err), "run it again")
	}
	return held, err
}

// Take takes the lock. stop is the user's; Stop ends with it too.
// Errors: kube.ErrHeld: another run has it. kube.ErrStale: another run had it since the mark. Both are for the user.
func Take(ctx context.Context, api kube.LeaseAPI, stop <-chan struct{}, o Options) (*Lock, error) {
	held, err := hold(ctx, api, o)
	if err != nil {
		return nil, err
	}
	l := watched(stop)
	l.held.Store(held)
	l.leased <- struct{}{}
	return l, nil
}

// watched is a lock whose Stop is closed when the user asks to end, and when it is lost.
func watched(stop <-chan struct{}) *Lock {
	either := make(chan struct{})
	l := &Lock{stop: either, refusal: make(chan struct{}), leased: make(chan struct{}, 1), over: make(chan struct{}), done: make(chan struct{})}
	go func() { // ends with GiveBack or Leave
		defer close(l.done)
		for lost := (<-chan struct{})(nil); ; {
			select {
			case <-stop:
				close(either)
				return
			case <-l.refusal:
				close(either)
				return
			case <-l.leased:
				lost = l.held.Load().Lost()
			case <-lost:
				if l.Lost() != nil {
					close(either)
					return
				}
				lost = nil // outlived: only the user ends it now
			case <-l.over:
				return
			}
		}
	}()
	return l
}

// Outlive says that this run takes the API server away, and no one can have the lock then: from here on, that it was
// not renewed in time is no loss. That another took it still is.
func (l *Lock) Outlive() { l.outlived.Store(true) }

// Stop is closed when the user asks to end, and when the lock is lost: running steps finish, no others start.
func (l *Lock) Stop() <-chan struct{} { return l.stop }

// Lost is why the lock is not this run's any more; nil while it is.
func (l *Lock) Lost() error {
	if err := l.Refused(); err != nil {
		return err
	}
	held := l.held.Load()
	if held == nil {
		return nil
	}
	err := held.Err()
	if l.outlived.Load() && errors.Is(err, kube.ErrLapsed) {
		return nil
	}
	return err
}

// GiveBack ends it, also after an interruption. The error is of a lock that could not be given back, and kube.ErrHeld of one on a host that
// another run has taken meanwhile; Lost tells of a lease that was lost. It may be called again.
func (l *Lock) GiveBack(ctx context.Context) (err error) {
	l.end.Do(func() {
		l.detach()
		if held := l.held.Load(); held != nil {
			if err = held.Release(ctx); err != nil {
				err = fmt.Errorf("the cluster's lock could not be given back; it ends by itself in a minute: %w", err)
			}
		}
	})
	if l.onHost != nil {
		err = errors.Join(err, l.onHost.giveBack(ctx))
	}
	return err
}

// Leave ends it when the cluster is gone, and the lease with it.
func (l *Lock) Leave() {
	l.end.Do(func() {
		l.detach()
		if held := l.held.Load(); held != nil {
			held.Leave()
		}
	})
}

func (l *Lock) detach() {
	if l.over == nil { // None
		return
	}
	close(l.over)
	<-l.done
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
