package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ErrHeld: another program holds the lease; the message says who, and since when. The user waits, or breaks it when the holder is gone.
var ErrHeld = errors.New("the lease is held")

// ErrStale: another run has had the lease since its mark was read, so what was found out then may no longer be true. The user starts again.
var ErrStale = errors.New("another run was at work meanwhile")

// ErrLapsed: the holder could not renew the lease for as long as it holds, so that another may have it by now. The run starts nothing more.
var ErrLapsed = errors.New("the lease could not be renewed in time")

// LeaseOptions describe a lock of the whole cluster: a Lease in kube-system, or of a part of it: one in another namespace. It stays when no run
// holds it.
type LeaseOptions struct {
	Name   string           // in kube-system, or NAMESPACE/NAME
	Holder string           // who takes it; see NewHolder
	TTL    time.Duration    // a holder that has not renewed for so long has lost it; renewed four times as often
	Break  bool             // take it from any holder, whatever its mark
	Now    func() time.Time // the clock; nil = time.Now
	Mark   string           // what LeaseMark returned before the holder looked at the cluster; "" = it did not look
}

// NewHolder names this process, user@host first, so that no other has the name.
func NewHolder() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s@%s/%d/%s", name, host, os.Getpid(), strings.ToLower(rand.Text())[:8])
}

// LeaseAPI is what Hold wants of the API server; *Client is it.
type LeaseAPI interface {
	LeaseMark(ctx context.Context, name string) (string, error)
	TakeLease(ctx context.Context, o LeaseOptions) error
	RenewLease(ctx context.Context, o LeaseOptions) error
	ReleaseLease(ctx context.Context, o LeaseOptions) error
}

// Held is a lease that this process has, until Release.
type Held struct {
	api  LeaseAPI
	o    LeaseOptions
	stop context.CancelFunc
	done sync.WaitGroup

	renewed atomic.Pointer[time.Time] // when it was asked for that holds now
	once    sync.Once
	lost    chan struct{}
	err     error // why it was lost; set before lost is closed
}

// Hold takes the lease and renews it until Release. ErrHeld: another has it.
func Hold(ctx context.Context, api LeaseAPI, o LeaseOptions) (*Held, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	begun := o.Now()
	if err := api.TakeLease(ctx, o); err != nil {
		return nil, err
	}
	// What it protects outlives an interruption, and so does the lease.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	h := &Held{api: api, o: o, stop: stop, lost: make(chan struct{})}
	h.renewed.Store(&begun)
	h.done.Go(func() { h.renew(renewing) }) // renews while others work; ends with Release
	return h, nil
}

// Lost is closed when another has taken the lease, or may have; Err then says why.
func (h *Held) Lost() <-chan struct{} { return h.lost }

// Err is why the lease was lost, ErrHeld or ErrLapsed; nil when it was not. It looks at the clock itself: after a sleep of the machine it knows
// before Lost does.
func (h *Held) Err() error {
	if h.left() <= 0 {
		h.lapse(nil)
	}
	select {
	case <-h.lost:
		return h.err
	default:
		return nil
	}
}

// renew renews the lease four times in its time, and looks at the clock four times as often: the machine may have slept, or the API server
// may be away.
func (h *Held) renew(ctx context.Context) {
	for n := 1; sleep(ctx, h.o.TTL/16) == nil && h.Err() == nil; n++ {
		if n%4 != 0 {
			continue
		}
		asked := h.o.Now()
		asking, cancel := context.WithTimeout(ctx, h.left())
		err := h.api.RenewLease(asking, h.o)
		cancel()
		switch {
		case err == nil:
			h.renewed.Store(&asked)
		case errors.Is(err, ErrHeld):
			h.lose(err)
		case ctx.Err() == nil && h.left() <= 0:
			h.lapse(err)
		}
	}
}

