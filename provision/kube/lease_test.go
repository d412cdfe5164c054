package kube

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestLease_OneHolderAtATime(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	first := LeaseOptions{Name: fresh("lease"), Holder: "ann@here/1/a", TTL: time.Minute}
	second := first
	second.Holder = "bob@there/2/b"
	held, err := Hold(ctx, c, first)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Hold(ctx, c, second)
	if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "held by ann@here since 2") || strings.Contains(err.Error(), "/1/a") {
		t.Errorf("the second is told: %v", err)
	}
	if err := held.Release(ctx); err != nil {
		t.Fatal(err)
	}
	again, err := Hold(ctx, c, second)
	if err != nil {
		t.Fatal(err)
	}
	// broken by a third, the second loses it with the next renewal, and does not take it away from the third
	third := first
	third.Break, third.Holder = true, "eve@x/3/c"
	if err := c.TakeLease(ctx, third); err != nil {
		t.Fatal(err)
	}
	if err := c.RenewLease(ctx, second); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "eve@x") {
		t.Errorf("renewal: %v", err)
	}
	if err := again.Release(ctx); err != nil {
		t.Errorf("release of a lost lease: %v", err)
	}
	if l, err := c.lease(ctx, first.Name); err != nil || l.holder() != third.Holder {
		t.Errorf("the third has lost it: %v", err)
	}
}

// A lease of another namespace is another's than that of the same name in kube-system.
func TestLease_InANamespace(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	o := LeaseOptions{Name: fresh("lease"), Holder: "ann@here/1/a", TTL: time.Minute}
	other := LeaseOptions{Name: "default/" + o.Name, Holder: "bob@there/2/b", TTL: time.Minute}
	if err := errors.Join(c.TakeLease(ctx, o), c.TakeLease(ctx, other), c.RenewLease(ctx, other)); err != nil {
		t.Fatal(err)
	}
	if l, err := c.lease(ctx, other.Name); err != nil || l.Namespace != "default" || l.name() != other.Name || l.holder() != other.Holder {
		t.Errorf("%+v, %v", l, err)
	}
	if err := c.TakeLease(ctx, LeaseOptions{Name: other.Name, Holder: o.Holder}); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "bob@there") {
		t.Errorf("it is bob's: %v", err)
	}
	if err := c.ReleaseLease(ctx, other); err != nil {
		t.Error(err)
	}
	if mark, err := c.LeaseMark(ctx, "kube-public/"+o.Name); err != nil || mark != NoLease {
		t.Errorf("nobody took it there: %q, %v", mark, err)
	}
}

func TestLease_WhoHadItSinceIsSeen(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	o := LeaseOptions{Name: fresh("lease"), Holder: "ann@here/1/a", TTL: time.Minute}
	mark := func() string {
		m, err := c.LeaseMark(ctx, o.Name)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	late := o
	late.Holder = "bob@there/2/b"
	for what, work := range map[string]func() error{
		"taken and given back": func() error { return errors.Join(c.TakeLease(ctx, o), c.ReleaseLease(ctx, o)) },
		"given back":           func() error { return c.ReleaseLease(ctx, o) },
	} {
		if what == "given back" {
			if err := c.TakeLease(ctx, o); err != nil {
				t.Fatal(err)
			}
		}
		late.Mark, late.Break = mark(), false
		if err := work(); err != nil {
			t.Fatal(err)
		}
		if err := c.TakeLease(ctx, late); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v", what, err)
		}
		late.Break = true
		if err := errors.Join(c.TakeLease(ctx, late), c.ReleaseLease(ctx, late)); err != nil {
			t.Errorf("%s, and broken: %v", what, err)
		}
	}
	late.Mark, late.Break = mark(), false
	if err := c.TakeLease(ctx, late); err != nil {
		t.Errorf("nobody had it since: %v", err)
	}
}

// TestLease_LostToOneWhoIsDoneAlready: a machine that slept does not go on with what it saw before.
func TestLease_LostToOneWhoIsDoneAlready(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	asleep := LeaseOptions{Name: fresh("lease"), Holder: "ann@here/1/a", TTL: time.Minute}
	other := asleep
	other.Holder, other.Break = "bob@there/2/b", true
	if err := errors.Join(c.TakeLease(ctx, asleep), c.TakeLease(ctx, other), c.ReleaseLease(ctx, other)); err != nil {
		t.Fatal(err)
	}
	if err := c.RenewLease(ctx, asleep); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "given back") {
		t.Errorf("renewal: %v", err)
	}
	if err := c.coordination.Leases("kube-system").Delete(ctx, asleep.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.RenewLease(ctx, asleep); !errors.Is(err, ErrHeld) {
		t.Errorf("renewal of a lease that is gone: %v", err)
	}
}

func TestLease_LostIsTold(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	o := LeaseOptions{Name: fresh("lease"), Holder: "ann@here/1/a", TTL: 3 * time.Second}
	held, err := Hold(ctx, c, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Holder, o.Break = "bob@there/2/b", true
	for { // between a read and a write of the first's renewal, its write wins
		if err := c.TakeLease(ctx, o); err == nil {
			break
		} else if !errors.Is(err, ErrHeld) {
			t.Fatal(err)
		}
	}
	select {
	case <-held.Lost():
	case <-ctx.Done():
		t.Fatal("the first is not told")
	}
	if err := held.Err(); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "bob@there") {
		t.Errorf("it is told: %v", err)
	}
	_ = held.Release(ctx)
}

