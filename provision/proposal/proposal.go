// Package proposal is what a verb is going to do, before it does anything: read through survey, judged through preflight, decided through
// plan, and refused when it would do harm. It writes nothing but known_hosts.
package proposal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/access"
	"github.com/hybridctl/hybridctl/provision/artefacts"
	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// Desk is where a verb's proposal is made: what it is made with.
type Desk struct {
	*access.Server
	Cluster   *inventory.Cluster
	StateDir  string
	Fleet     *fleet.Fleet
	State     State // nil in a verb that only reads
	Reader    survey.Reader
	Artefacts *artefacts.Source // Reader has its bundle
}

// State is what the state directory remembers of the cluster; *stack.Store is it.
type State interface {
	Has(id plan.ID) bool
	Unfinished(host string) bool
}

// findBundle settles what hosts get: see artefacts.
func (d *Desk) findBundle(ctx context.Context, seen *survey.Seen) error {
	err := d.Artefacts.Find(ctx, seen)
	d.Reader.Bundle = d.Artefacts.Bundle
	return err
}

// FetchBundle brings what was not found onto this machine, and returns what was seen with it. Errors: package fetch's.
func (d *Desk) FetchBundle(ctx context.Context, seen survey.Seen) (survey.Seen, error) {
	err := d.Artefacts.Fetch(ctx, &seen)
	d.Reader.Bundle = d.Artefacts.Bundle
	return seen, err
}

// Hosts opens the bundle, asks every managed host what it is, and settles what they would get.
func (d *Desk) Hosts(ctx context.Context) (seen survey.Seen, err error) {
	seen.Cluster = d.Cluster
	if err := d.Artefacts.Open(); err != nil {
		return seen, err
	}
	seen.Hosts = d.Reader.Hosts(ctx, d.Cluster.Managed())
	seen.KeptCertificate(d.Fleet)
	if err := ctx.Err(); err != nil {
		return seen, err
	}
	return seen, d.findBundle(ctx, &seen)
}

// Whole learns everything that a plan of the whole cluster is made of, and makes it. The checks are those that did not pass.
// Errors: ErrPreflight: one of them stops the run. Else as Build's.
func (d *Desk) Whole(ctx context.Context) (survey.Seen, plan.Plan, []report.Check, error) {
	files, err := survey.ReadFiles(d.Cluster)
	if err != nil {
		return survey.Seen{}, plan.Plan{}, nil, err
	}
	seen, err := d.Hosts(ctx)
	if err != nil {
		return seen, plan.Plan{}, nil, err
	}
	seen.Files = files
	reader := d.Reader
	reader.NoPrograms = d.State == nil // a verb that only reads
	reader.Ceph(ctx, &seen)
	if err := reader.PlaneFiles(ctx, &seen); err != nil {
		return seen, plan.Plan{}, nil, err
	}
	reader.Site(ctx, &seen)
	seen, checks, err := d.fetchAndJudge(ctx, seen, d.Cluster.Managed(), d.Problems)
	if err != nil {
		return seen, plan.Plan{}, checks, err
	}
	if err := keptAuthority(d.Fleet).Agrees(d.Cluster, seen.Hosts.List()); err != nil {
		return seen, plan.Plan{}, checks, ending.Refused(err)
	}
	seen = d.Observe(ctx, seen)
	joining, err := d.checkJoining(ctx, seen)
	if checks = append(checks, joining...); err != nil {
		return seen, plan.Plan{}, checks, err
	}
	p, err := Build(seen.Input())
	if err == nil { // nothing is begun where it is not known that there is no cluster
		err = ending.Refused(d.Signs(seen.Hosts).MayInit(d.Cluster, p, seen.Hosts.List()))
	}
	if err == nil {
		err = d.onlyOurs(p, seen.Hosts)
	}
	return seen, p, checks, err
}

