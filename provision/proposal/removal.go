package proposal

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// RemovalOptions say which hosts are to leave, and how.
type RemovalOptions struct {
	Hosts []string
	Force bool // evict pods that no controller makes again, and those with local data
	// ForceHosts are reset although they are not known to be of this cluster.
	ForceHosts []string
	Offline    bool // the API's side alone: the hosts are not connected to
	// MayTakeOut finds out whether the hosts, in this order, may be taken out of the inventory; nil = it is not asked.
	MayTakeOut func(hosts []string) error
}

// removal is the desk of a removal.
type removal struct{ *Desk }

// Removal finds out what there is to take away, and refuses what must stay.
// Errors: ErrRefused, or others for the user.
func (d *Desk) Removal(ctx context.Context, o RemovalOptions) (leaving []plan.Leaver, seen survey.Seen, err error) {
	r := removal{d}
	seen.Cluster = d.Cluster
	if err := r.mayLeave(o); err != nil {
		return nil, seen, err
	}
	d.Fleet.Only()
	if seen.Nodes, err = d.Running(ctx); err != nil {
		return nil, seen, err
	}
	d.GoThrough(seen.Nodes, o.Hosts)
	leaving = plan.Leavers(d.Cluster, survey.NodeFacts(seen.Nodes), o.Hosts)
	if err := r.clusterStays(ctx, seen, leaving, o); err != nil {
		return nil, seen, err
	}
	if err := r.findPods(ctx, leaving, o.Force); err != nil {
		return nil, seen, err
	}
	if !o.Offline {
		if seen.Hosts, err = r.reachLeavers(ctx, seen, leaving, o.ForceHosts); err != nil {
			return nil, seen, err
		}
	}
	if o.MayTakeOut != nil {
		if err := o.MayTakeOut(names(plan.HostsOf(leaving))); err != nil {
			return nil, seen, fmt.Errorf("%w, and nothing was done: %w", ending.ErrRefused, err)
		}
	}
	return leaving, seen, ctx.Err()
}

// mayLeave refuses what the inventory alone says no to.
func (d removal) mayLeave(o RemovalOptions) error {
	if len(o.Hosts) == 0 {
		return fmt.Errorf("%w: no host was named", ending.ErrRefused)
	}
	if err := known(d.Cluster, slices.Concat(o.Hosts, o.ForceHosts)); err != nil {
		return err
	}
	if err := forcedAreNamed(o.ForceHosts, o.Hosts); err != nil {
		return err
	}
	for _, name := range o.Hosts {
		if h, _ := d.Cluster.Host(name); !h.IsManaged() && !o.Offline {
			return hint.With(fmt.Errorf("%w: hybridctl does not manage %s (managed: false), and resets no host that it did not set up", ending.ErrRefused, name),
				"--offline takes its node out of the cluster alone")
		}
	}
	return nil
}

// clusterStays refuses to take what the cluster cannot do without, and finds the hosts' members of etcd. A host that is connected to says
// itself whether it runs one.
func (d removal) clusterStays(ctx context.Context, seen survey.Seen, leaving []plan.Leaver, o RemovalOptions) error {
	nodes := survey.NodeFacts(seen.Nodes)
	if err := plan.KeepsControlPlane(nodes, leaving); err != nil {
		return ending.Refused(err)
	}
	if !o.Offline && !slices.ContainsFunc(leaving, plan.Leaver.IsControlPlane) {
		return nil
	}
	config, err := survey.Configuration(ctx, d.API)
	if err != nil {
		return err
	}
	endpoint := cmp.Or(config.Endpoint, d.Cluster.Spec.Kubernetes.Endpoint)
	if err := plan.KeepsEndpoint(endpoint, leaving); err != nil {
		return ending.Refused(err)
	}
	if err := d.findMembers(ctx, seen, leaving, o.ForceHosts); err != nil {
		return err
	}
	return ending.Refused(cmp.Or(plan.KeepsControlPlane(nodes, leaving), plan.KeepsEndpoint(endpoint, leaving))) // of those that etcd alone knows, too
}

// findPods lists what has to be evicted, and refuses what would be lost, unless it is forced.
func (d removal) findPods(ctx context.Context, leaving []plan.Leaver, force bool) error {
	for i := range leaving {
		l := &leaving[i]
		if l.Node.Name == "" {
			continue
		}
		pods, err := d.API.DrainPods(ctx, l.Host.Name)
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
	return ending.Refused(plan.KeepsData(leaving))
}

// reachLeavers connects to the hosts, and refuses those that must not be reset; one that is not known to be of this cluster, or whose markers
// cannot be read, only when the user has not named it.
func (d removal) reachLeavers(ctx context.Context, seen survey.Seen, leaving []plan.Leaver, force []string) (survey.Hosts, error) {
	hosts := plan.HostsOf(leaving)
	d.Fleet.Only(names(hosts)...)
	found := d.Reader.Hosts(ctx, hosts)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	nodes := survey.NodeFacts(seen.Nodes)
	for i := range leaving {
		l := &leaving[i]
		l.Facts = found.Fact(l.Host.Name)
		var others, marks error
		if name := l.Host.Name; l.Facts.Err == nil && !slices.Contains(force, name) {
			others = hint.With(ending.Refused(preflight.Authority{Hashes: d.API.CAHashes()}.MayReset(l.Facts)),
				`if it is of this cluster, or that cluster is not needed, --force=%s resets it anyway; else %s`, name, plan.Offline)
			if bad := unread(l.Facts); bad != "" {
				marks = hint.With(fmt.Errorf("%w: %s", ending.ErrRefused, bad), mendUnread, d.Cluster.Path, name)
			}
		}
		if err := cmp.Or(others, ending.Refused(plan.MayReset(d.Cluster, nodes, *l)), marks); err != nil {
			return nil, err
		}
	}
	return found, nil
}
