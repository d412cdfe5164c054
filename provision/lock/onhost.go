package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
)

// HostAPI is a host that can have the lock; *host.Host is one.
type HostAPI interface {
	TakeLock(ctx context.Context, o host.LockTaking) (host.Locked, error)
	GiveLock(ctx context.Context, o host.LockGiving) (host.Locked, error)
}

// HostOptions say how the lock is taken on a host.
type HostOptions struct {
	Name  string            // the host's
	Token string            // only this state directory knows it: a lock with it is of an earlier run from here, which is gone
	Kind  string            // host.LockOfUp: the run takes the lease besides, and ends when another had it; see Lease
	Break bool              // take it from whoever has it
	Seen  map[string]string // the host's steps as this run looked at them, as host.Locked has them, or Unread; nil = it did not
}

// Unread is in HostOptions.Seen for a step whose marker is there and cannot be read: it is not compared.
const Unread = "?"

// onHost is a lock on a host.
type onHost struct {
	api HostAPI
	o   HostOptions

	once sync.Once
	err  error
}

// TakeOnHost takes the lock on the host where the cluster begins. stop is the user's; Stop ends with it too.
// Errors: kube.ErrHeld: another run has it. kube.ErrStale: another run was at work since this one looked. Both are for the user.
func TakeOnHost(ctx context.Context, api HostAPI, stop <-chan struct{}, o HostOptions) (*Lock, error) {
	locked, err := api.TakeLock(ctx, host.LockTaking{Token: o.Token, Holder: kube.NewHolder(), Kind: o.Kind, Break: o.Break})
	switch {
	case err != nil:
		return nil, unread(o, err)
	case !locked.Taken:
		return nil, hint.With(&held{fmt.Sprintf("there is no API server yet, and the lock on %s (%s) is held by %s", o.Name, host.LockFile, by(locked))}, breaks)
	}
	l := watched(stop)
	l.onHost = &onHost{api: api, o: o}
	if changed := changedSince(o.Seen, locked.Steps); changed != "" && !locked.Again {
		stale := fmt.Errorf("%w: step %s on %s is not any more as this run saw it; nothing was done", kube.ErrStale, changed, o.Name)
		return nil, errors.Join(hint.With(stale, "run it again"), l.GiveBack(ctx))
	}
	return l, nil
}

// unread is for the user when the host did not say whose its lock is.
func unread(o HostOptions, err error) error {
	err = fmt.Errorf("%s: %w", o.Name, err)
	if errors.Is(err, host.ErrLockAnswer) {
		return hint.With(err, "its login runs something else than it is told to: see ForceCommand in its sshd_config, and command= in authorized_keys")
	}
	return err
}

// breaks is the hint of a lock that another run has.
const breaks = "when that run is gone, --break-lock takes it"

// held is a kube.ErrHeld of a lock on a host.
type held struct{ text string }

func (e *held) Error() string { return e.text }

func (e *held) Unwrap() error { return kube.ErrHeld }

// by says who has the lock, and since when.
func by(l host.Locked) string {
	return fmt.Sprintf("%s since %s", cmp.Or(l.By, "a run that does not say whose it is"), cmp.Or(l.Since, "a time that it does not say"))
}

// changedSince names a step that is not as it was seen; "" = none.
func changedSince(seen, now map[string]string) string {
	if seen == nil {
		return ""
	}
	for step, is := range now {
		if was, known := seen[step]; !known || was != is && was != Unread {
			return step
		}
	}
	for step := range seen {
		if _, there := now[step]; !there {
			return step
		}
	}
	return ""
}

// Lease takes the cluster's lease besides a lock on a host, as soon as this run has made an API server: who comes from now on asks that one.
// When it is not given, or another had it before, the lock is lost: that other run may have done anything meanwhile.
func (l *Lock) Lease(ctx context.Context, api kube.LeaseAPI, o Options) {
	if l.onHost == nil || l.held.Load() != nil {
		return
	}
	o.Mark, o.Break = kube.NoLease, false
	lease, err := hold(ctx, api, o)
	switch {
	case errors.Is(err, kube.ErrStale):
		err = hint.With(fmt.Errorf("%w: it had the cluster's lease before this one could take it", kube.ErrStale), "run it again")
		fallthrough
	case err != nil:
		l.refused = err
		close(l.refusal)
	case ended(l.over): // the run has not waited for this
		_ = lease.Release(ctx) // it ends by itself
	default:
		l.held.Store(lease)
		l.leased <- struct{}{}
	}
}

// Refused is why the lease was not given to a run that has the lock on a host; nil while it was not asked for, or was given.
func (l *Lock) Refused() error {
	if l.refusal == nil || !ended(l.refusal) {
		return nil
	}
	return l.refused
}

// ClearHost sees to a lock that is left on the host where the cluster began; who calls it has the lease. That of an up which has made its API
// server is deleted: such a run asks for the lease, finds that another had it, and goes no further. Errors: kube.ErrHeld: one whose run may be
// at work yet, in the middle of its init or of a destroy, is in the way; o.Break takes it away.
func ClearHost(ctx context.Context, api HostAPI, o HostOptions) error {
	locked, err := api.GiveLock(ctx, host.LockGiving{Token: o.Token, Leased: true, Break: o.Break})
	if err != nil {
		return unread(o, err)
	}
	if locked.Taken || locked.Gone || locked.Kind == "" { // one of before kinds were noted has always been left alone
		return nil
	}
	return hint.With(&held{fmt.Sprintf("the lock on %s (%s) is held by %s, of \"%s\"", o.Name, host.LockFile, by(locked), locked.Kind)}, breaks)
}

// giveBack ends it on the host, also after an interruption.
func (l *onHost) giveBack(ctx context.Context) error {
	l.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		locked, err := l.api.GiveLock(ctx, host.LockGiving{Token: l.o.Token})
		switch {
		case err != nil:
			l.err = hint.With(fmt.Errorf("the lock on %s could not be given back: %w", l.o.Name, err), "the next run from here takes it; any other with --break-lock")
		case !locked.Taken && !locked.Gone:
			l.err = &held{fmt.Sprintf("the lock on %s was taken from this run: it is held by %s", l.o.Name, by(locked))}
		}
	})
	return l.err
}
