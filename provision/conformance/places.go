package conformance

import (
	"context"
	"slices"
)

// cellsAtOnce bounds how many cells are tried at the same time, and cellsOnNode how many of them have an end on the same node: a small
// machine that answers everybody at once is slow, and slow is what cells look for.
// Cells with volumes mostly wait for the cluster: they have places of their own.
const (
	cellsAtOnce   = 24
	cellsOnNode   = 2
	volumesAtOnce = 3
)

// places are what cells have to take before they are tried.
type places struct {
	all     chan struct{}
	volumes chan struct{}
	node    map[string]chan struct{}
}

func newPlaces(nodes []Node) places {
	p := places{all: make(chan struct{}, cellsAtOnce), volumes: make(chan struct{}, volumesAtOnce), node: map[string]chan struct{}{}}
	for _, n := range nodes {
		p.node[n.Name] = make(chan struct{}, cellsOnNode)
	}
	return p
}

// take waits for a cell's places; false when the context ends first. Places are taken in one order, so that no two cells wait for
// each other: the nodes by name, then that of all.
func (p places) take(ctx context.Context, c Cell) (leave func(), ok bool) {
	var taken []chan struct{}
	leave = func() {
		for _, t := range taken {
			<-t
		}
	}
	var want []chan struct{}
	switch kinds[c.kind].load {
	case loadsStorage:
		want = append(want, p.volumes)
	case loadsNodes:
		ends := []string{c.Src, c.Dst}
		slices.Sort(ends)
		for _, name := range slices.Compact(ends) {
			if n := p.node[name]; n != nil {
				want = append(want, n)
			}
		}
		want = append(want, p.all)
	}
	for _, w := range want {
		select {
		case w <- struct{}{}:
			taken = append(taken, w)
		case <-ctx.Done():
			leave()
			return nil, false
		}
	}
	if ctx.Err() != nil {
		leave()
		return nil, false
	}
	return leave, true
}
