package proposal

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/proof"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// GrowthOptions say which hosts are to join, and what may keep them from it.
type GrowthOptions struct {
	Hosts       []string      // names in the inventory; nil = every host that is no node yet
	Arch        platform.Arch // only hosts that have it, by fact; "" = any
	Replace     []string      // names of nodes whose hosts were reinstalled
	Force       []string      // hosts that join although they are not known to be of this cluster or of none
	Guard       bool          // new nodes take no ordinary pods until this run has proven them
	Audit       bool          // the images of the cluster's workloads are looked at
	AuditBlocks bool          // one of a DaemonSet that lacks the new nodes' architecture stops the run
}

// Growth is what a scale-out is going to do.
type Growth struct {
	Seen     survey.Seen
	Hosts    []inventory.Host // that join
	Replaced []plan.Leaver    // nodes whose hosts were reinstalled
	Plan     plan.Plan
	Checks   []report.Check // that did not pass
	Nothing  string         // why no host joins
	Notes    []string
}

// growth is the desk of one.
type growth struct{ *Desk }

// Growth finds the hosts that are to join and plans for them. Where there are none, it says why.
// Errors: ErrRefused, ErrPreflight, ErrBundle, or others for the user.
func (d *Desk) Growth(ctx context.Context, o GrowthOptions) (g Growth, err error) {
	of := growth{d}
	if err := cmp.Or(known(d.Cluster, slices.Concat(o.Hosts, o.Replace, o.Force)), refuseUnmanaged(d.Cluster, o.Replace)); err != nil {
		return g, err
	}
	if len(o.Replace) > 0 {
		o.Hosts = slices.Concat(o.Hosts, o.Replace) // and no others, unless they are named
	}
	if err := forcedAreNamed(o.Force, o.Hosts); len(o.Hosts) > 0 && err != nil {
		return g, err
	}
	d.Fleet.Only()
	if g.Seen, err = of.surveyRunning(ctx); err != nil {
		return g, err
	}
	nodes := g.Seen.Nodes
	staying := slices.DeleteFunc(slices.Clone(nodes), func(n kube.Node) bool { return slices.Contains(o.Replace, n.Name) })
	cluster, err := survey.Members(ctx, d.API, &g.Seen, staying)
	if err != nil {
		return g, err
	}
	if g.Hosts, err = of.candidates(cluster, o.Hosts); err != nil {
		return g, err
	}
	if len(g.Hosts) == 0 {
		g.Nothing, g.Notes = plan.NothingToJoin(d.Cluster, survey.NodeFacts(nodes), o.Hosts), proof.LeftGuarded(staying, nil)
		return g, nil
	}
	d.GoThrough(nodes, names(g.Hosts)) // not through one that is Ready, and whose join did not come to its end
	d.Fleet.Only(names(g.Hosts)...)
	g.Seen.Hosts = d.Reader.Hosts(ctx, g.Hosts)
	if err := ctx.Err(); err != nil {
		return g, err
	}
	if err := d.findBundle(ctx, &g.Seen); err != nil {
		return g, err
	}
	if o.Arch != "" {
		all := g.Hosts
		if g.Hosts = plan.OfArch(all, g.Seen.Hosts.Of(all), o.Arch); len(g.Hosts) == 0 {
			g.Nothing = fmt.Sprintf("no host of architecture %s is waiting to join; those that are: %s", o.Arch, some(g.Seen.Hosts.Archs(all)))
			g.Notes = proof.LeftGuarded(staying, nil)
			return g, nil
		}
	}
	var proven []string // of those that this run proves it speaks at its end
	if o.Guard {
		proven = names(g.Hosts)
	}
	g.Notes = proof.LeftGuarded(staying, proven)
	if g.Replaced, err = of.surveyReplaced(ctx, g.Seen, o, names(g.Hosts)); err != nil {
		return g, err
	}
	return of.planGrowth(ctx, o, g, cluster)
}

// surveyRunning reads what there is to know before any host is asked.
func (d growth) surveyRunning(ctx context.Context) (seen survey.Seen, err error) {
	seen.Cluster = d.Cluster
	if err := d.Artefacts.Open(); err != nil {
		return seen, err
	}
	if seen.Files, err = survey.ReadFiles(d.Cluster); err != nil {
		return seen, err
	}
	if seen.Nodes, err = d.Running(ctx); err != nil {
		return seen, err
	}
	seen.KeptCertificate(d.Fleet)
	seen.Version, err = d.API.Version(ctx)
	return seen, err
}

