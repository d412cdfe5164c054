package provision

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// AuditMode says what an image that lacks the new nodes' architecture does to a scale-out.
type AuditMode string

// The modes.
const (
	AuditBlock AuditMode = "block" // a DaemonSet's stops it
	AuditWarn  AuditMode = "warn"
	AuditOff   AuditMode = "off"
)

// AuditModes lists the modes.
func AuditModes() []AuditMode { return []AuditMode{AuditBlock, AuditWarn, AuditOff} }

// audit tells which images of the cluster's workloads the new nodes could be told to run and are not known to be made for them.
func (s *session) audit(ctx context.Context, mode AuditMode, hosts []inventory.Host, nodes []kube.Node) ([]report.Check, error) {
	if mode == "" || mode == AuditOff {
		return nil, nil
	}
	templates, err := s.api.PodTemplates(ctx)
	if err != nil {
		return nil, err
	}
	on := s.nodesToBe(hosts)
	var all []workload.Workload
	for _, t := range templates {
		if w := workloadOf(t); slices.ContainsFunc(on, w.MayRunOn) {
			all = append(all, w)
		}
	}
	made, err := s.madeFor(ctx, imagesOf(all), on)
	if err != nil {
		return nil, err
	}
	var out []report.Check
	for _, f := range workload.Audit(all, on, made) {
		out = append(out, f.Check(mode == AuditBlock, archsOfCluster(nodes, on)))
	}
	return out, nil
}

// nodesToBe are the nodes that hosts will be, with the labels that the kubelet gives them.
func (s *session) nodesToBe(hosts []inventory.Host) []workload.Node {
	var out []workload.Node
	for _, h := range hosts {
		f := s.facts[h.Name]
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
		for _, text := range taints {
			id, effect, _ := strings.Cut(text, ":")
			key, value, _ := strings.Cut(id, "=")
			n.Taints = append(n.Taints, workload.Taint{Key: key, Value: value, Effect: effect})
		}
		out = append(out, n)
	}
	return out
}

func workloadOf(t kube.PodTemplate) workload.Workload {
	w := workload.Workload{Object: t.Kind + " " + t.Namespace + "/" + t.Name, Daemon: t.Daemon, Selector: t.Selector, Images: t.Images}
	if t.Required != nil {
		w.Terms = []workload.Term{}
	}
	for _, term := range t.Required {
		one := workload.Term{}
		for _, r := range term {
			one = append(one, workload.Requirement(r))
		}
		w.Terms = append(w.Terms, one)
	}
	for _, o := range t.Tolerations {
		w.Tolerations = append(w.Tolerations, workload.Toleration(o))
	}
	return w
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

// madeFor finds out for which architectures images are made: nodes of an architecture that have it, the bundle, and the registry for the
// rest. What none of them tells stays unknown.
func (s *session) madeFor(ctx context.Context, images []string, on []workload.Node) (func(string, platform.Arch) (workload.Made, string), error) {
	there, err := s.api.ImagesByArch(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string][]platform.Arch{}
	for name, archs := range there {
		for _, text := range archs {
			if arch, err := platform.Parse(text); err == nil {
				known[image.FullName(name)] = append(known[image.FullName(name)], arch)
			}
		}
	}
	for _, i := range s.bundle.Manifest.Images {
		known[image.FullName(i.Ref)] = append(known[image.FullName(i.Ref)], i.Archs...)
	}
	var ask []string
	for _, i := range images {
		if slices.ContainsFunc(on, func(n workload.Node) bool { return !slices.Contains(known[image.FullName(i)], n.Arch) }) {
			ask = append(ask, i)
		}
	}
	told := s.askRegistries(ctx, ask)
	return func(i string, arch platform.Arch) (workload.Made, string) {
		registry, asked := told[i]
		switch {
		case slices.Contains(known[image.FullName(i)], arch), slices.Contains(registry.archs, arch):
			return workload.Yes, ""
		case asked && registry.err == nil:
			return workload.No, ""
		}
		return workload.Unknown, report.OneLine(fmt.Sprint(registry.err))
	}, nil
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
