package kube

import (
	"context"
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// makeDaemonSet creates one that runs on nodes labelled group=name, and removes it after the test.
func makeDaemonSet(t *testing.T, c *Client, name string) *appsv1.DaemonSet {
	t.Helper()
	sets, labels := c.apps.DaemonSets("kube-system"), map[string]string{"app": name}
	made, err := sets.Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{NodeSelector: map[string]string{"group": name}, Containers: []corev1.Container{{Name: "agent", Image: "x"}},
				Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sets.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return made
}

// observe plays the controller that has looked at the DaemonSet's present form.
func observe(t *testing.T, c *Client, name string) *appsv1.DaemonSet {
	t.Helper()
	sets := c.apps.DaemonSets("kube-system")
	set, err := sets.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	set.Status.ObservedGeneration = set.Generation
	if set, err = sets.UpdateStatus(t.Context(), set, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return set
}

// makePod plays the controller that makes the DaemonSet's pod for a node, and the scheduler.
func makePod(t *testing.T, c *Client, set *appsv1.DaemonSet, name, node string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{templateLabel: set.Annotations[appsv1.DeprecatedTemplateGeneration]},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))}},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "agent", Image: "x"}}, Tolerations: set.Spec.Template.Spec.Tolerations},
	}
	if _, err := c.core.Pods("kube-system").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deletePod(t, c, name) })
}

func deletePod(t *testing.T, c *Client, name string) {
	t.Helper()
	var now int64
	err := c.core.Pods("kube-system").Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// setPod plays the kubelet.
func setPod(t *testing.T, c *Client, name string, ready corev1.ConditionStatus, container corev1.ContainerStatus) {
	t.Helper()
	pods := c.core.Pods("kube-system")
	pod, err := pods.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	container.Name, container.Ready = "agent", ready == corev1.ConditionTrue
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{container}
	if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestWaitDaemonSets(t *testing.T) {
	c := sharedClient(t)
	const window = 1500 * time.Millisecond
	for _, name := range []string{"ds-a", "ds-b"} {
		makeNode(t, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"group": "stable"}}})
	}
	makeDaemonSet(t, c, "stable")
	makeDaemonSet(t, c, "elsewhere") // wants no pod on these nodes
	told, done := make(chan []Missing, 100), make(chan error, 1)
	go func() { // ds-b, where nothing runs, is not asked for
		done <- c.WaitDaemonSets(testContext(t), []string{"ds-a"}, WaitOptions{Window: window, Progress: progressTo(told)})
	}()
	const on = "daemonset kube-system/stable on ds-a: "
	running := corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}}

	expectProgress(t, told, on+"its controller has not seen its present form yet")
	set := observe(t, c, "stable")
	expectProgress(t, told, on+"no pod yet")
	makePod(t, c, set, "stable-1", "ds-a")
	expectProgress(t, told, on+"pod stable-1: its kubelet has not started it yet")
	setPod(t, c, "stable-1", corev1.ConditionFalse, corev1.ContainerStatus{State: waitingFor("ContainerCreating", "")})
	expectProgress(t, told, on+"pod stable-1: container agent: ContainerCreating")
	setPod(t, c, "stable-1", corev1.ConditionTrue, running)
	expectProgress(t, told, on+"pod stable-1: Ready without a restart for less than 1.5s")

	restarted := running
	restarted.RestartCount = 1
	setPod(t, c, "stable-1", corev1.ConditionFalse, restarted) // within the window
	expectProgress(t, told, on+"pod stable-1: container agent: running, not Ready")
	setPod(t, c, "stable-1", corev1.ConditionTrue, restarted)
	expectProgress(t, told, on+"pod stable-1: Ready without a restart for less than 1.5s")

	// A new template within the window: the old pod does not count any more.
	patch := []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"agent","image":"y"}]}}}}`)
	if _, err := c.apps.DaemonSets("kube-system").Patch(t.Context(), "stable", types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	expectProgress(t, told, on+"its controller has not seen its present form yet")
	set = observe(t, c, "stable")
	expectProgress(t, told, on+"pod stable-1: is of an older template")
	deletePod(t, c, "stable-1")
	expectProgress(t, told, on+"no pod yet")
	makePod(t, c, set, "stable-2", "ds-a")
	setPod(t, c, "stable-2", corev1.ConditionTrue, running)
	lastReady := time.Now()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(lastReady); took < window-100*time.Millisecond {
		t.Errorf("waited %v after the last change, want the window of %v", took, window)
	}
}

func TestWaitDaemonSets_SaysWhichPodAndWhy(t *testing.T) {
	c := sharedClient(t)
	tests := []struct {
		name      string
		container corev1.ContainerStatus
		want      string
	}{
		{"pull", corev1.ContainerStatus{State: waitingFor("ImagePullBackOff", "Back-off pulling image x")},
			"container agent: ImagePullBackOff: Back-off pulling image x"},
		{"crash", corev1.ContainerStatus{RestartCount: 3, State: waitingFor("CrashLoopBackOff", "back-off"), LastTerminationState: endedWith(1, "Error", "exec format error")},
			"container agent: CrashLoopBackOff, restarted 3 times, last ended with exit code 1: exec format error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			node, name := "why-"+tt.name, "ds-"+tt.name
			makeNode(t, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{"group": name}}})
			makeDaemonSet(t, c, name)
			makePod(t, c, observe(t, c, name), name+"-1", node)
			setPod(t, c, name+"-1", corev1.ConditionFalse, tt.container)
			reason := "daemonset kube-system/" + name + " on " + node + ": pod " + name + "-1: " + tt.want
			ctx, progress := expireWhenTold(t, reason)
			err := c.WaitDaemonSets(ctx, []string{node}, WaitOptions{Progress: progress})
			want := "DaemonSet pods not ready: " + reason
			if !errors.Is(err, ErrNotReady) || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestWaitDaemonSets_NodeThatIsNotThere(t *testing.T) {
	ctx, progress := expireWhenTold(t, "node nobody: has not joined")
	err := sharedClient(t).WaitDaemonSets(ctx, []string{"nobody"}, WaitOptions{Progress: progress})
	if want := "DaemonSet pods not ready: node nobody: has not joined"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestNodeOfPod_BeforeItIsScheduled(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
			{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"arm-1"}}}}}}}}}}
	if got := nodeOfPod(pod); got != "arm-1" {
		t.Errorf("got %q", got)
	}
}
