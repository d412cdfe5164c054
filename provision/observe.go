package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/preflight"
	"github.com/hybridctl/hybridctl/provision/report"
)

// survey learns everything a plan is made of, and makes it. The checks are those that did not pass. ErrPreflight: one of them stops
// the run.
func (s *session) survey(ctx context.Context) (plan.Plan, []report.Check, error) {
	if err := s.openBundle(); err != nil {
		return plan.Plan{}, nil, err
	}
	in, err := s.files()
	if err != nil {
		return plan.Plan{}, nil, err
	}
	in.Hosts = s.gather(ctx)
	if err := ctx.Err(); err != nil {
		return plan.Plan{}, nil, err
	}
	s.readCephKeys(ctx)
	s.lookUpCephImages(ctx)
	in.CephKeys = s.cephKeys
	checks := s.problems()
	if blocking := preflight.Blocking(checks); len(blocking) > 0 {
		return plan.Plan{}, checks, ErrPreflight
	}
	in.API = s.observeAPI(ctx, in)
	joining, err := s.checkJoining(ctx, in.API)
	if checks = append(checks, joining...); err != nil {
		return plan.Plan{}, checks, err
	}
	p, err := build(in)
	return p, checks, err
}

// checkJoining judges what a cluster that is there makes of the hosts that are to join it.
func (s *session) checkJoining(ctx context.Context, cluster facts.Cluster) ([]report.Check, error) {
	j := preflight.Joining{API: cluster}
	for _, h := range s.Cluster.Managed() {
		if !slices.ContainsFunc(cluster.Nodes, func(n facts.Node) bool { return n.Name == h.Name }) {
			j.Hosts = append(j.Hosts, h.Name)
		}
	}
	if !cluster.Observed || len(j.Hosts) == 0 || len(cluster.Nodes) == 0 {
		return nil, nil
	}
	var err error
	if j.Version, err = s.api.Version(ctx); err != nil {
		return nil, err
	}
	j.CACertHashes = s.authorities()
	var hosts []facts.Host
	for _, name := range j.Hosts {
		hosts = append(hosts, s.facts[name])
	}
	checks := report.Problems(preflight.RunJoinChecks(s.Cluster, hosts, &s.bundle.Manifest, j))
	if len(preflight.Blocking(checks)) > 0 {
		return checks, ErrPreflight
	}
	return checks, nil
}

// authorities are the pins of the running cluster's certificate authorities, as facts have them; none: no API server is known.
func (s *session) authorities() []string {
	if s.api == nil {
		return nil
	}
	return s.api.CAHashes()
}

// othersNode refuses to reset a host that is a node of another cluster by now: it has hybridctl's marks, as that one has. instead is what
// else the user can do.
func (s *session) othersNode(f facts.Host, instead string) error {
	k, ours := f.Kubeadm, s.authorities()
	if len(ours) == 0 || k.CACertHash == "" || slices.Contains(ours, k.CACertHash) || len(f.Markers) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s is a node of another cluster (%s): it trusts the cluster CA %s, this cluster's is %s; if that cluster is not needed: kubeadm reset on the host; else %s",
		ErrRefused, f.Name, cmp.Or(k.Server, "API server unknown"), k.CACertHash, strings.Join(ours, ", "), instead)
}

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

// problems runs every check on what is known by now, and returns those that did not pass.
func (s *session) problems() []report.Check {
	return slices.DeleteFunc(s.checks(), func(c report.Check) bool { return c.Status == report.Pass || c.Status == report.Unknown })
}

func (s *session) checks() []report.Check {
	var hosts []facts.Host
	for _, h := range s.Cluster.Managed() {
		hosts = append(hosts, s.facts[h.Name])
	}
	return preflight.RunCeph(s.Cluster, hosts, &s.bundle.Manifest, s.ceph)
}

// files reads the files that the inventory names.
func (s *session) files() (plan.Input, error) {
	in := plan.Input{Cluster: s.Cluster, Bundle: &s.bundle.Manifest}
	if s.Cluster.Spec.CNI.Provider == inventory.CNIManifest {
		b, err := os.ReadFile(s.Cluster.Spec.CNI.Path)
		if err != nil {
			return in, fmt.Errorf("spec.cni.path: %w", err)
		}
		in.CNIManifest = b
	}
	dir := s.Cluster.Spec.Kubernetes.Patches
	if dir == "" {
		return in, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return in, fmt.Errorf("spec.kubernetes.patches: %w", err)
	}
	in.Patches = map[string][]byte{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if in.Patches[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return in, fmt.Errorf("spec.kubernetes.patches: %w", err)
		}
	}
	return in, nil
}