// left is how long the lease still holds, by the clock that has gone further: the monotonic one stands still while the machine sleeps, and
// the wall clock may be set back.
func (h *Held) left() time.Duration {
	now, renewed := h.o.Now(), *h.renewed.Load()
	return h.o.TTL - max(now.Sub(renewed), now.Round(0).Sub(renewed.Round(0)))
}

// lapse loses it as it was not renewed in time; why is what the last attempt met with, nil = nothing.
func (h *Held) lapse(why error) {
	err := fmt.Errorf("%w: for %s", ErrLapsed, h.o.TTL)
	if why != nil {
		err = fmt.Errorf("%w: %w", err, why)
	}
	h.lose(err)
}

// lose is for good, whatever comes later.
func (h *Held) lose(err error) {
	h.once.Do(func() {
		h.err = err
		close(h.lost)
	})
}

// Leave ends the renewals and does not give the lease back, as the cluster is gone.
func (h *Held) Leave() {
	h.stop()
	h.done.Wait()
	h.once.Do(func() {}) // from here on it cannot be lost
}

// Release gives the lease back, also after an interruption. One that another has is left to it.
func (h *Held) Release(ctx context.Context) error {
	h.Leave()
	if errors.Is(h.Err(), ErrHeld) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return h.api.ReleaseLease(ctx, h.o)
}

// NoLease is the mark while there is no lease: no one has had it yet.
const NoLease = "none"

// LeaseMark returns a word that changes whenever anybody takes, renews or gives back the lease.
func (c *Client) LeaseMark(ctx context.Context, name string) (string, error) {
	there, err := c.lease(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return NoLease, nil
	}
	if err != nil {
		return "", err
	}
	return there.mark(), nil
}

func (l lease) mark() string { return string(l.UID) + "/" + l.ResourceVersion }

// TakeLease takes the lease when no run has it, or its holder has not renewed it in time.
// Errors: ErrHeld: another run has it. ErrStale: no run has it now, but one had since the mark.
// Clocks differ, so that a lease which looks expired is believed to be when it has not been renewed while one looked.
func (c *Client) TakeLease(ctx context.Context, o LeaseOptions) error {
	there, err := c.lease(ctx, o.Name)
	switch {
	case errors.Is(err, ErrNotFound) && o.stale(NoLease):
		return ErrStale
	case errors.Is(err, ErrNotFound):
		return c.createLease(ctx, o)
	case err != nil:
		return err
	case there.held() && !o.Break && !there.expired(time.Now()):
		return there.heldError()
	case o.stale(there.mark()):
		return ErrStale
	case there.held() && !o.Break:
		ttl := max(o.TTL, there.lasts()) // its holder renews it four times in its time
		if err := sleep(ctx, ttl/4+ttl/8); err != nil {
			return err
		}
		again, err := c.lease(ctx, o.Name)
		gone := errors.Is(err, ErrNotFound)
		switch {
		case err != nil && !gone:
			return err
		case !gone && again.held() && again.ResourceVersion != there.ResourceVersion:
			return again.heldError()
		case o.Mark != "" && (gone || again.ResourceVersion != there.ResourceVersion):
			return ErrStale
		case gone:
			return c.createLease(ctx, o)
		}
		there = again
	}
	there.sign(o, time.Now())
	return c.updateLease(ctx, "take", there)
}

func (o LeaseOptions) stale(mark string) bool { return o.Mark != "" && o.Mark != mark && !o.Break }

// RenewLease says that the holder is still there. ErrHeld: it has lost the lease, to another or to one who has given it back already.
func (c *Client) RenewLease(ctx context.Context, o LeaseOptions) error {
	there, err := c.lease(ctx, o.Name)
	if errors.Is(err, ErrNotFound) {
		return &failure{kind: ErrHeld, text: "deleted by someone"}
	}
	if err != nil {
		return err
	}
	if there.holder() != o.Holder {
		return there.heldError()
	}
	there.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
	return c.updateLease(ctx, "renew", there)
}

