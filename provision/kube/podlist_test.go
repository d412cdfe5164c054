package kube

import (
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPodOf(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	restarted := func(name string, times int32) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, RestartCount: times}
	}
	for _, tt := range []struct {
		name   string
		change func(*corev1.Pod)
		want   Pod
	}{
		{"bare", func(*corev1.Pod) {}, Pod{}},
		{"of a set", ownedBy("ReplicaSet"), Pod{Controller: "ReplicaSet"}},
		{"of a Job", func(p *corev1.Pod) {
			ownedBy("Job")(p)
			p.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		}, Pod{Controller: "Job", MayEnd: true}},
		{"restarted", func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{restarted("a", 1), restarted("b", 2)}
		}, Pod{Restarts: 3}},
		{"a sidecar restarted", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "init"}, {Name: "side", RestartPolicy: &always}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{restarted("init", 4), restarted("side", 2)}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{restarted("a", 1)}
		}, Pod{Restarts: 3}},
		{"with ports", func(p *corev1.Pod) {
			p.Spec.HostNetwork = true
			p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: "x"}}
			p.Spec.Containers = []corev1.Container{{Name: "a"}, {Name: "b", Image: "y", Ports: []corev1.ContainerPort{{Name: "dns", ContainerPort: 1053, Protocol: corev1.ProtocolUDP}}}}
		}, Pod{Ports: []ContainerPort{{"dns", "UDP", 1053}}, HostNetwork: true, Images: map[string]string{"first": "x", "a": "", "b": "y"}}},
	} {
		p := &corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways}}
		tt.change(p)
		if got := podOf(p); got.Controller != tt.want.Controller || got.MayEnd != tt.want.MayEnd || got.Restarts != tt.want.Restarts || !slices.Equal(got.Ports, tt.want.Ports) || got.HostNetwork != tt.want.HostNetwork {
			t.Errorf("%s: %+v", tt.name, got)
		} else if tt.want.Images != nil && !maps.Equal(got.Images, tt.want.Images) {
			t.Errorf("%s: images %v", tt.name, got.Images)
		}
	}
}