// candidates are the hosts that are no nodes yet, and those that an earlier run did not come to the end with.
func (d growth) candidates(cluster facts.Cluster, only []string) ([]inventory.Host, error) {
	unproven, err := proof.Unproven(d.StateDir)
	unfinished := func(name string) bool { return d.State.Unfinished(name) || slices.Contains(unproven, name) }
	return plan.Candidates(d.Cluster, cluster.Nodes, unfinished, only), err
}

// planGrowth judges the hosts and the images of the cluster, and plans.
func (d growth) planGrowth(ctx context.Context, o GrowthOptions, g Growth, cluster facts.Cluster) (Growth, error) {
	reader := d.Reader
	reader.Ceph(ctx, &g.Seen)
	if slices.ContainsFunc(g.Hosts, func(h inventory.Host) bool { return h.Role == inventory.ControlPlane }) {
		if err := reader.PlaneFiles(ctx, &g.Seen); err != nil { // who joins workers need not have them
			return g, err
		}
	}
	reader.Site(ctx, &g.Seen)
	var audited []report.Check
	var err error
	if o.Audit {
		if audited, err = reader.Audit(ctx, d.API, g.Seen, g.Hosts, o.AuditBlocks); err != nil {
			return g, err
		}
	}
	j := preflight.Joining{Hosts: names(g.Hosts), API: cluster, Version: g.Seen.Version, CACertHashes: d.API.CAHashes(), Force: o.Force}
	judge := func(seen survey.Seen) []report.Check {
		j.Ceph, j.Registries, j.Fetch = seen.Ceph, seen.Registries, seen.Fetch
		return slices.Concat(report.Problems(d.keptEnds(seen)), report.Problems(preflight.RunJoining(d.Cluster, seen.Hosts.Of(g.Hosts), seen.Bundle, j)), audited)
	}
	if g.Seen, g.Checks, err = d.fetchAndJudge(ctx, g.Seen, g.Hosts, judge); err != nil {
		return g, err
	}
	if err := survey.Storage(ctx, d.API, g.Seen, &cluster); err != nil {
		return g, err
	}
	g.Seen.API = survey.Found(cluster)
	in := g.Seen.Input()
	in.Only, in.Forced = names(g.Hosts), j.Forced(g.Seen.Hosts.Of(g.Hosts))
	if g.Plan, err = Build(in); err != nil {
		return g, err
	}
	if err := d.onlyOurs(g.Plan, g.Seen.Hosts); err != nil {
		return g, err
	}
	g.Plan.Notes = append(plan.ReplacedNotes(g.Replaced), g.Plan.Notes...)
	seen, checks, asked, err := d.Kernels(ctx, g.Seen, g.Plan, judge)
	g.Seen = seen
	if asked {
		g.Checks = checks
	}
	return g, err
}

// refuseUnmanaged refuses hosts that hybridctl cannot join again.
func refuseUnmanaged(c *inventory.Cluster, names []string) error {
	for _, name := range names {
		if h, _ := c.Host(name); !h.IsManaged() {
			return fmt.Errorf("%w: hybridctl does not manage %s (managed: false), and cannot join it again", ending.ErrRefused, name)
		}
	}
	return nil
}

// surveyReplaced finds out what is deleted of nodes whose hosts were reinstalled. A host that is still the machine that its node knows is
// not taken for another one, and no node is deleted whose host does not join again.
func (d growth) surveyReplaced(ctx context.Context, seen survey.Seen, o GrowthOptions, joining []string) ([]plan.Leaver, error) {
	if len(o.Replace) == 0 {
		return nil, nil
	}
	for _, name := range o.Replace {
		if h, _ := d.Cluster.Host(name); !slices.Contains(joining, name) {
			return nil, hint.With(fmt.Errorf("%w: --arch leaves out %s, which is to be replaced: it would lose its node and not join again", ending.ErrRefused, some(seen.Hosts.Archs([]inventory.Host{h}))),
				"leave --arch out, or name hosts of that architecture alone")
		}
	}
	nodes := survey.NodeFacts(seen.Nodes)
	leaving := plan.Leavers(d.Cluster, nodes, o.Replace)
	if err := plan.KeepsControlPlane(nodes, leaving); err != nil {
		return nil, ending.Refused(err)
	}
	for i := range leaving {
		leaving[i].Facts = seen.Hosts.Fact(leaving[i].Host.Name)
		if err := plan.MayReplace(leaving[i]); err != nil {
			return nil, ending.Refused(err)
		}
	}
	return leaving, d.findMembers(ctx, seen, leaving, o.Force)
}
