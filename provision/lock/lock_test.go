package lock

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
)

// leases is an API server that knows one Lease.
type leases struct {
	take, renew, release error
	renewed              chan struct{}
	released             int
	asked                kube.LeaseOptions
}

func (l *leases) LeaseMark(context.Context, string) (string, error) { return "a mark", nil }
func (l *leases) TakeLease(_ context.Context, o kube.LeaseOptions) error {
	l.asked = o
	return l.take
}
func (l *leases) ReleaseLease(context.Context, kube.LeaseOptions) error {
	l.released++
	return l.release
}
func (l *leases) RenewLease(ctx context.Context, _ kube.LeaseOptions) error {
	select {
	case l.renewed <- struct{}{}:
	case <-ctx.Done():
	}
	return l.renew
}

func TestLock_StopIsTheUsersAndTheLocks(t *testing.T) {
	user := make(chan struct{})
	l, err := Take(context.Background(), &leases{}, user, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ended(l.Stop()) {
		t.Error("it stops before anyone asked")
	}
	close(user)
	<-l.Stop()
	if l.Lost() != nil {
		t.Errorf("the user's stop is no loss: %v", l.Lost())
	}
	if err := l.GiveBack(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestLock_LossStopsTheRunAndLeavesTheUsersStopAlone(t *testing.T) {
	user := make(chan struct{})
	api := &leases{renew: kube.ErrHeld, renewed: make(chan struct{})}
	l, err := Take(context.Background(), api, user, Options{TTL: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	<-api.renewed
	<-l.Stop()
	if ended(user) || !errors.Is(l.Lost(), kube.ErrHeld) {
		t.Errorf("the user's: %t, lost: %v", ended(user), l.Lost())
	}
	if err := l.GiveBack(context.Background()); err != nil || api.released != 0 {
		t.Errorf("%v, given back %d times: it is another's", err, api.released)
	}
}

func TestLock_IsGivenBackOnce(t *testing.T) {
	api := &leases{release: errors.New("away")}
	l, err := Take(context.Background(), api, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.GiveBack(context.Background()); err == nil || !strings.Contains(err.Error(), "could not be given back") {
		t.Errorf("error %v", err)
	}
	if err := l.GiveBack(context.Background()); err != nil || api.released != 1 {
		t.Errorf("again: %v, %d times", err, api.released)
	}
}

func TestLock_LeftIsNotGivenBack(t *testing.T) {
	api := &leases{}
	l, err := Take(context.Background(), api, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l.Leave()
	if err := l.GiveBack(context.Background()); err != nil || api.released != 0 {
		t.Errorf("%v, %d times", err, api.released)
	}
}

// told is an error with its hints, as who reads it sees them.
func told(err error) string { return err.Error() + "\nhint: " + hint.Text(err) }

func TestTake_SaysWhatToDo(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{{kube.ErrHeld, "--break-lock"}, {kube.ErrStale, "run it again"}} {
		if _, err := Take(context.Background(), &leases{take: test.err}, nil, Options{}); !errors.Is(err, test.err) || !strings.Contains(hint.Text(err), test.want) {
			t.Errorf("error %v", err)
		}
	}
}

func TestNone_IsNeverLost(t *testing.T) {
	user := make(chan struct{})
	l := None(user)
	close(user)
	<-l.Stop()
	l.Leave()
	if l.Lost() != nil || l.GiveBack(context.Background()) != nil {
		t.Error("there was no lock")
	}
}

// Whoever takes the API server away cannot renew what it keeps; that another took the lock is a loss even so.
func TestLock_OutlivedLapseIsNoLoss(t *testing.T) {
	for _, test := range []struct {
		renew error
		lost  bool
	}{{errors.New("connection refused"), false}, {kube.ErrHeld, true}} {
		user := make(chan struct{})
		api := &leases{renew: test.renew, renewed: make(chan struct{}, 1000)}
		l, err := Take(context.Background(), api, user, Options{TTL: 1600 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		l.Outlive()
		<-l.held.Load().Lost()
		if (l.Lost() != nil) != test.lost {
			t.Errorf("%v: lost: %v", test.renew, l.Lost())
		}
		if !test.lost && ended(l.Stop()) {
			t.Error("the run was stopped")
		}
		close(user)
		<-l.Stop()
		l.Leave()
	}
}