// fetchAndJudge judges what was read; when nothing stops the run, a verb that writes fetches what is missing, the registries are asked that hosts
// pull from, and what that told is judged as well. Nothing was written to a host by then. Errors: ErrPreflight: a check failed; or package fetch's.
func (d *Desk) fetchAndJudge(ctx context.Context, seen survey.Seen, hosts []inventory.Host, judge func(survey.Seen) []report.Check) (_ survey.Seen, checks []report.Check, err error) {
	if checks = judge(seen); blocked(checks) {
		return seen, checks, ending.ErrPreflight
	}
	lacked := seen.Fetch.Missing != ""
	if d.State != nil {
		if seen, err = d.FetchBundle(ctx, seen); err != nil {
			return seen, checks, err
		}
	}
	if seen.Fetch.Missing != "" { // which manifests hosts would pull is not known
		return seen, checks, nil
	}
	d.Reader.Pulls(ctx, &seen, hosts)
	if !lacked && !seen.Registries.Asked && len(seen.Registries.Pulls) == 0 { // nothing was learned since
		return seen, checks, ctx.Err()
	}
	if checks = judge(seen); blocked(checks) {
		return seen, checks, ending.ErrPreflight
	}
	return seen, checks, ctx.Err()
}

// Kernels asks the kernels of the hosts that the plan gives storage to, before anything is written, and returns what was seen with their
// answers. A run that changes nothing about storage asks no one. ErrPreflight: a check failed; checks are then all that did not pass.
func (d *Desk) Kernels(ctx context.Context, seen survey.Seen, p plan.Plan, judge func(survey.Seen) []report.Check) (_ survey.Seen, checks []report.Check, asked bool, err error) {
	hosts := survey.CephHosts(seen, &p)
	if len(hosts) == 0 {
		return seen, nil, false, nil
	}
	seen.Ceph.Hosts = d.Reader.Kernels(ctx, seen, hosts)
	if err := ctx.Err(); err != nil {
		return seen, nil, false, err
	}
	if checks = judge(seen); blocked(checks) {
		return seen, checks, true, ending.ErrPreflight
	}
	return seen, checks, true, nil
}

// checkJoining judges what a cluster that is there makes of the hosts that are to join it.
func (d *Desk) checkJoining(ctx context.Context, seen survey.Seen) (checks []report.Check, err error) {
	cluster, there, err := seen.API.Get()
	if err != nil || !there || len(cluster.Nodes) == 0 {
		return nil, nil // the plan says so
	}
	j := preflight.Joining{API: survey.Told(seen.API)}
	for _, h := range d.Cluster.Managed() {
		if !slices.ContainsFunc(cluster.Nodes, func(n facts.Node) bool { return n.Name == h.Name }) {
			j.Hosts = append(j.Hosts, h.Name)
		}
	}
	if len(j.Hosts) == 0 {
		return nil, nil
	}
	if j.Version, err = d.API.Version(ctx); err != nil {
		return nil, err
	}
	j.CACertHashes = d.API.CAHashes()
	var hosts []facts.Host
	for _, name := range j.Hosts {
		hosts = append(hosts, seen.Hosts.Fact(name))
	}
	checks = report.Problems(preflight.RunJoinChecks(d.Cluster, hosts, seen.Bundle, j))
	if blocked(checks) {
		return checks, ending.ErrPreflight
	}
	return checks, nil
}

// keptAuthority is the cluster's own authority by the word of the kubeconfig that is kept.
func keptAuthority(f *fleet.Fleet) (own preflight.Authority) {
	var kubeconfig []byte
	if kubeconfig, own.Unknown = f.Kept(); own.Unknown == nil {
		own.Hashes, own.Unknown = kube.CAHashes(kubeconfig)
	}
	return own
}

// Problems runs every check on what is known by now, and returns those that did not pass.
func (d *Desk) Problems(seen survey.Seen) []report.Check { return report.Problems(d.AllChecks(seen)) }

// AllChecks runs every check on what is known by now.
func (d *Desk) AllChecks(seen survey.Seen) []report.Check {
	found := preflight.Seen{Ceph: seen.Ceph, Registries: seen.Registries, Fetch: seen.Fetch, Unread: seen.Bundle == nil}
	checks := preflight.RunSeen(seen.Cluster, seen.Hosts.Of(seen.Cluster.Managed()), seen.Bundle, found)
	return slices.Concat(d.keptEnds(seen), checks) // the cluster's own come first
}

// keptEnds is the check of the kubeconfig that is kept. One that cannot be read is told of by whoever needs it.
func (d *Desk) keptEnds(seen survey.Seen) []report.Check {
	c, there, err := seen.Kept.Get()
	if err != nil || !there {
		return nil
	}
	return []report.Check{preflight.KeptKubeconfig(c, d.StateDir, seen.At)}
}

