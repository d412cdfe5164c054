package conformance

import (
	"context"
	"fmt"
	"sync"
)

// hosts are the machines beneath the nodes, and which of them could not be prepared for the cells.
type hosts struct {
	machines   map[string]Machine // by node
	mu         sync.Mutex
	unprepared map[hostOf]error
}

// hostOf is a host as it is prepared.
type hostOf struct {
	node string
	with preparation
}

func newHosts(machines map[string]Machine) *hosts {
	return &hosts{machines: machines, unprepared: map[hostOf]error{}}
}

// fails notes that a host could not be prepared.
func (h *hosts) fails(node string, with preparation, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unprepared[hostOf{node, with}] = err
}

// problem is what a cell's hosts could not do for it.
func (h *hosts) problem(c Cell) error {
	with := kinds[c.kind].host
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, node := range []string{c.Dst, c.Src} {
		if err := h.unprepared[hostOf{node, with}]; err != nil {
			return fmt.Errorf("%s: %w", node, err)
		}
	}
	return nil
}

// without are the nodes whose hosts could not be prepared.
func (h *hosts) without(with preparation) map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]bool{}
	for host := range h.unprepared {
		if host.with == with {
			out[host.node] = true
		}
	}
	return out
}

// makeDirs makes the directories that probes mount, on all hosts at once. A host that cannot make one fails in its own cells.
func (h *hosts) makeDirs(ctx context.Context, d *draft) {
	var open sync.WaitGroup
	for _, n := range d.roster {
		if !d.prepares(n.Name, withDirectory) {
			continue
		}
		open.Go(func() {
			if err := h.machines[n.Name].MakeDir(ctx, hostDirs+d.runID); err != nil {
				h.fails(n.Name, withDirectory, err)
			}
		})
	}
	open.Wait()
}
