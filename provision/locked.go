package provision

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// underLock does the part of a run that writes while the cluster's lock is this run's, so that no other writes from another machine. While
// there is no API server, the lock is a file on the host where the cluster begins; where that is not reached, there is none to take. hosts are
// those that the run looked at. work is told to stop when the user says so, or when the lock is lost.
//
// It decides which error wins. err ends the verb: ErrLocked when another run has the lock or took it, before anything else; then
// context.Canceled. failed is of single steps, or of a lock that could not be given back: the verb goes on to its end.
func (r *run) underLock(ctx context.Context, hosts survey.Hosts, work func(*lock.Lock) error) (failed, err error) {
	l, err := r.takeLock(hosts)
	if err != nil {
		return nil, lockedBy(err)
	}
	r.locked = l
	failed = work(l)
	notBack := r.giveBack(ctx, l)
	switch lost := l.Lost(); {
	case l.Refused() != nil:
		return failed, fmt.Errorf("%w: %w; no other step was begun", ErrLocked, l.Refused())
	case errors.Is(lost, kube.ErrLapsed):
		return failed, fmt.Errorf("%w, perhaps: the cluster's lock: %w, and no other step was begun; run it again when the API server answers", ErrLocked, lost)
	case lost != nil:
		return failed, fmt.Errorf("%w: the cluster's lock was taken from this run: it is %w", ErrLocked, lost)
	case errors.Is(notBack, kube.ErrHeld):
		return failed, fmt.Errorf("%w: %w", ErrLocked, notBack)
	case errors.Is(failed, context.Canceled):
		return nil, failed
	}
	return errors.Join(failed, notBack), nil
}

// lockedBy is the error of a lock that was not given.
func lockedBy(err error) error {
	switch {
	case errors.Is(err, kube.ErrHeld):
		return fmt.Errorf("%w, or was ended in the middle: %w", ErrLocked, err)
	case errors.Is(err, kube.ErrStale):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return err
}

func (r *run) takeLock(hosts survey.Hosts) (*lock.Lock, error) {
	if r.API == nil {
		return r.lockOnHost(hosts)
	}
	l, err := lock.Take(r.reading, r.API, r.Stop, r.leaseOptions())
	if err != nil {
		return nil, err
	}
	if err := r.clearHost(hosts); err != nil {
		return nil, errors.Join(err, l.GiveBack(r.reading))
	}
	return l, nil
}

// clearHost sees to a lock on the host where the cluster began, now that this run has the lease. That of an up which has made its API server is
// deleted: such a run finds out that another had the lease, and goes no further. One whose run may be at work yet, in the middle of its init or
// of a destroy, is in the way, unless it is broken. Errors: kube.ErrHeld.
func (r *run) clearHost(hosts survey.Hosts) error {
	first := r.Cluster.Bootstrap().Name
	h, err := r.fleet.Host(first)
	if err != nil || hosts.Fact(first).Err != nil {
		return nil // that host is not of this run
	}
	token, err := os.ReadFile(r.tokenFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	ctx, cancel := context.WithTimeout(r.reading, access.Patience)
	defer cancel()
	return lock.ClearHost(ctx, h, lock.HostOptions{Name: first, Token: r.tokenHere(token), Break: r.BreakLock})
}

// lockOnHost takes the lock on the host where the cluster begins.
func (r *run) lockOnHost(hosts survey.Hosts) (*lock.Lock, error) {
	first := r.Cluster.Bootstrap()
	f := hosts.Fact(first.Name)
	if !first.IsManaged() || f.Err != nil {
		return lock.None(r.Stop), nil // nothing is begun there
	}
	h, err := r.fleet.Host(first.Name)
	if err != nil {
		return nil, err
	}
	token, err := r.hostToken()
	if err != nil {
		return nil, err
	}
	return lock.TakeOnHost(r.reading, h, r.Stop, lock.HostOptions{Name: first.Name, Token: token, Kind: r.lockKind, Break: r.BreakLock, Seen: stepsOn(f)})
}

// stepsOn is what a host's markers say, as a host tells it with its lock.
func stepsOn(f facts.Host) map[string]string {
	out := map[string]string{}
	for step, m := range f.Markers {
		out[step] = strings.TrimSpace(m.State + " " + m.Digest)
	}
	return out
}

// giveBack gives the lock back, and also one on a host that an earlier run from here, which was ended in the middle, has left; with BreakLock
// that of any run.
func (r *run) giveBack(ctx context.Context, l *lock.Lock) error {
	if err := l.GiveBack(ctx); err != nil {
		return err
	}
	token, err := os.ReadFile(r.tokenFile())
	known := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if !l.OnHost() {
		h, err := r.fleet.Host(r.Cluster.Bootstrap().Name)
		if err != nil || !known && !r.BreakLock {
			return nil // that host is not of this run, or there was no such lock
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), access.Patience)
		defer cancel()
		if _, err := h.GiveLock(ctx, r.tokenHere(token), r.BreakLock); err != nil { // another's is not touched
			return err
		}
	}
	if !known {
		return nil
	}
	return os.Remove(r.tokenFile())
}

// hostTokenFile is in the state directory while a lock on a host is of a run from here. Whoever has the state directory, which one run at a
// time has, and finds it, knows that the run is gone.
const hostTokenFile = "host-lock"

// leftLock reports whether an earlier run from here may have left a lock on a host.
func (r *run) leftLock() bool {
	_, err := os.Stat(r.tokenFile())
	return err == nil
}

func (r *run) tokenFile() string { return filepath.Join(r.StateDir, hostTokenFile) }

// hostToken returns the token of this state directory's locks, and makes it when there is none.
func (r *run) hostToken() (string, error) {
	token, err := os.ReadFile(r.tokenFile())
	if errors.Is(err, os.ErrNotExist) {
		token = []byte(rand.Text())
		if err = os.WriteFile(r.tokenFile()+".new", token, 0o600); err == nil {
			err = os.Rename(r.tokenFile()+".new", r.tokenFile())
		}
	}
	return r.tokenHere(token), err
}

// tokenHere is another one where the state directory was copied to, on this machine or on another.
func (r *run) tokenHere(token []byte) string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	dir, err := filepath.EvalSymlinks(r.StateDir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		dir = r.StateDir
	}
	sum := sha256.Sum256([]byte(dir)) // any user of the host can read it
	return string(token) + "@" + name + "/" + hex.EncodeToString(sum[:8])
}
