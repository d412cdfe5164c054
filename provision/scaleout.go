package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/lock"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// AuditMode says what an image that lacks the new nodes' architecture does to a scale-out.
type AuditMode string

// What it does.
const (
	AuditBlock AuditMode = "block" // a DaemonSet's stops it
	AuditWarn  AuditMode = "warn"
	AuditOff   AuditMode = "off"
)

// AuditModes lists the modes.
func AuditModes() []AuditMode { return []AuditMode{AuditBlock, AuditWarn, AuditOff} }

// ScaleOutOptions are ScaleOut's own.
type ScaleOutOptions struct {
	Options
	Hosts       []string      // names in the inventory; nil = every host that is no node yet
	Arch        platform.Arch // only hosts that have it, by fact; "" = any
	Replace     []string      // names of nodes whose hosts were reinstalled: their old nodes are deleted, and they join again
	Force       []string      // hosts that are reset and join although they are not known to be of this cluster or of none
	Guard       bool          // new nodes take no ordinary pods until they are proven
	Audit       AuditMode     // "" = off
	Conformance ConformanceMode
	Proof       ProofOptions
}

// ScaleOut joins the inventory's hosts that are no nodes yet to the running cluster. It connects to those alone: what it must know of the
// others, the API server tells. Result.Nothing says why when there is nothing to do.
// Errors: ErrRefused, ErrPreflight, ErrPartial, ErrDeclined, ErrLocked, ErrBundle, ErrConformance, context.Canceled, or others for the user.
func ScaleOut(ctx context.Context, o ScaleOutOptions) (Result, error) {
	o.Options = o.withDefaults()
	if o.Guard && !o.Conformance.on() {
		return Result{}, fmt.Errorf("%w: a guard is lifted when the nodes are proven, and with --conformance=off nothing is", ErrRefused)
	}
	result := Result{Cluster: o.Cluster.Metadata.Name}
	begun, err := begin(ctx, o.Options)
	if err != nil {
		return result, err
	}
	defer begun.end()
	r := scaleOut{begun}

	g, err := r.surveyGrowth(o)
	result.Plan, result.Checks, result.Nothing, result.Notes = g.plan, g.checks, g.nothing, g.notes
	if err != nil || len(g.hosts) == 0 {
		return result, err
	}
	dir, err := o.Proof.open(o.Options, o.Conformance.on())
	if err != nil {
		return result, err
	}
	if g.plan.Changes() > 0 {
		if err := r.confirm(g.plan); err != nil {
			return result, err
		}
	}
	var before []kube.Pod
	if o.Conformance.on() {
		if before, err = r.podsBefore(r.reading); err != nil {
			return result, err
		}
	}
	did, failed, err := r.grow(ctx, g, o.guard())
	result.Changes, result.Notes = did.changes, append(result.Notes, did.notes...)
	if did.changes != nil {
		result.Hosts = r.resultsOf(g.hosts, g.seen.Hosts, did.changes, o.verb())
	}
	joined := members(g.seen.Hosts, did.changes)
	if err == nil && did.changes != nil {
		result.Kubeconfig, err = r.keepKubeconfig()
	}
	if err != nil {
		if did.changes != nil && o.Guard && len(joined) > 0 {
			result.Notes = append(result.Notes, proof.GuardStays(joined))
		}
		return result, err
	}
	late, notReady := r.waitReady(g.seen, g.plan, did.changes)
	result.Changes = append(result.Changes, late...)
	failed = errors.Join(failed, notReady)
	var unproven error
	if len(joined) > 0 {
		var p proven
		p, unproven = r.proveJoined(o, g.seen, joined, before, dir)
		result.add(p)
		notes, err := r.letIn(o.Guard, joined, p, unproven)
		result.Notes, failed = append(result.Notes, notes...), errors.Join(failed, err)
	}
	if notReady == nil && (unproven == nil || errors.Is(unproven, ErrConformance) || errors.Is(unproven, conformance.ErrFlaky)) {
		failed = errors.Join(failed, proof.NoteUnproven(r.StateDir, joined, false))
	}
	if err := partial(failed, result.Hosts); err != nil {
		return result, err
	}
	return result, unproven
}

// scaleOut is a scale-out at work.
type scaleOut struct{ *run }

// guard is the taint that joining nodes get besides the inventory's; nil = none.
func (o ScaleOutOptions) guard() *render.Taint {
	if !o.Guard {
		return nil
	}
	return &proof.GuardTaint
}

// verb is the command that goes on, as it was given. Hosts that are replaced have lost their old nodes by then.
func (o ScaleOutOptions) verb() string {
	words := []string{"scale-out"}
	if only := slices.Concat(o.Hosts, o.Replace); len(only) > 0 {
		words = append(words, "--host "+strings.Join(only, ","))
	}
	if o.Arch != "" {
		words = append(words, "--arch "+o.Arch.String())
	}
	if len(o.Force) > 0 {
		words = append(words, "--force="+strings.Join(o.Force, ","))
	}
	if o.Guard {
		words = append(words, "--guard")
	}
	if o.Audit != "" && o.Audit != AuditBlock {
		words = append(words, "--audit="+string(o.Audit))
	}
	for _, r := range o.AuditRegistries {
		words = append(words, "--audit-registry="+r)
	}
	if o.Conformance != "" && o.Conformance != ConformanceFull {
		words = append(words, "--conformance="+string(o.Conformance))
	}
	return strings.Join(words, " ")
}

