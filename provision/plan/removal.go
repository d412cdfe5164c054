package plan

import (
	"slices"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// Removal is the plan of a destroy: the steps that are there to be undone, which are those that left a marker on their host, and every
// step of a host that was not reached, so that it is reported and not forgotten. It needs no bundle: a step's marker names its files.
// DependsOn is the order in which the steps were made; they are undone in reverse.
func Removal(c *inventory.Cluster, hosts []facts.Host) Plan {
	p := Plan{Cluster: c.Metadata.Name}
	byName := map[string]facts.Host{}
	for _, f := range hosts {
		byName[f.Name] = f
	}
	r := remover{there: map[ID]bool{}, registries: len(c.Spec.Registries) > 0}
	first := c.Bootstrap().Name
	member := memberOf(byName[first], Init)
	r.host(&p, byName[first], member, "")
	for _, h := range c.Managed() {
		if h.Name != first {
			r.host(&p, byName[h.Name], Join, HostID(first, member))
		}
		if f, seen := byName[h.Name]; seen && f.Err == nil && !f.AnyMarker() && !f.Belongs.Marked {
			p.Notes = append(p.Notes, h.Name+": nothing of the cluster is there, and nothing is done: it never was a part of it, or was reinstalled")
		}
	}
	return p
}

// RemovalOf is the part of Removal that is of one host.
func RemovalOf(c *inventory.Cluster, h inventory.Host, f facts.Host) Plan {
	p := Plan{Cluster: c.Metadata.Name, Part: true}
	f.Name = h.Name
	remover{there: map[ID]bool{}, registries: len(c.Spec.Registries) > 0}.host(&p, f, memberOf(f, Join), "")
	return p
}

// Reverse turns a plan round: what came first comes last, and each step depends on those that depended on it.
func Reverse(p Plan) Plan {
	before := map[ID][]ID{}
	for _, s := range p.Steps {
		for _, d := range s.DependsOn {
			before[d] = append(before[d], s.ID)
		}
	}
	out := p
	out.Steps = slices.Clone(p.Steps)
	slices.Reverse(out.Steps)
	for i := range out.Steps {
		out.Steps[i].DependsOn = before[out.Steps[i].ID]
	}
	return out
}

// BeganMember reports whether hybridctl began to make the host a node: what there is of it can be undone.
func BeganMember(f facts.Host) bool { return memberOf(f, "") != "" }

// memberOf is how the host became a node, as its markers tell.
func memberOf(f facts.Host, otherwise Kind) Kind {
	for _, k := range []Kind{Init, Join} {
		if f.Marked(string(k)) {
			return k
		}
	}
	return otherwise
}

type remover struct {
	there      map[ID]bool
	registries bool // the inventory has some, so that a host that was not reached may have been told of them
}

func (r remover) host(p *Plan, f facts.Host, member Kind, after ID) {
	if f.Err != nil {
		after = "" // a host that cannot be undone holds up no other
	}
	r.step(p, f, OS)
	r.step(p, f, Runtime, HostID(f.Name, OS))
	if f.Err == nil || r.registries {
		r.step(p, f, Registries, HostID(f.Name, Runtime))
	}
	r.step(p, f, Kubernetes, HostID(f.Name, OS))
	r.step(p, f, Images, HostID(f.Name, Runtime), HostID(f.Name, Registries))
	r.step(p, f, member, HostID(f.Name, Kubernetes), HostID(f.Name, Runtime), HostID(f.Name, Registries), HostID(f.Name, Images), after)
}

// UnreadFiles are the markers on the host that cannot be read and that alone say which files their steps put there: undoing these steps would
// leave files behind. Without the others nothing is left.
func UnreadFiles(f facts.Host) (paths []string) {
	for _, k := range []Kind{OS, Runtime, Registries, Kubernetes} {
		if f.BadMarker(string(k)) {
			paths = append(paths, host.MarkerPath(string(k)))
		}
	}
	return paths
}

// undone says for each kind what is deleted with it. That it left its marker is why it is in the plan.
var undone = map[Kind]string{
	OS:         "the kernel modules and settings that hybridctl set are no longer loaded at boot",
	Runtime:    "containerd is deleted with all that it holds",
	Registries: "what containerd and the kubelet were told of registries is deleted, with the credentials",
	Kubernetes: "kubelet, kubeadm and kubectl are deleted",
	Images:     "the images are deleted with containerd's store",
	Init:       "pods and kubelet end, and what kubeadm, etcd and the pod network left is deleted",
	Join:       "pods and kubelet end, and what kubeadm, etcd and the pod network left is deleted",
}

func (r remover) step(p *Plan, f facts.Host, k Kind, after ...ID) {
	s := Step{ID: HostID(f.Name, k), Kind: k, Host: f.Name, Action: Delete, Reason: undone[k]}
	if f.Err != nil {
		s.Action, s.Reason = Unknown, "the host was not reached"
	} else if !f.Marked(string(k)) {
		return
	}
	for _, id := range after {
		if r.there[id] {
			s.DependsOn = append(s.DependsOn, id)
		}
	}
	s.Digest = Digest(s.ID)
	r.there[s.ID] = true
	p.Steps = append(p.Steps, s)
}
