package provision

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/artefacts"
	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/execution"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/proposal"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/restarts"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// run is one verb at work: what it holds until it ends.
type run struct {
	Options
	*access.Server
	fleet    *fleet.Fleet
	desk     *proposal.Desk
	executor *execution.Executor // nil in a verb that only reads
	reading  context.Context
	cancel   context.CancelFunc

	reminder *report.Reminder // in front of the caller's sink: no wait is silent
	watcher  *restarts.Watcher
}

// look starts a run that reads: nothing is connected yet. Its reading ends on the first ^C.
func look(ctx context.Context, o Options) (*run, error) {
	reminder := report.Remind(o.Progress)
	o.Progress = reminder
	r := &run{Options: o, reminder: reminder}
	var err error
	r.fleet, err = fleet.New(fleet.Options{Cluster: o.Cluster, StateDir: o.StateDir, Prompt: o.Prompt, Event: o.event, Waiting: reminder.Waiting})
	if err != nil {
		return nil, err
	}
	r.watcher = restarts.New(r.fleet.ControlPlanes, reminder, o.hooks.restartsEvery)
	r.Server = access.New(access.Options{Cluster: o.Cluster, StateDir: o.StateDir, Fleet: r.fleet, Waiting: reminder.WaitingFor, New: o.hooks.newAPI})
	r.desk = &proposal.Desk{Server: r.Server, Cluster: o.Cluster, StateDir: o.StateDir, Fleet: r.fleet, Reader: survey.Reader{
		Cluster: o.Cluster, Fleet: r.fleet, Parallel: o.Parallel, Event: r.event, Stderr: o.Stderr, Waiting: reminder.Waiting,
		OtherRegistries: o.AuditRegistries, AskRegistry: o.hooks.askRegistry, Patience: o.hooks.registryPatience,
	}}
	r.desk.Reader.Bundle = &bundle.Bundle{} // until one is found
	r.desk.Artefacts = &artefacts.Source{Cluster: o.Cluster, Catalogue: o.Catalogue, Cache: o.hooks.cache, Program: o.hooks.program, Event: r.event,
		Password: r.desk.Reader.Password, Waiting: reminder.Waiting}
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
	r.desk.State = store
	r.executor = execution.New(execution.Options{Server: r.Server, Cluster: o.Cluster, StateDir: o.StateDir, Fleet: r.fleet, Store: store,
		Bundle:  func() *bundle.Bundle { return r.desk.Reader.Bundle },
		Watcher: r.watcher, Progress: r.Progress, Waiting: r.reminder.Waiting, Parallel: o.Parallel, Reading: r.reading, Stop: o.Stop,
		BreakLock: o.BreakLock, LockTTL: o.hooks.leaseTTL, RegisterWithin: o.hooks.registerWithin})
	return r, nil
}

// end ends every connection and gives the state back.
func (r *run) end() {
	r.watcher.Stop()
	r.reminder.Close()
	r.cancel()
	r.fleet.Close()
	if r.executor != nil {
		_ = r.executor.Store.Close() // what it holds is on the disk
	}
}

// confirm shows the plan and asks, when there is someone to ask.
func (r *run) confirm(p plan.Plan) error {
	if r.Ask == nil || r.Ask(p) {
		return nil
	}
	return ErrDeclined
}
