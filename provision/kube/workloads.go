package kube

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodTemplate is an object that makes pods, with what decides where they may run.
type PodTemplate struct {
	Kind, Namespace, Name string
	Daemon                bool // its controller puts a pod on every node that the template allows
	Selector              map[string]string
	// Required are the terms of the required node affinity, of which one has to match; nil = none is required.
	Required    [][]NodeRequirement
	Tolerations []Toleration
	Images      []string // of its containers and init containers
}

// NodeRequirement is one of a node selector term.
type NodeRequirement struct {
	Key, Operator string
	Values        []string
	Field         bool // of the node's fields, not of its labels
}

// Toleration is the API's own.
type Toleration struct{ Key, Operator, Value, Effect string }

// PodTemplates lists what makes pods in all namespaces: DaemonSets, Deployments, StatefulSets, Jobs and CronJobs, and ReplicaSets and
// Jobs that belong to nobody else.
func (c *Client) PodTemplates(ctx context.Context) ([]PodTemplate, error) {
	var out []PodTemplate
	err := c.do(ctx, "list the workloads", func(ctx context.Context) error {
		out = nil
		all := metav1.ListOptions{}
		daemons, err := c.apps.DaemonSets("").List(ctx, all)
		if err != nil {
			return err
		}
		for _, o := range daemons.Items {
			t := templateOf("DaemonSet", o.ObjectMeta, o.Spec.Template.Spec)
			t.Daemon = true
			for _, added := range daemonTolerations(o.Spec.Template.Spec.HostNetwork) {
				t.Tolerations = append(t.Tolerations, tolerationOf(added))
			}
			out = append(out, t)
		}
		deployments, err := c.apps.Deployments("").List(ctx, all)
		if err != nil {
			return err
		}
		for _, o := range deployments.Items {
			out = append(out, templateOf("Deployment", o.ObjectMeta, o.Spec.Template.Spec))
		}
		stateful, err := c.apps.StatefulSets("").List(ctx, all)
		if err != nil {
			return err
		}
		for _, o := range stateful.Items {
			out = append(out, templateOf("StatefulSet", o.ObjectMeta, o.Spec.Template.Spec))
		}
		replicas, err := c.apps.ReplicaSets("").List(ctx, all)
		if err != nil {
			return err
		}
		for _, o := range replicas.Items {
			if metav1.GetControllerOf(&o) == nil {
				out = append(out, templateOf("ReplicaSet", o.ObjectMeta, o.Spec.Template.Spec))
			}
		}
		jobs, err := c.batch.Jobs("").List(ctx, all)
		if err != nil {
			return err
		}
		for _, o := range jobs.Items {
			if metav1.GetControllerOf(&o) == nil && o.Status.CompletionTime == nil {
				out = append(out, templateOf("Job", o.ObjectMeta, o.Spec.Template.Spec))
			}
		}
		crons, err := c.batch.CronJobs("").List(ctx, all)
		if err != nil {
			return err
		}
		for _, o := range crons.Items {
			out = append(out, templateOf("CronJob", o.ObjectMeta, o.Spec.JobTemplate.Spec.Template.Spec))
		}
		return nil
	})
	return out, err
}

func templateOf(kind string, meta metav1.ObjectMeta, spec corev1.PodSpec) PodTemplate {
	t := PodTemplate{Kind: kind, Namespace: meta.Namespace, Name: meta.Name, Selector: spec.NodeSelector, Required: requiredOf(spec.Affinity)}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		t.Images = append(t.Images, c.Image)
	}
	for _, o := range spec.Tolerations {
		t.Tolerations = append(t.Tolerations, tolerationOf(o))
	}
	return t
}

func tolerationOf(o corev1.Toleration) Toleration {
	return Toleration{Key: o.Key, Operator: string(o.Operator), Value: o.Value, Effect: string(o.Effect)}
}

func requiredOf(a *corev1.Affinity) [][]NodeRequirement {
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	out := [][]NodeRequirement{}
	for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		one := []NodeRequirement{}
		for _, r := range term.MatchExpressions {
			one = append(one, NodeRequirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values})
		}
		for _, r := range term.MatchFields {
			one = append(one, NodeRequirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values, Field: true})
		}
		out = append(out, one)
	}
	return out
}

// NodeImages lists, by node, the images that its runtime has, each with all its names. A kubelet tells of fifty images at most.
func (c *Client) NodeImages(ctx context.Context) (map[string][][]string, error) {
	out := map[string][][]string{}
	nodes, err := c.nodesWithImages(ctx)
	for _, n := range nodes {
		out[n.Name] = [][]string{}
		for _, i := range n.Status.Images {
			out[n.Name] = append(out[n.Name], i.Names)
		}
	}
	return out, err
}

// ImagesByArch tells which images the runtimes of the cluster's nodes have, by every name, and of which architectures those nodes are. A
// kubelet tells of fifty images at most.
func (c *Client) ImagesByArch(ctx context.Context) (map[string][]string, error) {
	out := map[string][]string{}
	nodes, err := c.nodesWithImages(ctx)
	for _, n := range nodes {
		arch := n.Status.NodeInfo.Architecture
		for _, i := range n.Status.Images {
			for _, name := range i.Names {
				if !slices.Contains(out[name], arch) {
					out[name] = append(out[name], arch)
				}
			}
		}
	}
	return out, err
}

func (c *Client) nodesWithImages(ctx context.Context) ([]corev1.Node, error) {
	var nodes []corev1.Node
	err := c.do(ctx, "list the nodes' images", func(ctx context.Context) error {
		list, err := c.core.Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		nodes = list.Items
		return nil
	})
	return nodes, err
}