// blocked reports whether a check stops the run before its first change.
func blocked(checks []report.Check) bool { return len(preflight.Blocking(checks)) > 0 }

// Build makes the plan. Errors: ending.ErrRefused, ErrBundle.
func Build(in plan.Input) (plan.Plan, error) {
	p, err := plan.Build(in)
	switch {
	case errors.Is(err, plan.ErrStanding), errors.Is(err, plan.ErrExternalEtcd):
		return plan.Plan{}, ending.Refused(err)
	case err != nil:
		return plan.Plan{}, fmt.Errorf("%w: %w", ending.ErrBundle, err)
	}
	return p, nil
}

// Observe asks the API server what there is, and returns what was seen with that.
func (d *Desk) Observe(ctx context.Context, seen survey.Seen) survey.Seen {
	if d.Signs(seen.Hosts).None() {
		seen.API = survey.None[facts.Cluster]()
		return seen
	}
	if err := d.Reach(ctx, seen.Hosts); err != nil {
		seen.API = survey.Unknown[facts.Cluster](access.NoWay(err))
		return seen
	}
	seen.API = survey.Cluster(ctx, d.API, &seen)
	return seen
}

// Signs are what tells of a cluster: on the control planes, and in the state directory.
func (d *Desk) Signs(hosts survey.Hosts) plan.Signs {
	var told []string
	switch _, err := d.Fleet.Kept(); {
	case err == nil:
		told = append(told, d.StateDir+" has the kubeconfig of one")
	case !errors.Is(err, fleet.ErrNoKubeconfig):
		told = append(told, "its kubeconfig cannot be read: "+err.Error())
	}
	if d.State != nil && d.State.Has(plan.HostID(d.Cluster.Bootstrap().Name, plan.Init)) {
		told = append(told, "the state in "+d.StateDir+" knows of one")
	}
	return plan.FindSigns(d.Cluster, hosts.List(), told...)
}

// Running finds the API server of a cluster that has to be there, and settles on the control planes through which it is reached.
// ErrRefused: there is no cluster.
func (d *Desk) Running(ctx context.Context) (nodes []kube.Node, err error) {
	err = d.Reach(ctx, nil)
	if errors.Is(err, fleet.ErrNoKubeconfig) {
		return nil, hint.With(fmt.Errorf("%w: there is no cluster yet, or none of its control planes gives its kubeconfig: %w", ending.ErrRefused, err),
			`"hybridctl preflight -f %s" says what keeps a host from answering; where there is no cluster yet, "hybridctl up" makes it`, d.Cluster.Path)
	}
	if err != nil {
		return nil, err
	}
	if nodes, err = d.API.Nodes(ctx); err != nil {
		return nil, err
	}
	d.GoThrough(nodes, nil)
	return nodes, nil
}

// GoThrough settles on the control planes that are Ready and do not move.
func (d *Desk) GoThrough(nodes []kube.Node, moving []string) {
	d.Fleet.GoThrough(survey.Serving(d.Cluster, nodes, moving))
}

// Standing asks the hosts of a cluster that has to be there what they are, and finds the way to its API server. The error says why there is
// none; ErrBundle. ErrRefused: hosts are of another cluster.
func (d *Desk) Standing(ctx context.Context) (survey.Seen, error) {
	seen, err := d.Hosts(ctx)
	if err == nil {
		err = ending.Refused(keptAuthority(d.Fleet).Agrees(d.Cluster, seen.Hosts.List()))
	}
	if err == nil {
		err = d.Reach(ctx, seen.Hosts)
	}
	if !errors.Is(err, fleet.ErrNoKubeconfig) {
		return seen, err
	}
	for _, h := range d.Cluster.ControlPlanes() {
		if err := seen.Hosts[h.Name].Err; err != nil {
			return seen, hint.With(fmt.Errorf("there is no way to the API server: %s was not reached (%w), and %s holds no kubeconfig", h.Name, err, d.StateDir),
				`"hybridctl preflight -f %s" says what keeps a host from answering`, d.Cluster.Path)
		}
	}
	return seen, hint.With(errors.New("there is no cluster yet"), `"hybridctl up -f %s" makes it`, d.Cluster.Path)
}
