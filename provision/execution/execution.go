// Package execution carries out what was proposed and confirmed, while the cluster's lock is this run's: through the engine, with the marks on
// hosts and the notes in the state directory that belong to it. It decides nothing about the cluster; it decides which error wins.
package execution

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/restarts"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// Options are what a run writes with.
type Options struct {
	Server   *access.Server
	Cluster  *inventory.Cluster
	StateDir string
	Fleet    *fleet.Fleet
	Store    *stack.Store
	Bundle   func() *bundle.Bundle // that hosts get, as far as it is settled
	Watcher  *restarts.Watcher
	Progress report.Sink
	Waiting  func(what string) (over func()) // is told what is waited for; nil = no one is
	Parallel int

	Reading context.Context // ends on the first ^C, for what has nothing to finish
	Stop    <-chan struct{} // is closed on the first ^C: running steps finish, no others start

	BreakLock      bool          // take the cluster's lock from whoever has it
	LockTTL        time.Duration // 0 = as long as it lasts for users
	RegisterWithin time.Duration // as steps.Env has it
}

// Executor is the part of a run that writes: a method for each verb that does. Each returns what it changed and two errors. err ends the verb:
// stack.ErrLocked when another run has the cluster's lock or took it, before anything else; then context.Canceled; then what came before
// the first step. failed is of single steps, or of a lock that could not be given back: the verb goes on to its end.
type Executor struct {
	Options
	locked *lock.Lock // nil outside of underLock
}

// New returns the executor of a run.
func New(o Options) *Executor {
	if o.Waiting == nil {
		o.Waiting = func(string) func() { return func() {} }
	}
	return &Executor{Options: o}
}

// engine is how the engine runs.
func (x *Executor) engine(stop <-chan struct{}) stack.Options {
	return stack.Options{Parallel: x.Parallel, Progress: x.Progress, Stop: stop, Lost: x.lost}
}

// lost reports whether the cluster's lock is not this run's any more. It knows so at once when the machine has slept; Stop comes later.
func (x *Executor) lost() bool { return x.locked != nil && x.locked.Lost() != nil }

// carryOut runs a plan through the engine. extra is a taint that joining nodes get besides the inventory's; nil = none.
func (x *Executor) carryOut(ctx context.Context, seen survey.Seen, p plan.Plan, extra *render.Taint, stop <-chan struct{}) ([]report.Change, error) {
	x.Watcher.Begin(ctx)
	env := x.env(seen)
	env.JoinTaint = extra
	all := steps.New(env)
	changes, err := stack.Up(ctx, x.Store, p, all, x.engine(stop))
	return changes, errors.Join(err, all.Close(x.Reading))
}

// env is what the run's steps work with.
func (x *Executor) env(seen survey.Seen) steps.Env {
	env := steps.Env{
		Host:        func(name string) (*host.Host, error) { return x.host(seen, name) },
		Facts:       func(name string) facts.Host { return seen.Hosts[name] },
		Kube:        x.Server.Kube,
		Initialised: x.Server.Initialised,
		Serves:      x.leaseBesides,
		Bootstrap:   x.member(seen.Hosts),
		Cluster:     x.Cluster.Metadata.Name,
		Bundle:      x.Bundle(),
		Progress:    x.Progress,
		Timeout:     x.Cluster.Spec.Timeouts.Step.Std(),

		RegisterWithin: x.RegisterWithin,
	}
	if x.Cluster.Spec.Kubernetes.ServerTLSBootstrap {
		owners := &steps.Owners{Cluster: x.Cluster, Hosts: seen.Hosts, Nodes: seen.Nodes}
		env.Serving = owners.May
	}
	return env
}

// member is the control plane that gives certificates and answers for etcd: one that serves, else the one that is initialised first.
func (x *Executor) member(hosts survey.Hosts) string {
	if ways := x.Fleet.Ways(); len(ways) > 0 {
		return ways[0]
	}
	for _, h := range x.Cluster.ControlPlanes() {
		if f := hosts[h.Name]; survey.Initialised(f) && f.Kubeadm.AdminConf {
			return h.Name
		}
	}
	return x.Cluster.Bootstrap().Name
}

// host is a host that steps may write to. One whose facts were asked for and did not come is none, although it may be connected: every
// judgement about it was made without knowing it.
func (x *Executor) host(seen survey.Seen, name string) (*host.Host, error) {
	if known, asked := seen.Hosts[name]; asked && known.Err != nil {
		return nil, fmt.Errorf("nothing is done on it, as nothing is known of it: %w", known.Err)
	}
	return x.Fleet.Member(name)
}
