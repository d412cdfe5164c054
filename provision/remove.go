package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// RemoveOptions are Remove's own.
type RemoveOptions struct {
	Options
	Hosts   []string
	Force   bool          // evict pods that nobody makes anew, and those with local data
	Timeout time.Duration // of one host's drain; 0 = 5 minutes
	Offline bool          // the API's side alone: the hosts are not connected to
	// MayTakeOut finds out whether TakeOut will do for all the hosts, one after another in this order; nil = nobody asks.
	MayTakeOut func(hosts []string) error
	// TakeOut takes a host out of the inventory when it is gone from the cluster; nil = it stays there, and the result says so.
	TakeOut func(host string) error
}

// drainFor is how long a host's drain may take unless the user says otherwise.
const drainFor = 5 * time.Minute

// Remove takes hosts out of the cluster, one after another: their nodes are cordoned and drained, their etcd members removed, their
// Node objects deleted, and the hosts reset until nothing of hybridctl is left. Whatever stands against it is found out for all hosts
// before anything is done. It may be run again after any interruption.
// Errors: ErrRefused, ErrPartial, ErrDeclined, ErrLocked, context.Canceled, or others for the user.
func Remove(ctx context.Context, o RemoveOptions) (Result, error) {
	o.Options = o.withDefaults()
	if o.Timeout == 0 {
		o.Timeout = drainFor
	}
	r := Result{Cluster: o.Cluster.Metadata.Name}
	store, s, end, err := begin(o.Options)
	if err != nil {
		return r, err
	}
	defer end()
	s.joining = &joining{}

	reading, cancel := o.stoppable(ctx)
	defer cancel()
	leaving, err := s.surveyRemoval(reading, store, o, &r)
	if err != nil {
		return r, err
	}
	if o.Ask != nil && !o.Ask(r.Plan) {
		return r, ErrDeclined
	}
	lock, err := s.lock(reading)
	if err != nil {
		return r, err
	}
	var unfinished []string
	for _, l := range leaving {
		if one := s.removeOne(ctx, store, l, o, &r); one != nil {
			err, unfinished = errors.Join(err, one), append(unfinished, l.host.Name)
		}
	}
	lost := lock.giveBack(ctx)
	r.Hosts = s.hostResultsOf(hostsOf(leaving), r.Changes, o.verb(unfinished))
	switch {
	case errors.Is(lost, ErrLocked):
		return r, lost
	case errors.Is(err, context.Canceled):
		return r, err
	}
	return r, partial(errors.Join(err, lost), r.Hosts)
}

// verb is the command that goes on with hosts, as they were to be removed.
func (o RemoveOptions) verb(hosts []string) string {
	words := append([]string{"remove"}, hosts...)
	if o.Force {
		words = append(words, "--force")
	}
	if o.Offline {
		words = append(words, "--offline")
	}
	if o.Timeout != drainFor {
		words = append(words, "--timeout "+o.Timeout.String())
	}
	return strings.Join(words, " ")
}

// leaver is a host on its way out.
type leaver struct {
	host   inventory.Host
	node   kube.Node // zero when there is none any more
	pods   []kube.DrainPod
	member kube.EtcdMember // zero when it has none
	ask    string          // the node on which etcd is asked
	plan   plan.Plan       // what is to be undone on the host
}

func hostsOf(all []leaver) []inventory.Host {
	out := make([]inventory.Host, len(all))
	for i, l := range all {
		out[i] = l.host
	}
	return out
}

// surveyRemoval finds out what there is to take away, and refuses what must not be.
func (s *session) surveyRemoval(ctx context.Context, store *stack.Store, o RemoveOptions, r *Result) ([]leaver, error) {
	if len(o.Hosts) == 0 {
		return nil, fmt.Errorf("%w: no host was named", ErrRefused)
	}
	if err := s.known(o.Hosts); err != nil {
		return nil, err
	}
	for _, name := range o.Hosts {
		if h, _ := s.Cluster.Host(name); !h.IsManaged() && !o.Offline {
			return nil, fmt.Errorf("%w: hybridctl does not manage %s (managed: false), and resets no host that it did not set up; --offline takes its node out of the cluster alone", ErrRefused, name)
		}
	}
	nodes, _, err := s.reachCluster(ctx)
	if err != nil {
		return nil, err
	}
	s.avoidMembers(nodes, o.Hosts)
	leaving := s.leavers(nodes, o.Hosts)
	if err := controlPlaneStays(nodes, leaving); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(leaving, leaver.isControlPlane) {
		config, err := s.configuration(ctx)
		if err != nil {
			return nil, err
		}
		if err := endpointStays(cmp.Or(config.Endpoint, s.Cluster.Spec.Kubernetes.Endpoint), leaving); err != nil {
			return nil, err
		}
	}
	if err := s.findMembers(ctx, nodes, leaving); err != nil {
		return nil, err
	}
	if err := s.findPods(ctx, leaving, o.Force); err != nil {
		return nil, err
	}
	if !o.Offline {
		if err := s.reachLeavers(ctx, nodes, leaving); err != nil {
			return nil, err
		}
	}
	if o.MayTakeOut != nil {
		if err := o.MayTakeOut(names(hostsOf(leaving))); err != nil {
			return nil, fmt.Errorf("%w, and nothing was done: %w", ErrRefused, err)
		}
	}
	r.Plan = plan.Plan{Cluster: s.Cluster.Metadata.Name, Part: true}
	for i := range leaving {
		l := &leaving[i]
		l.plan = s.undoing(store, *l, o.Offline)
		r.Plan.Steps = append(r.Plan.Steps, l.plan.Steps...)
		r.Plan.Notes = append(r.Plan.Notes, l.describe(o))
	}
	return leaving, ctx.Err()
}