// growth is what a scale-out is going to do.
type growth struct {
	seen     survey.Seen
	hosts    []inventory.Host // that join
	replaced []plan.Leaver    // nodes whose hosts were reinstalled
	plan     plan.Plan
	checks   []report.Check // that did not pass
	nothing  string         // why no host joins
	notes    []string
}

// outcome is what it did.
type outcome struct {
	changes []report.Change // nil = it did not come to the plan
	notes   []string
}

// grow carries the plan out under the lock. A run that is killed later finds in the state directory which hosts are to be proven.
func (r scaleOut) grow(ctx context.Context, g growth, guard *render.Taint) (done outcome, failed, err error) {
	var before error
	failed, err = r.underLock(ctx, g.seen.Hosts, func(l *lock.Lock) (err error) {
		if before = proof.NoteUnproven(r.StateDir, names(g.hosts), true); before != nil {
			return before
		}
		if done.notes, before = forgetReplaced(ctx, r.run, g.seen, g.replaced, l.Stop()); before != nil {
			return before
		}
		if before = forgetWiped(r.reading, r.run, g.hosts, g.seen.Hosts); before != nil {
			return before
		}
		done.changes, err = r.carryOut(ctx, g.seen, g.plan, guard, l.Stop())
		err = errors.Join(err, r.markNodes(ctx, g.seen, l.Stop()))
		if done.changes == nil {
			done.changes = []report.Change{}
		}
		return err
	})
	if err == nil && before != nil {
		err = failed
	}
	return done, failed, err
}

// proveJoined proves the nodes that joined, also those that came in while others failed, and those of which an earlier run had done
// everything but the proof.
func (r scaleOut) proveJoined(o ScaleOutOptions, seen survey.Seen, joined []string, before []kube.Pod, dir *report.Dir) (proven, error) {
	if err := r.reading.Err(); err != nil || !o.Conformance.on() {
		return proven{}, err
	}
	w := o.Proof.wish(o.Conformance)
	w.Scenario, w.Nodes = string(conformance.ScaleOut), joined
	return r.prove(w, seen, before, dir)
}

// letIn takes the guard away from nodes that were proven. Otherwise it stays, and the notes say how pods get there.
func (r scaleOut) letIn(guarded bool, nodes []string, p proven, unproven error) (notes []string, err error) {
	switch {
	case !guarded:
		return nil, nil
	case unproven != nil || p.run == nil:
		return []string{proof.GuardStays(nodes)}, nil
	}
	return nil, proof.LetIn(r.reading, r.api, nodes)
}

// surveyGrowth finds the hosts that are to join and plans for them. None: g says why.
func (r scaleOut) surveyGrowth(o ScaleOutOptions) (g growth, err error) {
	if err := cmp.Or(r.refuseUnknown(slices.Concat(o.Hosts, o.Replace, o.Force)), refuseUnmanaged(r.Cluster, o.Replace)); err != nil {
		return g, err
	}
	if len(o.Replace) > 0 {
		o.Hosts = slices.Concat(o.Hosts, o.Replace) // and no others, unless they are named
	}
	r.fleet.Only()
	if g.seen, err = r.surveyRunning(); err != nil {
		return g, err
	}
	nodes := g.seen.Nodes
	staying := slices.DeleteFunc(slices.Clone(nodes), func(n kube.Node) bool { return slices.Contains(o.Replace, n.Name) })
	cluster, err := survey.Members(r.reading, r.api, &g.seen, staying)
	if err != nil {
		return g, err
	}
	if g.hosts, err = r.candidates(cluster, o.Hosts); err != nil {
		return g, err
	}
	if len(g.hosts) == 0 {
		g.nothing, g.notes = r.nothingToJoin(o.Hosts, nodes), guardedAmong(staying, nil)
		return g, nil
	}
	r.goThrough(nodes, names(g.hosts)) // not through one that is Ready, and whose join did not come to its end
	r.fleet.Only(names(g.hosts)...)
	g.seen.Hosts = r.reader().Hosts(r.reading, g.hosts)
	if err := r.reading.Err(); err != nil {
		return g, err
	}
	if err := r.findBundle(&g.seen); err != nil {
		return g, err
	}
	if o.Arch != "" {
		all := g.hosts
		if g.hosts = plan.OfArch(all, g.seen.Hosts.Of(all), o.Arch); len(g.hosts) == 0 {
			g.nothing = fmt.Sprintf("no host of architecture %s is waiting to join; those that are: %s", o.Arch, archsOf(g.seen.Hosts, all))
			g.notes = guardedAmong(staying, nil)
			return g, nil
		}
	}
	if o.Guard { // of those that this run proves it speaks at its end
		g.notes = guardedAmong(staying, names(g.hosts))
	} else {
		g.notes = guardedAmong(staying, nil)
	}
	if g.replaced, err = surveyReplaced(r.run, g.seen, o.Replace, names(g.hosts)); err != nil {
		return g, err
	}
	return g, r.planGrowth(o, &g, cluster)
}

