package provision

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/restarts"
)

// waitingFor notes that the run waits for something, which is told when that takes long.
func waitingFor(reminder *report.Reminder) func(what string) (over func()) {
	if reminder == nil { // a run that a test made
		return func(string) func() { return func() {} }
	}
	return reminder.Waiting
}

// watchControlPlanes looks from now to the end of the run at the static pods of the control planes that are connected.
func watchControlPlanes(ctx context.Context, r *run) {
	if r.restarts != nil {
		return
	}
	r.restarts = restarts.Begin(ctx, func() map[string]restarts.Host {
		connected := map[string]restarts.Host{}
		for _, h := range r.Cluster.ControlPlanes() {
			if c, err := r.fleet.Host(h.Name); err == nil {
				connected[h.Name] = c
			}
		}
		return connected
	}, r.Progress)
}

// explained adds to the error of a wait what was noticed of the control planes while it waited.
func explained(r *run, err error) error {
	if r.restarts == nil {
		return err
	}
	return r.restarts.Explain(err)
}

// stopWaiting ends what looks and reminds beside the run.
func stopWaiting(r *run) {
	if r.restarts != nil {
		r.restarts.Stop()
	}
	if r.reminder != nil {
		r.reminder.Close()
	}
}
