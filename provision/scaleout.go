package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/conformance"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/stack"
)

// ScaleOutOptions are ScaleOut's own.
type ScaleOutOptions struct {
	Options
	Hosts       []string      // names in the inventory; nil = every host that is no node yet
	Arch        platform.Arch // only hosts that have it, by fact; "" = any
	Replace     []string      // names of nodes whose hosts were installed anew: their old nodes go, and they join again
	Guard       bool          // new nodes take no ordinary pods until they are proven
	Audit       AuditMode     // "" = off
	Conformance ConformanceMode
	Proof       ConformanceOptions // how, but for Options, Scenario, Nodes and Quick
}

// ScaleOut joins the inventory's hosts that are no nodes yet to the running cluster. It connects to those alone: what it must know of the
// others, the API server tells. Result.Nothing says why when there is nothing to do.
// Errors: ErrRefused, ErrPreflight, ErrPartial, ErrDeclined, ErrLocked, ErrBundle, ErrConformance, context.Canceled, or others for the user.
func ScaleOut(ctx context.Context, o ScaleOutOptions) (Result, error) {
	o.Options = o.withDefaults()
	o.Proof.ReportDir = ReportDir(o.Options, o.Proof.ReportDir)
	if o.Guard && !o.Conformance.on() {
		return Result{}, fmt.Errorf("%w: a guard goes when the nodes are proven, and with --conformance=off nothing is", ErrRefused)
	}
	r := Result{Cluster: o.Cluster.Metadata.Name}
	store, s, end, err := begin(o.Options)
	if err != nil {
		return r, err
	}
	defer end()
	s.joining = &joining{guard: o.Guard}

	reading, cancel := o.stoppable(ctx)
	defer cancel()
	hosts, err := s.surveyGrowth(reading, store, o, &r)
	if err != nil || len(hosts) == 0 {
		return r, err
	}
	if o.Conformance.on() {
		if err := o.Proof.openReport(); err != nil {
			return r, err
		}
	}
	if err := s.confirm(r.Plan); err != nil {
		return r, err
	}
	if o.Proof.before, err = s.podsBefore(reading, o.Conformance); err != nil {
		return r, err
	}
	lock, err := s.lock(reading)
	if err != nil {
		return r, err
	}
	if err := errors.Join(s.noteUnproven(names(hosts), true), s.forgetReplaced(reading, &r), s.forgetWiped(reading, store, hosts)); err != nil {
		return r, errors.Join(err, lock.giveBack(ctx))
	}
	failed, err := s.grow(ctx, store, hosts, o, &r)
	lost := lock.giveBack(ctx)
	if errors.Is(lost, ErrLocked) {
		err = lost
	}
	if err != nil {
		s.guardStays(s.members(r.Changes), &r)
		return r, err
	}
	failed = errors.Join(failed, lost)
	notReady := s.waitReady(reading, &r)
	failed = errors.Join(failed, notReady)
	r.Hosts = s.hostResultsOf(hosts, r.Changes, o.verb())
	o.Proof.Scenario, o.Proof.Nodes = string(conformance.ScaleOut), s.members(r.Changes)
	var proof error
	if len(o.Proof.Nodes) > 0 {
		if proof = reading.Err(); proof == nil && o.Conformance.on() { // also when an earlier run had done everything but the proof
			proof = s.prove(reading, o.Conformance, o.Proof, &r) // also of those that came in while others failed
		}
		failed = errors.Join(failed, s.letIn(reading, o.Proof.Nodes, proof, &r))
	}
	if notReady == nil && (proof == nil || errors.Is(proof, ErrConformance)) {
		failed = errors.Join(failed, s.noteUnproven(o.Proof.Nodes, false))
	}
	if err := partial(failed, r.Hosts); err != nil {
		return r, err
	}
	return r, proof
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

// grow carries the plan out and keeps the kubeconfig. failed are steps that did not succeed; err ends the run.
func (s *session) grow(ctx context.Context, store *stack.Store, hosts []inventory.Host, o ScaleOutOptions, r *Result) (failed, err error) {
	r.Changes, failed = s.carryOut(ctx, store, r.Plan)
	r.Hosts = s.hostResultsOf(hosts, r.Changes, o.verb())
	if errors.Is(failed, context.Canceled) {
		return nil, failed
	}
	r.Kubeconfig, err = s.saveKubeconfig()
	return failed, err
}

// surveyGrowth finds the hosts that are to join and plans for them. None: r says why.
func (s *session) surveyGrowth(ctx context.Context, store *stack.Store, o ScaleOutOptions, r *Result) ([]inventory.Host, error) {
	if err := cmp.Or(s.known(slices.Concat(o.Hosts, o.Replace)), s.replaceable(o.Replace)); err != nil {
		return nil, err
	}
	if len(o.Replace) > 0 {
		o.Hosts = slices.Concat(o.Hosts, o.Replace) // and no others, unless they are named
	}
	if err := s.openBundle(); err != nil {
		return nil, err
	}
	in, err := s.files()
	if err != nil {
		return nil, err
	}
	nodes, version, err := s.reachCluster(ctx)
	if err != nil {
		return nil, err
	}
	in.API, err = s.observed(ctx, slices.DeleteFunc(slices.Clone(nodes), func(n kube.Node) bool { return slices.Contains(o.Replace, n.Name) }))
	if err != nil {
		return nil, err
	}
	unproven, err := s.unproven()
	if err != nil {
		return nil, err
	}
	hosts := plan.Candidates(s.Cluster, in.API.Nodes, func(name string) bool { return store.Unfinished(name) || slices.Contains(unproven, name) }, o.Hosts)
	defer func() { // of those that this run proves it speaks at its end
		r.Notes = append(leftGuarded(slices.DeleteFunc(slices.Clone(nodes), func(n kube.Node) bool {
			return slices.Contains(o.Replace, n.Name) || o.Guard && slices.Contains(in.Only, n.Name)
		})), r.Notes...)
	}()
	if len(hosts) == 0 {
		r.Nothing = s.nothingToJoin(o.Hosts, nodes)
		return nil, nil
	}
	s.avoidMembers(nodes, names(hosts)) // also one that is Ready, and whose join did not come to its end
	in.Hosts = s.gatherFrom(ctx, hosts)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Arch != "" {
		all := hosts
		if hosts = plan.OfArch(all, in.Hosts, o.Arch); len(hosts) == 0 {
			r.Nothing = fmt.Sprintf("no host of architecture %s is waiting to join; those that are: %s", o.Arch, s.archsOf(all))
			return nil, nil
		}
	}
	if err := s.surveyReplaced(ctx, nodes, o.Replace, names(hosts)); err != nil {
		return nil, err
	}
	in.Only = names(hosts)
	j := preflight.Joining{Hosts: in.Only, API: in.API, Version: version, CACertHashes: s.authorities()}
	s.readCephKeys(ctx)
	s.lookUpCephImages(ctx)
	in.CephKeys = s.cephKeys
	audited, err := s.audit(ctx, o.Audit, hosts, nodes)
	if err != nil {
		return nil, err
	}
	check := func() error {
		j.Ceph = s.ceph
		r.Checks = append(report.Problems(preflight.RunJoining(s.Cluster, in.Hosts, in.Bundle, j)), audited...)
		if len(preflight.Blocking(r.Checks)) > 0 {
			return ErrPreflight
		}
		return nil
	}
	if err := check(); err != nil {
		return nil, err
	}
	if err := s.observeCSI(ctx, in, &in.API); err != nil {
		return nil, err
	}
	if r.Plan, err = build(in); err != nil {
		return nil, err
	}
	r.Plan.Notes = append(s.replacedNotes(), r.Plan.Notes...)
	if asked := s.cephHosts(&r.Plan); len(asked) > 0 {
		s.probeCeph(ctx, asked)
		if err := cmp.Or(ctx.Err(), check()); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}

// reachCluster asks the API server for the nodes that are there, and for its version.
func (s *session) reachCluster(ctx context.Context) ([]kube.Node, string, error) {
	if err := s.useKept(ctx); err != nil {
		return nil, "", err
	}
	if err := s.markLock(ctx); err != nil {
		return nil, "", err
	}
	nodes, err := s.api.Nodes(ctx)
	if err != nil {
		return nil, "", err
	}
	s.chooseMembers(nodes)
	version, err := s.api.Version(ctx)
	return nodes, version, err
}

// known refuses names that are not in the inventory.
func (s *session) known(hosts []string) error {
	for _, name := range hosts {
		if _, ok := s.Cluster.Host(name); !ok {
			return fmt.Errorf("%w: %s has no host %q; it has %s", ErrRefused, s.Cluster.Path, name, some(names(s.Cluster.Spec.Hosts)))
		}
	}
	return nil
}

// nothingToJoin says why. A node that is not Ready may be of a host that was installed anew: it is a node still, and does not join by itself.
func (s *session) nothingToJoin(asked []string, nodes []kube.Node) string {
	why := "every host of the inventory is a node already"
	if len(asked) > 0 {
		why = some(asked) + ": in the cluster already"
	}
	var others []string
	for _, h := range s.Cluster.Spec.Hosts {
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
		h, ok := s.Cluster.Host(n.Name)
		if ok && h.IsManaged() && !n.Ready && (len(asked) == 0 || slices.Contains(asked, n.Name)) {
			away = append(away, n.Name)
		}
	}
	if len(away) > 0 {
		slices.Sort(away)
		why += fmt.Sprintf("; not Ready: %s; a host that was installed anew joins again with hybridctl scale-out --replace %s", some(away), away[0])
	}
	return why
}

// archsOf lists hosts with the architectures that they have.
func (s *session) archsOf(hosts []inventory.Host) string {
	var out []string
	for _, h := range hosts {
		is := s.facts[h.Name].Arch.String()
		if s.facts[h.Name].Err != nil {
			is = "not reached"
		}
		out = append(out, fmt.Sprintf("%s (%s)", h.Name, is))
	}
	return some(out)
}

// some joins the first of many words.
func some(words []string) string { return report.Some(words, 10) }

func names(hosts []inventory.Host) []string {
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = h.Name
	}
	return out
}

// podsBefore are the pods of the cluster before anything joins, for check G.
func (s *session) podsBefore(ctx context.Context, mode ConformanceMode) ([]kube.Pod, error) {
	if !mode.on() {
		return nil, nil
	}
	pods, err := s.api.Pods(ctx, "", "")
	return slices.Concat([]kube.Pod{}, pods), err // none is not the same as not known
}
