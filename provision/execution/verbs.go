package execution

import (
	"context"
	"errors"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// noKind is that of a run which neither makes an API server nor takes one away.
const noKind = ""

// Up carries out a plan of the whole cluster. One that changes nothing, and that the state knows, needs neither engine
// nor lock; marks of nodes that are missing are written even so, and a lock on a host that an earlier run from here has
// left is given back.
func (x *Executor) Up(ctx context.Context, seen survey.Seen, p plan.Plan) (changes []report.Change, failed, err error) {
	inSync := p.Changes() == 0 && x.Store.InSync(p)
	if inSync && len(x.unmarked(seen.Hosts)) == 0 && !lock.Left(x.StateDir) {
		return ending.Unchanged(p), nil, nil
	}
	failed, err = x.underLock(ctx, host.LockOfUp, seen.Hosts, func(l *lock.Lock) (err error) {
		if !inSync {
			changes, err = x.carryOut(ctx, seen, p, nil, l.Stop())
		}
		return errors.Join(err, x.markNodes(ctx, seen, l.Stop()))
	})
	if inSync {
		changes = ending.Unchanged(p)
		if errors.Is(err, stack.ErrLocked) { // there was nothing else to do: the next run writes the marks
			err = nil
		}
	}
	return changes, failed, x.Watcher.Explain(err)
}

// Growth is what ScaleOut carries out.
type Growth struct {
	Seen     survey.Seen
	Plan     plan.Plan
	Hosts    []inventory.Host // that join
	Replaced []plan.Leaver    // nodes whose hosts were reinstalled
	Taint    *render.Taint    // that joining nodes get besides the inventory's; nil = none
}

// Grown is what ScaleOut did.
type Grown struct {
	Changes []report.Change // nil = it did not come to the plan
	Notes   []string
}

// ScaleOut deletes the nodes of hosts that were reinstalled, and has hosts join. A run that is killed later finds in the state directory
// which hosts are to be proven.
func (x *Executor) ScaleOut(ctx context.Context, g Growth) (did Grown, failed, err error) {
	var before error
	failed, err = x.underLock(ctx, noKind, g.Seen.Hosts, func(l *lock.Lock) (err error) {
		if before = proof.NoteUnproven(x.StateDir, names(g.Hosts), true); before != nil {
			return before
		}
		if did.Notes, before = x.forgetReplaced(ctx, g.Seen, g.Replaced, l.Stop()); before != nil {
			return before
		}
		if before = x.forgetWiped(g.Hosts, g.Seen.Hosts); before != nil {
			return before
		}
		did.Changes, err = x.carryOut(ctx, g.Seen, g.Plan, g.Taint, l.Stop())
		err = errors.Join(err, x.markNodes(ctx, g.Seen, l.Stop()))
		if did.Changes == nil {
			did.Changes = []report.Change{}
		}
		return err
	})
	if err == nil && before != nil {
		err = failed
	}
	return did, failed, x.Watcher.Explain(err)
}

// Remove takes hosts out of the cluster, and then out of the state, also those of which no step was left. takeOut takes one out of the
// inventory; nil = it stays there.
func (x *Executor) Remove(ctx context.Context, seen survey.Seen, p plan.Plan, leaving []plan.Leaver, takeOut func(host string) error) (changes []report.Change, failed, err error) {
	failed, err = x.underLock(ctx, noKind, seen.Hosts, func(l *lock.Lock) (err error) {
		x.Watcher.Begin(ctx)
		env := x.env(seen)
		env.TakeOut = takeOut
		if changes, err = stack.Remove(ctx, x.Store, p, steps.New(env), x.engine(l.Stop())); err != nil {
			return err
		}
		for _, left := range leaving {
			if err := x.Store.Forget(ctx, x.Cluster.Metadata.Name, left.Host.Name); err != nil {
				return err
			}
		}
		return nil
	})
	return changes, failed, x.Watcher.Explain(err)
}

// Destroy takes the cluster away. The lock ends with it. An API server that is gone keeps no one from it; one that is only silent does, as it
// knows who has the lock.
func (x *Executor) Destroy(ctx context.Context, seen survey.Seen, p plan.Plan) (changes []report.Change, failed, err error) {
	if err := x.holderIsKnown(seen); err != nil {
		return nil, nil, err
	}
	failed, err = x.underLock(ctx, host.LockOfDestroy, seen.Hosts, func(l *lock.Lock) (err error) {
		if _, err := x.Server.KeepKubeconfig(); err != nil { // whoever finishes this run has to know whose hosts are left
			return err
		}
		l.Outlive()
		changes, err = stack.Destroy(ctx, x.Store, p, steps.New(x.env(seen)), x.engine(l.Stop()))
		switch {
		case err == nil:
			l.Leave() // there is no API server any more that would take it back
		case ending.LostControlPlane(x.Cluster, changes):
			_ = l.GiveBack(ctx) // where another control plane goes on; where none does, it cannot be
		}
		return err
	})
	return changes, failed, err
}

// DeleteStorage deletes objects of ceph-csi. No host is written to.
func (x *Executor) DeleteStorage(ctx context.Context, objects []kube.Object) (changes []report.Change, failed, err error) {
	failed, err = x.underLock(ctx, noKind, nil, func(*lock.Lock) error {
		deleted, err := x.Server.API.DeleteObjects(ctx, objects)
		for _, c := range deleted {
			changes = append(changes, report.Change{Step: c.String(), Kind: string(plan.CSI), Action: c.Action})
		}
		return err
	})
	return changes, failed, err
}

// names are the hosts' names.
func names(hosts []inventory.Host) []string {
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = h.Name
	}
	return out
}
