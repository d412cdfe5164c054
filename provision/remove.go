package provision

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/proposal"
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
	r, err := start(ctx, o.Options)
	if err != nil {
		return result, err
	}
	defer r.end()

	leaving, seen, err := r.desk.Removal(r.reading, proposal.RemovalOptions{Hosts: o.Hosts, Force: o.Force, ForceHosts: o.ForceHosts, Offline: o.Offline, MayTakeOut: o.MayTakeOut})
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
	changes, failed, err := r.executor.Remove(ctx, seen, result.Plan, leaving, o.TakeOut)
	result.Changes = changes
	left := ending.Unfinished(result.Changes)
	result.Notes = plan.LeftNotes(r.Cluster, leaving, left, o.leaving(nil, leaving))
	result.Hosts = r.resultsOf(plan.HostsOf(leaving), seen.Hosts, result.Changes, o.verb(left))
	if err != nil {
		return result, err
	}
	return result, ending.Partial(failed, result.Hosts)
}

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
