package survey

import (
	"context"
	"maps"
	"slices"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/plan"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/podimages"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// Audit finds the images of the cluster's workloads that new nodes could be told to run and that are not known to be made for them.
// block says that one of a DaemonSet stops the run.
func (r Reader) Audit(ctx context.Context, api API, s Seen, hosts []inventory.Host, block bool) ([]report.Check, error) {
	templates, err := api.PodTemplates(ctx)
	if err != nil {
		return nil, err
	}
	seen, err := api.SeenPods(ctx)
	if err != nil {
		return nil, err
	}
	on := nodesToBe(s.Hosts, hosts)
	var all []workload.Workload
	for _, t := range slices.Concat(templates, seen.Templates) {
		if w := podimages.WorkloadOf(t); slices.ContainsFunc(on, w.MayRunOn) {
			all = append(all, w)
		}
	}
	made := r.madeFor(ctx, imagesOf(all), on, r.provenOn(seen.Ran, s.Nodes))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []report.Check
	for _, f := range workload.Audit(all, on, made) {
		out = append(out, f.Check(block, archsOfCluster(s.Nodes, on)))
	}
	return out, nil
}

// nodesToBe are the nodes that hosts will be, with the labels that the kubelet gives them.
func nodesToBe(seen Hosts, hosts []inventory.Host) []workload.Node {
	var out []workload.Node
	for _, h := range hosts {
		f := seen.Fact(h.Name)
		if f.Err != nil || f.Arch == "" {
			continue
		}
		n := workload.Node{Name: h.Name, Arch: f.Arch, Labels: maps.Clone(h.Labels)}
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		for key, value := range kube.KubeletLabels(h.Name, f.Arch.String()) {
			n.Labels[key] = value
		}
		taints := slices.Clone(h.Taints)
		if h.Role == inventory.ControlPlane {
			n.Labels[kube.ControlPlaneKey] = ""
			taints = append(taints, kube.ControlPlaneKey+":NoSchedule")
		}
		n.Taints = workload.ParseTaints(taints)
		out = append(out, n)
	}
	return out
}

// imagesOf lists the images of workloads, each once and those of DaemonSets first: they alone can stop a scale-out.
func imagesOf(all []workload.Workload) []string {
	daemons, others := map[string]bool{}, map[string]bool{}
	for _, w := range all {
		for _, i := range w.Images {
			if w.Daemon {
				daemons[i] = true
			} else {
				others[i] = true
			}
		}
	}
	maps.DeleteFunc(others, func(i string, _ bool) bool { return daemons[i] })
	return slices.Concat(slices.Sorted(maps.Keys(daemons)), slices.Sorted(maps.Keys(others)))
}

// provenOn says without a registry for which architectures images are made: the bundle has them, or containers of theirs do well on nodes of
// that architecture. A node that has the image proves nothing, as containerd pulls one of another architecture, too, if there is no other.
func (r Reader) provenOn(ran map[string][]string, nodes []kube.Node) map[string][]platform.Arch {
	proven := map[string][]platform.Arch{}
	for _, i := range r.Bundle.Manifest.Images {
		proven[image.FullName(i.Ref)] = slices.Clone(i.Archs)
	}
	for i, on := range ran {
		for _, n := range nodes {
			if arch, err := platform.Parse(n.Arch); err == nil && slices.Contains(on, n.Name) {
				proven[image.FullName(i)] = append(proven[image.FullName(i)], arch)
			}
		}
	}
	return proven
}

// madeFor finds out for which architectures images are made. Those that the bundle brings to the new nodes are there; of the others their
// registry's word holds, and where it has none, what is proven.
func (r Reader) madeFor(ctx context.Context, images []string, on []workload.Node, proven map[string][]platform.Arch) func(string, platform.Arch) (workload.Made, error) {
	brought := r.broughtTo(on)
	ask := slices.DeleteFunc(slices.Clone(images), func(i string) bool {
		return !slices.ContainsFunc(on, func(n workload.Node) bool { return !brought(i, n.Arch) })
	})
	told := r.Registries(ctx, ask)
	return func(i string, arch platform.Arch) (workload.Made, error) {
		archs, _, err := told[i].Get()
		switch {
		case brought(i, arch), err == nil && slices.Contains(archs, arch):
			return workload.Yes, nil
		case err == nil:
			return workload.No, nil
		case slices.Contains(proven[image.FullName(i)], arch):
			return workload.Yes, nil
		}
		return workload.Unknown, err
	}
}

// broughtTo says which images the bundle brings to every new node of an architecture.
func (r Reader) broughtTo(on []workload.Node) func(image string, arch platform.Arch) bool {
	brought := map[string]map[string]bool{}
	for _, n := range on {
		h, _ := r.Cluster.Host(n.Name)
		brought[n.Name] = map[string]bool{}
		for _, i := range plan.ImagesFor(r.Cluster, &r.Bundle.Manifest, h, n.Arch) {
			brought[n.Name][image.FullName(i.Ref)] = true
		}
	}
	return func(i string, arch platform.Arch) bool {
		return !slices.ContainsFunc(on, func(n workload.Node) bool { return n.Arch == arch && !brought[n.Name][image.FullName(i)] })
	}
}

// archsOfCluster are the architectures that the cluster will have.
func archsOfCluster(nodes []kube.Node, on []workload.Node) []platform.Arch {
	var out []platform.Arch
	add := func(arch platform.Arch) {
		if !slices.Contains(out, arch) {
			out = append(out, arch)
		}
	}
	for _, n := range nodes {
		if arch, err := platform.Parse(n.Arch); err == nil {
			add(arch)
		}
	}
	for _, n := range on {
		add(n.Arch)
	}
	return out
}
