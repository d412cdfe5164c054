package kube

import (
	"context"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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

var (
	deploymentKind = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	cronJobKind    = schema.GroupKind{Group: "batch", Kind: "CronJob"}
)

// PodTemplates lists what makes pods in all namespaces: DaemonSets, Deployments, StatefulSets, CronJobs, and ReplicaSets,
// ReplicationControllers and Jobs that are not made by one of those. What a custom resource controls goes by the name of that.
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
		var sets []podSet
		for _, o := range replicas.Items {
			sets = append(sets, podSet{"ReplicaSet", o.ObjectMeta, o.Spec.Replicas, o.Status.Replicas, o.Spec.Template.Spec})
		}
		controllers, err := c.core.ReplicationControllers("").List(ctx, all)
		if err != nil {
			return err
		}
		for _, o := range controllers.Items {
			if o.Spec.Template != nil {
				sets = append(sets, podSet{"ReplicationController", o.ObjectMeta, o.Spec.Replicas, o.Status.Replicas, o.Spec.Template.Spec})
			}
		}
		for _, o := range current(sets) {
			if controllerOf(&o.meta) != deploymentKind {
				out = append(out, controlledTemplate(o.kind, o.meta, o.spec))
			}
		}
		jobs, err := c.batch.Jobs("").List(ctx, all)
		if err != nil {
			return err
		}
		for _, o := range jobs.Items {
			if controllerOf(&o) != cronJobKind && !jobEnded(o) {
				out = append(out, controlledTemplate("Job", o.ObjectMeta, o.Spec.Template.Spec))
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

// controlledTemplate goes by the controller's name where there is one: that is what can be changed.
func controlledTemplate(kind string, meta metav1.ObjectMeta, spec corev1.PodSpec) PodTemplate {
	t := templateOf(kind, meta, spec)
	if owner := metav1.GetControllerOf(&meta); owner != nil {
		t.Kind, t.Name = controllerOf(&meta).String(), owner.Name
	}
	return t
}

// controllerOf is the kind of an object's controller; the zero value when it has none. Other groups have kinds of the same names.
func controllerOf(o metav1.Object) schema.GroupKind {
	owner := metav1.GetControllerOf(o)
	if owner == nil {
		return schema.GroupKind{}
	}
	return schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).GroupKind()
}

// podSet keeps a number of pods: a ReplicaSet or a ReplicationController.
type podSet struct {
	kind   string
	meta   metav1.ObjectMeta
	wanted *int32 // nil = one
	has    int32
	spec   corev1.PodSpec
}

// current leaves out the sets that their controller keeps to go back to: those without pods of which a newer one is there.
func current(sets []podSet) []podSet {
	newest := map[types.UID]metav1.Time{}
	for _, s := range sets {
		if owner := metav1.GetControllerOf(&s.meta); owner != nil {
			if last := newest[owner.UID]; last.Before(&s.meta.CreationTimestamp) {
				newest[owner.UID] = s.meta.CreationTimestamp
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(sets), func(s podSet) bool {
		owner := metav1.GetControllerOf(&s.meta)
		if owner == nil || s.has > 0 || s.wanted == nil || *s.wanted > 0 {
			return false
		}
		last := newest[owner.UID]
		return s.meta.CreationTimestamp.Before(&last)
	})
}

func jobEnded(j batchv1.Job) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed)
	})
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
	var out map[string][][]string
	err := c.do(ctx, "list the nodes' images", func(ctx context.Context) error {
		nodes, err := c.core.Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		out = map[string][][]string{}
		for _, n := range nodes.Items {
			out[n.Name] = [][]string{}
			for _, i := range n.Status.Images {
				out[n.Name] = append(out[n.Name], i.Names)
			}
		}
		return nil
	})
	return out, err
}
