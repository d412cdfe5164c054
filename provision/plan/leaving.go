package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Leaver is a host on its way out of the cluster, as it was found.
type Leaver struct {
	Host   inventory.Host
	Node   facts.Node // zero when there is none any more
	Pods   []LeavingPod
	Member Member     // zero when etcd has none of it
	Facts  facts.Host // zero when the host is not connected to
}

// LeavingPod is a pod that a drain evicts.
type LeavingPod struct {
	Name  string // namespace/name
	Loses string // what is lost for good with it; "" = nothing
}

// Leavers are the named hosts with their nodes: in the inventory's order, each once, but no host before those that are reached through it.
func Leavers(c *inventory.Cluster, nodes []facts.Node, names []string) []Leaver {
	var out []Leaver
	for _, h := range c.Spec.Hosts {
		if !slices.Contains(names, h.Name) {
			continue
		}
		l := Leaver{Host: h}
		if i := slices.IndexFunc(nodes, func(n facts.Node) bool { return n.Name == h.Name }); i >= 0 {
			l.Node = nodes[i]
		}
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b Leaver) int { return len(c.Route(b.Host)) - len(c.Route(a.Host)) })
	return out
}

// HostsOf returns the hosts that leave, in their order.
func HostsOf(leaving []Leaver) []inventory.Host {
	out := make([]inventory.Host, len(leaving))
	for i, l := range leaving {
		out[i] = l.Host
	}
	return out
}

// IsControlPlane reports what the host is, by the inventory's word where its node is gone: etcd may still count on it. Whom etcd has among its
// members is one, whatever inventory and node say.
func (l Leaver) IsControlPlane() bool {
	return l.Node.ControlPlane || l.Host.Role == inventory.ControlPlane || l.Member.ID != 0
}

// addresses are those under which the host's etcd may be known.
func (l Leaver) addresses() []string {
	return append(slices.Clone(l.Node.InternalIPs), l.Host.NodeIP, l.Host.Address)
}

func (l Leaver) owns(m Member) bool { return m.IsOf(l.Host.Name, l.addresses()...) }

// Staying are the control planes that are Ready and stay.
func Staying(nodes []facts.Node, leaving []Leaver) (names []string) {
	for _, n := range nodes {
		if n.ControlPlane && n.Ready && !slices.ContainsFunc(leaving, func(l Leaver) bool { return l.Host.Name == n.Name }) {
			names = append(names, n.Name)
		}
	}
	return names
}

// KeepsControlPlane refuses to take the last control plane.
func KeepsControlPlane(nodes []facts.Node, leaving []Leaver) error {
	if !slices.ContainsFunc(leaving, Leaver.IsControlPlane) || len(Staying(nodes, leaving)) > 0 {
		return nil
	}
	return hint.With(errors.New("no control plane that is Ready would be left"), `"hybridctl destroy" takes the whole cluster away`)
}

// KeepsEndpoint refuses to take a control plane whose own address every kubelet has for the API server.
func KeepsEndpoint(endpoint string, leaving []Leaver) error {
	for _, l := range leaving {
		if l.IsControlPlane() && l.Node.OwnsEndpoint(endpoint, l.Host) {
			return hint.With(fmt.Errorf("the cluster's endpoint %s is the own address of %s: without it no kubelet finds the API server", endpoint, l.Host.Name),
				"give that address to another control plane first, or make the cluster again, with an endpoint that moves")
		}
	}
	return nil
}

