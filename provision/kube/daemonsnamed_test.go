package kube

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A DaemonSet that is named has to be there and to want the node: one that a taint keeps away is not a pass.
func TestDaemons_Named(t *testing.T) {
	set := func(name string, tolerations ...corev1.Toleration) *appsv1.DaemonSet {
		s := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-flannel", Name: name}}
		s.Spec.Template.Spec.Tolerations = tolerations
		return s
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "arm-1"}}
	node.Spec.Taints = []corev1.Taint{{Key: "dedicated", Effect: corev1.TaintEffectNoExecute}}
	noSchedule := corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}
	everything := corev1.Toleration{Operator: corev1.TolerationOpExists}
	for _, c := range []struct {
		name  string
		named []string
		sets  []*appsv1.DaemonSet
		want  string // in what is missing; empty = nothing but the pods of those that want the node
	}{
		{"none is named", nil, nil, ""},
		{"none is there", []string{"kube-flannel/kube-flannel-ds"}, nil, "daemonset kube-flannel/kube-flannel-ds on arm-1: there is no such DaemonSet"},
		{"another is there", []string{"kube-flannel/kube-flannel-ds"}, []*appsv1.DaemonSet{set("other", everything)}, "there is no such DaemonSet"},
		{"a taint keeps it away", []string{"kube-flannel/kube-flannel-ds"}, []*appsv1.DaemonSet{set("kube-flannel-ds", noSchedule)}, "it wants no pod there"},
		{"it tolerates everything", []string{"kube-flannel/kube-flannel-ds"}, []*appsv1.DaemonSet{set("kube-flannel-ds", everything)}, ""},
		{"any, and none", []string{"*/*"}, nil, "there is no such DaemonSet"},
		{"any, and all are kept away", []string{"*/*"}, []*appsv1.DaemonSet{set("a"), set("b", noSchedule)}, "it wants no pod there"},
		{"any, and one wants it", []string{"*/*"}, []*appsv1.DaemonSet{set("a"), set("b", everything)}, ""},
	} {
		d := daemons{sets: c.sets, nodes: map[string]*corev1.Node{"arm-1": node}, named: c.named}
		missing, _ := d.missing([]string{"arm-1"}, newSettling(0), time.Now())
		var named []string
		for _, m := range missing {
			if m.Reason != "no pod yet" {
				named = append(named, m.String())
			}
		}
		if got := strings.Join(named, "; "); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
