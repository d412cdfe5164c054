package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// DestroyOptions are Destroy's own.
type DestroyOptions struct {
	Options
	Force bool // also when volumes would stay in Ceph that no cluster knows of any more
	// ForceHosts are reset although they are not known to be of this cluster.
	ForceHosts []string
}

// Destroy takes the cluster away, in reverse order; hosts end as clean as before. A host that does not answer is reported and stays
// in the state: running Destroy again finishes it. Errors: ErrVolumes: something would be left in Ceph. ErrRefused: the cluster was adopted.
// ErrPartial, ErrDeclined, ErrLocked, context.Canceled, or others for the user.
func Destroy(ctx context.Context, o DestroyOptions) (Result, error) {
	o.Options = o.withDefaults()
	result := Result{Cluster: o.Cluster.Metadata.Name}
	if o.Cluster.Adopted() {
		return result, hint.With(fmt.Errorf("%w: hybridctl did not make cluster %s, and does not take it away: its control plane has managed: false", ErrRefused, result.Cluster),
			`"hybridctl remove HOST" takes out what joined it since`)
	}
	r, err := begin(ctx, o.Options)
	if err != nil {
		return result, err
	}
	defer r.end()
	if err := r.refuseUnknown(o.ForceHosts); err != nil {
		return result, err
	}

	r.markEarly(r.reading)
	seen, err := surveyDestroy(r, o.ForceHosts)
	if err != nil {
		return result, err
	}
	result.Plan = plan.Removal(r.Cluster, seen.Hosts.List())
	if !o.Force {
		if err := refuseForgotten(r, seen); err != nil {
			return result, err
		}
	}
	if len(result.Plan.Steps) > 0 {
		if err := r.confirm(result.Plan); err != nil {
			return result, err
		}
	}
	failed, err := r.underLock(ctx, seen.Hosts, func(l *lock.Lock) (err error) {
		if _, err := r.keepKubeconfig(); err != nil { // whoever finishes this run has to know whose hosts are left
			return err
		}
		l.Outlive()
		result.Changes, err = stack.Destroy(ctx, r.store, result.Plan, r.steps(seen, nil), r.engine(l.Stop()))
		switch {
		case err == nil:
			l.Leave() // there is no API server any more that would take it back
		case lostControlPlane(r.Cluster, result.Changes):
			_ = l.GiveBack(ctx) // where another control plane goes on; where none does, it cannot be
		}
		return err
	})
	result.Hosts = r.hostResults(seen.Hosts, result.Changes, o.verb())
	if err != nil {
		return result, err
	}
	if err := partial(failed, result.Hosts); err != nil {
		return result, err
	}
	return result, forgetCluster(o.StateDir)
}

// verb is the command that goes on, as it was given.
func (o DestroyOptions) verb() string {
	return strings.Join(append([]string{"destroy"}, forced(o.Force, o.ForceHosts)...), " ")
}

// surveyDestroy finds out what there is to take away. No preflight check stops a destroy, and no bundle is needed. An API server that does
// not answer must not keep a cluster from being taken away; a host that is not known to be of the cluster is not reset, unless it is named.
func surveyDestroy(r *run, force []string) (seen survey.Seen, err error) {
	seen = survey.Seen{Cluster: r.Cluster, Hosts: r.reader().Hosts(r.reading, r.Cluster.Managed())}
	if err := r.reading.Err(); err != nil {
		return seen, err
	}
	own := reachForDestroy(r, &seen)
	var why, names []string
	for _, h := range r.Cluster.Managed() {
		if err := own.MayReset(seen.Hosts.Fact(h.Name)); err != nil && !slices.Contains(force, h.Name) {
			why, names = append(why, err.Error()), append(names, h.Name)
		}
	}
	if len(names) > 0 {
		return seen, fmt.Errorf("%w: %s; nothing was done; look at %s first: if it is of this cluster, or that cluster is not needed, --force=%s resets it anyway; "+
			"else \"hybridctl inventory rm %s\" leaves it alone", ErrRefused, some(why), some(names), strings.Join(names, ","), names[0])
	}
	return seen, nil
}

// reachForDestroy finds the API server where there is one, and what the cluster's own authority is: by the kubeconfig that is kept, else by
// that of a control plane.
func reachForDestroy(r *run, seen *survey.Seen) (own preflight.Authority) {
	if r.signs(seen.Hosts).None() {
		seen.API = survey.None[facts.Cluster]()
		return preflight.Authority{Unknown: errors.New("no control plane knows of a cluster, and no kubeconfig is kept")}
	}
	asking, cancel := context.WithTimeout(r.reading, askLock)
	defer cancel()
	err := r.access(asking, seen.Hosts)
	_, none := r.fleet.Kept()
	switch {
	case none == nil:
		own = keptAuthority(r.fleet)
		if r.api != nil && !slices.ContainsFunc(r.api.CAHashes(), func(h string) bool { return slices.Contains(own.Hashes, h) }) {
			err = errors.New("the control plane that answers is of another cluster than the kubeconfig in " + r.StateDir)
		}
	case r.api != nil:
		own.Hashes = r.api.CAHashes()
	default:
		own.Unknown = noWay(err)
	}
	if err != nil {
		r.api = nil // it gives no lock, and tells of no volumes
		seen.API = survey.Unknown[facts.Cluster](noWay(err))
	} else {
		seen.API = survey.Found(facts.Cluster{})
	}
	return own
}

// refuseForgotten refuses to take a cluster away whose volumes in Ceph would be forgotten. A cluster that was never initialised has none; of
// one without Ceph, only an API server that answers is asked: storage may have been taken out of the inventory by hand.
func refuseForgotten(r *run, seen survey.Seen) error {
	const goes = "the cluster is deleted"
	_, there, err := seen.API.Get()
	switch {
	case err != nil && len(r.Cluster.Spec.Storage.Ceph) > 0:
		return perhapsVolumes(err, goes)
	case !there:
		return nil
	}
	return r.refuseOrphans(goes)
}

// lostControlPlane reports whether a control plane was reset.
func lostControlPlane(c *inventory.Cluster, changes []report.Change) bool {
	return slices.ContainsFunc(changes, func(x report.Change) bool {
		h, _ := c.Host(x.Host)
		return h.Role == inventory.ControlPlane && x.Action == report.Deleted && (x.Kind == string(plan.Init) || x.Kind == string(plan.Join))
	})
}

// forgetCluster deletes what the state directory knows of a cluster that is gone, and with it the worth of its credentials and of the keys
// its hosts had.
func forgetCluster(stateDir string) error {
	for _, name := range []string{fleet.KubeconfigFile, fleet.KnownHostsFile, proof.UnprovenFile} {
		if err := os.Remove(filepath.Join(stateDir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