// KeepsMembers gives the hosts their members of etcd, and puts those whose member is not well first among the hosts that are reached alike:
// etcd can do without the others only when it does not count on these any more. It refuses when etcd cannot do without them all, and when
// it has a member of which it is not known whose it is.
func KeepsMembers(c *inventory.Cluster, members []Member, nodes []facts.Node, leaving []Leaver) error {
	if err := everyMemberIsKnown(members, nodes, leaving); err != nil {
		return err
	}
	for i := range leaving {
		l := &leaving[i]
		for _, m := range members {
			if l.owns(m) {
				l.Member = m
			}
		}
	}
	unwell := func(l Leaver) int {
		if l.Member.ID != 0 && !l.Member.Healthy {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(leaving, func(a, b Leaver) int {
		if d := len(c.Route(b.Host)) - len(c.Route(a.Host)); d != 0 {
			return d
		}
		return unwell(a) - unwell(b)
	})
	var out []string
	for _, l := range leaving {
		if l.Member.ID != 0 && !l.Member.Learner {
			out = append(out, l.Member.Name)
		}
	}
	return KeepsQuorum(Voters(members), out)
}

// everyMemberIsKnown refuses when a control plane that leaves has no etcd member of its name while there is one that no node is called: it
// may be the one, and etcd would go on counting on it. A worker has one only where the address is its own.
func everyMemberIsKnown(members []Member, nodes []facts.Node, leaving []Leaver) error {
	var foreign []Member
	for _, m := range members {
		known := slices.ContainsFunc(nodes, func(n facts.Node) bool { return n.Name == m.Name })
		if !known && !slices.ContainsFunc(leaving, func(l Leaver) bool { return l.owns(m) }) {
			foreign = append(foreign, m)
		}
	}
	for _, l := range leaving {
		if slices.ContainsFunc(members, l.owns) {
			continue
		}
		var its []string
		for _, m := range foreign {
			if l.IsControlPlane() || slices.ContainsFunc(m.Peers, func(p string) bool { return slices.Contains(l.addresses(), p) }) {
				its = append(its, m.String())
			}
		}
		if len(its) > 0 {
			return hint.With(fmt.Errorf("etcd has no member named %s; members that match no node: %s", l.Host.Name, strings.Join(its, ", ")),
				`take the member that is %s's out first, with "etcdctl member remove"`, l.Host.Name)
		}
	}
	return nil
}

// KeepsData refuses to evict pods that are lost for good with it.
func KeepsData(leaving []Leaver) error {
	var lost []string
	for _, l := range leaving {
		for _, why := range Losses(l.Pods) {
			lost = append(lost, l.Host.Name+": "+why)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return hint.With(errors.New(strings.Join(lost, "; ")), "--force evicts them anyway")
}

// Losses say of each pod whose eviction loses something what that is.
func Losses(pods []LeavingPod) (out []string) {
	for _, p := range pods {
		if p.Loses != "" {
			out = append(out, p.Loses)
		}
	}
	return out
}

// Offline is the way out where a host itself cannot, or must not, be reset.
const Offline = "--offline takes the node out of the cluster alone, and says what is left on the host"

// MayReset refuses to reset a host that does not answer, or is another machine than its node: none is reset by halves. The hosts' facts
// have been gathered.
func MayReset(c *inventory.Cluster, nodes []facts.Node, l Leaver) error {
	f, name := l.Facts, l.Host.Name
	called, another := CalledNow(c, nodes, f.MachineID), machineOf(nodes, name, f)
	switch {
	case f.Err != nil:
		return hint.With(fmt.Errorf("%s was not reached, and nothing was done: %w", name, f.Err), Offline)
	case l.Node.Name == "" && f.Kubeadm.KubeletConf && called != "":
		return hint.With(fmt.Errorf("the cluster has no node %s and knows this machine as %s", name, called),
			`"hybridctl inventory rename %s %s" gives it its name back`, name, called)
	case f.Kubeadm.KubeletConf && !BeganMember(f):
		return hint.With(fmt.Errorf("%s has a kubelet that hybridctl did not set up, or its marks in /var/lib/hybridctl are lost: it would not be reset", name),
			`run "kubeadm reset" there yourself; %s`, Offline)
	case another != "":
		return hint.With(fmt.Errorf("the host that answers for %s is the machine of the node %s (machine-id %s), which would be reset", name, another, f.MachineID),
			"see to the address of %s in the inventory (%s); %s", name, l.Host.Address, Offline)
	case f.Kubeadm.KubeletConf && runsEtcd(f) && !l.IsControlPlane():
		return hint.With(fmt.Errorf("%s is no control plane by the inventory and by its node, and the host runs one, with a member that etcd may count on: it is not reset for that", name),
			demote, name)
	case l.Node.MachineID != "" && f.MachineID != l.Node.MachineID:
		return hint.With(fmt.Errorf("%s answers with the machine-id %s, its node has %s: it is another machine, or was reinstalled", name, f.MachineID, l.Node.MachineID),
			`"hybridctl scale-out --replace %s" joins it again; %s`, name, Offline)
	}
	return nil
}

// machineOf is the name of another node whose machine the host is: it has the machine-id and an address of that node; "" = of none. Machines
// that were cloned may share the id.
func machineOf(nodes []facts.Node, name string, f facts.Host) string {
	for _, n := range nodes {
		if n.Name != name && f.MachineID != "" && n.MachineID == f.MachineID && slices.ContainsFunc(n.InternalIPs, func(a string) bool { return slices.Contains(f.Addresses, a) }) {
			return n.Name
		}
	}
	return ""
}

// MayReplace refuses to take a host for another machine than its node while it may be the same, or that machine still lives.
func MayReplace(l Leaver) error {
	f, name := l.Facts, l.Host.Name
	switch {
	case f.Err != nil:
		return fmt.Errorf("%s was not reached, and nothing was done: %w", name, f.Err)
	case l.Node.Name == "":
		return hint.With(fmt.Errorf("the cluster has no node %s: nothing is to be replaced", name), "without --replace it joins")
	case f.MachineID == l.Node.MachineID && f.Kubeadm.KubeletConf:
		return hint.With(fmt.Errorf("%s is the machine that its node knows (machine-id %s), and was not reinstalled", name, f.MachineID),
			`"hybridctl remove %s" takes it out`, name)
	case l.Node.Ready:
		return hint.With(fmt.Errorf("the node %s is Ready, so that its machine (machine-id %s) is alive, or was until a moment ago", name, l.Node.MachineID),
			"wait a minute and try again if it was only now reinstalled; else see to the host's address in the inventory (%s), and take the old machine out first", l.Host.Address)
	}
	return nil
}

// LeavingOptions are what the user said of a removal.
type LeavingOptions struct {
	Offline bool // the hosts are left as they are
	Force   bool
	Timeout time.Duration // of one host's drain
	Path    string        // of the inventory that the hosts are taken out of; "" = they stay there
	Ask     []string      // the control planes that stay: on them etcd is asked
}

// CordonInputs is the node that is cordoned.
type CordonInputs struct {
	Node string `json:"node"`
}

// DrainInputs are how a node is drained.
type DrainInputs struct {
	Node    string        `json:"node"`
	Away    bool          `json:"away,omitempty"`  // it is not Ready: no pod ends there, and no volume leaves it
	Force   bool          `json:"force,omitempty"` // pods are evicted that are lost with it; volumes are not insisted on
	Timeout time.Duration `json:"timeoutNanoseconds"`
}

// EtcdInputs are the host whose member is taken out, and where etcd is asked.
type EtcdInputs struct {
	Member    string   `json:"member"`
	Node      string   `json:"node"`
	Addresses []string `json:"addresses"` // under which a member without a name is the host's
	Ask       []string `json:"ask"`       // nodes; one after another, until one answers
}

// NodeLeaves is the Node object that is deleted.
type NodeLeaves struct {
	Node string `json:"node"`
}

// InventoryInputs are the inventory that a host is taken out of.
type InventoryInputs struct {
	Path string `json:"path"`
}

// LeavingPlan is the plan of a removal. Unlike Removal it stands in the order in which it is done: one host after another, and of each the
// node cordoned and drained, its member taken out of etcd, the host reset, the Node deleted, and the host taken out of the inventory.
// An API server whose etcd has left the cluster answers no one and keeps its connections, so the host is reset before the API is asked for more.
func LeavingPlan(c *inventory.Cluster, leaving []Leaver, o LeavingOptions) Plan {
	p := Plan{Cluster: c.Metadata.Name, Part: true}
	for _, l := range leaving {
		b := leavingBuilder{cluster: c, leaving: leaving, Leaver: l, o: o}
		b.node()
		b.etcd()
		if !o.Offline {
			b.host()
		}
		b.rest()
		p.Steps = append(p.Steps, b.steps...)
		p.Notes = append(p.Notes, l.describe(o))
	}
	return p
}

// ReplacingPlan is what goes of the nodes whose hosts were reinstalled: the member of etcd and the Node. Their pods are gone with the
// machines; the API server learns it so.
func ReplacingPlan(c *inventory.Cluster, leaving []Leaver, ask []string) Plan {
	p := Plan{Cluster: c.Metadata.Name, Part: true}
	for _, l := range leaving {
		b := leavingBuilder{cluster: c, leaving: leaving, Leaver: l, o: LeavingOptions{Ask: ask}}
		b.etcd()
		b.step(Node, Delete, fmt.Sprintf("its host was reinstalled (machine-id %s)", l.Node.MachineID), NodeLeaves{l.Host.Name})
		p.Steps = append(p.Steps, b.steps...)
	}
	return p
}

// leavingBuilder makes the steps of one host.
type leavingBuilder struct {
	Leaver
	cluster *inventory.Cluster
	leaving []Leaver
	o       LeavingOptions
	steps   []Step
}

// step adds a step that comes after all that there are.
func (b *leavingBuilder) step(k Kind, a Action, reason string, in any) *Step {
	s := Step{ID: HostID(b.Host.Name, k), Kind: k, Host: b.Host.Name, Action: a, Reason: reason, Inputs: in, Digest: Digest(in)}
	s.DependsOn = b.last()
	b.steps = append(b.steps, s)
	return &b.steps[len(b.steps)-1]
}

// last are the steps that none depends on yet.
func (b *leavingBuilder) last() (ids []ID) {
	for _, s := range b.steps {
		if !slices.ContainsFunc(b.steps, func(o Step) bool { return slices.Contains(o.DependsOn, s.ID) }) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

func (b *leavingBuilder) node() {
	if b.Node.Name == "" {
		return
	}
	b.step(Cordon, Update, "no new pod comes to a node that leaves", CordonInputs{b.Host.Name})
	reason := report.Count(len(b.Pods), "pod") + " to evict, as PodDisruptionBudgets allow"
	if !b.Node.Ready {
		reason = report.Count(len(b.Pods), "pod") + " to evict; the node is not Ready, and none is waited for"
	}
	s := b.step(Drain, Update, reason, DrainInputs{Node: b.Host.Name, Away: !b.Node.Ready, Force: b.o.Force, Timeout: b.o.Timeout})
	for _, pod := range b.Pods {
		s.Details = append(s.Details, cmp.Or(pod.Loses, "pod "+pod.Name))
	}
}

func (b *leavingBuilder) etcd() {
	if b.Member.ID == 0 {
		return
	}
	b.step(Etcd, Delete, "etcd goes on without its member "+b.Member.String(),
		EtcdInputs{Member: b.Member.String(), Node: b.Host.Name, Addresses: b.addresses(), Ask: b.o.Ask})
}

// host adds what is there of the host's own steps.
func (b *leavingBuilder) host() {
	steps, before := Reverse(RemovalOf(b.cluster, b.Host, b.Facts)).Steps, b.last()
	for i := range steps {
		if len(steps[i].DependsOn) == 0 {
			steps[i].DependsOn = before
		}
	}
	b.steps = append(b.steps, steps...)
}

func (b *leavingBuilder) rest() {
	if b.Node.Name != "" {
		b.step(Node, Delete, "the host is no part of the cluster any more", NodeLeaves{b.Host.Name})
	}
	if b.o.Path == "" {
		return
	}
	s := b.step(Inventory, Delete, "the next up or scale-out does not join it again", InventoryInputs{b.o.Path})
	for _, l := range b.leaving { // no host of an inventory is reached through one that is not there
		if slices.ContainsFunc(b.cluster.Route(l.Host), func(hop inventory.Hop) bool { return hop.Host == b.Host.Name }) {
			s.DependsOn = append(s.DependsOn, HostID(l.Host.Name, Inventory))
		}
	}
}

// describe says in one line what happens to the host.
func (l Leaver) describe(o LeavingOptions) string {
	var parts []string
	if l.Node.Name == "" {
		parts = append(parts, "it has no node")
	} else {
		parts = append(parts, fmt.Sprintf("its node is cordoned, drained of %s and deleted", report.Count(len(l.Pods), "pod")))
	}
	if l.Member.ID != 0 {
		parts = append(parts, "its etcd member is removed")
	}
	switch {
	case o.Offline:
		parts = append(parts, "the host itself is left as it is: containerd, kubelet and the pods that run there")
	case !l.Facts.AnyMarker():
		parts = append(parts, "the host has nothing of hybridctl")
	default:
		parts = append(parts, "the host is reset")
	}
	return l.Host.Name + ": " + strings.Join(parts, "; ")
}