// leavers are in the inventory's order, each once, but no host goes before those that are reached through it.
func (s *session) leavers(nodes []kube.Node, names []string) []leaver {
	var out []leaver
	for _, h := range s.Cluster.Spec.Hosts {
		if !slices.Contains(names, h.Name) {
			continue
		}
		l := leaver{host: h}
		if i := slices.IndexFunc(nodes, func(n kube.Node) bool { return n.Name == h.Name }); i >= 0 {
			l.node = nodes[i]
		}
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b leaver) int { return len(s.Cluster.Route(b.host)) - len(s.Cluster.Route(a.host)) })
	return out
}

// isControlPlane tells what the host is, by the inventory's word where its node is gone: etcd may still count on it.
func (l leaver) isControlPlane() bool {
	return l.node.ControlPlane || l.host.Role == inventory.ControlPlane
}

// controlPlaneStays refuses to take the last control plane.
func controlPlaneStays(nodes []kube.Node, leaving []leaver) error {
	if !slices.ContainsFunc(leaving, leaver.isControlPlane) || len(staying(nodes, leaving)) > 0 {
		return nil
	}
	return fmt.Errorf("%w: no control plane that is Ready would be left; \"hybridctl destroy\" takes the whole cluster away", ErrRefused)
}

// staying are the control planes that are Ready and stay.
func staying(nodes []kube.Node, leaving []leaver) (names []string) {
	for _, n := range nodes {
		if n.ControlPlane && n.Ready && !slices.ContainsFunc(leaving, func(l leaver) bool { return l.host.Name == n.Name }) {
			names = append(names, n.Name)
		}
	}
	return names
}

// endpointStays refuses to take a control plane whose own address every kubelet has for the API server.
func endpointStays(endpoint string, leaving []leaver) error {
	for _, l := range leaving {
		if l.isControlPlane() && preflight.OwnsEndpoint(endpoint, l.host, l.node.InternalIPs) {
			return fmt.Errorf("%w: the cluster's endpoint %s is the own address of %s: without it no kubelet finds the API server; give that address to another control plane first, "+
				"or make the cluster anew with an endpoint that moves", ErrRefused, endpoint, l.host.Name)
		}
	}
	return nil
}

