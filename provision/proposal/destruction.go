package proposal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// destruction is the desk of one.
type destruction struct{ *Desk }

// Destruction finds out what there is to take away. force says that volumes may stay in Ceph, and hosts names those that are reset although
// they are not known to be of this cluster. Errors: ErrRefused: a host is not known to be the cluster's, or not in the inventory. ErrVolumes.
func (d *Desk) Destruction(ctx context.Context, force bool, hosts []string) (seen survey.Seen, p plan.Plan, err error) {
	if err := known(d.Cluster, hosts); err != nil {
		return seen, p, err
	}
	d.MarkEarly(ctx)
	of := destruction{d}
	if seen, err = of.surveyDestroy(ctx, hosts); err != nil {
		return seen, p, err
	}
	p = plan.Removal(d.Cluster, seen.Hosts.List())
	if force {
		return seen, p, nil
	}
	return seen, p, of.refuseForgotten(ctx, seen)
}

// surveyDestroy finds out what there is to take away. No preflight check stops a destroy, and no bundle is needed. An API server that does
// not answer must not keep a cluster from being taken away; a host that is not known to be of the cluster is not reset, unless it is named.
func (d destruction) surveyDestroy(ctx context.Context, force []string) (seen survey.Seen, err error) {
	seen = survey.Seen{Cluster: d.Cluster, Hosts: d.Reader.Hosts(ctx, d.Cluster.Managed())}
	if err := ctx.Err(); err != nil {
		return seen, err
	}
	if err := oneMachineEach(seen, d.Cluster); err != nil {
		return seen, err
	}
	own := d.reachForDestroy(ctx, &seen)
	var why, names, left, marks, marked []string
	for _, h := range d.Cluster.Managed() {
		f := seen.Hosts.Fact(h.Name)
		if err := own.MayReset(f); err != nil && !slices.Contains(force, h.Name) {
			why, names = append(why, err.Error()), append(names, h.Name)
		}
		if f.Err == nil && f.Kubeadm.KubeletConf && !plan.BeganMember(f) {
			left = append(left, h.Name)
		}
		if bad := unread(f); bad != "" && !slices.Contains(force, h.Name) {
			marks, marked = append(marks, bad), append(marked, h.Name)
		}
	}
	if len(names) > 0 {
		return seen, hint.With(fmt.Errorf("%w: %s; nothing was done", ending.ErrRefused, some(why)),
			"look at %s first: if it is of this cluster, or that cluster is not needed, --force=%s resets it anyway; else \"hybridctl inventory rm %s\" leaves it alone",
			some(names), strings.Join(names, ","), names[0])
	}
	if len(left) > 0 {
		return seen, hint.With(fmt.Errorf("%w: %s: nodes that hybridctl did not set up, or whose marks in /var/lib/hybridctl are lost, and that would stay as they are; nothing was done",
			ending.ErrRefused, some(left)), `run "kubeadm reset" there first; "hybridctl inventory rm %s" leaves it alone`, left[0])
	}
	if len(marked) > 0 {
		return seen, hint.With(fmt.Errorf("%w: %s; nothing was done", ending.ErrRefused, some(marks)), mendUnread, d.Cluster.Path, strings.Join(marked, ","))
	}
	return seen, nil
}

// oneMachineEach refuses when two hosts are one machine, which runs under one kernel and has one machine-id: what another machine has of the cluster
// would stay there, and all would be said to be gone.
func oneMachineEach(seen survey.Seen, c *inventory.Cluster) error {
	names := map[[2]string]string{}
	for _, h := range c.Managed() {
		f := seen.Hosts.Fact(h.Name)
		if f.Err != nil || f.MachineID == "" || f.BootID == "" {
			continue
		}
		machine := [2]string{f.MachineID, f.BootID}
		if other := names[machine]; other != "" {
			return hint.With(fmt.Errorf("%w: the host that answers for %s is that of %s, too (machine-id %s); nothing was done", ending.ErrRefused, h.Name, other, f.MachineID),
				"see to their addresses in the inventory; \"hybridctl inventory rm\" takes out the one that there is not")
		}
		names[machine] = h.Name
	}
	return nil
}

// reachForDestroy finds the API server where there is one, and what the cluster's own authority is: by the kubeconfig that is kept, else by
// that of a control plane.
func (d destruction) reachForDestroy(ctx context.Context, seen *survey.Seen) (own preflight.Authority) {
	if d.Signs(seen.Hosts).None() {
		seen.API = survey.None[facts.Cluster]()
		return preflight.Authority{Unknown: errors.New("no control plane knows of a cluster, and no kubeconfig is kept")}
	}
	asking, cancel := context.WithTimeout(ctx, access.Patience)
	defer cancel()
	err := d.Reach(asking, seen.Hosts)
	_, none := d.Fleet.Kept()
	switch {
	case none == nil:
		own = keptAuthority(d.Fleet)
		if d.API != nil && !slices.ContainsFunc(d.API.CAHashes(), func(h string) bool { return slices.Contains(own.Hashes, h) }) {
			err = errors.New("the control plane that answers is of another cluster than the kubeconfig in " + d.StateDir)
		}
	case d.API != nil:
		own.Hashes = d.API.CAHashes()
	default:
		own.Unknown = access.NoWay(err)
	}
	if err != nil {
		d.API = nil // it gives no lock, and tells of no volumes
		seen.API = survey.Unknown[facts.Cluster](access.NoWay(err))
	} else {
		seen.API = survey.Found(facts.Cluster{})
	}
	return own
}

// refuseForgotten refuses to take a cluster away whose volumes in Ceph would be forgotten. A cluster that was never initialised has none. Storage
// may have been taken out of the inventory by hand: an API server that answers is asked even so, and while none does, the state directory knows
// whether the cluster was given any.
func (d destruction) refuseForgotten(ctx context.Context, seen survey.Seen) error {
	const goes = "the cluster is deleted"
	_, there, err := seen.API.Get()
	may := len(d.Cluster.Spec.Storage.Ceph) > 0 || d.State != nil && d.State.Has(plan.ClusterID(plan.CSI))
	if there && may { // one whose etcd began again with nothing, as the disk of its data was not mounted, knows of no volume and of nothing else
		_, err = d.API.ClusterConfiguration(ctx)
	}
	switch {
	case err != nil && may:
		return ending.PerhapsVolumes(err, goes)
	case !there:
		return nil
	}
	return d.noOrphans(ctx, goes)
}
