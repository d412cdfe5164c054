package plan

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// Input is everything a plan is made of.
type Input struct {
	Cluster     *inventory.Cluster
	Bundle      *bundle.Manifest
	Missing     string            // what of the bundle is not here yet, so that its digests are not known; "" = nothing
	Hosts       []facts.Host      // one for each host of the inventory, in any order
	API         facts.Cluster     // what the API server told, if there is one
	Patches     map[string][]byte // kubeadm patches by file name
	CNIManifest []byte            // with the CNI provider "manifest": the file
	Only        []string          // names of the hosts to plan for; nil = all, and the cluster's own steps
	Forced      []string          // hosts that are reset and join whatever cluster they are of: the user named them

	CephKeys map[string]inventory.Secret // by ID of the user
	Files    map[string]inventory.Secret // of control planes, by name; one that was not read is not there
	Site     Site                        // what was read for spec.registries
}

// ClusterID returns the ID of a cluster step.
func ClusterID(k Kind) ID { return ID("cluster/" + string(k)) }

// HostID returns the ID of a host's step.
func HostID(host string, k Kind) ID { return ID(host + "/" + string(k)) }

// Build makes the plan. The error is for the user: ErrStanding, ErrExternalEtcd, or the bundle lacks something that the inventory asks for.
func Build(in Input) (Plan, error) {
	b, err := newBuilder(in)
	if err != nil {
		return Plan{}, err
	}
	if err := cmp.Or(b.standing(), b.external()); err != nil {
		return Plan{}, err
	}
	p := Plan{Cluster: in.Cluster.Metadata.Name, Part: in.Only != nil}
	bootstrap := in.Cluster.Bootstrap()
	begins := bootstrap.IsManaged() && !b.rejoins(bootstrap)
	var first ID // nothing, in a cluster that is there already
	if begins {
		first = HostID(bootstrap.Name, Init)
	}
	previous := first // control planes join one at a time
	for _, h := range b.hosts() {
		if begins && h.Name == bootstrap.Name {
			if b.planned(h) {
				p.Steps = append(append(p.Steps, b.hostSteps(h)...), b.initStep(h), b.cniStep(first), b.nodeStep(h, Init))
			}
			continue
		}
		after := first
		if h.Role == inventory.ControlPlane && b.planned(h) {
			after = previous
			if b.facts[h.Name].Err == nil { // one that was not reached holds up no other
				previous = HostID(h.Name, Join)
			}
		}
		if b.planned(h) {
			p.Steps = append(append(p.Steps, b.hostSteps(h)...), b.joinStep(h, after), b.nodeStep(h, Join))
		}
	}
	if !begins && !in.Cluster.Adopted() && in.Only == nil {
		p.Steps = append(p.Steps, b.cniStep())
	}
	if csi, ok := b.csiStep(p.Steps); ok && (in.Only == nil || in.API.CSI.OnlyKind(provisioners)) {
		p.Steps = append(p.Steps, csi)
	}
	b.roll(p.Steps)
	p.Notes = b.notes()
	if in.Missing != "" {
		p.Notes = append([]string{"fetched before a host is written to: " + in.Missing}, p.Notes...)
	}
	return p, nil
}

// rejoins reports whether the bootstrap host joins its cluster, which has other control planes and went on without it: another kubeadm init
// there would begin another cluster.
func (b *builder) rejoins(h inventory.Host) bool {
	if b.facts[h.Name].Marked(string(Join)) {
		return true
	}
	_, listed := b.nodes[h.Name]
	return !listed && slices.ContainsFunc(b.in.API.Nodes, func(n facts.Node) bool { return n.ControlPlane })
}

// planned reports whether the plan is for this host.
func (b *builder) planned(h inventory.Host) bool {
	return h.IsManaged() && (b.in.Only == nil || slices.Contains(b.in.Only, h.Name))
}

// hosts returns the inventory's hosts, the bootstrap host first.
func (b *builder) hosts() []inventory.Host {
	hosts := append([]inventory.Host(nil), b.in.Cluster.Spec.Hosts...)
	first := b.in.Cluster.Bootstrap().Name
	sort.SliceStable(hosts, func(i, j int) bool { return hosts[i].Name == first && hosts[j].Name != first })
	return hosts
}

