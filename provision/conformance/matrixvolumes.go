package conformance

import (
	"cmp"
	"slices"
)

// ceph plans check S9: for every class of volumes, that they move between nodes of all architectures and stay what they are.
func (p *planner) ceph() {
	if p.in.Quick {
		return
	}
	if len(p.in.Storage) == 0 {
		p.add(Cell{Name: "volumes", Class: "any", kind: kindNever, Blocked: cmp.Or(p.in.NoStorage, "no Ceph storage in the inventory")})
	}
	for _, s := range p.in.Storage {
		p.volumes(s)
	}
}

func (p *planner) volumes(s StorageClass) {
	between := func(l link, name string, k kind) {
		p.between(l, Cell{Name: s.Name + "/" + name, kind: k, storage: s.Name, times: 1, Blocked: withoutVolumes(s, l.src, l.dst)})
	}
	on := func(n Node, name string, k kind) {
		p.on(n, s.Name+"/"+name, k, Cell{storage: s.Name, times: 1, Blocked: withoutVolumes(s, n)})
	}
	met := p.meeting(p.preferred(p.links, func(l link) string { return cmp.Or(noPods(l.src, l.dst), withoutVolumes(s, l.src, l.dst)) }))
	for _, l := range p.links {
		if met[l.names()] {
			between(l, "moves", kindVolumeMoves)
		}
	}
	for _, n := range p.subjects() {
		if !slices.ContainsFunc(p.links, func(l link) bool { return l.dst.Name == n.Name }) {
			p.on(n, s.Name+"/comes-back", kindVolumeMoves, Cell{Src: n.Name, storage: s.Name, times: 1, Blocked: withoutVolumes(s, n)})
		}
	}
	// What does not depend on the very node is tried once for each pair of architectures.
	seen := map[string]bool{}
	for _, l := range p.links {
		if seen[classOf(l)] || withoutVolumes(s, l.src, l.dst) != "" || noPods(l.src, l.dst) != "" {
			continue
		}
		seen[classOf(l)] = true
		if s.Driver == RBD {
			between(l, "block-device-moves", kindVolumeBlock)
			between(l, "second-node-stays-out", kindVolumeAlone)
		} else {
			between(l, "shared-by-two-writers", kindVolumeShared)
		}
	}
	seen = map[string]bool{}
	for _, n := range p.subjects() {
		if seen[n.Arch] || withoutVolumes(s, n) != "" || noPods(n) != "" {
			continue
		}
		seen[n.Arch] = true
		if s.Grows {
			on(n, "grows", kindVolumeGrows)
		}
		on(n, "deleted", kindVolumeDeleted)
	}
}

// withoutVolumes is why nothing can be proven of a class on these nodes. One host has to be asked for its mounts: bytes that came to it, or
// from it, over a mount of Ceph were in Ceph.
func withoutVolumes(s StorageClass, nodes ...Node) string {
	unasked := ""
	asked := false
	for _, n := range nodes {
		if why := s.Without[n.Name]; why != "" {
			return why
		}
		asked = asked || n.NoMachine == ""
		unasked = cmp.Or(unasked, needsMachine(n).Blocked)
	}
	if asked {
		return ""
	}
	return unasked
}
