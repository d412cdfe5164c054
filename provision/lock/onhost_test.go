package lock

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/kube"
)

// oneHost answers about its lock as it is told to.
type oneHost struct {
	take, give host.Locked
	err        error
	given      int
	asked      host.LockGiving
}

func (h *oneHost) TakeLock(context.Context, host.LockTaking) (host.Locked, error) {
	return h.take, h.err
}

func (h *oneHost) GiveLock(_ context.Context, o host.LockGiving) (host.Locked, error) {
	h.given++
	h.asked = o
	return h.give, h.err
}

var taken = host.Locked{Taken: true, Steps: map[string]string{"os": "done d"}}

func TestTakeOnHost(t *testing.T) {
	for name, c := range map[string]struct {
		host oneHost
		seen map[string]string
		want error
		says string
	}{
		"taken":                         {oneHost{take: taken}, map[string]string{"os": "done d"}, nil, ""},
		"nobody looked":                 {oneHost{take: taken}, nil, nil, ""},
		"held":                          {oneHost{take: host.Locked{By: "eve@a/1", Since: "2026-01-02T03:04:05Z"}}, nil, kube.ErrHeld, "by eve@a/1 since 2026-01-02T03:04:05Z\nhint: when that run is gone, --break-lock"},
		"held by nobody knows who":      {oneHost{}, nil, kube.ErrHeld, "a run that does not say whose it is"},
		"another step was done":         {oneHost{take: taken, give: taken}, map[string]string{}, kube.ErrStale, "step os on host-1"},
		"a step was undone":             {oneHost{take: taken, give: taken}, map[string]string{"os": "done d", "runtime": "done e"}, kube.ErrStale, "step runtime"},
		"a step was done otherwise":     {oneHost{take: taken, give: taken}, map[string]string{"os": "started"}, kube.ErrStale, "run it again"},
		"one that could not be read":    {oneHost{take: taken, give: taken}, map[string]string{"os": Unread}, nil, ""},
		"its own went on when it ended": {oneHost{take: host.Locked{Taken: true, Again: true, Steps: taken.Steps}}, map[string]string{"os": "started"}, nil, ""},
		"it cannot be asked":            {oneHost{err: errors.New("connection lost")}, nil, nil, "connection lost"},
		"something else answers":        {oneHost{err: host.ErrLockAnswer}, nil, nil, "host-1: the host does not answer whose the lock is\nhint: its login runs something else"},
	} {
		l, err := TakeOnHost(context.Background(), &c.host, nil, HostOptions{Name: "host-1", Token: "t", Seen: c.seen})
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(told(err), c.says) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, kube.ErrStale) && c.host.given != 1 {
			t.Errorf("%s: the lock is not given back", name)
		}
		if err == nil {
			l.Leave()
		}
	}
}

func TestOnHost_LeaseIsTakenBesides(t *testing.T) {
	h, api := &oneHost{take: taken, give: taken}, &leases{}
	l, err := TakeOnHost(context.Background(), h, nil, HostOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l.Lease(context.Background(), api, Options{})
	if err := l.GiveBack(context.Background()); err != nil || l.Lost() != nil || h.given != 1 || api.released != 1 {
		t.Errorf("%v, given back %d and %d times", err, h.given, api.released)
	}
	if err := l.GiveBack(context.Background()); err != nil || h.given != 1 {
		t.Errorf("again: %v, %d times", err, h.given)
	}
}

// Another run asked for the lease before this one, which made the API server, could: it has to go on alone.
func TestOnHost_LeaseThatIsNotGivenStopsTheRun(t *testing.T) {
	h, api := &oneHost{take: taken, give: taken}, &leases{take: kube.ErrHeld}
	l, err := TakeOnHost(context.Background(), h, nil, HostOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l.Lease(context.Background(), api, Options{})
	<-l.Stop()
	if !errors.Is(l.Lost(), kube.ErrHeld) || l.GiveBack(context.Background()) != nil || h.given != 1 || api.released != 0 {
		t.Errorf("lost %v, given back %d and %d times", l.Lost(), h.given, api.released)
	}
}

// Another run had the lease, did its work, and gave it back while this one slept behind its init: nothing is any more as this run saw it.
func TestOnHost_LeaseThatAnotherHadIsNotTaken(t *testing.T) {
	h, api := &oneHost{take: taken, give: taken}, &leases{}
	l, err := TakeOnHost(context.Background(), h, nil, HostOptions{Break: true})
	if err != nil {
		t.Fatal(err)
	}
	l.Lease(context.Background(), api, Options{Break: true, Mark: "a mark"})
	if api.asked.Mark != kube.NoLease || api.asked.Break {
		t.Errorf("asked for %+v", api.asked)
	}
	l.Leave()
}

func TestOnHost_LeaseThatIsLostStopsTheRun(t *testing.T) {
	h, api := &oneHost{take: taken, give: taken}, &leases{renew: kube.ErrHeld, renewed: make(chan struct{})}
	l, err := TakeOnHost(context.Background(), h, nil, HostOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l.Lease(context.Background(), api, Options{TTL: 1600 * time.Millisecond})
	<-api.renewed
	<-l.Stop()
	if !errors.Is(l.Lost(), kube.ErrHeld) {
		t.Errorf("lost %v", l.Lost())
	}
	l.Leave()
}

func TestOnHost_LeaseAfterTheEndIsGivenBack(t *testing.T) {
	h, api := &oneHost{take: taken, give: taken}, &leases{}
	l, err := TakeOnHost(context.Background(), h, nil, HostOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.GiveBack(context.Background()); err != nil {
		t.Fatal(err)
	}
	if l.Lease(context.Background(), api, Options{}); api.released != 1 {
		t.Errorf("given back %d times", api.released)
	}
}

func TestClearHost(t *testing.T) {
	for name, c := range map[string]struct {
		host oneHost
		says string
	}{
		"none is there":              {oneHost{give: host.Locked{Gone: true}}, ""},
		"of an up that was ended":    {oneHost{give: host.Locked{Taken: true}}, ""},
		"of before there were kinds": {oneHost{give: host.Locked{By: "eve@a/1", Since: "then"}}, ""},
		"of an up in its init":       {oneHost{give: host.Locked{By: "eve@a/1", Since: "then", Kind: "up"}}, `held by eve@a/1 since then, of "up"` + "\nhint: when that run is gone, --break-lock"},
		"of a destroy":               {oneHost{give: host.Locked{By: "eve@a/1", Since: "then", Kind: "destroy"}}, "--break-lock"},
		"it cannot be asked":         {oneHost{err: errors.New("connection lost")}, "host-1: connection lost"},
	} {
		err := ClearHost(context.Background(), &c.host, HostOptions{Name: "host-1", Token: "t"})
		if want := (host.LockGiving{Token: "t", Leased: true}); c.host.asked != want {
			t.Errorf("%s: asked %+v", name, c.host.asked)
		}
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(told(err), c.says) || errors.Is(err, kube.ErrHeld) != (c.host.err == nil)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnHost_BrokenIsTold(t *testing.T) {
	h := &oneHost{take: taken, give: host.Locked{By: "eve@a/1", Since: "now"}}
	l, err := TakeOnHost(context.Background(), h, nil, HostOptions{Name: "host-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.GiveBack(context.Background()); !errors.Is(err, kube.ErrHeld) || !strings.Contains(err.Error(), "taken from this run: it is held by eve@a/1") {
		t.Errorf("%v", err)
	}
}
