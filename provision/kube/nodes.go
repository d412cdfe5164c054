package kube

import (
	"context"
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ControlPlaneKey is the label, and the taint, of control-plane nodes.
const ControlPlaneKey = "node-role.kubernetes.io/control-plane"

// KubeletLabels are those that a kubelet gives its own node.
func KubeletLabels(name, arch string) map[string]string {
	return map[string]string{
		corev1.LabelArchStable: arch, "beta." + corev1.LabelArchStable: arch,
		corev1.LabelOSStable: "linux", "beta." + corev1.LabelOSStable: "linux",
		corev1.LabelHostname: name,
	}
}

// Node is what the API server tells of a Kubernetes Node.
type Node struct {
	Name           string
	Ready          bool
	Unschedulable  bool
	Arch           string // status.nodeInfo.architecture
	ArchLabel      string // kubernetes.io/arch
	OS             string // status.nodeInfo.operatingSystem: linux
	KubeletVersion string
	KernelVersion  string
	Runtime        string // status.nodeInfo.containerRuntimeVersion: containerd://2.1.4
	MachineID      string
	InternalIPs    []string
	PodCIDR        string
	Labels         map[string]string
	Taints         []string // key[=value]:Effect
	ControlPlane   bool
	Applied        string // the annotation hybridctl.dev/applied: which labels and taints are ours
}

// Nodes lists all nodes, sorted by name.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var nodes []Node
	err := c.do(ctx, "list the nodes", func(ctx context.Context) error {
		list, err := c.core.Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		nodes = make([]Node, 0, len(list.Items))
		for i := range list.Items {
			nodes = append(nodes, nodeOf(&list.Items[i]))
		}
		return nil
	})
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, err
}

// HasNode reports whether a kubelet has registered this node.
func (c *Client) HasNode(ctx context.Context, name string) (bool, error) {
	err := c.do(ctx, "look for node "+name, func(ctx context.Context) error {
		_, err := c.core.Nodes().Get(ctx, name, metav1.GetOptions{})
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func nodeOf(n *corev1.Node) Node {
	_, controlPlane := n.Labels[ControlPlaneKey]
	node := Node{
		Name: n.Name, Unschedulable: n.Spec.Unschedulable, PodCIDR: n.Spec.PodCIDR, Labels: n.Labels, ControlPlane: controlPlane,
		Arch: n.Status.NodeInfo.Architecture, ArchLabel: n.Labels[corev1.LabelArchStable], OS: n.Status.NodeInfo.OperatingSystem,
		KernelVersion:  n.Status.NodeInfo.KernelVersion,
		Runtime:        n.Status.NodeInfo.ContainerRuntimeVersion,
		KubeletVersion: n.Status.NodeInfo.KubeletVersion, MachineID: n.Status.NodeInfo.MachineID,
		Applied: n.Annotations[appliedAnnotation],
	}
	if ready := nodeReady(n); ready != nil {
		node.Ready = ready.Status == corev1.ConditionTrue
	}
	for _, address := range n.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			node.InternalIPs = append(node.InternalIPs, address.Address)
		}
	}
	for _, taint := range n.Spec.Taints {
		node.Taints = append(node.Taints, taint.ToString())
	}
	return node
}

func nodeReady(n *corev1.Node) *corev1.NodeCondition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == corev1.NodeReady {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}
