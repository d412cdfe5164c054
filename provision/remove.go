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
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/survey"
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
	result := Result{Cluster: o.Cluster.Metadata.Name}
	begun, err := begin(ctx, o.Options)
	if err != nil {
		return result, err
	}
	defer begun.end()
	r := removing{begun}

	leaving, seen, err := r.surveyRemoval(o)
	if err != nil {
		return result, err
	}
	result.Plan = removalPlan(r.Cluster, leaving, o)
	if err := r.confirm(result.Plan); err != nil {
		return result, err
	}
	var unfinished []string
	failed, err := r.underLock(ctx, func(l *lock.Lock) (err error) {
		for _, host := range leaving {
			done, one := r.removeOne(ctx, seen, host, o, l.Stop())
			result.Changes, result.Notes = append(result.Changes, done.changes...), append(result.Notes, done.notes...)
			if one != nil {
				err, unfinished = errors.Join(err, one), append(unfinished, host.host.Name)
			}
		}
		return err
	})
	result.Hosts = r.resultsOf(hostsOf(leaving), seen.Hosts, result.Changes, o.verb(unfinished))
	if err != nil {
		return result, err
	}
	return result, partial(failed, result.Hosts)
}

// removing is a removal at work.
type removing struct{ *run }

// removalPlan is what is shown before anything is done.
func removalPlan(c *inventory.Cluster, leaving []leaver, o RemoveOptions) plan.Plan {
	p := plan.Plan{Cluster: c.Metadata.Name, Part: true}
	for _, l := range leaving {
		p.Steps = append(p.Steps, l.plan.Steps...)
		p.Notes = append(p.Notes, l.describe(o))
	}
	return p
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

// surveyRemoval finds out what there is to take away, and refuses what must not be.
func (r removing) surveyRemoval(o RemoveOptions) (leaving []leaver, seen survey.Seen, err error) {
	seen.Cluster = r.Cluster
	if len(o.Hosts) == 0 {
		return nil, seen, fmt.Errorf("%w: no host was named", ErrRefused)
	}
	if err := r.refuseUnknown(o.Hosts); err != nil {
		return nil, seen, err
	}
	for _, name := range o.Hosts {
		if h, _ := r.Cluster.Host(name); !h.IsManaged() && !o.Offline {
			return nil, seen, fmt.Errorf("%w: hybridctl does not manage %s (managed: false), and resets no host that it did not set up; --offline takes its node out of the cluster alone", ErrRefused, name)
		}
	}
	r.fleet.Only()
	if seen.Nodes, err = r.reachRunning(); err != nil {
		return nil, seen, err
	}
	r.goThrough(seen.Nodes, o.Hosts)
	leaving = leavers(r.Cluster, seen.Nodes, o.Hosts)
	if err := r.clusterStays(seen.Nodes, leaving); err != nil {
		return nil, seen, err
	}
	if err := r.findPods(leaving, o.Force); err != nil {
		return nil, seen, err
	}
	if !o.Offline {
		if seen.Hosts, err = r.reachLeavers(seen.Nodes, leaving); err != nil {
			return nil, seen, err
		}
		for i := range leaving {
			leaving[i].plan = plan.RemovalOf(r.Cluster, leaving[i].host, seen.Hosts.Fact(leaving[i].host.Name))
		}
	}
	if o.MayTakeOut != nil {
		if err := o.MayTakeOut(names(hostsOf(leaving))); err != nil {
			return nil, seen, fmt.Errorf("%w, and nothing was done: %w", ErrRefused, err)
		}
	}
	return leaving, seen, r.reading.Err()
}

// clusterStays refuses to take what the cluster cannot do without, and finds the hosts' members of etcd.
func (r removing) clusterStays(nodes []kube.Node, leaving []leaver) error {
	if err := controlPlaneStays(nodes, leaving); err != nil {
		return err
	}
	if slices.ContainsFunc(leaving, leaver.isControlPlane) {
		config, err := survey.Configuration(r.reading, r.api)
		if err != nil {
			return err
		}
		if err := endpointStays(cmp.Or(config.Endpoint, r.Cluster.Spec.Kubernetes.Endpoint), leaving); err != nil {
			return err
		}
	}
	return findMembers(r.run, nodes, leaving)
}

// findPods lists what has to be evicted, and refuses what would be lost, unless it is forced.
func (r removing) findPods(leaving []leaver, force bool) error {
	var lost []string
	for i := range leaving {
		l := &leaving[i]
		if l.node.Name == "" {
			continue
		}
		pods, err := r.api.DrainPods(r.reading, l.host.Name)
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
func (r removing) reachLeavers(nodes []kube.Node, leaving []leaver) (survey.Hosts, error) {
	r.fleet.Only(names(hostsOf(leaving))...)
	seen := r.reader().Hosts(r.reading, hostsOf(leaving))
	there := survey.NodeFacts(nodes)
	for _, l := range leaving {
		f, node := seen.Fact(l.host.Name), l.node
		called := plan.CalledNow(r.Cluster, there, f.MachineID)
		const offline = "--offline takes the node out of the cluster alone, and tells what is left on the host"
		others := preflight.Authority{Hashes: r.api.CAHashes()}.MayReset(f)
		switch {
		case r.reading.Err() != nil:
			return nil, r.reading.Err()
		case f.Err != nil:
			return nil, fmt.Errorf("%w: %s was not reached, and nothing was done: %w; %s", ErrRefused, f.Name, f.Err, offline)
		case others != nil:
			return nil, fmt.Errorf("%w: %w; if that cluster is not needed: kubeadm reset on the host; else %s", ErrRefused, others, offline)
		case node.Name == "" && f.Kubeadm.KubeletConf && called != "":
			return nil, fmt.Errorf("%w: the cluster has no node %s and knows this machine as %s: \"hybridctl inventory rename %[2]s %[3]s\" gives it its name back", ErrRefused, f.Name, called)
		case f.Kubeadm.KubeletConf && !plan.BeganMember(f):
			return nil, fmt.Errorf("%w: %s has a kubelet that hybridctl did not set up, or its marks in /var/lib/hybridctl are lost: it would not be reset; "+
				"run \"kubeadm reset\" there yourself; %s", ErrRefused, f.Name, offline)
		case node.MachineID != "" && f.MachineID != node.MachineID:
			return nil, fmt.Errorf("%w: %s answers with the machine-id %s, its node has %s: it is another machine, or was installed anew; \"hybridctl scale-out --replace %s\" joins it again, %s", ErrRefused, f.Name, f.MachineID, node.MachineID, f.Name, offline)
		}
	}
	return seen, nil
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

// removed is what became of one host.
type removed struct {
	changes []report.Change
	notes   []string
}

// removeOne takes one host out. It stops at the first thing that fails: what comes after would do harm.
func (r removing) removeOne(ctx context.Context, seen survey.Seen, l leaver, o RemoveOptions, stop <-chan struct{}) (out removed, err error) {
	name := l.host.Name
	do := func(kind string, change report.Action, work func(ctx context.Context) error) error {
		if stopped(stop) {
			return fmt.Errorf("interrupted: %w", context.Canceled)
		}
		r.event(report.Event{Kind: report.Started, Host: name, Step: kind})
		start := time.Now()
		err := work(ctx)
		c := report.Change{Host: name, Step: name + "/" + kind, Kind: kind, Action: change, Duration: time.Since(start)}
		e := report.Event{Kind: report.Done, Host: name, Step: kind, Action: change, Err: err}
		if err != nil {
			c.Action, c.Error, e.Action = report.Failed, err.Error(), report.Failed
		}
		out.changes = append(out.changes, c)
		r.event(e)
		return err
	}
	if l.node.Name != "" {
		if err := do("cordon", report.Configured, func(ctx context.Context) error { return r.api.Cordon(ctx, name) }); err != nil {
			return out, err
		}
		if err := do("drain", report.Configured, func(ctx context.Context) error { return r.drain(ctx, l, o) }); err != nil {
			return out, err
		}
	}
	if l.member.ID != 0 {
		if err := do("etcd", report.Deleted, func(ctx context.Context) error { return r.api.RemoveEtcdMember(ctx, l.ask, l.member.ID) }); err != nil {
			return out, err
		}
	}
	if !o.Offline { // before the node goes: an API server whose etcd has left answers nobody, and lets no connection go that leads to it
		changes, err := stack.Destroy(ctx, r.store, l.plan, r.steps(seen, nil), r.engine(stop))
		out.changes = append(out.changes, changes...)
		if err != nil {
			return out, err
		}
	}
	if l.node.Name != "" {
		if err := do("node", report.Deleted, func(ctx context.Context) error { return r.api.DeleteNode(ctx, name) }); err != nil {
			return out, err
		}
	}
	if err := r.store.Forget(ctx, r.Cluster.Metadata.Name, name); err != nil {
		return out, err
	}
	if !o.Offline && r.Cluster.Spec.CNI.Provider != inventory.CNIFlannel {
		out.notes = append(out.notes, name+": a pod network other than flannel may have left links, rules and programs in its kernel: they go when the host is started anew")
	}
	if o.TakeOut == nil {
		out.notes = append(out.notes, fmt.Sprintf("%s is still in %s: take it out there, or the next up or scale-out joins it again", name, r.Cluster.Path))
		return out, nil
	}
	err = do("inventory", report.Deleted, func(context.Context) error { return o.TakeOut(name) })
	return out, err
}

// drain evicts the host's pods, those included that came between the survey and the cordon, and waits until the volumes that they had have
// left the node: what goes with the kubelet while it is attached cannot be attached elsewhere.
func (r removing) drain(ctx context.Context, l leaver, o RemoveOptions) error {
	limit := o.Timeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	pods, err := r.api.DrainPods(ctx, l.host.Name)
	if err != nil {
		return err
	}
	if lost := losses(pods); len(lost) > 0 && !o.Force {
		return fmt.Errorf("pods came to the node meanwhile: %s; no pod was evicted, and the node stays cordoned; --force evicts them all the same", strings.Join(lost, "; "))
	}
	for i := range pods {
		pods[i].Abandoned = !l.node.Ready
	}
	err = r.api.Drain(ctx, pods, r.draining(l.host.Name))
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("not done after %s (--timeout): %w; the node stays cordoned", limit, err)
	}
	if err != nil || !l.node.Ready { // a node that is away lets nothing go
		return err
	}
	return r.detached(ctx, l.host.Name, o)
}

// detached waits until no volume is attached to the node. With --force it does so for as long as the drain may take, and goes on.
func (r removing) detached(ctx context.Context, node string, o RemoveOptions) error {
	err := r.api.WaitDetached(ctx, node, kube.WaitOptions{Progress: r.draining(node)})
	switch {
	case !errors.Is(err, context.DeadlineExceeded):
		return err
	case o.Force:
		return nil
	}
	return fmt.Errorf("not done after %s (--timeout): %w; another node could not have them for long; the node stays cordoned, and --force goes on all the same", o.Timeout, err)
}

// draining tells what the drain of a node waits for.
func (r removing) draining(node string) func([]kube.Missing) {
	return func(left []kube.Missing) {
		for _, m := range left {
			r.event(report.Event{Kind: report.Progress, Host: node, Step: "drain", Message: m.String()})
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
