package conformance

import "slices"

// The names of pods and Services, before the node's place.
const (
	podA       = "a"       // serves, and has a second container
	podB       = "b"       // another pod of the same node
	podOwn     = "own"     // of an image that never was
	podWrong   = "foreign" // of an image with another architecture's program
	podNoDir   = "nodir"   // whose directory is missing
	podPull    = "pull"    // from the private registry
	podNoPull  = "nopull"
	podNowhere = "nowhere" // that no node can satisfy
	svcTo      = "to"      // a NodePort Service to a
	svcLocal   = "local"   // the same, for backends on the dialled node alone
	svcStay    = "stay"    // whose endpoint is taken away
	svcGone    = "gone"    // which is deleted itself
)

// draft says what a run makes: which objects its cells want, under which names. It makes nothing.
type draft struct {
	objects
	roster
	cells    []Cell
	registry *Registry // of Options
	fault    *Fault    // of Options
}

// has reports whether a cell of such a kind will be tried on a node, as the server or as the client.
func (d *draft) has(node string, kinds ...kind) bool {
	return slices.ContainsFunc(d.cells, func(c Cell) bool {
		return c.Blocked == "" && slices.Contains(kinds, c.kind) && (c.Dst == node || c.Src == node)
	})
}

// prepares reports whether a node's host is prepared for a cell that will be tried.
func (d *draft) prepares(node string, with preparation) bool {
	return slices.ContainsFunc(d.cells, func(c Cell) bool {
		return c.Blocked == "" && kinds[c.kind].host == with && (c.Dst == node || c.Src == node)
	})
}

// usesProbes reports whether any cell needs the node's probes.
func (d *draft) usesProbes(node string) bool {
	return slices.ContainsFunc(d.cells, func(c Cell) bool {
		return c.Blocked == "" && (c.Src == node || c.Dst == node) && kinds[c.kind].probes != nil
	})
}

// wanted are the objects that need nothing but the namespace and the directories: the probes of the nodes, and what cells make. The hosts that
// are named have no directory for their probes.
func (d *draft) wanted(noDirectory map[string]bool) []object {
	var out []object
	for _, n := range d.roster {
		if d.usesProbes(n.Name) {
			out = append(out, d.probes(n.Name, d.prepares(n.Name, withDirectory) && !noDirectory[n.Name])...)
		}
	}
	made := map[any]bool{}
	for _, c := range d.cells {
		makes := kinds[c.kind].makes
		if c.Blocked != "" || makes == nil || kinds[c.kind].host == withImages { // those come after their images
			continue
		}
		for _, o := range makes(d, c) {
			if key := [2]any{o["kind"], nameOf(o)}; !made[key] {
				made[key] = true
				out = append(out, o)
			}
		}
	}
	return out
}

// probes are a node's two probe pods, and the Service of the first.
func (d *draft) probes(node string, directory bool) []object {
	name := d.slot(podA, node)
	a := podSpec{name: name, labels: map[string]string{slotLabel: name}, node: node, peer: true, reserves: true}
	b := podSpec{name: d.slot(podB, node), labels: map[string]string{slotLabel: d.slot(podB, node)}, node: node, reserves: true}
	if directory {
		a.hostDir, a.hostType = hostDirs+d.runID, "Directory"
		b.hostDir, b.hostType = a.hostDir, a.hostType
	}
	return []object{d.pod(a), d.pod(b), d.serviceTo(svcTo, node, "Cluster")}
}

// serviceTo is a Service that leads to a node's first probe.
func (d *draft) serviceTo(which, node, policy string) object {
	return d.service(d.slot(which, node), map[string]string{slotLabel: d.slot(podA, node)}, policy, 0)
}

// ownPod runs the image that never was before.
func (d *draft) ownPod(c Cell) []object {
	return []object{d.pod(podSpec{name: d.slot(podOwn, c.Dst), node: c.Dst, image: ownRef(d.runID), pull: "Never"})}
}

// foreignPod runs an image with a program of another architecture.
func (d *draft) foreignPod(c Cell) []object {
	return []object{d.pod(podSpec{name: d.slot(podWrong, c.Dst), node: c.Dst, image: foreignRef(d.runID), pull: "Never", restart: "Never"})}
}

func (d *draft) pullPod(c Cell) []object {
	spec := podSpec{name: d.slot(podPull, c.Dst), node: c.Dst, image: d.registry.Image, pull: "Always", secret: registrySecret, restart: "Never"}
	if d.registry.NodesKnow {
		spec.secret = ""
	}
	return []object{d.pod(spec)}
}

// pullPods are one without the secret, and the one with it.
func (d *draft) pullPods(c Cell) []object {
	without := podSpec{name: d.slot(podNoPull, c.Dst), node: c.Dst, image: d.registry.Image, pull: "Always", restart: "Never"}
	if d.fault.is(faultPull, c.Dst) {
		without.secret = registrySecret
	}
	return []object{d.pullPod(c)[0], d.pod(without)}
}

// directedPod leaves out the nodes of its architecture on which no probe runs: the scheduler puts a pod that tolerates everything there too, and
// that it does not start then says nothing of where it is directed to.
func (d *draft) directedPod(c Cell) []object {
	p, term := podSpec{name: directed(c)}, object{}
	if c.kind == kindAffinity {
		term["matchExpressions"] = []object{{"key": "kubernetes.io/arch", "operator": "In", "values": []string{c.arch}}}
	} else {
		p.selector = archSelector(c.arch)
	}
	var but []object
	for _, n := range d.roster {
		if n.Arch == c.arch && noPods(n) != "" {
			but = append(but, object{"key": "metadata.name", "operator": "NotIn", "values": []string{n.Name}})
		}
	}
	if len(but) > 0 {
		term["matchFields"] = but
	}
	if len(term) > 0 {
		p.affinity = nodeAffinity(term)
	}
	return []object{d.pod(p)}
}

func (d *draft) nowherePod(Cell) []object {
	return []object{d.pod(podSpec{name: podNowhere, selector: archSelector("no-such-architecture")})}
}

// stayService is a Service that stays and loses its endpoint.
func (d *draft) stayService(c Cell) []object { return []object{d.serviceTo(svcStay, c.Dst, "")} }

// localService leads from node ports to the probe of the same node only.
func (d *draft) localService(c Cell) []object { return []object{d.serviceTo(svcLocal, c.Dst, "Local")} }

// missingDir is a directory that is not there.
func (d *draft) missingDir() string { return hostDirs + d.runID + "/missing" }

// noDirectoryPod wants a directory that nothing makes.
func (d *draft) noDirectoryPod(c Cell) []object {
	return []object{d.pod(podSpec{name: d.slot(podNoDir, c.Dst), node: c.Dst, hostDir: d.missingDir(), hostType: "Directory"})}
}
