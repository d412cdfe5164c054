package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridctl/hybridctl/provision/report"
)

// makeNode creates a node object, as a kubelet would, and removes it after the test.
func makeNode(t *testing.T, c *Client, node *corev1.Node) *corev1.Node {
	t.Helper()
	node.Name = strings.ToLower(node.Name)
	status := node.Status
	made, err := c.core.Nodes().Create(t.Context(), node, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.core.Nodes().Delete(context.Background(), made.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	made.Status = status
	if made, err = c.core.Nodes().UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return made
}

func getNode(t *testing.T, c *Client, name string) Node {
	t.Helper()
	nodes, err := c.Nodes(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		t.Fatalf("no node %s", name)
	}
	return nodes[i]
}

func TestNodes(t *testing.T) {
	c := sharedClient(t)
	makeNode(t, c, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "nodes-b", Labels: map[string]string{ControlPlaneKey: "", corev1.LabelArchStable: "arm64"}},
		Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24", PodCIDRs: []string{"10.244.1.0/24"}, Unschedulable: true, Taints: []corev1.Taint{
			{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule},
			{Key: "dedicated", Value: "db", Effect: corev1.TaintEffectNoExecute},
		}},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeHostName, Address: "nodes-b"}, {Type: corev1.NodeInternalIP, Address: "10.0.0.2"}, {Type: corev1.NodeInternalIP, Address: "fd00::2"},
			},
			NodeInfo:   corev1.NodeSystemInfo{Architecture: "arm64", KubeletVersion: "v1.36.3", MachineID: "abc"},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	})
	makeNode(t, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "nodes-a"}})

	got := getNode(t, c, "nodes-b")
	want := Node{
		Name: "nodes-b", Ready: true, Unschedulable: true, Arch: "arm64", ArchLabel: "arm64", KubeletVersion: "v1.36.3", MachineID: "abc",
		InternalIPs: []string{"10.0.0.2", "fd00::2"}, PodCIDR: "10.244.1.0/24", ControlPlane: true,
		Labels: map[string]string{ControlPlaneKey: "", corev1.LabelArchStable: "arm64"},
		Taints: []string{"node-role.kubernetes.io/control-plane:NoSchedule", "dedicated=db:NoExecute"},
	}
	got.Taints = slices.DeleteFunc(got.Taints, func(taint string) bool { return strings.HasPrefix(taint, "node.kubernetes.io/") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if other := getNode(t, c, "nodes-a"); other.Ready || other.ControlPlane {
		t.Errorf("a node without status: %+v", other)
	}
}

func TestHasNode(t *testing.T) {
	c := sharedClient(t)
	makeNode(t, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "has-node"}})
	for name, want := range map[string]bool{"has-node": true, "nobody": false} {
		if got, err := c.HasNode(testContext(t), name); err != nil || got != want {
			t.Errorf("%s: %v, error %v", name, got, err)
		}
	}
}