// observeAPI asks the API server what there is, when the bootstrap host is initialised.
func (s *session) observeAPI(ctx context.Context, in plan.Input) facts.Cluster {
	if s.notBegun() {
		return facts.Cluster{} // a kubeconfig in the state is of a cluster that is gone
	}
	if err := s.loadKubeconfig(ctx); err != nil {
		return facts.Cluster{Err: err}
	}
	if s.api == nil {
		return facts.Cluster{Err: errors.New("no control-plane host that answers has an admin kubeconfig")}
	}
	if s.lockMark == "" {
		if err := s.markLock(ctx); err != nil {
			return facts.Cluster{Err: err}
		}
	}
	nodes, err := s.api.Nodes(ctx)
	if err != nil {
		return facts.Cluster{Err: err}
	}
	out, err := s.observed(ctx, nodes)
	if err != nil {
		return facts.Cluster{Err: err}
	}
	if !s.Cluster.Adopted() {
		if out.CNI, err = observeObjects(ctx, s.api, plan.CNIManifest(in)); err != nil {
			return facts.Cluster{Err: err}
		}
	}
	if err := s.observeCSI(ctx, in, &out); err != nil {
		return facts.Cluster{Err: err}
	}
	return out
}

// observed are the nodes beside what the inventory wants of them. The session keeps them as they were before it changed anything.
func (s *session) observed(ctx context.Context, nodes []kube.Node) (facts.Cluster, error) {
	s.nodes = nodes
	out := facts.Cluster{Observed: true, Nodes: factsNodes(nodes), NodeInPlace: map[string]bool{}}
	for _, n := range nodes {
		if h, ok := s.Cluster.Host(n.Name); ok {
			out.NodeInPlace[n.Name] = kube.NodeInPlace(n, h.Labels, h.Taints)
		}
	}
	var coming []inventory.Host // control planes that are no nodes yet
	for _, h := range s.Cluster.Managed() {
		if h.Role == inventory.ControlPlane && !slices.ContainsFunc(nodes, func(n kube.Node) bool { return n.Name == h.Name }) {
			coming = append(coming, h)
		}
	}
	if len(coming) == 0 {
		return out, nil
	}
	config, err := s.configuration(ctx)
	if err != nil {
		return out, err
	}
	out.Endpoint, out.SharedEndpoint, out.ExternalEtcd = config.Endpoint, config.Shared, config.ExternalEtcd
	if !config.ExternalEtcd {
		out.Etcd, out.EtcdErr = s.observeEtcd(ctx, nodes, coming)
	}
	return out, nil
}

// configuration is what kubeadm noted of the cluster; nothing of one that kubeadm did not make.
func (s *session) configuration(ctx context.Context) (kube.ClusterConfiguration, error) {
	config, err := s.api.ClusterConfiguration(ctx)
	if errors.Is(err, kube.ErrNotKubeadm) {
		return kube.ClusterConfiguration{}, nil
	}
	return config, err
}

// observeEtcd lists etcd's members, but for those that an earlier attempt left of control planes that are to join.
func (s *session) observeEtcd(ctx context.Context, nodes []kube.Node, coming []inventory.Host) ([]facts.EtcdMember, error) {
	ask := staying(nodes, nil)
	for _, n := range nodes { // those that are not Ready after the others: it may be the pod network alone that they lack
		if n.ControlPlane && !n.Ready {
			ask = append(ask, n.Name)
		}
	}
	_, members, err := s.askEtcd(ctx, ask)
	var out []facts.EtcdMember
	for _, m := range members {
		if !slices.ContainsFunc(coming, func(h inventory.Host) bool { return m.IsOf(h.Name, h.NodeIP, h.Address) }) {
			out = append(out, facts.EtcdMember{Name: m.String(), Well: m.Well()})
		}
	}
	return out, err
}

func observeObjects(ctx context.Context, client api, manifest []byte) (facts.CNIState, error) {
	changes, err := client.Diff(ctx, manifest)
	if err != nil {
		return facts.CNIState{}, err
	}
	state := facts.CNIState{InPlace: true}
	for _, c := range changes {
		switch c.Action {
		case report.Unchanged:
			continue
		case report.Created:
			state.Differs = append(state.Differs, c.String()+facts.Missing)
		default:
			state.Differs = append(state.Differs, c.String()+": differs")
		}
		state.InPlace = false
	}
	return state, nil
}

func factsNodes(nodes []kube.Node) []facts.Node {
	out := make([]facts.Node, len(nodes))
	for i, n := range nodes {
		out[i] = facts.Node{Name: n.Name, Ready: n.Ready, Unschedulable: n.Unschedulable, Arch: n.Arch, ArchLabel: n.ArchLabel,
			KubeletVersion: n.KubeletVersion, MachineID: n.MachineID, InternalIPs: n.InternalIPs, PodCIDR: n.PodCIDR,
			Labels: n.Labels, Taints: n.Taints, ControlPlane: n.ControlPlane}
	}
	return out
}