// builder holds what is looked up often while a plan is made.
type builder struct {
	in    Input
	facts map[string]facts.Host
	nodes map[string]facts.Node
	files map[fileKey]FilesInputs // hosts of one architecture share them
	hash  map[fileKey]string

	secret map[string]Text // by path: their sums are slow to make
}

type fileKey struct {
	kind Kind
	arch string
}

func newBuilder(in Input) (*builder, error) {
	b := &builder{in: in, facts: map[string]facts.Host{}, nodes: map[string]facts.Node{}, files: map[fileKey]FilesInputs{}, hash: map[fileKey]string{},
		secret: map[string]Text{}}
	for _, h := range in.Hosts {
		b.facts[h.Name] = h
	}
	for _, n := range in.API.Nodes {
		b.nodes[n.Name] = n
	}
	for _, component := range b.components() {
		if _, ok := imageOf(in.Bundle, component); !ok {
			return nil, fmt.Errorf("the bundle has no image for %s", component)
		}
	}
	return b, nil
}

func (b *builder) hostSteps(h inventory.Host) []Step {
	runtime := b.filesStep(h, Runtime, OS)
	steps := []Step{b.filesStep(h, OS), runtime}
	if s, ok := b.registriesStep(h); ok {
		steps = append(steps, s)
	}
	steps = append(steps, b.filesStep(h, Kubernetes, OS), b.imagesStep(h, runtime.Action))
	if s, ok := b.filesStepOf(h); ok {
		steps = append(steps, s)
	}
	return steps
}

// filesStep plans a step that puts files on the host.
func (b *builder) filesStep(h inventory.Host, k Kind, after ...Kind) Step {
	f := b.facts[h.Name]
	key := fileKey{k, string(f.Arch)}
	inputs, ok := b.files[key]
	if !ok {
		inputs = b.filesFor(k, f.Arch)
		b.files[key], b.hash[key] = inputs, Digest(inputs)
	}
	s := Step{ID: HostID(h.Name, k), Kind: k, Host: h.Name, Inputs: inputs, Digest: b.hash[key]}
	for _, a := range after {
		s.DependsOn = append(s.DependsOn, HostID(h.Name, a))
	}
	b.judge(&s, f)
	if s.pending() {
		s.Details = fileDetails(inputs)
	}
	return s
}

// pending reports whether it is known that there is something to do.
func (s Step) pending() bool { return s.Action == Create || s.Action == Update }

// fromBundle are the steps whose inputs have digests of the bundle.
var fromBundle = map[Kind]bool{Runtime: true, Kubernetes: true, Images: true}

// judge compares a step with the marker its last run left on the host.
func (b *builder) judge(s *Step, f facts.Host) {
	m, marked := f.Markers[string(s.Kind)]
	switch {
	case f.Err != nil:
		s.Action, s.Reason = Unknown, "the host was not reached"
	case f.BadMarker(string(s.Kind)):
		s.Action, s.Reason = Create, unread(s.Kind)
	case !marked:
		s.Action, s.Reason = Create, "not done on this host"
	case m.State != "done":
		s.Action, s.Reason = Create, "an earlier run did not finish it"
	case b.in.Missing != "" && fromBundle[s.Kind]:
		s.Action, s.Reason = Unknown, "what the host has is compared when the artefacts are here"
	case m.Digest != s.Digest:
		s.Action, s.Reason = Update, "the inventory or the bundle asks for something else"
	case len(m.Drift) > 0:
		s.Action, s.Reason = Update, m.Drift[0]
		if len(m.Drift) > 1 {
			s.Reason += fmt.Sprintf(" (and %d more)", len(m.Drift)-1)
		}
	default:
		s.Action, s.Reason = Unchanged, "in place"
	}
}

// unread is the reason of a step whose marker tells nothing.
func unread(k Kind) string { return "its marker cannot be read (" + host.MarkerPath(string(k)) + ")" }