func TestLease_ExpiredIsTakenOver(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	dead := LeaseOptions{Name: fresh("lease"), Holder: "ann@here/1/a", TTL: time.Second}
	if err := c.TakeLease(ctx, dead); err != nil {
		t.Fatal(err)
	}
	expire(t, c, dead.Name)
	o := dead
	o.Holder, o.TTL = "bob@there/2/b", time.Millisecond
	if err := c.TakeLease(ctx, o); err != nil {
		t.Fatal(err)
	}
}

// TestLease_ExpiredByTheClockAloneIsNotTaken: a clock that is ahead makes a lease look expired that its holder renews.
func TestLease_ExpiredByTheClockAloneIsNotTaken(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	alive := LeaseOptions{Name: fresh("lease"), Holder: "ann@here/1/a", TTL: 4 * time.Second} // renewed once a second: it is looked at for a second and a half
	if err := c.TakeLease(ctx, alive); err != nil {
		t.Fatal(err)
	}
	expire(t, c, alive.Name)
	o := alive
	o.Holder, o.TTL = "bob@there/2/b", time.Millisecond // how long its own would last says nothing of this one
	taken := make(chan error, 1)
	go func() { taken <- c.TakeLease(ctx, o) }()
	for {
		select {
		case err := <-taken:
			if !errors.Is(err, ErrHeld) {
				t.Errorf("a lease that was renewed meanwhile was taken: %v", err)
			}
			return
		default:
			expire(t, c, alive.Name) // renewed, by a clock that is far behind
		}
	}
}

// expire sets the time of the last renewal back.
func expire(t *testing.T, c *Client, name string) {
	t.Helper()
	l, err := c.lease(testContext(t), name)
	if err != nil {
		t.Fatal(err)
	}
	l.Spec.RenewTime = &metav1.MicroTime{Time: l.Spec.AcquireTime.Add(-time.Hour + time.Duration(time.Now().Nanosecond()))}
	if err := c.updateLease(testContext(t), "renew", l); err != nil && !errors.Is(err, ErrHeld) {
		t.Fatal(err)
	}
}

// leases is an API server whose renewals fail.
type leases struct {
	LeaseAPI
	renewals chan struct{}
}

func (*leases) TakeLease(context.Context, LeaseOptions) error    { return nil }
func (*leases) ReleaseLease(context.Context, LeaseOptions) error { return nil }
func (l *leases) RenewLease(ctx context.Context, _ LeaseOptions) error {
	select {
	case l.renewals <- struct{}{}:
	case <-ctx.Done():
	}
	return errors.New("connection refused")
}

// A holder that cannot renew the lease is told when its time is over, and not before: another may take it from then on.
func TestHeld_LapsesWhenItIsNotRenewedInTime(t *testing.T) {
	var ahead atomic.Int64
	begun := time.Now()
	api := &leases{renewals: make(chan struct{})}
	h, err := Hold(t.Context(), api, LeaseOptions{Name: "x", TTL: time.Second / 10, Now: func() time.Time { return begun.Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-api.renewals
	}
	if h.Err() != nil {
		t.Errorf("its time is not over: %v", h.Err())
	}
	ahead.Store(int64(time.Second / 10))
	<-h.Lost()
	if !errors.Is(h.Err(), ErrLapsed) || errors.Is(h.Err(), ErrHeld) {
		t.Errorf("error %v", h.Err())
	}
	if err := h.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// asleep is a time after the machine slept: its wall clock has gone on, and its monotonic one has not, which package time makes no such time for.
func asleep(t *testing.T, begun time.Time, d time.Duration) time.Time {
	t.Helper()
	slept := begun
	wall := (*uint64)(unsafe.Pointer(&slept)) // a time's first word: seconds above 30 bits of nanoseconds
	*wall += uint64(d/time.Second) << 30
	if slept.Sub(begun) != 0 || slept.Round(0).Sub(begun.Round(0)) != d {
		t.Fatalf("package time keeps them otherwise: %v and %v", begun, slept)
	}
	return slept
}

// The machine slept: the monotonic clock says that no time has gone by, and no timer has ended. Who asks knows even so, and for good.
func TestHeld_LapsesByTheWallClock(t *testing.T) {
	begun := time.Now()
	var now atomic.Pointer[time.Time]
	now.Store(&begun)
	api := &leases{renewals: make(chan struct{})}
	h, err := Hold(t.Context(), api, LeaseOptions{Name: "x", TTL: time.Hour, Now: func() time.Time { return *now.Load() }})
	if err != nil {
		t.Fatal(err)
	}
	awake := begun.Add(20 * time.Minute)
	now.Store(&awake)
	if left := h.left(); left != 40*time.Minute || h.Err() != nil {
		t.Errorf("%v are left, error %v", left, h.Err())
	}
	slept := asleep(t, begun, time.Hour)
	now.Store(&slept)
	if err := h.Err(); !errors.Is(err, ErrLapsed) {
		t.Errorf("error %v", err)
	}
	select {
	case <-h.Lost():
	default:
		t.Error("Lost does not say so")
	}
	now.Store(&awake)
	if err := h.Err(); !errors.Is(err, ErrLapsed) {
		t.Errorf("what was lost is back: %v", err)
	}
	h.Leave()
}

// One that was given back is not lost when its time is over.
func TestHeld_GivenBackIsNotLost(t *testing.T) {
	begun := time.Now()
	var ahead atomic.Int64
	h, err := Hold(t.Context(), &leases{}, LeaseOptions{Name: "x", TTL: time.Hour, Now: func() time.Time { return begun.Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Release(t.Context()); err != nil {
		t.Error(err)
	}
	ahead.Store(int64(2 * time.Hour))
	if err := h.Err(); err != nil {
		t.Error(err)
	}
}
