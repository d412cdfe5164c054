package provision

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/steps"
	"github.com/hybridctl/hybridctl/provision/survey"
)

// leaver is a host on its way out.
type leaver struct {
	host   inventory.Host
	node   kube.Node // zero when there is none any more
	pods   []kube.DrainPod
	member kube.EtcdMember // zero when it has none
	ask    string          // the node on which etcd is asked
	plan   plan.Plan       // what is to be undone on the host
}

func hostsOf(all []leaver) []inventory.Host {
	out := make([]inventory.Host, len(all))
	for i, l := range all {
		out[i] = l.host
	}
	return out
}

// leavers are in the inventory's order, each once, but no host goes before those that are reached through it.
func leavers(c *inventory.Cluster, nodes []kube.Node, names []string) []leaver {
	var out []leaver
	for _, h := range c.Spec.Hosts {
		if !slices.Contains(names, h.Name) {
			continue
		}
		l := leaver{host: h}
		if i := slices.IndexFunc(nodes, func(n kube.Node) bool { return n.Name == h.Name }); i >= 0 {
			l.node = nodes[i]
		}
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b leaver) int { return len(c.Route(b.host)) - len(c.Route(a.host)) })
	return out
}

// isControlPlane tells what the host is, by the inventory's word where its node is gone: etcd may still count on it.
func (l leaver) isControlPlane() bool {
	return l.node.ControlPlane || l.host.Role == inventory.ControlPlane
}

// controlPlaneStays refuses to take the last control plane.
func controlPlaneStays(nodes []kube.Node, leaving []leaver) error {
	if !slices.ContainsFunc(leaving, leaver.isControlPlane) || len(staying(nodes, leaving)) > 0 {
		return nil
	}
	return fmt.Errorf("%w: no control plane that is Ready would be left; \"hybridctl destroy\" takes the whole cluster away", ErrRefused)
}

// staying are the control planes that are Ready and stay.
func staying(nodes []kube.Node, leaving []leaver) (names []string) {
	for _, n := range nodes {
		if n.ControlPlane && n.Ready && !slices.ContainsFunc(leaving, func(l leaver) bool { return l.host.Name == n.Name }) {
			names = append(names, n.Name)
		}
	}
	return names
}

// endpointStays refuses to take a control plane whose own address every kubelet has for the API server.
func endpointStays(endpoint string, leaving []leaver) error {
	for _, l := range leaving {
		if l.isControlPlane() && preflight.OwnsEndpoint(endpoint, l.host, l.node.InternalIPs) {
			return fmt.Errorf("%w: the cluster's endpoint %s is the own address of %s: without it no kubelet finds the API server; give that address to another control plane first, "+
				"or make the cluster anew with an endpoint that moves", ErrRefused, endpoint, l.host.Name)
		}
	}
	return nil
}

// findMembers finds the hosts' etcd members, and whether etcd can do without them.
func findMembers(r *run, nodes []kube.Node, leaving []leaver) error {
	var names []string
	for _, l := range leaving {
		if l.isControlPlane() {
			names = append(names, l.host.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	if config, err := survey.Configuration(r.reading, r.api); err != nil || config.ExternalEtcd {
		return err
	}
	ask, members, err := survey.Etcd(r.reading, r.api, staying(nodes, leaving))
	if err != nil {
		return err
	}
	if err := everyMemberIsKnown(members, nodes, leaving); err != nil {
		return err
	}
	if err := plan.KeepsQuorum(steps.Voters(members), names); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	for i := range leaving {
		l := &leaving[i]
		for _, m := range members {
			if l.isControlPlane() && m.IsOf(l.host.Name, l.addresses()...) {
				l.member, l.ask = m, ask
			}
		}
	}
	return nil
}

// addresses are those under which the host's etcd may be known.
func (l leaver) addresses() []string {
	return append(slices.Clone(l.node.InternalIPs), l.host.NodeIP, l.host.Address)
}

// everyMemberIsKnown refuses when a control plane that leaves has no etcd member of its name while there is one that is nobody's: it may be
// the one, and etcd would go on counting on it.
func everyMemberIsKnown(members []kube.EtcdMember, nodes []kube.Node, leaving []leaver) error {
	known := map[string]bool{}
	for _, n := range nodes {
		known[n.Name] = true
	}
	var foreign []string
	for _, m := range members {
		if !known[m.Name] && !slices.ContainsFunc(leaving, func(l leaver) bool { return m.IsOf(l.host.Name, l.addresses()...) }) {
			foreign = append(foreign, m.String())
		}
	}
	for _, l := range leaving {
		has := slices.ContainsFunc(members, func(m kube.EtcdMember) bool { return m.IsOf(l.host.Name, l.addresses()...) })
		if l.isControlPlane() && !has && len(foreign) > 0 {
			return fmt.Errorf("%w: etcd has no member %s, and %s, which no node is called: take the member that is of %[2]s out first, with \"etcdctl member remove\"", ErrRefused, l.host.Name, strings.Join(foreign, ", "))
		}
	}
	return nil
}
