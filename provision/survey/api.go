package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/steps"
)

// Cluster asks the API server about everything that the inventory wants of it. s gains the nodes as they are now, and its version.
func Cluster(ctx context.Context, api API, s *Seen) Known[facts.Cluster] {
	c, err := observe(ctx, api, s)
	if err != nil {
		return Unknown[facts.Cluster](err)
	}
	return Found(c)
}

func observe(ctx context.Context, api API, s *Seen) (c facts.Cluster, err error) {
	if s.Nodes, err = api.Nodes(ctx); err != nil {
		return c, err
	}
	if s.Version, err = api.Version(ctx); err != nil {
		return c, err
	}
	if c, err = Members(ctx, api, s, s.Nodes); err != nil {
		return c, err
	}
	if !s.Cluster.Adopted() {
		if c.CNI, err = differing(ctx, api, plan.CNIManifest(s.Input())); err != nil {
			return c, err
		}
	}
	err = Storage(ctx, api, *s, &c)
	return c, err
}

// Members are the nodes beside what the inventory wants of them, and what matters to a further control plane.
func Members(ctx context.Context, api API, s *Seen, nodes []kube.Node) (facts.Cluster, error) {
	out := facts.Cluster{Observed: true, Nodes: NodeFacts(nodes), NodeInPlace: map[string]bool{}}
	for _, n := range nodes {
		if h, ok := s.Cluster.Host(n.Name); ok {
			out.NodeInPlace[n.Name] = kube.NodeInPlace(n, h.Labels, h.Taints)
		}
	}
	var coming []inventory.Host // control planes that are no nodes yet
	workers := false
	for _, h := range s.Cluster.Managed() {
		if slices.ContainsFunc(nodes, func(n kube.Node) bool { return n.Name == h.Name }) {
			continue
		}
		if h.Role == inventory.ControlPlane {
			coming = append(coming, h)
		}
		workers = workers || h.Role == inventory.Worker
	}
	if len(coming) == 0 && !(workers && s.Cluster.Adopted()) { // what a worker is given in a cluster of ours is known
		return out, nil
	}
	config, err := Configuration(ctx, api)
	if err != nil {
		return out, err
	}
	out.Endpoint, out.SharedEndpoint, out.ExternalEtcd, out.ResolvConf = config.Endpoint, config.Shared, config.ExternalEtcd, config.ResolvConf
	if !config.ExternalEtcd && len(coming) > 0 {
		out.Etcd, out.EtcdErr = etcdWithout(ctx, api, nodes, coming)
	}
	return out, nil
}

// Configuration is what kubeadm noted of the cluster; nothing of one that kubeadm did not make.
func Configuration(ctx context.Context, api API) (kube.ClusterConfiguration, error) {
	config, err := api.ClusterConfiguration(ctx)
	if errors.Is(err, kube.ErrNotKubeadm) {
		return kube.ClusterConfiguration{}, nil
	}
	return config, err
}

// etcdWithout lists etcd's members, but for those that an earlier attempt left of control planes that are to join.
func etcdWithout(ctx context.Context, api API, nodes []kube.Node, coming []inventory.Host) ([]facts.EtcdMember, error) {
	var ready, others []string
	for _, n := range nodes {
		switch {
		case n.ControlPlane && n.Ready:
			ready = append(ready, n.Name)
		case n.ControlPlane: // after the others: it may be the pod network alone that it lacks
			others = append(others, n.Name)
		}
	}
	_, members, err := Etcd(ctx, api, slices.Concat(ready, others))
	var out []facts.EtcdMember
	for _, m := range members {
		if !slices.ContainsFunc(coming, func(h inventory.Host) bool { return m.IsOf(h.Name, h.NodeIP, h.Address) }) {
			out = append(out, facts.EtcdMember{Name: m.String(), Well: m.Well()})
		}
	}
	return out, err
}

// Etcd asks one after another of these nodes for etcd's members, until one answers.
func Etcd(ctx context.Context, api API, nodes []string) (asked string, members []kube.EtcdMember, err error) {
	var errs []error
	for _, n := range nodes {
		if members, err = api.EtcdMembers(ctx, n); err == nil {
			return n, members, nil
		}
		errs = append(errs, fmt.Errorf("on %s: %w", n, err))
	}
	if len(nodes) == 0 {
		errs = append(errs, errors.New("the cluster has no control plane that could be asked for etcd's members"))
	}
	return "", nil, errors.Join(errs...)
}

// differing compares objects with those that are wanted.
func differing(ctx context.Context, api API, manifest []byte) (facts.CNIState, error) {
	changes, err := api.Diff(ctx, manifest)
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

// Storage asks the API server about ceph-csi's objects.
func Storage(ctx context.Context, api API, s Seen, out *facts.Cluster) error {
	if len(s.Cluster.Spec.Storage.Ceph) == 0 {
		classes, _, err := api.Owned(ctx, []kube.Kind{{APIVersion: "storage.k8s.io/v1", Kind: "StorageClass"}}, render.CephSelector)
		for _, c := range classes {
			out.CSIKept = append(out.CSIKept, c.String())
		}
		return err
	}
	var err error
	if out.Snapshots, err = api.HasKind(ctx, "snapshot.storage.k8s.io/v1", "VolumeSnapshotClass"); err != nil {
		return err
	}
	s.API = Found(*out)
	manifest := plan.CSIManifest(s.Input())
	if manifest == nil {
		return nil
	}
	if out.CSI, err = differing(ctx, api, manifest); err != nil {
		return err
	}
	left, err := steps.LeftOfCeph(ctx, api, manifest)
	if err != nil {
		return err
	}
	for _, o := range left.Gone {
		out.CSI.InPlace = false
		out.CSI.Differs = append(out.CSI.Differs, o.String()+facts.Left)
	}
	for _, o := range left.Kept {
		out.CSIKept = append(out.CSIKept, o.String())
	}
	for _, v := range left.Of {
		out.CSIOf = append(out.CSIOf, v.String())
	}
	return nil
}

// NodeFacts are nodes in the form that plan and preflight take: neither knows the API.
func NodeFacts(nodes []kube.Node) []facts.Node {
	out := make([]facts.Node, len(nodes))
	for i, n := range nodes {
		out[i] = facts.Node{Name: n.Name, Ready: n.Ready, Unschedulable: n.Unschedulable, Arch: n.Arch,
			KubeletVersion: n.KubeletVersion, MachineID: n.MachineID, InternalIPs: n.InternalIPs, PodCIDR: n.PodCIDR,
			Labels: n.Labels, Taints: n.Taints, ControlPlane: n.ControlPlane}
	}
	return out
}
