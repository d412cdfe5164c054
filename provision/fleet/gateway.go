package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/report"
)

// ErrNoWay is the last word when no control plane carries a connection, also when none is known.
var ErrNoWay = errors.New("there is no control plane to go through")

// GoThrough settles on the control planes through which the API server may be reached, one that is connected before the others.
// None: any of the inventory.
func (f *Fleet) GoThrough(names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ways = nil
	for _, name := range names {
		if _, connected := f.conns[name]; connected {
			f.ways = slices.Insert(f.ways, 0, name)
		} else {
			f.ways = append(f.ways, name)
		}
	}
}

// Ways are the names that GoThrough settled on, the best first.
func (f *Fleet) Ways() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ways)
}

// gateways are the control planes that may be gone through, in the order in which they are tried.
func (f *Fleet) gateways() []inventory.Host {
	ways := f.Ways()
	if ways == nil {
		return f.Cluster.ControlPlanes()
	}
	var out []inventory.Host
	for _, name := range ways {
		if h, ok := f.Cluster.Host(name); ok {
			out = append(out, h)
		}
	}
	return out
}

// way returns a control plane's connection. It makes one where the run is of some hosts only, and to one that is not managed, which is
// asked for nothing but the way; the others were connected to when the run began, or could not be.
func (f *Fleet) way(ctx context.Context, h inventory.Host) (r remote.Runner, isNew bool, err error) {
	f.going.Lock()
	defer f.going.Unlock()
	if r, ok := f.connected(h.Name); ok {
		return r, false, nil
	}
	if h.IsManaged() && !f.limited() {
		_, err := f.Host(h.Name)
		return nil, false, err
	}
	f.Event(report.Event{Kind: report.Progress, Host: h.Name, Step: "api", Message: "connecting, as the one way to the cluster"})
	defer f.Waiting("a connection to " + h.Name)()
	r, err = f.dial(ctx, h)
	return r, true, err
}

// Dial reaches an address from a control plane, over the connection that is there already. A run of some hosts only takes the first
// control plane that it can connect to, and leaves the others alone.
func (f *Fleet) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var errs []error
	for _, h := range f.gateways() {
		conn, reached, err := f.dialFrom(ctx, h, network, addr)
		if err == nil {
			return conn, nil
		}
		if reached && f.limited() {
			return nil, err
		}
		errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
	}
	return nil, errors.Join(append(errs, ErrNoWay)...)
}

// dialFrom dials from one control plane, and once more on a new connection when the one in use was lost: the host may have restarted.
func (f *Fleet) dialFrom(ctx context.Context, h inventory.Host, network, addr string) (conn net.Conn, reached bool, err error) {
	for again := true; ; again = false {
		r, _, err := f.way(ctx, h)
		if err != nil {
			return nil, false, err
		}
		conn, err := r.DialContext(ctx, network, addr)
		if !again || !errors.Is(err, remote.ErrClosed) || ctx.Err() != nil {
			return conn, true, err
		}
		if !f.limited() { // the host is of the run, and its connection too
			if _, err = f.redial(ctx, h, r); err != nil {
				return nil, false, err
			}
			continue
		}
		f.lose(h.Name, r)
	}
}

// redial replaces a lost connection, unless that was done meanwhile.
func (f *Fleet) redial(ctx context.Context, h inventory.Host, lost remote.Runner) (remote.Runner, error) {
	if r, ok := f.connected(h.Name); ok && r != lost {
		return r, nil
	}
	r, err := f.dialer.Dial(ctx, hostConfig(f.Cluster, h))
	if err != nil {
		return nil, err
	}
	_ = lost.Close() // it is lost
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[h.Name] = r
	return r, nil
}

// Member returns a host of the run or, by the name of a control plane that was settled on, one that serves: it has the cluster's
// certificates, and its etcd.
func (f *Fleet) Member(name string) (*host.Host, error) {
	ctx := context.Background() // the dialer's own timeouts bound it
	h, _ := f.Cluster.Host(name)
	if !f.limited() || !slices.Contains(f.Ways(), name) {
		if h.IsManaged() || f.limited() || h.Role != inventory.ControlPlane {
			return f.Host(name)
		}
		r, _, err := f.way(ctx, h)
		if err != nil {
			return nil, err
		}
		return host.New(r), nil
	}
	var errs []error
	for _, h := range f.gateways() {
		r, _, err := f.way(ctx, h)
		if err == nil {
			return host.New(r), nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
	}
	return nil, errors.Join(append(errs, ErrNoWay)...)
}
