package main

import (
	"maps"
	"slices"
)

// graph is rooms with the rooms that they use.
type graph map[string]map[string]bool

func (g graph) add(from, to string) {
	if from == to {
		return
	}
	for _, room := range []string{from, to} {
		if g[room] == nil {
			g[room] = map[string]bool{}
		}
	}
	g[from][to] = true
}

// backArrows are those that lead to a room from which one came: without them the graph has no circle. Rooms are entered in the order of
// their names, so that the same house has the same arrows.
func (g graph) backArrows() (out [][2]string) {
	const fresh, open, done = 0, 1, 2
	state := map[string]int{}
	var enter func(room string)
	enter = func(room string) {
		state[room] = open
		for _, next := range slices.Sorted(maps.Keys(g[room])) {
			switch state[next] {
			case fresh:
				enter(next)
			case open:
				out = append(out, [2]string{room, next})
			}
		}
		state[room] = done
	}
	for _, room := range slices.Sorted(maps.Keys(g)) {
		if state[room] == fresh {
			enter(room)
		}
	}
	return out
}

// longest is the longest way down, back arrows left out.
func (g graph) longest() []string {
	back := map[[2]string]bool{}
	for _, a := range g.backArrows() {
		back[a] = true
	}
	known := map[string][]string{}
	var from func(room string) []string
	from = func(room string) []string {
		if way, ok := known[room]; ok {
			return way
		}
		var best []string
		for _, next := range slices.Sorted(maps.Keys(g[room])) {
			if back[[2]string{room, next}] {
				continue
			}
			if way := from(next); len(way) > len(best) {
				best = way
			}
		}
		known[room] = append([]string{room}, best...)
		return known[room]
	}
	var longest []string
	for _, room := range slices.Sorted(maps.Keys(g)) {
		if way := from(room); len(way) > len(longest) {
			longest = way
		}
	}
	return longest
}