// surveyRunning reads what there is to know before any host is asked.
func (r scaleOut) surveyRunning() (seen survey.Seen, err error) {
	seen.Cluster = r.Cluster
	if err := r.openBundle(); err != nil {
		return seen, err
	}
	if seen.Files, err = survey.ReadFiles(r.Cluster); err != nil {
		return seen, err
	}
	if seen.Nodes, err = r.reachRunning(); err != nil {
		return seen, err
	}
	seen.KeptCertificate(r.fleet)
	seen.Version, err = r.api.Version(r.reading)
	return seen, err
}

// candidates are the hosts that are no nodes yet, and those that an earlier run did not come to the end with.
func (r scaleOut) candidates(cluster facts.Cluster, only []string) ([]inventory.Host, error) {
	unproven, err := proof.Unproven(r.StateDir)
	unfinished := func(name string) bool { return r.store.Unfinished(name) || slices.Contains(unproven, name) }
	return plan.Candidates(r.Cluster, cluster.Nodes, unfinished, only), err
}

// planGrowth judges the hosts and the images of the cluster, and plans.
func (r scaleOut) planGrowth(o ScaleOutOptions, g *growth, cluster facts.Cluster) error {
	reader := r.reader()
	reader.Ceph(r.reading, &g.seen)
	if err := reader.PlaneFiles(r.reading, &g.seen); err != nil {
		return err
	}
	reader.Site(r.reading, &g.seen)
	var audited []report.Check
	var err error
	if o.Audit != "" && o.Audit != AuditOff {
		if audited, err = reader.Audit(r.reading, r.api, g.seen, g.hosts, o.Audit == AuditBlock); err != nil {
			return err
		}
	}
	j := preflight.Joining{Hosts: names(g.hosts), API: cluster, Version: g.seen.Version, CACertHashes: r.api.CAHashes(), Force: o.Force}
	judge := func() []report.Check {
		j.Ceph, j.Registries, j.Fetch = g.seen.Ceph, g.seen.Registries, g.seen.Fetch
		return slices.Concat(report.Problems(r.keptEnds(g.seen)), report.Problems(preflight.RunJoining(r.Cluster, g.seen.Hosts.Of(g.hosts), g.seen.Bundle, j)), audited)
	}
	if g.checks, err = r.fetchAndJudge(&g.seen, g.hosts, judge); err != nil {
		return err
	}
	if err := survey.Storage(r.reading, r.api, g.seen, &cluster); err != nil {
		return err
	}
	g.seen.API = survey.Found(cluster)
	in := g.seen.Input()
	in.Only, in.Forced = names(g.hosts), j.Forced(g.seen.Hosts.Of(g.hosts))
	if g.plan, err = build(in); err != nil {
		return err
	}
	g.plan.Notes = append(replacedNotes(g.replaced), g.plan.Notes...)
	checks, asked, err := r.askKernels(&g.seen, g.plan, judge)
	if asked {
		g.checks = checks
	}
	return err
}

// guardedAmong says which nodes an earlier run left guarded, but for those that are proven now.
func guardedAmong(nodes []kube.Node, now []string) []string {
	left := proof.LeftGuarded(slices.DeleteFunc(slices.Clone(nodes), func(n kube.Node) bool { return slices.Contains(now, n.Name) }))
	if left == "" {
		return nil
	}
	return []string{left}
}

// nothingToJoin says why. A node that is not Ready may be of a host that was reinstalled: it is a node still, and does not join by itself.
func (r scaleOut) nothingToJoin(asked []string, nodes []kube.Node) string {
	why := "every host of the inventory is a node already"
	if len(asked) > 0 {
		why = some(asked) + ": in the cluster already"
	}
	var others []string
	for _, h := range r.Cluster.Spec.Hosts {
		there := slices.ContainsFunc(nodes, func(n kube.Node) bool { return n.Name == h.Name })
		if !there && !h.IsManaged() && (len(asked) == 0 || slices.Contains(asked, h.Name)) {
			others = append(others, h.Name)
		}
	}
	if len(others) > 0 {
		why = fmt.Sprintf("%s: the cluster has no such node, and hybridctl does not manage the host (managed: false) and joins none that it may not set up", some(others))
	}
	var away []string
	for _, n := range nodes {
		h, ok := r.Cluster.Host(n.Name)
		if ok && h.IsManaged() && !n.Ready && (len(asked) == 0 || slices.Contains(asked, n.Name)) {
			away = append(away, n.Name)
		}
	}
	if len(away) > 0 {
		slices.Sort(away)
		why += fmt.Sprintf("; not Ready: %s; a host that was reinstalled joins again with hybridctl scale-out --replace %s", some(away), away[0])
	}
	return why
}