func TestApplyNode(t *testing.T) {
	c := sharedClient(t)
	makeNode(t, c, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "apply-node", Labels: map[string]string{"theirs": "1", "shared": "old"}},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: "theirs", Effect: corev1.TaintEffectNoSchedule}}},
	})
	steps := []struct {
		name       string
		labels     map[string]string
		taints     []string
		want       report.Action
		haveLabels map[string]string
		haveTaints []string
	}{
		{"nothing wanted, nothing done", nil, nil, report.Unchanged,
			map[string]string{"theirs": "1", "shared": "old"}, []string{"theirs:NoSchedule"}},
		{"first time", map[string]string{"rack": "a1", "shared": "new"}, []string{"dedicated=db:NoSchedule"}, report.Created,
			map[string]string{"theirs": "1", "shared": "new", "rack": "a1"}, []string{"theirs:NoSchedule", "dedicated=db:NoSchedule"}},
		{"again", map[string]string{"rack": "a1", "shared": "new"}, []string{"dedicated=db:NoSchedule"}, report.Unchanged,
			map[string]string{"theirs": "1", "shared": "new", "rack": "a1"}, []string{"theirs:NoSchedule", "dedicated=db:NoSchedule"}},
		{"other values", map[string]string{"rack": "a2", "shared": "new"}, []string{"dedicated=web:NoSchedule", "x:NoExecute"}, report.Configured,
			map[string]string{"theirs": "1", "shared": "new", "rack": "a2"}, []string{"theirs:NoSchedule", "dedicated=web:NoSchedule", "x:NoExecute"}},
		{"less", map[string]string{"rack": "a2"}, []string{"x:NoExecute"}, report.Configured,
			map[string]string{"theirs": "1", "rack": "a2"}, []string{"theirs:NoSchedule", "x:NoExecute"}},
		{"nothing", nil, nil, report.Configured,
			map[string]string{"theirs": "1"}, []string{"theirs:NoSchedule"}},
	}
	for _, step := range steps {
		before, err := c.core.Nodes().Get(t.Context(), "apply-node", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if in := NodeInPlace(nodeOf(before), step.labels, step.taints); in != (step.want == report.Unchanged) {
			t.Errorf("%s: NodeInPlace = %v before", step.name, in)
		}
		action, err := c.ApplyNode(testContext(t), "apply-node", step.labels, step.taints)
		if err != nil || action != step.want {
			t.Fatalf("%s: %s, %v; want %s", step.name, action, err, step.want)
		}
		after, err := c.core.Nodes().Get(t.Context(), "apply-node", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if written := before.ResourceVersion != after.ResourceVersion; written != (step.want != report.Unchanged) {
			t.Errorf("%s: written = %v", step.name, written)
		}
		node := nodeOf(after)
		node.Taints = slices.DeleteFunc(node.Taints, func(taint string) bool { return strings.HasPrefix(taint, "node.kubernetes.io/") })
		if diff := cmp.Diff(step.haveLabels, node.Labels); diff != "" {
			t.Errorf("%s: labels:\n%s", step.name, diff)
		}
		if diff := cmp.Diff(step.haveTaints, node.Taints); diff != "" {
			t.Errorf("%s: taints:\n%s", step.name, diff)
		}
		if !NodeInPlace(node, step.labels, step.taints) {
			t.Errorf("%s: not in place after", step.name)
		}
	}
}

// Kubelets and controllers write nodes all the time, so two writers must not lose each other's changes.
func TestApplyNode_ConflictsAreRetried(t *testing.T) {
	c := sharedClient(t)
	makeNode(t, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "conflict-node"}})
	const writers = 8
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			if _, err := c.ApplyNode(testContext(t), "conflict-node", map[string]string{fmt.Sprint("w", i): "1"}, []string{fmt.Sprintf("w%d:NoSchedule", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// Each writer takes the ones before for its own, so exactly one set is left, whole.
	node := getNode(t, c, "conflict-node")
	taints := slices.DeleteFunc(node.Taints, func(taint string) bool { return !strings.HasPrefix(taint, "w") })
	if len(node.Labels) != 1 || len(taints) != 1 {
		t.Fatalf("labels %v, taints %v: want one of each", node.Labels, taints)
	}
	for key := range node.Labels {
		if taints[0] != key+":NoSchedule" {
			t.Errorf("label %s with taint %s: two writers are mixed", key, taints[0])
		}
	}
}

func TestApplyNode_Refused(t *testing.T) {
	c := sharedClient(t)
	makeNode(t, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "refused-node"}})
	tests := []struct {
		name   string
		node   string
		labels map[string]string
		taints []string
		want   error
	}{
		{"no such node", "nobody", map[string]string{"a": "b"}, nil, ErrNotFound},
		{"bad label", "refused-node", map[string]string{"a b": "c"}, nil, ErrInvalid},
		{"no effect", "refused-node", nil, []string{"dedicated=db"}, ErrInvalid},
		{"unknown effect", "refused-node", nil, []string{"dedicated=db:Never"}, ErrInvalid},
		{"no key", "refused-node", nil, []string{"=db:NoSchedule"}, ErrInvalid},
	}
	for _, tt := range tests {
		action, err := c.ApplyNode(testContext(t), tt.node, tt.labels, tt.taints)
		if !errors.Is(err, tt.want) || action != report.Failed {
			t.Errorf("%s: %s, %v; want %v", tt.name, action, err, tt.want)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", tt.name, err)
		}
	}
}

func TestNodeInPlace_DamagedMemoryRemovesNothing(t *testing.T) {
	node := Node{Labels: map[string]string{"theirs": "1"}, Taints: []string{"theirs:NoSchedule"}, Applied: "{broken"}
	if NodeInPlace(node, nil, nil) {
		t.Error("the damaged annotation should be mended")
	}
	taints, err := parseTaints(node.Taints)
	if err != nil {
		t.Fatal(err)
	}
	if got := mergeTaints(taints, nil, readApplied(node.Applied).Taints); len(got) != 1 {
		t.Errorf("taints = %v, want theirs kept", got)
	}
}
