package kube

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// podProblem is why a pod is not Ready, in one line; "" when it is.
func podProblem(pod *corev1.Pod) string {
	ready := podCondition(pod, corev1.PodReady)
	switch {
	case pod.DeletionTimestamp != nil:
		return "is being deleted"
	case ready != nil && ready.Status == corev1.ConditionTrue:
		return ""
	case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		return oneLine(fmt.Sprintf("has ended: %s %s", pod.Status.Reason, pod.Status.Message))
	}
	if reason := containerProblem(pod); reason != "" {
		return reason
	}
	if scheduled := podCondition(pod, corev1.PodScheduled); scheduled != nil && scheduled.Status == corev1.ConditionFalse {
		return oneLine("not scheduled: " + scheduled.Message)
	}
	if pod.Spec.NodeName != "" && len(pod.Status.ContainerStatuses)+len(pod.Status.InitContainerStatuses) == 0 {
		return "its kubelet has not started it yet"
	}
	return "not Ready yet"
}

// containerProblem is that of the first container, in the order they start, that is not well.
func containerProblem(pod *corev1.Pod) string {
	for _, status := range pod.Status.InitContainerStatuses {
		done := status.State.Terminated != nil && status.State.Terminated.ExitCode == 0
		sidecar := status.Started != nil && *status.Started && status.Ready
		if !done && !sidecar {
			return "init container " + status.Name + ": " + stateProblem(status)
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if !status.Ready {
			return "container " + status.Name + ": " + stateProblem(status)
		}
	}
	return ""
}

// stateProblem is what a container waits for or died of, with its last words.
func stateProblem(status corev1.ContainerStatus) string {
	last := status.LastTerminationState.Terminated
	switch state := status.State; {
	case state.Terminated != nil:
		return endOf(state.Terminated)
	case state.Waiting != nil && last != nil:
		return fmt.Sprintf("%s, restarted %d times, %s", state.Waiting.Reason, status.RestartCount, endOf(last))
	case state.Waiting != nil && state.Waiting.Message != "":
		return oneLine(state.Waiting.Reason + ": " + state.Waiting.Message)
	case state.Waiting != nil:
		return state.Waiting.Reason
	case last != nil:
		return fmt.Sprintf("running, not Ready, restarted %d times, %s", status.RestartCount, endOf(last))
	}
	return "running, not Ready"
}

// endOf tells how a container ended. The end of its message is its last words.
func endOf(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("last ended with exit code %d", t.ExitCode)
	if t.Signal != 0 {
		text = fmt.Sprintf("last ended by signal %d", t.Signal)
	}
	if t.Reason != "" && t.Reason != "Error" {
		text += " (" + t.Reason + ")"
	}
	if t.Message == "" {
		return text
	}
	return text + ": " + lastWords(t.Message)
}

// lastWords is the end of what a container said, on one line: errors come last.
func lastWords(message string) string {
	runes := []rune(strings.Join(strings.Fields(message), " "))
	if len(runes) > maxReason {
		return "…" + string(runes[len(runes)-maxReason:])
	}
	return string(runes)
}

// podState changes whenever a pod is replaced, becomes Ready again, or has a container restarted.
func podState(pod *corev1.Pod) (state string, since time.Time) {
	state = string(pod.UID)
	if ready := podCondition(pod, corev1.PodReady); ready != nil {
		since = ready.LastTransitionTime.Time
		state += " " + since.String()
	}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, status := range statuses {
			state += fmt.Sprintf(" %s %d", status.Name, status.RestartCount)
			if status.State.Running != nil && status.State.Running.StartedAt.After(since) {
				since = status.State.Running.StartedAt.Time
			}
		}
	}
	return state, since
}

func podCondition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == kind {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// trimPod keeps what waits look at, of the pods that a controller of that kind made.
func trimPod(controller string) func(runtime.Object) bool {
	return func(object runtime.Object) bool {
		pod, ok := object.(*corev1.Pod)
		if !ok {
			return false
		}
		owner := metav1.GetControllerOf(pod)
		if owner == nil || owner.Kind != controller {
			return false
		}
		pod.ManagedFields, pod.Annotations = nil, nil
		pod.Spec = corev1.PodSpec{NodeName: pod.Spec.NodeName, Affinity: pod.Spec.Affinity}
		return true
	}
}
