package provision

import (
	"errors"
	"fmt"
	"slices"

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

// surveyHosts opens the bundle, asks every managed host what it is, and settles what they would get.
func (r *run) surveyHosts() (seen survey.Seen, err error) {
	seen.Cluster = r.Cluster
	if err := r.openBundle(); err != nil {
		return seen, err
	}
	seen.Hosts = r.reader().Hosts(r.reading, r.Cluster.Managed())
	seen.KeptCertificate(r.fleet)
	if err := r.reading.Err(); err != nil {
		return seen, err
	}
	return seen, r.findBundle(&seen)
}

// surveyAll learns everything that a plan of the whole cluster is made of, and makes it. The checks are those that did not pass.
// Errors: ErrPreflight: one of them stops the run. Else as build's.
func (r *run) surveyAll() (survey.Seen, plan.Plan, []report.Check, error) {
	files, err := survey.ReadFiles(r.Cluster)
	if err != nil {
		return survey.Seen{}, plan.Plan{}, nil, err
	}
	seen, err := r.surveyHosts()
	if err != nil {
		return seen, plan.Plan{}, nil, err
	}
	seen.Files = files
	reader := r.reader()
	reader.NoPrograms = r.store == nil // a verb that only reads
	reader.Ceph(r.reading, &seen)
	if err := reader.PlaneFiles(r.reading, &seen); err != nil {
		return seen, plan.Plan{}, nil, err
	}
	reader.Site(r.reading, &seen)
	checks, err := r.fetchAndJudge(&seen, r.Cluster.Managed(), func() []report.Check { return r.problems(seen) })
	if err != nil {
		return seen, plan.Plan{}, checks, err
	}
	if err := keptAuthority(r.fleet).Agrees(r.Cluster, seen.Hosts.List()); err != nil {
		return seen, plan.Plan{}, checks, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	r.observe(&seen)
	joining, err := r.checkJoining(&seen)
	if checks = append(checks, joining...); err != nil {
		return seen, plan.Plan{}, checks, err
	}
	p, err := build(seen.Input())
	if err == nil {
		err = mayInit(r, seen, p)
	}
	return seen, p, checks, err
}

// fetchAndJudge judges what was read; when nothing stops the run, a verb that writes fetches what is missing, the registries are asked that hosts
// pull from, and it is judged again. Nothing was written to a host by then. Errors: ErrPreflight: a check failed; or package fetch's.
func (r *run) fetchAndJudge(seen *survey.Seen, hosts []inventory.Host, judge func() []report.Check) ([]report.Check, error) {
	checks := judge()
	if blocked(checks) {
		return checks, ErrPreflight
	}
	if r.store != nil {
		if err := r.fetchBundle(seen); err != nil {
			return checks, err
		}
	}
	if seen.Fetch.Missing != "" { // which manifests hosts would pull is not known
		return checks, nil
	}
	r.reader().Pulls(r.reading, seen, hosts)
	if checks = judge(); blocked(checks) {
		return checks, ErrPreflight
	}
	return checks, r.reading.Err()
}

// askKernels asks the kernels of the hosts that the plan gives storage to, before anything is written. A run that changes nothing about
// storage asks no one. ErrPreflight: a check failed; checks are then all that did not pass.
func (r *run) askKernels(seen *survey.Seen, p plan.Plan, judge func() []report.Check) (checks []report.Check, asked bool, err error) {
	hosts := survey.CephHosts(*seen, &p)
	if len(hosts) == 0 {
		return nil, false, nil
	}
	seen.Ceph.Hosts = r.reader().Kernels(r.reading, *seen, hosts)
	if err := r.reading.Err(); err != nil {
		return nil, false, err
	}
	if checks = judge(); blocked(checks) {
		return checks, true, ErrPreflight
	}
	return checks, true, nil
}

// checkJoining judges what a cluster that is there makes of the hosts that are to join it.
func (r *run) checkJoining(seen *survey.Seen) (checks []report.Check, err error) {
	cluster, there, err := seen.API.Get()
	if err != nil || !there || len(cluster.Nodes) == 0 {
		return nil, nil // the plan says so
	}
	j := preflight.Joining{API: survey.Told(seen.API)}
	for _, h := range r.Cluster.Managed() {
		if !slices.ContainsFunc(cluster.Nodes, func(n facts.Node) bool { return n.Name == h.Name }) {
			j.Hosts = append(j.Hosts, h.Name)
		}
	}
	if len(j.Hosts) == 0 {
		return nil, nil
	}
	if j.Version, err = r.api.Version(r.reading); err != nil {
		return nil, err
	}
	j.CACertHashes = r.api.CAHashes()
	var hosts []facts.Host
	for _, name := range j.Hosts {
		hosts = append(hosts, seen.Hosts.Fact(name))
	}
	checks = report.Problems(preflight.RunJoinChecks(r.Cluster, hosts, seen.Bundle, j))
	if blocked(checks) {
		return checks, ErrPreflight
	}
	return checks, nil
}

// mayInit refuses to begin a cluster where it is not known that there is none. ErrRefused.
func mayInit(r *run, seen survey.Seen, p plan.Plan) error {
	if err := r.signs(seen.Hosts).MayInit(r.Cluster, p, seen.Hosts.List()); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// keptAuthority is the cluster's own authority by the word of the kubeconfig that is kept.
func keptAuthority(f *fleet.Fleet) (own preflight.Authority) {
	var kubeconfig []byte
	if kubeconfig, own.Unknown = f.Kept(); own.Unknown == nil {
		own.Hashes, own.Unknown = kube.CAHashes(kubeconfig)
	}
	return own
}

// problems runs every check on what is known by now, and returns those that did not pass.
func (r *run) problems(seen survey.Seen) []report.Check { return report.Problems(r.allChecks(seen)) }

func (r *run) allChecks(seen survey.Seen) []report.Check {
	found := preflight.Seen{Ceph: seen.Ceph, Registries: seen.Registries, Fetch: seen.Fetch}
	checks := preflight.RunSeen(seen.Cluster, seen.Hosts.Of(seen.Cluster.Managed()), seen.Bundle, found)
	return slices.Concat(r.keptEnds(seen), checks) // the cluster's own come first
}

// keptEnds is the check of the kubeconfig that is kept. One that cannot be read is told of by whoever needs it.
func (r *run) keptEnds(seen survey.Seen) []report.Check {
	c, there, err := seen.Kept.Get()
	if err != nil || !there {
		return nil
	}
	return []report.Check{preflight.KeptKubeconfig(c, r.StateDir, seen.At)}
}

// blocked reports whether a check stops the run before its first change.
func blocked(checks []report.Check) bool { return len(preflight.Blocking(checks)) > 0 }

// build makes the plan. Errors: ErrRefused, ErrBundle.
func build(in plan.Input) (plan.Plan, error) {
	p, err := plan.Build(in)
	switch {
	case errors.Is(err, plan.ErrStanding), errors.Is(err, plan.ErrExternalEtcd):
		return plan.Plan{}, fmt.Errorf("%w: %w", ErrRefused, err)
	case err != nil:
		return plan.Plan{}, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return p, nil
}

// observe asks the API server what there is; s gains that.
func (r *run) observe(s *survey.Seen) {
	if r.signs(s.Hosts).None() {
		s.API = survey.None[facts.Cluster]()
		return
	}
	if err := r.access(r.reading, s.Hosts); err != nil {
		s.API = survey.Unknown[facts.Cluster](noWay(err))
		return
	}
	s.API = survey.Cluster(r.reading, r.api, s)
}

// signs are what tells of a cluster: on the control planes, and in the state directory.
func (r *run) signs(hosts survey.Hosts) plan.Signs {
	var told []string
	switch _, err := r.fleet.Kept(); {
	case err == nil:
		told = append(told, r.StateDir+" has the kubeconfig of one")
	case !errors.Is(err, fleet.ErrNoKubeconfig):
		told = append(told, "its kubeconfig cannot be read: "+err.Error())
	}
	if r.store != nil && r.store.Has(plan.HostID(r.Cluster.Bootstrap().Name, plan.Init)) {
		told = append(told, "the state in "+r.StateDir+" knows of one")
	}
	return plan.FindSigns(r.Cluster, hosts.List(), told...)
}

// reachRunning finds the API server of a cluster that has to be there, and settles on the control planes through which it is reached.
// ErrRefused: there is no cluster.
func (r *run) reachRunning() (nodes []kube.Node, err error) {
	err = r.access(r.reading, nil)
	if errors.Is(err, fleet.ErrNoKubeconfig) {
		return nil, hint.With(fmt.Errorf("%w: there is no cluster yet, or none of its control planes gives its kubeconfig: %s", ErrRefused, report.OneLine(err.Error())),
			`"hybridctl up -f %s" makes the cluster`, r.Cluster.Path)
	}
	if err != nil {
		return nil, err
	}
	if nodes, err = r.api.Nodes(r.reading); err != nil {
		return nil, err
	}
	r.goThrough(nodes, nil)
	return nodes, nil
}

// goThrough settles on the control planes that are Ready and do not move.
func (r *run) goThrough(nodes []kube.Node, moving []string) {
	r.fleet.GoThrough(survey.Serving(r.Cluster, nodes, moving))
}
