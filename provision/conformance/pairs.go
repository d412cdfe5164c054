package conformance

import (
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
		c.Blocked = noPods(l.src, l.dst)
	}
	p.add(c)
}

// pairs chooses the ordered pairs of different nodes that have a subject at one end. When there are too many, every node still meets
// every class as a client and as a server, and the rest is drawn with the seed.
func (p *planner) pairs() {
	limit := p.in.MaxPairs
	if limit == 0 {
		limit = DefaultMaxPairs
	}
	isSubject := map[string]bool{}
	for _, n := range p.subjects() {
		isSubject[n.Name] = true
	}
	var all []link
	for _, a := range p.in.Nodes {
		for _, b := range p.in.Nodes {
			if a.Name != b.Name && (isSubject[a.Name] || isSubject[b.Name]) {
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
	shuffled := slices.Clone(all)
	r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	chosen := meeting(shuffled)
	for _, l := range shuffled {
		if len(chosen) >= limit {
			break
		}
		chosen[l.names()] = true
	}
	p.links = slices.DeleteFunc(slices.Clone(all), func(l link) bool { return !chosen[l.names()] })
	p.m.Coverage.Pairs, p.m.Coverage.Sampled = len(p.links), true
}

// meeting chooses of links enough that every node still meets every class as a client and as a server.
func meeting(links []link) map[[2]string]bool {
	chosen := map[[2]string]bool{}
	met := map[string]bool{} // "client name, class of the server", and the reverse
	for _, l := range links {
		out, in := "from "+l.src.Name+" to "+l.dst.class(), "to "+l.dst.Name+" from "+l.src.class()
		if met[out] && met[in] {
			continue
		}
		met[out], met[in] = true, true
		chosen[l.names()] = true
	}
	return chosen
}

// names are the link's nodes.
func (l link) names() [2]string { return [2]string{l.src.Name, l.dst.Name} }
