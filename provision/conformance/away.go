package conformance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// wentAway is what a reason says of a node that a run has lost.
const wentAway = "went away during the run"

// attendance knows which nodes are away: for so long not Ready that nothing on them is waited for any more. A dead node says nothing, and its
// pods stay what they were.
type attendance struct {
	mu    sync.Mutex
	since map[string]time.Time               // not Ready since
	here  map[string]context.Context         // ends when the node is away
	leave map[string]context.CancelCauseFunc // ends it
}

func newAttendance(nodes []Node) *attendance {
	a := &attendance{since: map[string]time.Time{}, here: map[string]context.Context{}, leave: map[string]context.CancelCauseFunc{}}
	for _, n := range nodes {
		a.here[n.Name], a.leave[n.Name] = context.WithCancelCause(context.Background())
	}
	return a
}

// see notes whether a node is Ready now.
func (a *attendance) see(name string, ready bool, now time.Time, patience time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	leave, known := a.leave[name]
	if !known {
		return
	}
	if ready {
		delete(a.since, name)
		if a.here[name].Err() != nil { // it is back, and may be tried again
			a.here[name], a.leave[name] = context.WithCancelCause(context.Background())
		}
		return
	}
	if _, noted := a.since[name]; !noted {
		a.since[name] = now
	}
	if gone := now.Sub(a.since[name]); gone >= patience {
		leave(fmt.Errorf("node %s "+wentAway+": it has not been Ready for %s", name, gone.Round(time.Second)))
	}
}

// while returns a context that ends when one of the nodes is away.
func (a *attendance) while(ctx context.Context, names ...string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	var stops []func() bool
	for _, n := range names {
		if here := a.here[n]; here != nil {
			stops = append(stops, context.AfterFunc(here, func() { cancel(context.Cause(here)) }))
		}
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

// follow looks at the nodes until the context ends.
func (a *attendance) follow(ctx context.Context, api API, rules rules) {
	tick := time.NewTicker(rules.pace.nodes)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		nodes, err := api.Nodes(ctx)
		if err != nil {
			continue // the next look may tell
		}
		a.look(nodes, rules.now(), rules.pace.away)
	}
}

// look notes which nodes are Ready now. One that is not among them any more was deleted, and is as far away.
func (a *attendance) look(nodes []kube.Node, now time.Time, patience time.Duration) {
	ready := map[string]bool{}
	for _, n := range nodes {
		ready[n.Name] = n.Ready
	}
	a.mu.Lock()
	known := slices.Collect(maps.Keys(a.leave))
	a.mu.Unlock()
	for _, name := range known {
		a.see(name, ready[name], now, patience)
	}
}

// needs are the nodes without which a cell is not waited for.
func needs(c Cell) []string {
	if kinds[c.kind].whileAway {
		return nil
	}
	return []string{c.Src, c.Dst}
}
