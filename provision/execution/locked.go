package execution

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// underLock does the part of a run that writes while the cluster's lock is this run's, so that no other writes from another machine. While
// there is no API server, the lock is a file on the host where the cluster begins; where that is not reached, there is none to take. hosts are
// those that the run looked at, and kind is what the file says of the run, as package host has it. work is told to stop when the user says so, or
// when the lock is lost. Executor says which error wins.
func (x *Executor) underLock(ctx context.Context, kind string, hosts survey.Hosts, work func(*lock.Lock) error) (failed, err error) {
	l, err := x.takeLock(kind, hosts)
	if err != nil {
		return nil, lockedBy(err)
	}
	x.locked = l
	failed = work(l)
	notBack := x.giveBack(ctx, l)
	switch lost := l.Lost(); {
	case l.Refused() != nil:
		return failed, fmt.Errorf("%w: %w; no other step was begun", stack.ErrLocked, l.Refused())
	case errors.Is(lost, kube.ErrLapsed):
		return failed, hint.With(fmt.Errorf("%w, perhaps: the cluster's lock: %w, and no other step was begun", stack.ErrLocked, lost), "run it again when the API server answers")
	case lost != nil:
		return failed, fmt.Errorf("%w: the cluster's lock was taken from this run: it is %w", stack.ErrLocked, lost)
	case errors.Is(notBack, kube.ErrHeld):
		return failed, fmt.Errorf("%w: %w", stack.ErrLocked, notBack)
	case errors.Is(failed, context.Canceled):
		return nil, failed
	}
	return errors.Join(failed, notBack), nil
}

// holderIsKnown refuses while it is not known whether another run has the cluster's lease: the API server did not say so, and may be there all
// the same. It is gone where every control plane was looked at and none runs it; where an init did not end, its run has the lock on the host.
func (x *Executor) holderIsKnown(seen survey.Seen) error {
	_, _, silent := seen.API.Get()
	if silent == nil || x.BreakLock {
		return nil
	}
	var perhaps []string
	for _, h := range x.Cluster.ControlPlanes() {
		if f := seen.Hosts.Fact(h.Name); f.Err != nil || survey.Initialised(f) && plan.ServesAPI(f) {
			perhaps = append(perhaps, h.Name)
		}
	}
	if len(perhaps) == 0 {
		return nil
	}
	return hint.With(fmt.Errorf("%w, perhaps: the API server, which may run on %s, did not say who has the lock, and nothing was done: %w",
		stack.ErrLocked, report.Some(perhaps, 5), silent), "run it again when the API server answers; when no other run is at work, --break-lock goes on without its answer")
}

// lockedBy is the error of a lock that was not given.
func lockedBy(err error) error {
	switch {
	case errors.Is(err, kube.ErrHeld):
		return fmt.Errorf("%w, or was ended in the middle: %w", stack.ErrLocked, err)
	case errors.Is(err, kube.ErrStale):
		return fmt.Errorf("%w: %w", stack.ErrLocked, err)
	}
	return err
}

func (x *Executor) takeLock(kind string, hosts survey.Hosts) (*lock.Lock, error) {
	defer x.Waiting("the cluster's lock")()
	if x.Server.API == nil {
		return x.lockOnHost(kind, hosts)
	}
	l, err := lock.Take(x.Reading, x.Server.API, x.Stop, x.lease())
	if err != nil {
		return nil, err
	}
	if err := x.clearHost(hosts); err != nil {
		return nil, errors.Join(err, l.GiveBack(x.Reading))
	}
	return l, nil
}

// clearHost sees to a lock on the host where the cluster began, now that this run has the lease. That of an up which has made its API server is
// deleted: such a run finds out that another had the lease, and goes no further. One whose run may be at work yet, in the middle of its init or
// of a destroy, is in the way, unless it is broken. Errors: kube.ErrHeld.
func (x *Executor) clearHost(hosts survey.Hosts) error {
	first := x.Cluster.Bootstrap().Name
	h, err := x.Fleet.Host(first)
	if err != nil || hosts.Fact(first).Err != nil {
		return nil // that host is not of this run
	}
	token, _, err := lock.Kept(x.StateDir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(x.Reading, access.Patience)
	defer cancel()
	return lock.ClearHost(ctx, h, lock.HostOptions{Name: first, Token: token, Break: x.BreakLock})
}

// lockOnHost takes the lock on the host where the cluster begins.
func (x *Executor) lockOnHost(kind string, hosts survey.Hosts) (*lock.Lock, error) {
	first := x.Cluster.Bootstrap()
	f := hosts.Fact(first.Name)
	if !first.IsManaged() || f.Err != nil {
		return lock.None(x.Stop), nil // nothing is begun there
	}
	h, err := x.Fleet.Host(first.Name)
	if err != nil {
		return nil, err
	}
	token, err := lock.Token(x.StateDir)
	if err != nil {
		return nil, err
	}
	return lock.TakeOnHost(x.Reading, h, x.Stop, lock.HostOptions{Name: first.Name, Token: token, Kind: kind, Break: x.BreakLock, Seen: stepsOn(f)})
}

// stepsOn is what a host's markers say, as a host tells it with its lock.
func stepsOn(f facts.Host) map[string]string {
	out := map[string]string{}
	for step, m := range f.Markers {
		out[step] = strings.TrimSpace(m.State + " " + m.Digest)
	}
	for _, step := range f.BadMarkers {
		out[step] = lock.Unread
	}
	return out
}

// giveBack gives the lock back, and also one on a host that an earlier run from here, which was ended in the middle, has left; with BreakLock
// that of any run.
func (x *Executor) giveBack(ctx context.Context, l *lock.Lock) error {
	defer x.Waiting("the cluster's lock to be given back")()
	if err := l.GiveBack(ctx); err != nil {
		return err
	}
	var first lock.HostAPI // nil = that host is not of this run
	if h, err := x.Fleet.Host(x.Cluster.Bootstrap().Name); err == nil {
		first = h
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), access.Patience)
	defer cancel()
	return l.GiveBackLeft(ctx, first, x.StateDir, x.BreakLock)
}

// lease is how the lease is taken.
func (x *Executor) lease() lock.Options {
	return lock.Options{TTL: x.LockTTL, Break: x.BreakLock, Mark: x.Server.Mark}
}

// leaseBesides takes the cluster's lease as soon as this run has made an API server. While others join, one that kubeadm is told to be patient
// with may be away for longer than a lease lasts otherwise.
func (x *Executor) leaseBesides(ctx context.Context) {
	api := x.Server.Known()
	if x.locked == nil || api == nil {
		return
	}
	o := x.lease()
	if o.TTL == 0 {
		o.TTL = max(lock.TTL, x.Cluster.Spec.Kubernetes.Timeouts.KubernetesAPICall.Std())
	}
	x.locked.Lease(ctx, api, o)
}
