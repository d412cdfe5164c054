package provision

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// RemoveOptions are Remove's own.
type RemoveOptions struct {
	Options
	Hosts  []string
	DryRun bool // show the plan, and do nothing
	Force  bool // evict pods that no controller makes again, and those with local data
	// ForceHosts are reset although they are not known to be of this cluster.
	ForceHosts []string
	Timeout    time.Duration // of one host's drain; 0 = 5 minutes
	Offline    bool          // the API's side alone: the hosts are not connected to
	// MayTakeOut finds out whether TakeOut will do for all the hosts, one after another in this order; nil = it is not asked.
	MayTakeOut func(hosts []string) error
	// TakeOut takes a host out of the inventory when it is gone from the cluster; nil = it stays there, and the result says so.
	TakeOut func(host string) error
}

// drainFor is how long a host's drain may take unless the user says otherwise.
const drainFor = 5 * time.Minute

// Remove takes hosts out of the cluster, one after another: their nodes are cordoned and drained, their etcd members removed, the hosts
// reset until nothing of hybridctl is left, and their Node objects deleted. Whatever stands against it is found out for all hosts before
// anything is done. It may be run again after any interruption: the plan is made from what is still there.
// Errors: ErrRefused, ErrPartial, ErrDeclined, ErrLocked, context.Canceled, or others for the user.
func Remove(ctx context.Context, o RemoveOptions) (Result, error) {
	o.Options = o.withDefaults()
	o.Timeout = cmp.Or(o.Timeout, drainFor)
	result := Result{Cluster: o.Cluster.Metadata.Name}
	start := begin
	if o.DryRun {
		start = look
	}
	begun, err := start(ctx, o.Options)
	if err != nil {
		return result, err
	}
	defer begun.end()
	r := removing{begun}

	leaving, seen, err := r.surveyRemoval(o)
	if err != nil {
		return result, err
	}
	result.Plan = plan.LeavingPlan(r.Cluster, leaving, o.leaving(survey.NodeFacts(seen.Nodes), leaving))
	if o.DryRun {
		return result, nil
	}
	if err := r.confirm(result.Plan); err != nil {
		return result, err
	}
	failed, err := r.underLock(ctx, seen.Hosts, func(l *lock.Lock) (err error) {
		r.watcher.begin(ctx)
		env := r.env(seen, nil)
		env.TakeOut = o.TakeOut
		if result.Changes, err = stack.Remove(ctx, r.store, result.Plan, steps.New(env), r.engine(l.Stop())); err != nil {
			return err
		}
		return r.forget(ctx, leaving)
	})
	left := unfinished(result.Changes)
	result.Notes = r.leftOn(leaving, left, o)
	result.Hosts = r.resultsOf(plan.HostsOf(leaving), seen.Hosts, result.Changes, o.verb(left))
	if err != nil {
		return result, err
	}
	return result, partial(failed, result.Hosts)
}

// removing is a removal at work.
type removing struct{ *run }

// leaving is what the plan is to be like.
func (o RemoveOptions) leaving(nodes []facts.Node, leaving []plan.Leaver) plan.LeavingOptions {
	out := plan.LeavingOptions{Offline: o.Offline, Force: o.Force, Timeout: o.Timeout, Ask: plan.Staying(nodes, leaving)}
	if o.TakeOut != nil {
		out.Path = o.Cluster.Path
	}
	return out
}

// verb is the command that goes on with hosts, as they were to be removed.
func (o RemoveOptions) verb(hosts []string) string {
	words := append([]string{"remove"}, hosts...)
	words = append(words, forced(o.Force, slices.DeleteFunc(slices.Clone(o.ForceHosts), func(h string) bool { return !slices.Contains(hosts, h) }))...)
	if o.Offline {
		words = append(words, "--offline")
	}
	if o.Timeout != drainFor {
		words = append(words, "--timeout "+o.Timeout.String())
	}
	return strings.Join(words, " ")
}

// unfinished are the hosts with a step that was not done.
func unfinished(changes []report.Change) (hosts []string) {
	for _, c := range changes {
		if (c.Action == report.Failed || c.Action == report.Skipped) && !slices.Contains(hosts, c.Host) {
			hosts = append(hosts, c.Host)
		}
	}
	return hosts
}

// forget takes the hosts out of the state, also those of which no step was left.
func (r removing) forget(ctx context.Context, leaving []plan.Leaver) error {
	for _, l := range leaving {
		if err := r.store.Forget(ctx, r.Cluster.Metadata.Name, l.Host.Name); err != nil {
			return err
		}
	}
	return nil
}

// leftOn says what is left to do for the hosts that have left the cluster.
func (r removing) leftOn(leaving []plan.Leaver, unfinished []string, o RemoveOptions) (notes []string) {
	for _, l := range leaving {
		name := l.Host.Name
		if slices.Contains(unfinished, name) {
			continue
		}
		if !o.Offline && r.Cluster.Spec.CNI.Provider != inventory.CNIFlannel {
			notes = append(notes, name+": a pod network other than flannel may have left links, rules and programs in its kernel: a restart of the host clears them")
		}
		if o.TakeOut == nil {
			notes = append(notes, fmt.Sprintf("%s is still in %s: take it out there, or the next up or scale-out joins it again", name, r.Cluster.Path))
		}
	}
	return notes
}

