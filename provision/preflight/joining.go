package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Joining is a cluster that runs, as its API server and its kubeconfig tell of it, and the hosts that are to become nodes of it.
type Joining struct {
	Hosts        []string // names in the inventory
	API          facts.Cluster
	CACertHashes []string // of the cluster's authorities, "sha256:<hex>": any of them is the cluster's
	Force        []string // hosts that are reset and join whatever cluster they are of: the user named them
	Version      string   // of the API server, v1.36.3
	Ceph         CephSeen
	Registries   RegistriesSeen
	Fetch        Fetch
}

// RunJoining runs every check on the hosts that are to join, and those of the joining itself. The nodes that are there already are
// compared with by what the API server says; their hosts were not asked. The results are sorted as Run's are.
func RunJoining(c *inventory.Cluster, hosts []facts.Host, m *bundle.Manifest, j Joining) []report.Check {
	all := slices.Clone(hosts)
	for i := range all {
		if slices.Contains(j.CACertHashes, all[i].Kubeadm.CACertHash) {
			all[i].Kubeadm.CACertHash = j.CACertHashes[0] // to be compared with the bootstrap host's
		}
		if slices.Contains(j.CACertHashes, all[i].Belongs.CA) {
			all[i].Belongs.CA = j.CACertHashes[0]
		}
	}
	for _, n := range j.API.Nodes {
		if slices.Contains(j.Hosts, n.Name) {
			continue
		}
		seen := facts.Host{Name: n.Name, Hostname: n.Name, MachineID: n.MachineID, Addresses: n.InternalIPs}
		if n.Name == c.Bootstrap().Name && len(j.CACertHashes) > 0 {
			seen.Kubeadm.CACertHash = j.CACertHashes[0]
		}
		all = append(all, seen)
	}
	on := j.in(c)
	v := newView(c, all, m, Seen{Ceph: j.Ceph, Registries: j.Registries, Fetch: j.Fetch})
	v.resolv = j.API.ResolvConf
	if len(j.CACertHashes) > 0 {
		v.own = j.CACertHashes[0]
	}
	out := v.run(on)
	forced := j.Forced(hosts)
	for i := range out {
		switch ch := &out[i]; {
		case ch.Status != report.Fail:
		case slices.Contains(forced, ch.Host) && slices.Contains(ofMembers, ch.Name):
			ch.Status, ch.Message, ch.Hint = report.Warn, ch.Message+"; --force resets the host first, and what runs there is lost", ""
		case ch.Name == Certificates && !slices.ContainsFunc(j.API.Nodes, func(n facts.Node) bool { return n.Name == ch.Host }):
			ch.Status, ch.Message, ch.Hint = report.Warn, ch.Message+"; it is no node any more, and gets others as it joins", ""
		}
	}
	for _, ch := range joinChecks {
		r := ch.run(c, j, on)
		out = append(out, report.Check{Name: ch.name, Status: r.status, Message: r.message, Hint: r.hint})
	}
	sortChecks(out)
	return out
}

// ofMembers are the checks of what a host is a node of already: a host that is reset first has nothing of it any more.
var ofMembers = []string{otherCluster, "version-change", Certificates}

// Forced are the hosts that are reset before they join: the user named them, and they are of a cluster that is not known to be this one. One that
// is of this cluster, or of none, joins as ever.
func (j Joining) Forced(hosts []facts.Host) (names []string) {
	for _, f := range hosts {
		if slices.Contains(j.Force, f.Name) && (Authority{Hashes: j.CACertHashes}).MayReset(f) != nil {
			names = append(names, f.Name)
		}
	}
	return names
}

// RunJoinChecks runs those of the joining itself alone, and of those on hosts the one that the cluster's own authority decides. The others
// were run before the cluster was asked.
func RunJoinChecks(c *inventory.Cluster, hosts []facts.Host, m *bundle.Manifest, j Joining) []report.Check {
	return slices.DeleteFunc(RunJoining(c, hosts, m, j), func(ch report.Check) bool {
		return ch.Name != otherCluster && !slices.ContainsFunc(joinChecks, func(x joinCheck) bool { return x.name == ch.Name })
	})
}

// in are the hosts that are to join.
func (j Joining) in(c *inventory.Cluster) (on []inventory.Host) {
	for _, name := range j.Hosts {
		if h, ok := c.Host(name); ok {
			on = append(on, h)
		}
	}
	return on
}

type joinCheck struct {
	name string
	run  func(*inventory.Cluster, Joining, []inventory.Host) verdict
}

// joinChecks are about the cluster that hosts join. A run cannot do without them, so that they cannot be ignored.
var joinChecks = []joinCheck{
	{"endpoint", checkEndpoint},
	{"quorum", checkQuorum},
	{"version-skew", checkSkew},
}

