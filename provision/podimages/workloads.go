package podimages

import (
	"context"
	"fmt"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/workload"
)

// Running is what runs in a cluster, as its API server has it.
type Running struct {
	Set     *workload.Set
	World   workload.World // without Known
	Archs   []platform.Arch
	Missing []string // what the user may not list: nothing is known of it
}

// Workloads reads what runs in the cluster of a kubeconfig, whoever made it. The kubeconfig's server has to be reachable from here. Errors: of
// package kube, or of an answer that cannot be read.
func Workloads(ctx context.Context, kubeconfig []byte, o workload.ReadOptions) (Running, error) {
	client, err := kube.New(kubeconfig, kube.Options{})
	if err != nil {
		return Running{}, err
	}
	defer client.Close()
	m, err := client.Manifests(ctx)
	if err != nil {
		return Running{}, err
	}
	r := Running{Set: &workload.Set{}, Missing: m.Missing, World: workload.World{Nodes: m.Nodes, Claims: m.Claims, Volumes: m.Volumes}}
	for _, list := range m.Workloads {
		if err := r.Set.Add(list, o); err != nil {
			return Running{}, fmt.Errorf("what the API server answers cannot be read: %w", err)
		}
	}
	r.Archs = workload.ArchsOf(m.Nodes)
	return r, nil
}

// WorkloadOf is a pod template as package workload takes it.
func WorkloadOf(t kube.PodTemplate) workload.Workload {
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
