package kube

import (
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSeenPods_Templates(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	ns := fresh("seen")
	if err := c.Create(ctx, []byte("{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}")); err != nil {
		t.Fatal(err)
	}
	of := func(version, kind string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			ownedBy(kind)(p)
			p.OwnerReferences[0].APIVersion = version
		}
	}
	podOn(t, c, ns, "bare", "n", nil)
	podOn(t, c, ns, "of-set", "n", of("apps/v1", "ReplicaSet"))
	podOn(t, c, ns, "static", "n", of("v1", "Node"))
	podOn(t, c, ns, "of-other-set", "n", func(p *corev1.Pod) {
		of("apps.kruise.io/v1alpha1", "DaemonSet")(p)
		p.Spec.NodeSelector = map[string]string{"disk": "ssd"}
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"n"}}}}},
		}}}
	})
	podOn(t, c, ns, "waits", "", of("kafka.example/v1", "Broker"))
	podOn(t, c, ns, "done", "n", of("kafka.example/v1", "Finished"))
	setStatus(t, c, ns, "done", corev1.PodStatus{Phase: corev1.PodSucceeded})
	seen, err := c.SeenPods(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, o := range seen.Templates {
		if o.Namespace == ns {
			found = append(found, o.Kind+" "+o.Name+": "+strings.Join(o.Images, ","))
			if o.Required != nil || strings.HasPrefix(o.Kind, "DaemonSet") && o.Selector["disk"] != "ssd" {
				t.Errorf("%+v", o)
			}
		}
	}
	slices.Sort(found)
	if want := []string{"Broker.kafka.example owner: main:1", "DaemonSet.apps.kruise.io owner: main:1"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

func setStatus(t *testing.T, c *Client, namespace, pod string, status corev1.PodStatus) {
	t.Helper()
	p, err := c.core.Pods(namespace).Get(testContext(t), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Status = status
	if _, err := c.core.Pods(namespace).UpdateStatus(testContext(t), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestSeenPods_Ran(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for name, test := range map[string]struct {
		status corev1.ContainerStatus
		want   bool
	}{
		"Ready":                   {corev1.ContainerStatus{Ready: true, State: running}, true},
		"running, not Ready":      {corev1.ContainerStatus{State: running}, false},
		"ended well":              {corev1.ContainerStatus{State: endedWith(0, "Completed", "")}, true},
		"ended badly":             {corev1.ContainerStatus{State: endedWith(1, "Error", "exec format error")}, false},
		"crashes again and again": {corev1.ContainerStatus{State: waitingFor("CrashLoopBackOff", ""), LastTerminationState: endedWith(255, "Error", "")}, false},
		"not started":             {corev1.ContainerStatus{State: waitingFor("PodInitializing", "")}, false},
	} {
		test.status.Name = "c"
		containers := []corev1.Container{{Name: "other", Image: "other:1"}, {Name: "c", Image: "x:1"}}
		for _, p := range []corev1.Pod{
			{Spec: corev1.PodSpec{NodeName: "n", Containers: containers}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{test.status}}},
			{Spec: corev1.PodSpec{NodeName: "n", InitContainers: containers}, Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{test.status}}},
		} {
			seen := SeenPods{Ran: map[string][]string{}}
			seen.add(&p)
			seen.add(&p)
			if got := slices.Collect(maps.Keys(seen.Ran)); slices.Equal(got, []string{"x:1"}) != test.want || test.want && !slices.Equal(seen.Ran["x:1"], []string{"n"}) {
				t.Errorf("%s: %v", name, seen.Ran)
			}
		}
	}
}
