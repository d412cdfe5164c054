package restarts

import (
	"cmp"
	"context"
	"time"

	"github.com/hybridctl/hybridctl/provision/report"
)

// Watcher is a Watch that begins when a run first waits for its cluster. Before that there is nothing to explain, and nothing to stop.
type Watcher struct {
	hosts func() map[string]Host
	sink  report.Sink
	every time.Duration
	watch *Watch // nil = no one looks yet
}

// New returns a Watcher of the hosts that are connected at the moment of each look; every is the pause between two, 0 = half a minute.
func New[H Host](connected func() map[string]H, sink report.Sink, every time.Duration) *Watcher {
	return &Watcher{sink: sink, every: cmp.Or(every, interval), hosts: func() map[string]Host {
		out := map[string]Host{}
		for name, h := range connected() {
			out[name] = h
		}
		return out
	}}
}

// Begin looks from now to Stop, unless it looks already.
func (w *Watcher) Begin(ctx context.Context) {
	if w.watch == nil {
		w.watch = Begin(ctx, w.hosts, w.sink, w.every)
	}
}

// Explain adds to the error of a wait what was noticed while it waited.
func (w *Watcher) Explain(err error) error {
	if w.watch == nil {
		return err
	}
	return w.watch.Explain(err)
}

// Stop ends the looking.
func (w *Watcher) Stop() {
	if w.watch != nil {
		w.watch.Stop()
	}
}