// ReleaseLease gives the lease back when the holder has it. The object stays: its mark tells others that a run was at work.
func (c *Client) ReleaseLease(ctx context.Context, o LeaseOptions) error {
	there, err := c.lease(ctx, o.Name)
	if errors.Is(err, ErrNotFound) || err == nil && there.holder() != o.Holder {
		return nil
	}
	if err != nil {
		return err
	}
	there.Spec = coordinationv1.LeaseSpec{}
	if err := c.updateLease(ctx, "give back", there); !errors.Is(err, ErrHeld) { // or it is another's by now
		return err
	}
	return nil
}

type lease struct{ *coordinationv1.Lease }

// leasePlace is where the lease of a name is.
func leasePlace(name string) (namespace, in string) {
	if namespace, in, other := strings.Cut(name, "/"); other {
		return namespace, in
	}
	return metav1.NamespaceSystem, name
}

// name is the lease's, as LeaseOptions have it.
func (l lease) name() string {
	if l.Namespace == metav1.NamespaceSystem {
		return l.Name
	}
	return l.Namespace + "/" + l.Name
}

func (c *Client) lease(ctx context.Context, name string) (l lease, err error) {
	namespace, in := leasePlace(name)
	err = c.do(ctx, "read lease "+name, func(ctx context.Context) (err error) {
		l.Lease, err = c.coordination.Leases(namespace).Get(ctx, in, metav1.GetOptions{})
		return err
	})
	return l, err
}

func (c *Client) createLease(ctx context.Context, o LeaseOptions) error {
	namespace, in := leasePlace(o.Name)
	made := lease{&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: in, Namespace: namespace}}}
	made.sign(o, time.Now())
	err := c.do(ctx, "take lease "+o.Name, func(ctx context.Context) error {
		_, err := c.coordination.Leases(namespace).Create(ctx, made.Lease, metav1.CreateOptions{FieldManager: FieldManager})
		return err
	})
	return c.settle(ctx, o.Name, o.Holder, err)
}

func (c *Client) updateLease(ctx context.Context, verb string, l lease) error {
	err := c.do(ctx, verb+" lease "+l.name(), func(ctx context.Context) error {
		_, err := c.coordination.Leases(l.Namespace).Update(ctx, l.Lease, metav1.UpdateOptions{FieldManager: FieldManager})
		return err
	})
	return c.settle(ctx, l.name(), l.holder(), err)
}

// settle tells who was faster when two wrote at once; a write of ours whose answer was lost counts as ours.
func (c *Client) settle(ctx context.Context, name, holder string, err error) error {
	if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
		return err
	}
	there, reading := c.lease(ctx, name)
	switch {
	case reading != nil:
		return errors.Join(err, reading)
	case there.holder() == holder:
		return nil
	}
	return there.heldError()
}

func (l lease) sign(o LeaseOptions, now time.Time) {
	seconds := int32(max(1, o.TTL/time.Second))
	l.Spec = coordinationv1.LeaseSpec{
		HolderIdentity: &o.Holder, LeaseDurationSeconds: &seconds,
		AcquireTime: &metav1.MicroTime{Time: now}, RenewTime: &metav1.MicroTime{Time: now},
	}
}

func (l lease) holder() string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

func (l lease) held() bool { return l.holder() != "" }

func (l lease) expired(now time.Time) bool {
	if l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return true
	}
	return now.After(l.Spec.RenewTime.Add(l.lasts()))
}

// lasts is how long its holder has it without renewing it; 0 = it does not say.
func (l lease) lasts() time.Duration {
	if l.Spec.LeaseDurationSeconds == nil {
		return 0
	}
	return time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
}

func (l lease) heldError() error {
	if !l.held() {
		return &failure{kind: ErrHeld, text: "taken by another run meanwhile, and given back"}
	}
	who, _, _ := strings.Cut(l.holder(), "/")
	text := "held by " + who
	if l.Spec.AcquireTime != nil {
		text += " since " + l.Spec.AcquireTime.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return &failure{kind: ErrHeld, text: text}
}
