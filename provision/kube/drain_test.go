package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podOn makes a pod on a node.
func podOn(t *testing.T, c *Client, namespace, name, node string, change func(*corev1.Pod)) {
	t.Helper()
	zero := int64(0)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Image: "main:1"}}, TerminationGracePeriodSeconds: &zero},
	}
	if change != nil {
		change(p)
	}
	if _, err := c.core.Pods(namespace).Create(testContext(t), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func ownedBy(kind string) func(*corev1.Pod) {
	yes := true
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: "owner", UID: types.UID("1"), Controller: &yes}}
	}
}

func TestDrain(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	ns, node := fresh("drain"), fresh("drained")
	if err := c.Create(ctx, []byte("{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}\n---\n{apiVersion: v1, kind: Node, metadata: {name: "+node+"}}\n")); err != nil {
		t.Fatal(err)
	}
	podOn(t, c, ns, "alone", node, nil)
	podOn(t, c, ns, "daemon", node, ownedBy("DaemonSet"))
	podOn(t, c, ns, "guarded", node, ownedBy("ReplicaSet"))
	podOn(t, c, ns, "cache", node, func(p *corev1.Pod) {
		ownedBy("ReplicaSet")(p)
		p.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	})
	podOn(t, c, ns, "elsewhere", node+"-x", nil)
	podOn(t, c, ns, "provisioner", node, func(p *corev1.Pod) {
		ownedBy("ReplicaSet")(p)
		p.Labels = map[string]string{"app.kubernetes.io/name": "ceph-csi"}
		p.Spec.Volumes = []corev1.Volume{{Name: "socket", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	})
	pods, err := c.DrainPods(ctx, node)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range pods {
		found = append(found, p.Name+": "+p.Loses())
	}
	text := strings.Join(found, "\n")
	for _, want := range []string{"alone: pod " + ns + "/alone belongs to no controller", "cache: pod " + ns + "/cache has local data (emptyDir scratch)", "guarded: "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if len(pods) != 4 || strings.Contains(text, "socket") {
		t.Errorf("found\n%s", text)
	}

	// a budget that allows none; no controller counts here, so the test says what it would
	manifest := "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: keep, namespace: " + ns + "}, spec: {minAvailable: 1, selector: {matchLabels: {app: guarded}}}}"
	if err := c.Create(ctx, []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	// the pod is Ready, or its eviction would be allowed
	p, err := c.core.Pods(ns).Get(ctx, "guarded", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Status.Phase, p.Status.Conditions = corev1.PodRunning, []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if _, err := c.core.Pods(ns).UpdateStatus(ctx, p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	short := &expiring{Context: ctx, over: make(chan struct{})}
	err = c.Drain(short, pods, func(left []Missing) {
		if len(left) == 1 { // the others have gone; more is not to come
			close(short.over)
		}
	})
	if !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), ns+"/guarded") || !strings.Contains(err.Error(), "disruption budget") {
		t.Errorf("error %v", err)
	}
	if strings.Contains(err.Error(), "alone") {
		t.Errorf("the others were not evicted: %v", err)
	}
	if err := c.DeleteNode(ctx, node); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteNode(ctx, node); err != nil {
		t.Errorf("again: %v", err)
	}
}

// A pod of a node that died stays for ever once it is asked to end: there is no kubelet to say that it has.
func TestDrain_PodsOfADeadNodeAreNotWaitedFor(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	ns, node := fresh("dead"), fresh("dead-node")
	if err := c.Create(ctx, []byte("{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}\n---\n{apiVersion: v1, kind: Node, metadata: {name: "+node+"}}\n")); err != nil {
		t.Fatal(err)
	}
	podOn(t, c, ns, "left", node, func(p *corev1.Pod) {
		ownedBy("ReplicaSet")(p)
		p.Finalizers = []string{"example.com/there-is-no-kubelet"}
	})
	pods, err := c.DrainPods(ctx, node)
	if err != nil || len(pods) != 1 {
		t.Fatalf("%v, %v", pods, err)
	}
	short, told := expireWhenTold(t, "pod "+ns+"/left: is being deleted")
	if err := c.Drain(short, pods, told); !errors.Is(err, ErrNotReady) {
		t.Errorf("a node that answers is waited for: %v", err)
	}
	pods[0].Abandoned = true
	if err := c.Drain(ctx, pods, nil); err != nil {
		t.Error(err)
	}
}

// A conflict says that something changed, and not that the pod is gone.
func TestDrain_AConflictIsNoEviction(t *testing.T) {
	asked := 0
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			asked++
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","message":"the object has been modified","code":409}`)
			return
		}
		_, _ = io.WriteString(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"db-0","namespace":"a","uid":"1"}}`)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var left []Missing
	err := c.Drain(ctx, []DrainPod{{Namespace: "a", Name: "db-0", UID: "1"}}, func(m []Missing) { left = m; cancel() })
	if !errors.Is(err, context.Canceled) || asked != 1 || len(left) != 1 || !strings.Contains(left[0].String(), "modified") {
		t.Errorf("asked %d times, %v, left %v", asked, err, left)
	}
}

func TestCordon(t *testing.T) {
	c, ctx := sharedClient(t), testContext(t)
	node := fresh("cordoned")
	if err := c.Create(ctx, []byte("{apiVersion: v1, kind: Node, metadata: {name: "+node+"}}")); err != nil {
		t.Fatal(err)
	}
	if err := c.Cordon(ctx, node); err != nil {
		t.Fatal(err)
	}
	n, err := c.core.Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil || !n.Spec.Unschedulable {
		t.Errorf("%v, %v", n.Spec, err)
	}
	if err := c.Cordon(ctx, "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a node that is not there: %v", err)
	}
}

func TestParseEtcd(t *testing.T) {
	members, err := parseEtcd([]byte(`{"header":{},"members":[
		{"ID":9372538179322589801,"name":"a","clientURLs":["https://192.0.2.1:2379"]},
		{"ID":2,"name":"b","peerURLs":["https://[fd00::2]:2380","https://192.0.2.2:2380"],"clientURLs":["https://192.0.2.2:2379"]},
		{"ID":3,"name":"","peerURLs":["https://192.0.2.3:2380"],"isLearner":true}]}`),
		[]byte(`[{"endpoint":"https://192.0.2.1:2379","health":true,"took":"1ms"},{"endpoint":"https://192.0.2.2:2379","health":false,"error":"x"}]`))
	if err != nil || len(members) != 3 {
		t.Fatalf("%v, %v", members, err)
	}
	if m := members[0]; m.ID != 9372538179322589801 || !m.Healthy || m.Name != "a" {
		t.Errorf("%+v", m)
	}
	if members[1].Healthy || members[2].Healthy || !members[2].Learner {
		t.Errorf("%+v", members[1:])
	}
	if want := []string{"fd00::2", "192.0.2.2"}; !slices.Equal(members[1].Peers, want) {
		t.Errorf("%v", members[1].Peers)
	}
	for node, addresses := range map[string][]string{"a": {"192.0.2.1"}, "b": nil, "c": {"x", "192.0.2.3"}} {
		var its []uint64
		for _, m := range members {
			if m.IsOf(node, addresses...) {
				its = append(its, m.ID)
			}
		}
		if want := map[string]uint64{"a": 9372538179322589801, "b": 2, "c": 3}[node]; len(its) != 1 || its[0] != want {
			t.Errorf("%s is %v, want %d", node, its, want)
		}
	}
	if members[1].IsOf("elsewhere", "192.0.2.2") {
		t.Error("a member that has a name is another node's")
	}
	for name, list := range map[string]string{"no JSON": "no", "nothing": "{}", "null": "null", "no member": `{"members":[]}`, "no ID": `{"members":[{"name":"a"}]}`,
		"cut off": `{"members":[{"ID":1,"name":"a"}`} {
		if members, err := parseEtcd([]byte(list), []byte("[]")); err == nil {
			t.Errorf("%s: %v, and no error", name, members)
		}
	}
}
