package conformance

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/hybridctl/hybridctl/provision/report"
)

// link is an ordered pair of different nodes.
type link struct{ src, dst Node }

func classOf(l link) string { return l.src.Arch + " → " + l.dst.Arch }

// between adds a cell of an ordered pair.
func (p *planner) between(l link, c Cell) {
	c.Class, c.Src, c.Dst = classOf(l), l.src.Name, l.dst.Name
	if c.Blocked == "" {
		c.Blocked = kinds[c.kind].needs.missing(l.src, l.dst)
	}
	p.add(c)
}

// proven reports whether a node is one of those that the scenario proves: the new ones after a scale-out, else all.
func (p *planner) proven(n Node) bool { return p.in.Scenario != ScaleOut || n.New }

// pairs chooses the ordered pairs of different nodes, one of them proven at least. When there are too many, every proven node still meets
// every class as a client and as a server, and the rest is drawn with the seed.
func (p *planner) pairs() {
	limit := p.in.MaxPairs
	if limit == 0 {
		limit = DefaultMaxPairs
	}
	var all []link
	for _, a := range p.in.Nodes {
		for _, b := range p.in.Nodes {
			if a.Name != b.Name && (p.proven(a) || p.proven(b)) {
				all = append(all, link{a, b})
			}
		}
	}
	p.m.Coverage = report.Coverage{Pairs: len(all), Of: len(all), Seed: p.in.Seed}
	p.links = all
	if len(all) <= limit {
		return
	}
	r := rand.New(rand.NewPCG(p.in.Seed, 0))
	drawn := slices.Clone(all)
	r.Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
	drawn = p.preferred(drawn, func(l link) string { return noPods(l.src, l.dst) })
	chosen := p.meeting(drawn)
	if f := p.in.Fault; f != nil && f.Other != "" {
		chosen[[2]string{f.Node, f.Other}], chosen[[2]string{f.Other, f.Node}] = true, true
	}
	for _, l := range drawn {
		if len(chosen) >= limit {
			break
		}
		chosen[l.names()] = true
	}
	p.links = slices.DeleteFunc(slices.Clone(all), func(l link) bool { return !chosen[l.names()] })
	p.m.Coverage.Pairs, p.m.Coverage.Sampled = len(p.links), true
}

// preferred puts the links of a scale-out into the order in which they are chosen: those that can be tried come first, and a link and its way
// back together, since every old node costs probes.
func (p *planner) preferred(links []link, blocked func(link) string) []link {
	if p.in.Scenario != ScaleOut {
		return links
	}
	place := map[[2]string]int{}
	for i, l := range links {
		if _, there := place[l.ends()]; there {
			continue
		}
		if blocked(l) != "" {
			i += len(links)
		}
		place[l.ends()] = i
	}
	return slices.SortedStableFunc(slices.Values(links), func(a, b link) int { return cmp.Compare(place[a.ends()], place[b.ends()]) })
}

// meeting chooses of links enough that every proven node still meets every class as a client and as a server.
func (p *planner) meeting(links []link) map[[2]string]bool {
	chosen := map[[2]string]bool{}
	met := map[string]bool{} // "client name, class of the server", and the reverse
	for _, l := range links {
		out, in := "from "+l.src.Name+" to "+l.dst.likeness(), "to "+l.dst.Name+" from "+l.src.likeness()
		if (met[out] || !p.proven(l.src)) && (met[in] || !p.proven(l.dst)) {
			continue
		}
		met[out], met[in] = true, true
		chosen[l.names()] = true
	}
	return chosen
}

// names are the link's nodes.
func (l link) names() [2]string { return [2]string{l.src.Name, l.dst.Name} }

// ends are the link's nodes, the same for its way back.
func (l link) ends() [2]string {
	return [2]string{min(l.src.Name, l.dst.Name), max(l.src.Name, l.dst.Name)}
}

// partner is the first node that serves, one of the links where there is such: it has probes anyway.
func (p *planner) partner(serves func(Node) bool) (Node, bool) {
	first := -1
	for i, n := range p.in.Nodes {
		switch {
		case !serves(n):
		case slices.ContainsFunc(p.links, func(l link) bool { return l.src.Name == n.Name || l.dst.Name == n.Name }):
			return n, true
		case first < 0:
			first = i
		}
	}
	if first < 0 {
		return Node{}, false
	}
	return p.in.Nodes[first], true
}
