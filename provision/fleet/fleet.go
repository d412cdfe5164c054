// Package fleet is the hosts of an inventory as one run may reach them: one connection each, how each is logged in to, and the one way
// through a control plane to an API server that does not answer directly. A run that is of some hosts only never reaches the others,
// but for one control plane when it must. It knows connections, and not what is asked over them.
package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/remote"
	"github.com/hybridctl/hybridctl/provision/report"
)

// KnownHostsFile is where the keys of hosts are kept in the state directory.
const KnownHostsFile = "known_hosts"

// Options are what a fleet is made of.
type Options struct {
	Cluster  *inventory.Cluster
	StateDir string
	Prompt   func(question string) (string, error) // asks the user for a secret; nil = never
	Event    func(report.Event)                    // nil = no one is told
	Waiting  func(what string) (over func())       // is told what is waited for; nil = no one is
}

// Fleet is the hosts. Its methods are safe for concurrent use.
type Fleet struct {
	Options
	dialer *remote.Dialer

	mu     sync.Mutex
	conns  map[string]remote.Runner // by the host's name
	failed map[string]error         // why a host was not reached
	only   []string                 // the hosts that the run is of; nil = all
	ways   []string                 // the control planes that may be gone through, the best first; nil = any

	going sync.Mutex // one way is looked for at a time
}

// New connects to nothing yet.
func New(o Options) (*Fleet, error) {
	dialer, err := newDialer(o)
	if err != nil {
		return nil, err
	}
	if o.Event == nil {
		o.Event = func(report.Event) {}
	}
	if o.Waiting == nil {
		o.Waiting = func(string) func() { return func() {} }
	}
	return &Fleet{Options: o, dialer: dialer, conns: map[string]remote.Runner{}, failed: map[string]error{}}, nil
}

// newDialer says where keys are known from. New host keys are kept beside the state, never in the user's own file.
func newDialer(o Options) (*remote.Dialer, error) {
	c := remote.UserConfig(home())
	c.ClusterKnownHosts = filepath.Join(o.StateDir, KnownHostsFile)
	c.Prompt = o.Prompt
	c.Log = slog.Default()
	return remote.NewDialer(c)
}

// Close ends every connection.
func (f *Fleet) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.conns {
		_ = r.Close() // the run is over: nothing can be lost
	}
	_ = f.dialer.Close()
}

// Only limits the run to these hosts; none = not even one. Others are reached as the way to the API server alone, and only when there
// is no other.
func (f *Fleet) Only(hosts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.only = append([]string{}, hosts...)
}

// limited reports whether the run is of some hosts only.
func (f *Fleet) limited() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.only != nil
}

// Connect returns the host's connection, and makes it where there is none: the only one to this host for the rest of the run.
func (f *Fleet) Connect(ctx context.Context, h inventory.Host) (remote.Runner, error) {
	if r, ok := f.connected(h.Name); ok {
		return r, nil
	}
	return f.dial(ctx, h)
}

// dial connects, and keeps the connection instead of one that is there.
func (f *Fleet) dial(ctx context.Context, h inventory.Host) (remote.Runner, error) {
	r, err := f.dialer.Dial(ctx, hostConfig(f.Cluster, h))
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failed[h.Name] = err
		return nil, err
	}
	delete(f.failed, h.Name)
	f.conns[h.Name] = r
	return r, nil
}

func (f *Fleet) connected(name string) (remote.Runner, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.conns[name]
	return r, ok
}

// lose forgets a connection that is none any more.
func (f *Fleet) lose(name string, lost remote.Runner) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns[name] == lost {
		delete(f.conns, name)
	}
	_ = lost.Close() // it is lost already
}

// Host returns a host of the run over the connection that is there. The error says why there is none.
func (f *Fleet) Host(name string) (*host.Host, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := f.only == nil || slices.Contains(f.only, name)
	if r, ok := f.conns[name]; ok && of {
		return host.New(r), nil
	}
	if err := f.failed[name]; err != nil {
		return nil, err
	}
	if h, known := f.Cluster.Host(name); known && !h.IsManaged() {
		return nil, fmt.Errorf("hybridctl does not manage %s (managed: false) and does not connect to it", name)
	}
	if !of {
		return nil, fmt.Errorf("this run does not connect to %s: it was a node before", name)
	}
	return nil, fmt.Errorf("%s is not connected", name)
}

// ControlPlanes are the control planes of the run that are connected, by name.
func (f *Fleet) ControlPlanes() map[string]*host.Host {
	connected := map[string]*host.Host{}
	for _, h := range f.Cluster.ControlPlanes() {
		if c, err := f.Host(h.Name); err == nil {
			connected[h.Name] = c
		}
	}
	return connected
}