// checkEndpoint wants an endpoint that does not belong to one host when there is to be more than one control plane. What counts is the one
// that the cluster was made with, as kubeadm cannot change it.
func checkEndpoint(c *inventory.Cluster, j Joining, on []inventory.Host) verdict {
	if len(newControlPlanes(on)) == 0 {
		return pass("no control plane is added")
	}
	wanted := c.Spec.Kubernetes.Endpoint
	endpoint := cmp.Or(j.API.Endpoint, wanted)
	const remade = "make the cluster again with spec.kubernetes.endpoint, or add the host as a worker"
	for _, n := range j.API.Nodes {
		h, _ := c.Host(n.Name)
		h.Name = n.Name // also of a node that is not in the inventory
		if n.ControlPlane && n.OwnsEndpoint(endpoint, h) {
			return fail("the cluster's endpoint %s is the own address of %s: when that host is away, no other control plane is found", endpoint, n.Name).
				hinted("a cluster with several control planes needs an endpoint that moves (a name, a virtual address, a load balancer); kubeadm cannot change it later: " + remade)
		}
	}
	switch {
	case endpoint != wanted:
		return fail("the cluster was made with the endpoint %s, the inventory has %s: kubeadm cannot change it later", endpoint, wanted).
			hinted("set spec.kubernetes.endpoint to %s; for another one, %s", endpoint, remade)
	case j.API.Endpoint != "" && !j.API.SharedEndpoint:
		return fail("the cluster was made without an endpoint that control planes share (controlPlaneEndpoint), and kubeadm joins none to it").hinted("%s", remade)
	}
	return pass("%s belongs to no single host", endpoint)
}

// checkQuorum tells how many members etcd will have, and how many of them may be away. None is added while another is not well.
func checkQuorum(_ *inventory.Cluster, j Joining, on []inventory.Host) verdict {
	added := len(newControlPlanes(on))
	switch {
	case added == 0:
		return pass("no control plane is added")
	case j.API.ExternalEtcd:
		return pass("etcd runs outside the cluster")
	}
	members := added + len(j.API.Etcd)
	for _, m := range j.API.Etcd {
		if !m.Well {
			return fail("etcd's member %s is not well, and with one more to count on the next to go could take etcd's quorum along", m.Name).
				hinted("bring it back first, or take its host out: hybridctl remove HOST --offline")
		}
	}
	if len(j.API.Etcd) == 0 { // etcd was not asked, or does not answer
		for _, n := range j.API.Nodes {
			if n.ControlPlane && !slices.ContainsFunc(on, func(h inventory.Host) bool { return h.Name == n.Name }) {
				members++
			}
		}
	}
	away := (members - 1) / 2
	switch {
	case j.API.EtcdErr != nil:
		return warn("etcd did not say how its members are: %v", j.API.EtcdErr).hinted("it is asked again before each control plane joins")
	case members%2 == 0:
		return warn("etcd will have %d members, of which %d may be away: no more than with %d, and there is one more that can fail", members, away, members-1).
			hinted("give the cluster an odd number of control planes")
	}
	return pass("etcd will have %d members, of which %d may be away", members, away)
}

func newControlPlanes(on []inventory.Host) (out []inventory.Host) {
	for _, h := range on {
		if h.Role == inventory.ControlPlane {
			out = append(out, h)
		}
	}
	return out
}

// skew is how many minor versions a kubelet may be behind its API server.
const skew = 3

// SkewPolicy says which versions of a kubelet go with an API server.
func SkewPolicy() string {
	return fmt.Sprintf("a kubelet may be as new as its API server, and at most %d minor versions older", skew)
}

// SkewAllowed reports whether hosts of a version, v1.36.3, may join an API server of another. A version that cannot be read may not.
func SkewAllowed(server, kubelet string) bool {
	is, new := minor(server), minor(kubelet)
	return is >= 0 && new >= 0 && new <= is && new >= is-skew
}

// checkSkew compares the version that the hosts will run with the API server's: a kubelet must not be newer, nor much older, and a control plane
// has to be of the same.
func checkSkew(c *inventory.Cluster, j Joining, on []inventory.Host) verdict {
	want := c.Spec.Kubernetes.Version
	is, new := minor(j.Version), minor(want)
	policy := SkewPolicy()
	switch planes := newControlPlanes(on); {
	case len(planes) > 0 && want != j.Version:
		return fail("%s would be a control plane of Kubernetes %s, the cluster's run %s: kubeadm joins a control plane with the cluster's own version", planes[0].Name, want, j.Version).
			hinted("make a bundle of the cluster's version and set spec.kubernetes.version to it, or add the host as a worker")
	case is < 0 || new < 0:
		return warn("the API server's version %q could not be compared with %s", j.Version, want)
	case new > is:
		return fail("the hosts would run Kubernetes %s, the API server runs %s: %s", want, j.Version, policy).
			hinted("set spec.kubernetes.version to the cluster's, with a bundle of that version")
	case new < is-skew:
		return fail("the hosts would run Kubernetes %s, the API server runs %s: %s", want, j.Version, policy).
			hinted("make a bundle of the cluster's version and set spec.kubernetes.version to it")
	case new != is:
		return warn("the hosts will run Kubernetes %s, the API server runs %s, which the policy allows", want, j.Version)
	}
	return pass("the API server runs %s", j.Version)
}

// minor is the second number of a version, v1.36.3; -1 when there is none.
func minor(version string) int {
	parts := strings.Split(version, ".")
	if len(parts) < 2 || !strings.HasPrefix(version, "v1.") {
		return -1
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		return -1
	}
	return n
}