// surveyRemoval finds out what there is to take away, and refuses what must stay.
func (r removing) surveyRemoval(o RemoveOptions) (leaving []plan.Leaver, seen survey.Seen, err error) {
	seen.Cluster = r.Cluster
	if err := r.mayAsk(o); err != nil {
		return nil, seen, err
	}
	r.fleet.Only()
	if seen.Nodes, err = r.reachRunning(); err != nil {
		return nil, seen, err
	}
	r.goThrough(seen.Nodes, o.Hosts)
	leaving = plan.Leavers(r.Cluster, survey.NodeFacts(seen.Nodes), o.Hosts)
	if err := r.clusterStays(seen, leaving); err != nil {
		return nil, seen, err
	}
	if err := r.findPods(leaving, o.Force); err != nil {
		return nil, seen, err
	}
	if !o.Offline {
		if seen.Hosts, err = r.reachLeavers(seen, leaving, o.ForceHosts); err != nil {
			return nil, seen, err
		}
	}
	if o.MayTakeOut != nil {
		if err := o.MayTakeOut(names(plan.HostsOf(leaving))); err != nil {
			return nil, seen, fmt.Errorf("%w, and nothing was done: %w", ErrRefused, err)
		}
	}
	return leaving, seen, r.reading.Err()
}

// mayAsk refuses what the inventory alone says no to.
func (r removing) mayAsk(o RemoveOptions) error {
	if len(o.Hosts) == 0 {
		return fmt.Errorf("%w: no host was named", ErrRefused)
	}
	if err := r.refuseUnknown(slices.Concat(o.Hosts, o.ForceHosts)); err != nil {
		return err
	}
	for _, name := range o.ForceHosts {
		if !slices.Contains(o.Hosts, name) {
			return fmt.Errorf("%w: --force=%s names a host that is not to leave", ErrRefused, name)
		}
	}
	for _, name := range o.Hosts {
		if h, _ := r.Cluster.Host(name); !h.IsManaged() && !o.Offline {
			return hint.With(fmt.Errorf("%w: hybridctl does not manage %s (managed: false), and resets no host that it did not set up", ErrRefused, name),
				"--offline takes its node out of the cluster alone")
		}
	}
	return nil
}

// clusterStays refuses to take what the cluster cannot do without, and finds the hosts' members of etcd.
func (r removing) clusterStays(seen survey.Seen, leaving []plan.Leaver) error {
	nodes := survey.NodeFacts(seen.Nodes)
	if err := plan.KeepsControlPlane(nodes, leaving); err != nil {
		return refused(err)
	}
	if !slices.ContainsFunc(leaving, plan.Leaver.IsControlPlane) {
		return nil
	}
	config, err := survey.Configuration(r.reading, r.api)
	if err != nil {
		return err
	}
	if err := plan.KeepsEndpoint(cmp.Or(config.Endpoint, r.Cluster.Spec.Kubernetes.Endpoint), leaving); err != nil {
		return refused(err)
	}
	return findMembers(r.run, seen, leaving)
}

// findPods lists what has to be evicted, and refuses what would be lost, unless it is forced.
func (r removing) findPods(leaving []plan.Leaver, force bool) error {
	for i := range leaving {
		l := &leaving[i]
		if l.Node.Name == "" {
			continue
		}
		pods, err := r.api.DrainPods(r.reading, l.Host.Name)
		if err != nil {
			return err
		}
		for _, p := range pods {
			l.Pods = append(l.Pods, plan.LeavingPod{Name: p.String(), Loses: p.Loses()})
		}
	}
	if force {
		return nil
	}
	return refused(plan.KeepsData(leaving))
}

// reachLeavers connects to the hosts, and refuses those that must not be reset; one that is not known to be of this cluster only when the
// user has not named it.
func (r removing) reachLeavers(seen survey.Seen, leaving []plan.Leaver, force []string) (survey.Hosts, error) {
	hosts := plan.HostsOf(leaving)
	r.fleet.Only(names(hosts)...)
	found := r.reader().Hosts(r.reading, hosts)
	if err := r.reading.Err(); err != nil {
		return nil, err
	}
	nodes := survey.NodeFacts(seen.Nodes)
	for i := range leaving {
		l := &leaving[i]
		l.Facts = found.Fact(l.Host.Name)
		var others error
		if name := l.Host.Name; l.Facts.Err == nil && !slices.Contains(force, name) {
			others = hint.With(refused(preflight.Authority{Hashes: r.api.CAHashes()}.MayReset(l.Facts)),
				`if it is of this cluster, or that cluster is not needed, --force=%s resets it anyway; else %s`, name, plan.Offline)
		}
		if err := cmp.Or(others, refused(plan.MayReset(r.Cluster, nodes, *l))); err != nil {
			return nil, err
		}
	}
	return found, nil
}
