package preflight

import (
	"errors"
	"net/netip"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// errNotAsked stands for the facts of a host that the caller did not bring. The user sees it only if the caller forgot the host.
var errNotAsked = errors.New("the host was not asked")

// fleet is what is compared between hosts, looked up once for all of them.
type fleet struct {
	facts      map[string]facts.Host
	machineIDs map[string][]string // machine-id → names of hosts
	hostnames  map[string][]string
	addresses  map[string][]string // address → names of the hosts that have it
}

func newFleet(c *inventory.Cluster, hosts []facts.Host) *fleet {
	f := &fleet{facts: map[string]facts.Host{}, machineIDs: map[string][]string{}, hostnames: map[string][]string{}, addresses: map[string][]string{}}
	given := map[string]facts.Host{}
	for _, h := range hosts {
		given[h.Name] = h
	}
	for _, h := range c.Spec.Hosts {
		seen, ok := given[h.Name]
		if !ok {
			seen = facts.Host{Name: h.Name, Err: errNotAsked}
		}
		f.facts[h.Name] = seen
		if seen.Err != nil {
			continue
		}
		f.machineIDs[seen.MachineID] = append(f.machineIDs[seen.MachineID], h.Name)
		f.hostnames[seen.Hostname] = append(f.hostnames[seen.Hostname], h.Name)
		for _, a := range seen.Addresses {
			f.addresses[a] = append(f.addresses[a], h.Name)
		}
	}
	return f
}

// others returns the names but this one.
func others(names []string, name string) []string {
	var out []string
	for _, n := range names {
		if n != name {
			out = append(out, n)
		}
	}
	return out
}

// canonical returns an address in the spelling of facts; a name stays as it is.
func canonical(address string) string {
	if a, err := netip.ParseAddr(address); err == nil {
		return a.Unmap().String()
	}
	return address
}
