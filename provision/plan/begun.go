package plan

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// ErrSecond: kubeadm init would run although it is not ruled out that the cluster is there. The error names what tells of one, and the
// hosts to look at.
var ErrSecond = errors.New("kubeadm init would perhaps begin a second cluster")

// Signs tell of a cluster that was made of an inventory's hosts.
type Signs struct {
	Found  []string // what tells of one, a clause each
	Unseen []string // control planes that were not reached, and may know of one
}

// FindSigns looks at the control planes. told is what else tells of a cluster, a clause each.
func FindSigns(c *inventory.Cluster, hosts []facts.Host, told ...string) Signs {
	s := Signs{Found: told}
	known := map[string]facts.Host{}
	for _, f := range hosts {
		known[f.Name] = f
	}
	for _, h := range c.ControlPlanes() {
		f, asked := known[h.Name]
		if !asked || f.Err != nil {
			s.Unseen = append(s.Unseen, h.Name)
			continue
		}
		if what := signOn(f); what != "" {
			s.Found = append(s.Found, h.Name+" has "+what)
		}
	}
	return s
}

// signOn is what a control plane has of a cluster; "" = nothing.
func signOn(f facts.Host) string {
	member := memberOf(f, "")
	switch k := f.Kubeadm; {
	case f.BadMarker(string(member)):
		return "hybridctl's mark of a member, which cannot be read (" + host.MarkerPath(string(member)) + ")"
	case member != "":
		return "hybridctl's mark of a member"
	case k.Etcd:
		return "etcd's data"
	case k.AdminConf:
		return "an admin.conf"
	case k.KubeletConf, k.CACertHash != "":
		return "a kubelet of a cluster"
	case f.Belongs.Marked:
		return "the mark of a cluster"
	}
	return ""
}

// None reports whether it is known that there is no cluster: every control plane was looked at, and nothing tells of one.
func (s Signs) None() bool { return len(s.Found) == 0 && len(s.Unseen) == 0 }

// MayInit refuses a plan that begins a cluster unless it is known that there is none. An init that was begun on the bootstrap host goes on:
// its mark is there.
func (s Signs) MayInit(c *inventory.Cluster, p Plan, hosts []facts.Host) error {
	first := c.Bootstrap()
	st, ok := p.Step(HostID(first.Name, Init))
	if !ok || st.Action == Unchanged || st.Action == Update || s.None() { // an update begins nothing
		return nil
	}
	for _, f := range hosts {
		m, marked := f.Markers[string(Init)]
		begun := marked && (m.State != host.MarkerDone || len(c.ControlPlanes()) == 1)
		if f.Name == first.Name && (begun || f.Err != nil) {
			return nil // or the step fails, as nothing is done on a host that is not known
		}
	}
	var why []string
	if len(s.Unseen) > 0 {
		why = append(why, "not reached, and to be looked at: "+report.Some(s.Unseen, 10)+" (one that is not there yet is taken out of the inventory for now)")
	}
	why = append(why, s.Found...)
	return hint.With(fmt.Errorf("%w on %s, which has none: %s", ErrSecond, first.Name, strings.Join(why, "; ")),
		"where the others go on, \"hybridctl scale-out --replace %s\" joins it again; where there is no cluster any more, run \"hybridctl destroy\" first: "+
			"it clears what is left of it", first.Name)
}
