package kube

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRunsOn(t *testing.T) {
	required := func(terms ...corev1.NodeSelectorTerm) *corev1.Affinity {
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}}
	}
	expression := func(key string, op corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}
	}
	field := func(op corev1.NodeSelectorOperator, name string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: op, Values: []string{name}}}}
	}
	taint := func(key string, effect corev1.TaintEffect) []corev1.Taint {
		return []corev1.Taint{{Key: key, Effect: effect}}
	}
	labels := map[string]string{"kubernetes.io/arch": "arm64", "cores": "8"}
	tests := []struct {
		name   string
		spec   corev1.PodSpec
		taints []corev1.Taint
		want   bool
	}{
		{"nothing asked", corev1.PodSpec{}, nil, true},
		{"node name", corev1.PodSpec{NodeName: "other"}, nil, false},
		{"selector", corev1.PodSpec{NodeSelector: map[string]string{"kubernetes.io/arch": "arm64"}}, nil, true},
		{"selector of another", corev1.PodSpec{NodeSelector: map[string]string{"kubernetes.io/arch": "amd64"}}, nil, false},
		{"In", corev1.PodSpec{Affinity: required(expression("kubernetes.io/arch", "In", "amd64", "arm64"))}, nil, true},
		{"NotIn", corev1.PodSpec{Affinity: required(expression("kubernetes.io/arch", "NotIn", "arm64"))}, nil, false},
		{"Exists", corev1.PodSpec{Affinity: required(expression("gpu", "Exists"))}, nil, false},
		{"DoesNotExist", corev1.PodSpec{Affinity: required(expression("gpu", "DoesNotExist"))}, nil, true},
		{"Gt", corev1.PodSpec{Affinity: required(expression("cores", "Gt", "4"))}, nil, true},
		{"Lt", corev1.PodSpec{Affinity: required(expression("cores", "Lt", "4"))}, nil, false},
		{"one of two terms", corev1.PodSpec{Affinity: required(expression("gpu", "Exists"), field("In", "here"))}, nil, true},
		{"field of another", corev1.PodSpec{Affinity: required(field("In", "other"))}, nil, false},
		{"field not of another", corev1.PodSpec{Affinity: required(field("NotIn", "other"))}, nil, true},
		{"an empty term", corev1.PodSpec{Affinity: required(corev1.NodeSelectorTerm{})}, nil, false},
		{"an unknown operator", corev1.PodSpec{Affinity: required(expression("cores", "Near", "4"))}, nil, false},
		{"only preferred", corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}}, nil, true},
		{"a taint", corev1.PodSpec{}, taint("dedicated", "NoSchedule"), false},
		{"a taint that evicts", corev1.PodSpec{}, taint("dedicated", "NoExecute"), false},
		{"a taint that is tolerated", corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "dedicated", Operator: "Exists"}}}, taint("dedicated", "NoSchedule"), true},
		{"all is tolerated", corev1.PodSpec{Tolerations: []corev1.Toleration{{Operator: "Exists"}}}, taint("dedicated", "NoExecute"), true},
		{"a soft taint", corev1.PodSpec{}, taint("dedicated", "PreferNoSchedule"), true},
		{"a node that is not Ready", corev1.PodSpec{}, taint("node.kubernetes.io/not-ready", "NoExecute"), true},
		{"a cordoned node", corev1.PodSpec{}, taint("node.kubernetes.io/unschedulable", "NoSchedule"), true},
		{"no network", corev1.PodSpec{}, taint("node.kubernetes.io/network-unavailable", "NoSchedule"), false},
		{"no network, host network", corev1.PodSpec{HostNetwork: true}, taint("node.kubernetes.io/network-unavailable", "NoSchedule"), true},
	}
	for _, tt := range tests {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here", Labels: labels}, Spec: corev1.NodeSpec{Taints: tt.taints}}
		set := &appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Template: corev1.PodTemplateSpec{Spec: tt.spec}}}
		if got := runsOn(set, node); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