// findMembers finds the hosts' etcd members, and whether etcd can do without them.
func (s *session) findMembers(ctx context.Context, nodes []kube.Node, leaving []leaver) error {
	var names []string
	for _, l := range leaving {
		if l.isControlPlane() {
			names = append(names, l.host.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	if config, err := s.configuration(ctx); err != nil || config.ExternalEtcd {
		return err
	}
	ask, members, err := s.askEtcd(ctx, staying(nodes, leaving))
	if err != nil {
		return err
	}
	if err := everyMemberIsKnown(members, nodes, leaving); err != nil {
		return err
	}
	if err := plan.KeepsQuorum(steps.Voters(members), names); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	for i := range leaving {
		l := &leaving[i]
		for _, m := range members {
			if l.isControlPlane() && m.IsOf(l.host.Name, l.addresses()...) {
				l.member, l.ask = m, ask
			}
		}
	}
	return nil
}

// askEtcd asks one after another of these nodes for etcd's members, until one answers.
func (s *session) askEtcd(ctx context.Context, nodes []string) (asked string, members []kube.EtcdMember, err error) {
	var errs []error
	for _, n := range nodes {
		if members, err = s.api.EtcdMembers(ctx, n); err == nil {
			return n, members, nil
		}
		errs = append(errs, fmt.Errorf("on %s: %w", n, err))
	}
	return "", nil, errors.Join(errs...)
}

// addresses are those under which the host's etcd may be known.
func (l leaver) addresses() []string {
	return append(slices.Clone(l.node.InternalIPs), l.host.NodeIP, l.host.Address)
}

// everyMemberIsKnown refuses when a control plane that leaves has no etcd member of its name while there is one that is nobody's: it may be
// the one, and etcd would go on counting on it.
func everyMemberIsKnown(members []kube.EtcdMember, nodes []kube.Node, leaving []leaver) error {
	known := map[string]bool{}
	for _, n := range nodes {
		known[n.Name] = true
	}
	var foreign []string
	for _, m := range members {
		if !known[m.Name] && !slices.ContainsFunc(leaving, func(l leaver) bool { return m.IsOf(l.host.Name, l.addresses()...) }) {
			foreign = append(foreign, m.String())
		}
	}
	for _, l := range leaving {
		has := slices.ContainsFunc(members, func(m kube.EtcdMember) bool { return m.IsOf(l.host.Name, l.addresses()...) })
		if l.isControlPlane() && !has && len(foreign) > 0 {
			return fmt.Errorf("%w: etcd has no member %s, and %s, which no node is called: take the member that is of %[2]s out first, with \"etcdctl member remove\"", ErrRefused, l.host.Name, strings.Join(foreign, ", "))
		}
	}
	return nil
}

// findPods lists what has to be evicted, and refuses what would be lost, unless it is forced.
func (s *session) findPods(ctx context.Context, leaving []leaver, force bool) error {
	var lost []string
	for i := range leaving {
		l := &leaving[i]
		if l.node.Name == "" {
			continue
		}
		pods, err := s.api.DrainPods(ctx, l.host.Name)
		if err != nil {
			return err
		}
		l.pods = pods
		for _, why := range losses(pods) {
			lost = append(lost, l.host.Name+": "+why)
		}
	}
	if len(lost) > 0 && !force {
		return fmt.Errorf("%w: %s; --force evicts them all the same", ErrRefused, strings.Join(lost, "; "))
	}
	return nil
}

// losses say of each pod whose eviction loses something what that is.
func losses(pods []kube.DrainPod) (out []string) {
	for _, p := range pods {
		if why := p.Loses(); why != "" {
			out = append(out, why)
		}
	}
	return out
}

// reachLeavers connects to the hosts. A host that does not answer, or is another machine than the node, is not reset by halves.
func (s *session) reachLeavers(ctx context.Context, nodes []kube.Node, leaving []leaver) error {
	there := factsNodes(nodes)
	for _, f := range s.gatherFrom(ctx, hostsOf(leaving)) {
		called := plan.CalledNow(s.Cluster, there, f.MachineID)
		i := slices.IndexFunc(leaving, func(l leaver) bool { return l.host.Name == f.Name })
		node := leaving[i].node
		const offline = "--offline takes the node out of the cluster alone, and tells what is left on the host"
		others := s.othersNode(f, offline)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case f.Err != nil:
			return fmt.Errorf("%w: %s was not reached, and nothing was done: %w; %s", ErrRefused, f.Name, f.Err, offline)
		case others != nil:
			return others
		case node.Name == "" && f.Kubeadm.KubeletConf && called != "":
			return fmt.Errorf("%w: the cluster has no node %s and knows this machine as %s: \"hybridctl inventory rename %[2]s %[3]s\" gives it its name back", ErrRefused, f.Name, called)
		case f.Kubeadm.KubeletConf && !plan.BeganMember(f):
			return fmt.Errorf("%w: %s has a kubelet that hybridctl did not set up, or its marks in /var/lib/hybridctl are lost: it would not be reset; "+
				"run \"kubeadm reset\" there yourself; %s", ErrRefused, f.Name, offline)
		case node.MachineID != "" && f.MachineID != node.MachineID:
			return fmt.Errorf("%w: %s answers with the machine-id %s, its node has %s: it is another machine, or was installed anew; \"hybridctl scale-out --replace %s\" joins it again, %s", ErrRefused, f.Name, f.MachineID, node.MachineID, f.Name, offline)
		}
	}
	return nil
}

// undoing is what is to be undone on the host; offline, what the state knows to be there.
func (s *session) undoing(store *stack.Store, l leaver, offline bool) plan.Plan {
	if offline {
		return plan.Plan{Cluster: s.Cluster.Metadata.Name, Part: true}
	}
	return plan.RemovalOf(s.Cluster, l.host, s.facts[l.host.Name])
}

// describe says in one line what is going to happen.
func (l leaver) describe(o RemoveOptions) string {
	var parts []string
	if l.node.Name == "" {
		parts = append(parts, "it has no node")
	} else {
		parts = append(parts, fmt.Sprintf("its node is cordoned, drained of %s and deleted", report.Count(len(l.pods), "pod")))
	}
	if l.member.ID != 0 {
		parts = append(parts, "its etcd member is removed")
	}
	if o.Offline {
		parts = append(parts, "the host itself is left as it is: containerd, kubelet and the pods that run there")
	} else {
		parts = append(parts, "the host is reset")
	}
	return l.host.Name + ": " + strings.Join(parts, "; ")
}

// removeOne takes one host out. It stops at the first thing that fails: what comes after would do harm.
func (s *session) removeOne(ctx context.Context, store *stack.Store, l leaver, o RemoveOptions, r *Result) error {
	name := l.host.Name
	do := func(kind string, change report.Action, work func(ctx context.Context) error) error {
		if stopped(s.Stop) {
			return fmt.Errorf("interrupted: %w", context.Canceled)
		}
		s.event(report.Event{Kind: report.Started, Host: name, Step: kind})
		start := time.Now()
		err := work(ctx)
		c := report.Change{Host: name, Step: name + "/" + kind, Kind: kind, Action: change, Duration: time.Since(start)}
		e := report.Event{Kind: report.Done, Host: name, Step: kind, Action: change, Err: err}
		if err != nil {
			c.Action, c.Error, e.Action = report.Failed, err.Error(), report.Failed
		}
		r.Changes = append(r.Changes, c)
		s.event(e)
		return err
	}
	if l.node.Name != "" {
		if err := do("cordon", report.Configured, func(ctx context.Context) error { return s.api.Cordon(ctx, name) }); err != nil {
			return err
		}
		if err := do("drain", report.Configured, func(ctx context.Context) error { return s.drain(ctx, l, o) }); err != nil {
			return err
		}
	}
	if l.member.ID != 0 {
		if err := do("etcd", report.Deleted, func(ctx context.Context) error { return s.api.RemoveEtcdMember(ctx, l.ask, l.member.ID) }); err != nil {
			return err
		}
	}
	if !o.Offline { // before the node goes: an API server whose etcd has left answers nobody, and lets no connection go that leads to it
		changes, err := stack.Destroy(ctx, store, l.plan, s.steps(), stack.Options{Parallel: s.Parallel, Progress: s.Progress, Stop: s.Stop})
		r.Changes = append(r.Changes, changes...)
		if err != nil {
			return err
		}
	}
	if l.node.Name != "" {
		if err := do("node", report.Deleted, func(ctx context.Context) error { return s.api.DeleteNode(ctx, name) }); err != nil {
			return err
		}
	}
	if err := store.Forget(ctx, s.Cluster.Metadata.Name, name); err != nil {
		return err
	}
	if !o.Offline && s.Cluster.Spec.CNI.Provider != inventory.CNIFlannel {
		r.Notes = append(r.Notes, name+": a pod network other than flannel may have left links, rules and programs in its kernel: they go when the host is started anew")
	}
	if o.TakeOut == nil {
		r.Notes = append(r.Notes, fmt.Sprintf("%s is still in %s: take it out there, or the next up or scale-out joins it again", name, s.Cluster.Path))
		return nil
	}
	return do("inventory", report.Deleted, func(context.Context) error { return o.TakeOut(name) })
}

// drain evicts the host's pods, those included that came between the survey and the cordon, and waits until the volumes that they had have
// left the node: what goes with the kubelet while it is attached cannot be attached elsewhere.
func (s *session) drain(ctx context.Context, l leaver, o RemoveOptions) error {
	limit := o.Timeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	pods, err := s.api.DrainPods(ctx, l.host.Name)
	if err != nil {
		return err
	}
	if lost := losses(pods); len(lost) > 0 && !o.Force {
		return fmt.Errorf("pods came to the node meanwhile: %s; no pod was evicted, and the node stays cordoned; --force evicts them all the same", strings.Join(lost, "; "))
	}
	for i := range pods {
		pods[i].Abandoned = !l.node.Ready
	}
	err = s.api.Drain(ctx, pods, s.draining(l.host.Name))
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("not done after %s (--timeout): %w; the node stays cordoned", limit, err)
	}
	if err != nil || !l.node.Ready { // a node that is away lets nothing go
		return err
	}
	return s.detached(ctx, l.host.Name, o)
}

// detached waits until no volume is attached to the node. With --force it does so for as long as the drain may take, and goes on.
func (s *session) detached(ctx context.Context, node string, o RemoveOptions) error {
	err := s.api.WaitDetached(ctx, node, kube.WaitOptions{Progress: s.draining(node)})
	switch {
	case !errors.Is(err, context.DeadlineExceeded):
		return err
	case o.Force:
		return nil
	}
	return fmt.Errorf("not done after %s (--timeout): %w; another node could not have them for long; the node stays cordoned, and --force goes on all the same", o.Timeout, err)
}

// draining tells what the drain of a node waits for.
func (s *session) draining(node string) func([]kube.Missing) {
	return func(left []kube.Missing) {
		for _, m := range left {
			s.event(report.Event{Kind: report.Progress, Host: node, Step: "drain", Message: m.String()})
		}
	}
}

// stopped tells whether the user has asked to end.
func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}
