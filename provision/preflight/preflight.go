// Package preflight judges, before anything is written, whether the hosts can become the cluster that the inventory asks for:
// named checks over inventory, facts and bundle, all of them on all hosts. It is pure. It mends nothing and asks no one: each
// result says what was measured, what is wanted and what the user can do.
package preflight

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// reachable is the one check whose failure stops only its own host: see Blocking.
const reachable = "reachable"

// check is one named check.
type check struct {
	name string
	text string // what is wanted, in one line
	run  func(view) verdict
	kind kind
}

// kind tells when a check can be run.
type kind int

const (
	onFacts   kind = iota // on each host whose facts are known
	onContact             // on each host, whether it answered or not
	onCluster             // once; the view has no host

	onCeph        // like onFacts, on hosts that are to mount Ceph's volumes
	onCephCluster // like onCluster, with Ceph in the inventory
	onRegistries  // like onCluster, with registries in the inventory
	onSources     // like onCluster, with sources in the inventory, and without a bundle
)

// checks are all checks, in the order of their subjects.
var checks = slices.Concat(accessChecks, archChecks, bundleChecks, kernelChecks, resourceChecks, speedChecks, identityChecks, softwareChecks, surroundingChecks, memberChecks,
	certificateChecks, admissionChecks, registryChecks, cephChecks)

// view is what a check looks at.
type view struct {
	cluster    *inventory.Cluster
	bundle     *bundle.Bundle
	unread     bool // see Seen
	fleet      *fleet
	ceph       CephSeen
	fetch      Fetch
	registries RegistriesSeen
	resolv     string // the resolv.conf that the cluster gives every kubelet; "" = none
	own        string // the pin of the cluster's authority by its kubeconfig's word; "" = only the hosts tell
	host       inventory.Host
	facts      facts.Host
}

func (v view) controlPlane() bool { return v.host.Role == inventory.ControlPlane }

// verdict is what a check comes to.
type verdict struct {
	status        report.Status
	message, hint string
}

func pass(format string, args ...any) verdict {
	return verdict{report.Pass, fmt.Sprintf(format, args...), ""}
}

func warn(format string, args ...any) verdict {
	return verdict{report.Warn, fmt.Sprintf(format, args...), ""}
}

func fail(format string, args ...any) verdict {
	return verdict{report.Fail, fmt.Sprintf(format, args...), ""}
}

// unknown is for what could not be tried.
func unknown(format string, args ...any) verdict {
	return verdict{report.Unknown, fmt.Sprintf(format, args...), ""}
}

// hinted adds what the user can do.
func (v verdict) hinted(format string, args ...any) verdict {
	v.hint = fmt.Sprintf(format, args...)
	return v
}

// Seen is what was found out beside facts.
type Seen struct {
	Ceph       CephSeen
	Registries RegistriesSeen
	Fetch      Fetch
	Unread     bool // the run was stopped before it looked at the bundle, or for a set of the catalogue
}

// Fetch is where hosts' artefacts come from when the inventory names no bundle.
type Fetch struct {
	Set     bool     // the catalogue has a set of the version
	Missing string   // what of it would be fetched, in one clause; "" = nothing
	Err     error    // why there is no set
	Own     error    // which of hybridctl's own programs, that the set needs, is not there
	Idle    []string // the entries of spec.sources that change nothing, a sentence each
}

// RunSeen runs every check on every host of the inventory. The results are sorted by host and name, the cluster's own
// first. What the inventory ignores keeps its message and is Ignored. A host without facts counts as not reached.
func RunSeen(c *inventory.Cluster, hosts []facts.Host, m *bundle.Manifest, s Seen) []report.Check {
	return newView(c, hosts, m, s).run(c.Managed())
}

func newView(c *inventory.Cluster, hosts []facts.Host, m *bundle.Manifest, s Seen) view {
	v := view{cluster: c, bundle: &bundle.Bundle{}, fleet: newFleet(c, hosts), ceph: s.Ceph, registries: s.Registries, fetch: s.Fetch, unread: s.Unread}
	if m != nil {
		v.bundle.Manifest = *m
	}
	return v
}

