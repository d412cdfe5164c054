package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
)

// DestroyOptions are Destroy's own.
type DestroyOptions struct {
	Options
	Force bool // also when volumes would stay in Ceph that nobody knows of any more
}

// Destroy takes the cluster away, in reverse order; hosts end as clean as before. A host that does not answer is reported and stays
// in the state: running Destroy again finishes it. Errors: ErrVolumes: something would be left in Ceph. ErrRefused: the cluster was adopted.
// ErrPartial, ErrDeclined, ErrLocked, context.Canceled, or others for the user.
func Destroy(ctx context.Context, o DestroyOptions) (Result, error) {
	o.Options = o.withDefaults()
	r := Result{Cluster: o.Cluster.Metadata.Name}
	if o.Cluster.Adopted() {
		return r, fmt.Errorf("%w: hybridctl did not make cluster %s, and does not take it away: its control plane has managed: false; \"hybridctl remove HOST\" takes out what joined it since",
			ErrRefused, r.Cluster)
	}
	store, s, end, err := begin(o.Options)
	if err != nil {
		return r, err
	}
	defer end()

	reading, cancel := o.stoppable(ctx)
	defer cancel()
	s.markEarly(reading)
	if r.Plan, err = s.surveyForDestroy(reading); err != nil {
		return r, err
	}
	if err := s.mayOrphan(reading, o.Force); err != nil {
		return r, err
	}
	if o.Ask != nil && len(r.Plan.Steps) > 0 && !o.Ask(r.Plan) {
		return r, ErrDeclined
	}
	lock, err := s.lockIfThere(reading)
	if err != nil {
		return r, err
	}
	var failed error
	r.Changes, failed = stack.Destroy(ctx, store, r.Plan, s.steps(), stack.Options{Parallel: o.Parallel, Progress: o.Progress, Stop: s.Stop})
	verb := "destroy"
	if o.Force {
		verb += " --force"
	}
	r.Hosts = s.hostResults(r.Changes, verb)
	if failed == nil || s.lostControlPlane(r.Changes) {
		lock.leave() // there is no API server any more that would take it back
	} else if lost := lock.giveBack(ctx); errors.Is(lost, ErrLocked) {
		return r, lost
	}
	if errors.Is(failed, context.Canceled) {
		return r, failed
	}
	if err := partial(failed, r.Hosts); err != nil {
		return r, err
	}
	// The cluster is gone, and with it the worth of its credentials and of the keys its hosts had.
	for _, name := range []string{kubeconfigFile, knownHostsFile, unprovenFile} {
		if err := os.Remove(filepath.Join(o.StateDir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return r, err
		}
	}
	return r, nil
}

// surveyForDestroy finds out what is there to take away. No preflight check stops a destroy, and no bundle is needed.
func (s *session) surveyForDestroy(ctx context.Context) (plan.Plan, error) {
	hosts := s.gather(ctx)
	if !s.notBegun() {
		_ = s.loadKubeconfig(ctx) // of a cluster that has none left, nobody knows the authority
	}
	for _, f := range hosts {
		if err := s.othersNode(f, fmt.Sprintf("\"hybridctl inventory rm %s\" leaves it alone", f.Name)); err != nil {
			return plan.Plan{}, err
		}
	}
	return plan.Removal(s.Cluster, hosts), ctx.Err()
}

// lostControlPlane tells whether a control plane was reset.
func (s *session) lostControlPlane(changes []report.Change) bool {
	return slices.ContainsFunc(changes, func(c report.Change) bool {
		h, _ := s.Cluster.Host(c.Host)
		return h.Role == inventory.ControlPlane && c.Action == report.Deleted && (c.Kind == string(plan.Init) || c.Kind == string(plan.Join))
	})
}

// lockIfThere takes the cluster's lock where an API server answers; one that is gone must not keep a cluster from being taken away.
// ErrLocked: another run has it.
func (s *session) lockIfThere(ctx context.Context) (*clusterLock, error) {
	if s.notBegun() || s.api == nil && s.loadKubeconfig(ctx) != nil || s.api == nil {
		return &clusterLock{s: s}, nil
	}
	if s.lockMark == "" {
		asking, cancel := context.WithTimeout(ctx, askLock)
		defer cancel()
		if s.markLock(asking) != nil {
			return &clusterLock{s: s}, ctx.Err()
		}
	}
	return s.lock(ctx)
}
