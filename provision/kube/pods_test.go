package kube

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func waitingFor(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func endedWith(code int32, reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}
}

func TestPodProblem(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	ready := []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	started := true
	containers := func(statuses ...corev1.ContainerStatus) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: statuses}
	}
	tests := []struct {
		name   string
		status corev1.PodStatus
		want   string
	}{
		{"Ready", corev1.PodStatus{Conditions: ready}, ""},
		{"not scheduled", corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/2 nodes are available"}}}, "not scheduled: 0/2 nodes are available"},
		{"not seen", corev1.PodStatus{}, "its kubelet has not started it yet"},
		{"evicted", corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "disk pressure"}, "has ended: Evicted disk pressure"},
		{"no image", containers(corev1.ContainerStatus{Name: "proxy", State: waitingFor("ImagePullBackOff", "Back-off pulling\nimage x")}),
			"container proxy: ImagePullBackOff: Back-off pulling image x"},
		{"crashes", containers(corev1.ContainerStatus{Name: "flannel", RestartCount: 4, State: waitingFor("CrashLoopBackOff", "back-off 40s"),
			LastTerminationState: endedWith(1, "Error", "starting\nno default route\n")}),
			"container flannel: CrashLoopBackOff, restarted 4 times, last ended with exit code 1: starting no default route"},
		{"killed", containers(corev1.ContainerStatus{Name: "a", State: endedWith(137, "OOMKilled", "")}), "container a: last ended with exit code 137 (OOMKilled)"},
		{"by signal", containers(corev1.ContainerStatus{Name: "a", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{Signal: 9}}}), "container a: last ended by signal 9"},
		{"init container", corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{
			{Name: "one", State: endedWith(0, "Completed", "")}, {Name: "two", State: waitingFor("CreateContainerConfigError", "")}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "a", State: waitingFor("PodInitializing", "")}}}, "init container two: CreateContainerConfigError"},
		{"sidecar", corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: "side", Started: &started, Ready: true, State: running}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "a", State: running}}}, "container a: running, not Ready"},
		{"running again", containers(corev1.ContainerStatus{Name: "a", State: running, RestartCount: 1, LastTerminationState: endedWith(2, "", "")}),
			"container a: running, not Ready, restarted 1 times, last ended with exit code 2"},
		{"gate", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "a", Ready: true, State: running}}}, "not Ready yet"},
	}
	for _, tt := range tests {
		pod := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n"}, Status: tt.status}
		if got := podProblem(pod); got != tt.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, tt.want)
		}
	}
	going := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}}, Status: corev1.PodStatus{Conditions: ready}}
	if got := podProblem(going); got != "is being deleted" {
		t.Errorf("a pod that goes: %q", got)
	}
}

func TestPodState_ChangesWithEveryRestart(t *testing.T) {
	started := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	pod := func(restarts int32, ready, running time.Time) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "a"}, Status: corev1.PodStatus{
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, LastTransitionTime: metav1.NewTime(ready)}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "c", RestartCount: restarts, State: corev1.ContainerState{
				Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(running)}}}},
		}}
	}
	first, since := podState(pod(0, started.Add(time.Minute), started))
	if !since.Equal(started.Add(time.Minute)) {
		t.Errorf("since %v, want when it became Ready", since)
	}
	if second, since := podState(pod(1, started.Add(time.Minute), started.Add(time.Hour))); second == first || !since.Equal(started.Add(time.Hour)) {
		t.Errorf("after a restart that nobody saw: %q since %v", second, since)
	}
	if other, _ := podState(pod(0, started.Add(2*time.Minute), started)); other == first {
		t.Error("Ready anew is the same state")
	}
}

func TestEndOf_KeepsTheLastWords(t *testing.T) {
	message := strings.Repeat("log line\n", 1000) + "the cause"
	got := endOf(endedWith(1, "Error", message).Terminated)
	if !strings.HasSuffix(got, "the cause") || len(got) > 2*maxReason || strings.Contains(got, "\n") {
		t.Errorf("got %q", got)
	}
}

func TestDeploymentProblem(t *testing.T) {
	two := int32(2)
	deployment := func(change func(*appsv1.Deployment)) *appsv1.Deployment {
		d := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Generation: 2},
			Spec:       appsv1.DeploymentSpec{Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "dns"}}},
			Status:     appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2},
		}
		change(d)
		return d
	}
	pods := []*corev1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Name: "a-other"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "dns-b", Labels: map[string]string{"app": "dns"}}, Status: corev1.PodStatus{
			ContainerStatuses: []corev1.ContainerStatus{{Name: "coredns", State: waitingFor("ErrImagePull", "")}}}},
	}
	tests := []struct {
		name   string
		change func(*appsv1.Deployment)
		want   string
	}{
		{"complete", func(*appsv1.Deployment) {}, ""},
		{"not seen", func(d *appsv1.Deployment) { d.Generation = 3 }, "its controller has not seen its present form yet"},
		{"one short", func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 1 }, "1 of 2 replicas available: pod dns-b: container coredns: ErrImagePull"},
		{"old ones left", func(d *appsv1.Deployment) { d.Status.Replicas = 3 }, "2 of 2 replicas available: pod dns-b: container coredns: ErrImagePull"},
		{"quota", func(d *appsv1.Deployment) {
			d.Status.AvailableReplicas = 0
			d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "exceeded quota"}}
		}, "0 of 2 replicas available: exceeded quota"},
	}
	for _, tt := range tests {
		if got := deploymentProblem(deployment(tt.change), pods); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