// run runs the cluster's checks, and every other on these hosts.
func (v view) run(on []inventory.Host) []report.Check {
	var out []report.Check
	for _, ch := range checks {
		if ch.kind == onCluster || ch.kind == onCephCluster && len(v.cluster.Spec.Storage.Ceph) > 0 || ch.kind == onRegistries && usesRegistries(v.cluster) ||
			ch.kind == onSources && v.cluster.Spec.Bundle == "" && len(v.cluster.SourcePrefixes()) > 0 {
			out = append(out, ch.on(v))
		}
	}
	for _, h := range on {
		v.host, v.facts = h, v.fleet.facts[h.Name]
		var lacking *facts.Lacking
		if errors.As(v.facts.Err, &lacking) {
			out = append(out, v.lacking(lacking)...)
			continue
		}
		for _, ch := range checks {
			known := v.facts.Err == nil
			if ch.kind == onContact || ch.kind == onFacts && known || ch.kind == onCeph && known && v.cluster.Spec.Storage.Mounts(h) {
				out = append(out, ch.on(v))
			}
		}
	}
	sortChecks(out)
	return out
}

// lacking runs, on a host without the program that its facts are read with, the checks that can be: it answers, lets us in, and says which
// tools it has.
func (v view) lacking(l *facts.Lacking) []report.Check {
	v.facts = l.Host
	v.facts.Name = v.host.Name
	var out []report.Check
	for _, ch := range checks {
		switch {
		case ch.kind != onFacts && ch.kind != onContact:
		case slices.Contains([]string{reachable, "access", "root", "arch-supported", "systemd", "tools"}, ch.name):
			out = append(out, ch.on(v))
		default:
			ch.run = func(view) verdict { return unknown("not tried: %v", l) }
			out = append(out, ch.on(v))
		}
	}
	return out
}

func sortChecks(all []report.Check) {
	slices.SortStableFunc(all, func(a, b report.Check) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Name, b.Name))
	})
}

// on runs the check on what v shows.
func (ch check) on(v view) report.Check {
	r := ch.run(v)
	ignored := slices.Contains(v.cluster.Spec.Preflight.Ignore, ch.name) || slices.Contains(v.host.Preflight.Ignore, ch.name)
	if ignored && r.status != report.Pass && r.status != report.Unknown {
		r.status = report.Ignored
	}
	return report.Check{Host: v.host.Name, Name: ch.name, Status: r.status, Message: r.message, Hint: r.hint}
}

// Blocking returns the failed checks that stop a run before its first change. A host that merely does not answer is not among
// them: the others go on without it.
func Blocking(checks []report.Check) []report.Check {
	var out []report.Check
	for _, c := range checks {
		if c.Status == report.Fail && c.Name != reachable {
			out = append(out, c)
		}
	}
	return out
}

// Names returns the names of all checks, sorted: the words for preflight.ignore.
func Names() []string {
	names := make([]string, 0, len(checks))
	for _, ch := range checks {
		names = append(names, ch.name)
	}
	slices.Sort(names)
	return names
}

// Describe returns what the check of that name wants, in one line; "" when there is no such check.
func Describe(name string) string {
	for _, ch := range checks {
		if ch.name == name {
			return ch.text
		}
	}
	return ""
}

// Ask returns what the checks must know of each host beyond what every host tells.
func Ask(c *inventory.Cluster) facts.Ask {
	ask := facts.Ask{Modules: modules(c), Units: foreignUnits(), Synced: etcdDirectory}
	if len(c.Spec.Storage.Ceph) > 0 {
		ask.Modules = append(ask.Modules, "rbd", "ceph", "nbd")
	}
	for _, t := range tools {
		ask.Tools = append(ask.Tools, t.name)
	}
	for _, d := range disks {
		ask.Directories = append(ask.Directories, d.path)
	}
	return ask
}

// list joins words for a sentence and cuts long lists short.
func list(words []string) string {
	const most = 3
	if len(words) > most+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
	}
	return strings.Join(words, ", ")
}
