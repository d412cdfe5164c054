package provision

import (
	"context"
	"errors"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/artefacts"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/proposal"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/restarts"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// run is one verb at work: what it holds until it ends.
type run struct {
	Options
	*access.Server
	fleet   *fleet.Fleet
	store   *stack.Store // nil in a verb that only reads
	desk    *proposal.Desk
	reading context.Context
	cancel  context.CancelFunc

	reminder *report.Reminder // in front of the caller's sink: no wait is silent
	watcher  *restarts.Watcher
	locked   *lock.Lock // nil outside of underLock
	lockKind string     // of a lock on a host, as host has it
}

// look starts a run that reads: nothing is connected yet. Its reading ends on the first ^C.
func look(ctx context.Context, o Options) (*run, error) {
	reminder := report.Remind(o.Progress)
	o.Progress = reminder
	r := &run{Options: o, reminder: reminder}
	var err error
	r.fleet, err = fleet.New(fleet.Options{Cluster: o.Cluster, StateDir: o.StateDir, Prompt: o.Prompt, Event: o.event})
	if err != nil {
		return nil, err
	}
	r.watcher = restarts.New(r.fleet.ControlPlanes, reminder)
	r.Server = access.New(access.Options{Cluster: o.Cluster, StateDir: o.StateDir, Fleet: r.fleet, Waiting: reminder.Waiting, New: o.hooks.newAPI})
	r.desk = &proposal.Desk{Server: r.Server, Cluster: o.Cluster, StateDir: o.StateDir, Fleet: r.fleet, Reader: survey.Reader{
		Cluster: o.Cluster, Fleet: r.fleet, Parallel: o.Parallel, Event: r.event, Stderr: o.Stderr,
		OtherRegistries: o.AuditRegistries, AskRegistry: o.hooks.askRegistry, Patience: o.hooks.registryPatience,
	}}
	r.desk.Reader.Bundle = &bundle.Bundle{} // until one is found
	r.desk.Artefacts = &artefacts.Source{Cluster: o.Cluster, Catalogue: o.Catalogue, Cache: o.hooks.cache, Program: o.hooks.program, Event: r.event,
		Password: r.desk.Reader.Password}
	r.reading, r.cancel = o.stoppable(ctx)
	return r, nil
}

// begin starts a run that writes: it has the cluster's state, which no other run on this machine has until end. ErrLocked: another has it.
func begin(ctx context.Context, o Options) (*run, error) {
	store, err := stack.OpenStore(o.StateDir)
	if err != nil {
		return nil, err
	}
	r, err := look(ctx, o)
	if err != nil {
		store.Close()
		return nil, err
	}
	r.store, r.desk.State = store, store
	return r, nil
}

// end ends every connection and gives the state back.
func (r *run) end() {
	r.watcher.Stop()
	r.reminder.Close()
	r.cancel()
	r.fleet.Close()
	if r.store != nil {
		_ = r.store.Close() // what it holds is on the disk
	}
}

// confirm shows the plan and asks, when there is someone to ask.
func (r *run) confirm(p plan.Plan) error {
	if r.Ask == nil || r.Ask(p) {
		return nil
	}
	return ErrDeclined
}

// carryOut runs a plan through the engine. extra is a taint that joining nodes get besides the inventory's; nil = none.
func (r *run) carryOut(ctx context.Context, seen survey.Seen, p plan.Plan, extra *render.Taint, stop <-chan struct{}) ([]report.Change, error) {
	r.watcher.Begin(ctx)
	x := r.steps(seen, extra)
	changes, err := stack.Up(ctx, r.store, p, x, r.engine(stop))
	return changes, errors.Join(err, x.Close(ctx))
}

func (r *run) engine(stop <-chan struct{}) stack.Options {
	return stack.Options{Parallel: r.Parallel, Progress: r.Progress, Stop: stop}
}

// steps returns the executor of this run.
func (r *run) steps(seen survey.Seen, extra *render.Taint) *steps.Steps {
	return steps.New(r.env(seen, extra))
}

// env is what the run's steps work with.
func (r *run) env(seen survey.Seen, extra *render.Taint) steps.Env {
	env := steps.Env{
		Host:        func(name string) (*host.Host, error) { return r.desk.Host(seen, name) },
		Facts:       func(name string) facts.Host { return seen.Hosts[name] },
		Kube:        r.Kube,
		Initialised: r.Initialised,
		Serves:      r.leaseBesides,
		JoinTaint:   extra,
		Bootstrap:   r.desk.Member(seen.Hosts),
		Cluster:     r.Cluster.Metadata.Name,
		Bundle:      r.desk.Reader.Bundle,
		Progress:    r.Progress,
		Timeout:     r.Cluster.Spec.Timeouts.Step.Std(),

		RegisterWithin: r.hooks.registerWithin,
	}
	if r.Cluster.Spec.Kubernetes.ServerTLSBootstrap {
		env.Serving = func(name string) []string { return steps.ServingAddresses(r.Cluster, seen.Hosts[name], name) }
	}
	return env
}

func (r *run) leaseOptions() lock.Options {
	return lock.Options{TTL: r.hooks.leaseTTL, Break: r.BreakLock, Mark: r.Mark}
}

// leaseBesides takes the cluster's lease as soon as this run has made an API server. While others join, one that kubeadm is told to be patient
// with may be away for longer than a lease lasts otherwise.
func (r *run) leaseBesides(ctx context.Context) {
	api := r.Known()
	if r.locked == nil || api == nil {
		return
	}
	o := r.leaseOptions()
	if o.TTL == 0 {
		o.TTL = max(lock.TTL, r.Cluster.Spec.Kubernetes.Timeouts.KubernetesAPICall.Std())
	}
	r.locked.Lease(ctx, api, o)
}
