package proposal

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/ending"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// known refuses names that are not in the inventory.
func known(c *inventory.Cluster, hosts []string) error {
	for _, name := range hosts {
		if _, ok := c.Host(name); !ok {
			return fmt.Errorf("%w: %s has no host %q; it has %s", ending.ErrRefused, c.Path, name, some(names(c.Spec.Hosts)))
		}
	}
	return nil
}

// unread says which markers on a host cannot be read, without which its steps cannot be undone; "" = none.
func unread(f facts.Host) string {
	paths := plan.UnreadFiles(f)
	if f.Err != nil || len(paths) == 0 {
		return ""
	}
	return fmt.Sprintf("%s has markers that cannot be read (%s), which alone say what hybridctl put there", f.Name, some(paths))
}

// mendUnread is what to do about them.
const mendUnread = `"hybridctl up -f %[1]s" writes them again; --force=%[2]s goes without them, and files that they alone name stay, as in /opt/cni/bin`

// noOrphans refuses when there are volumes in Ceph; goes is what happens to their cluster with --force.
func (d *Desk) noOrphans(ctx context.Context, goes string) error {
	volumes, err := d.API.StoredBy(ctx, []string{render.RBD.DriverName(), render.CephFS.DriverName()})
	if err != nil {
		return ending.PerhapsVolumes(err, goes)
	}
	var named []string
	for _, v := range volumes {
		named = append(named, v.String())
	}
	return ending.Volumes(d.Cluster.Spec.Storage, named, goes)
}

// some joins the first of many words.
func some(words []string) string { return report.Some(words, 10) }

// names are the hosts' names.
func names(hosts []inventory.Host) []string {
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = h.Name
	}
	return out
}

// forcedAreNamed refuses --force for a host that the command is not about.
func forcedAreNamed(force, hosts []string) error {
	for _, name := range force {
		if !slices.Contains(hosts, name) {
			return fmt.Errorf("%w: --force=%s names a host that is not one of %s", ending.ErrRefused, name, strings.Join(hosts, ", "))
		}
	}
	return nil
}

// onlyOurs refuses a plan by which a host joins that is not known to be of this cluster or of none: it would be reset. No check that is ignored
// leads past this; the user names the host.
func (d *Desk) onlyOurs(p plan.Plan, hosts survey.Hosts) error {
	own := keptAuthority(d.Fleet)
	if d.API != nil {
		own = preflight.Authority{Hashes: d.API.CAHashes()}
	}
	for _, s := range p.Steps {
		in, joins := s.Inputs.(plan.JoinInputs)
		if !joins || s.Action != plan.Create || in.Forced {
			continue
		}
		if err := own.MayReset(hosts.Fact(s.Host)); err != nil {
			return hint.With(ending.Refused(err), "if that cluster is not needed: where this one runs, hybridctl scale-out --force=%[1]s resets the host and joins it; "+
				"else take the host out of the inventory: hybridctl inventory rm %[1]s", s.Host)
		}
	}
	return nil
}
