package provision

import (
	"context"

	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/restarts"
)

// watcher reminds of what a run waits for, and looks at the control planes' static pods beside it.
type watcher struct {
	fleet    *fleet.Fleet
	reminder *report.Reminder // in front of the caller's sink
	restarts *restarts.Watch  // nil = no one looks yet
}

// waitingFor notes that the run waits for something, which is told when that takes long.
func (w *watcher) waitingFor(what string) (over func()) { return w.reminder.Waiting(what) }

// begin looks from now to the end of the run at the static pods of the control planes that are connected.
func (w *watcher) begin(ctx context.Context) {
	if w.restarts != nil {
		return
	}
	w.restarts = restarts.Begin(ctx, func() map[string]restarts.Host {
		connected := map[string]restarts.Host{}
		for _, h := range w.fleet.Cluster.ControlPlanes() {
			if c, err := w.fleet.Host(h.Name); err == nil {
				connected[h.Name] = c
			}
		}
		return connected
	}, w.reminder)
}

// explained adds to the error of a wait what was noticed of the control planes while it waited.
func (w *watcher) explained(err error) error {
	if w.restarts == nil {
		return err
	}
	return w.restarts.Explain(err)
}

// stop ends what looks and reminds beside the run.
func (w *watcher) stop() {
	if w.restarts != nil {
		w.restarts.Stop()
	}
	w.reminder.Close()
}
