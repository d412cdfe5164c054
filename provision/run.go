package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// run is one verb at work: what it holds until it ends.
type run struct {
	Options
	*server
	fleet   *fleet.Fleet
	store   *stack.Store   // nil in a verb that only reads
	bundle  *bundle.Bundle // nil until findBundle; of what is not fetched yet it has the manifest alone, without digests
	reading context.Context
	cancel  context.CancelFunc

	catalogue *catalogue.Catalogue // where the inventory names no bundle
	set       catalogue.Set        // of it, for the hosts' architectures

	watcher *watcher
	locked  *lock.Lock // nil outside of underLock
}

// look starts a run that reads: nothing is connected yet. Its reading ends on the first ^C.
func look(ctx context.Context, o Options) (*run, error) {
	reminder := report.Remind(o.Progress)
	o.Progress = reminder
	r := &run{Options: o}
	var err error
	r.fleet, err = fleet.New(fleet.Options{Cluster: o.Cluster, StateDir: o.StateDir, Prompt: o.Prompt, Event: o.event})
	if err != nil {
		return nil, err
	}
	r.watcher = &watcher{fleet: r.fleet, reminder: reminder}
	r.server = &server{Options: o, fleet: r.fleet, waiting: r.watcher.waitingFor}
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
	r.store = store
	return r, nil
}

// end ends every connection and gives the state back.
func (r *run) end() {
	r.watcher.stop()
	r.cancel()
	r.fleet.Close()
	if r.store != nil {
		_ = r.store.Close() // what it holds is on the disk
	}
}

// reader is what the run reads with.
func (r *run) reader() survey.Reader {
	b := r.bundle
	if b == nil { // a run that was ended before it found any
		b = &bundle.Bundle{}
	}
	return survey.Reader{Cluster: r.Cluster, Bundle: b, Fleet: r.fleet, Parallel: r.Parallel, Event: r.event, Stderr: r.Stderr,
		OtherRegistries: r.AuditRegistries, AskRegistry: r.hooks.askRegistry, Patience: r.hooks.registryPatience}
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
	r.watcher.begin(ctx)
	x := r.steps(seen, extra)
	changes, err := stack.Up(ctx, r.store, p, x, r.engine(stop))
	return changes, errors.Join(err, closeSteps(ctx, x))
}

func (r *run) engine(stop <-chan struct{}) stack.Options {
	return stack.Options{Parallel: r.Parallel, Progress: r.Progress, Stop: stop}
}

// closeSteps deletes the run's join token, also after an interrupt: it must not stay good.
func closeSteps(ctx context.Context, x *steps.Steps) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := x.Close(ctx); err != nil {
		return fmt.Errorf("the join token could not be deleted; it ends by itself within the hour: %w", err)
	}
	return nil
}

// steps returns the executor of this run.
func (r *run) steps(seen survey.Seen, extra *render.Taint) *steps.Steps {
	return steps.New(r.env(seen, extra))
}

// env is what the run's steps work with.
func (r *run) env(seen survey.Seen, extra *render.Taint) steps.Env {
	env := steps.Env{
		Host:        func(name string) (*host.Host, error) { return knownHost(r.fleet, seen, name) },
		Facts:       func(name string) facts.Host { return seen.Hosts[name] },
		Kube:        r.kube,
		Initialised: r.initialised,
		Serves:      r.leaseBesides,
		JoinTaint:   extra,
		Bootstrap:   r.member(seen.Hosts),
		Cluster:     r.Cluster.Metadata.Name,
		Bundle:      r.bundle,
		Progress:    r.Progress,
		Timeout:     r.Cluster.Spec.Timeouts.Step.Std(),

		RegisterWithin: r.hooks.registerWithin,
	}
	if r.Cluster.Spec.Kubernetes.ServerTLSBootstrap {
		env.Serving = func(name string) []string { return servingAddresses(r.Cluster, seen.Hosts[name], name) }
	}
	return env
}

// member is the control plane that gives certificates and answers for etcd: one that serves, else the one that is initialised first.
func (r *run) member(hosts survey.Hosts) string {
	if ways := r.fleet.Ways(); len(ways) > 0 {
		return ways[0]
	}
	for _, h := range r.Cluster.ControlPlanes() {
		if f := hosts[h.Name]; survey.Initialised(f) && f.Kubeadm.AdminConf {
			return h.Name
		}
	}
	return r.Cluster.Bootstrap().Name
}

// knownHost is a host that steps may write to. One whose facts were asked for and did not come is none, although it may be connected:
// every judgement about it was made without knowing it.
func knownHost(f *fleet.Fleet, seen survey.Seen, name string) (*host.Host, error) {
	if known, asked := seen.Hosts[name]; asked && known.Err != nil {
		return nil, fmt.Errorf("nothing is done on it, as nothing is known of it: %w", known.Err)
	}
	return f.Member(name)
}
