package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
)

func TestSettling(t *testing.T) {
	const window = 10 * time.Second
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	s := newSettling(window)
	steps := []struct {
		name  string
		state string // "" = lost
		since time.Time
		now   time.Time
		want  time.Duration
	}{
		{"just Ready", "a", at(0), at(0), window},
		{"for a while", "a", at(0), at(4), 6 * time.Second},
		{"another restart", "b", at(4), at(5), window},
		{"gone", "", at(0), at(9), 0},
		{"back in the same state", "b", at(4), at(10), window},
		{"long enough", "b", at(4), at(20), 0},
		{"Ready for an hour when first seen", "c", at(-3600), at(21), 0},
		{"a clock that is a little slow proves nothing", "d", at(21 - 15), at(21), window},
		{"nor one that is fast", "e", at(21 + 3600), at(21), window},
	}
	for _, step := range steps {
		if step.state == "" {
			s.lost("node")
			continue
		}
		if got := s.left("node", step.state, step.since, step.now); got != step.want {
			t.Errorf("%s: %v left, want %v", step.name, got, step.want)
		}
	}
}

func TestNotReadyError_Text(t *testing.T) {
	var missing []Missing
	for i := range 10 {
		missing = append(missing, Missing{Object: fmt.Sprint("node n", i), Reason: "has not joined"})
	}
	err := &NotReadyError{"nodes", missing[:2], context.DeadlineExceeded}
	if want := "nodes not ready: node n0: has not joined; node n1: has not joined"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if !errors.Is(err, ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error("neither kind nor cause is found")
	}
	if text := (&NotReadyError{"nodes", missing, context.DeadlineExceeded}).Error(); !strings.HasSuffix(text, "n7: has not joined; and 2 more") {
		t.Errorf("got %s", text)
	}
	down := ended(context.DeadlineExceeded, &unreachableError{addr: "a:1"})
	if text := (&NotReadyError{"nodes", missing[:1], down}).Error(); text != "nodes not ready: node n0: has not joined: the API server at a:1 does not answer" {
		t.Errorf("got %s", text)
	}
}

// setReady plays the kubelet.
func setReady(t *testing.T, c *Client, name string, status corev1.ConditionStatus, message string) {
	t.Helper()
	node, err := c.core.Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	now := metav1.Now()
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, Message: message, LastTransitionTime: now, LastHeartbeatTime: now}}
	if _, err := c.core.Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
}

// expectProgress reads what a wait tells until it is one of these texts.
func expectProgress(t *testing.T, told <-chan []Missing, want string) {
	t.Helper()
	var last string
	for {
		select {
		case missing := <-told:
			if last = textOf(missing); last == want {
				return
			}
		case <-time.After(testTimeout):
			t.Fatalf("never told %q; the last was %q", want, last)
		}
	}
}

func textOf(missing []Missing) string {
	var texts []string
	for _, m := range missing {
		texts = append(texts, m.String())
	}
	return strings.Join(texts, "; ")
}

// expireWhenTold gives a context whose time is up as soon as a wait has told that text.
func expireWhenTold(t *testing.T, want string) (context.Context, func([]Missing)) {
	ctx := &expiring{Context: t.Context(), over: make(chan struct{})}
	expire := sync.OnceFunc(func() { close(ctx.over) })
	timer := time.AfterFunc(testTimeout, expire) // then the error shows what was told instead
	t.Cleanup(func() { timer.Stop() })
	return ctx, func(missing []Missing) {
		if textOf(missing) == want {
			expire()
		}
	}
}

type expiring struct {
	context.Context
	over chan struct{}
}

func (e *expiring) Done() <-chan struct{} { return e.over }

func (e *expiring) Err() error {
	select {
	case <-e.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func progressTo(told chan []Missing) func([]Missing) { return func(m []Missing) { told <- m } }

func TestWaitNodesReady(t *testing.T) {
	c := sharedClient(t)
	told, done := make(chan []Missing, 100), make(chan error, 1)
	const window = 1500 * time.Millisecond
	go func() {
		done <- c.WaitNodesReady(testContext(t), []string{"wait-b", "wait-a"}, WaitOptions{Window: window, Progress: progressTo(told)})
	}()
	expectProgress(t, told, "node wait-a: has not joined; node wait-b: has not joined")
	makeNode(t, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "wait-a"}})
	makeNode(t, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "wait-b"}})
	expectProgress(t, told, "node wait-a: its kubelet has not reported yet; node wait-b: its kubelet has not reported yet")
	setReady(t, c, "wait-b", corev1.ConditionFalse, "container runtime network not ready:\ncni plugin not initialized")
	setReady(t, c, "wait-a", corev1.ConditionTrue, "")
	expectProgress(t, told, "node wait-a: Ready for less than 1.5s; node wait-b: container runtime network not ready: cni plugin not initialized")
	expectProgress(t, told, "node wait-b: container runtime network not ready: cni plugin not initialized")
	setReady(t, c, "wait-b", corev1.ConditionTrue, "")
	expectProgress(t, told, "node wait-b: Ready for less than 1.5s")
	setReady(t, c, "wait-b", corev1.ConditionUnknown, "Kubelet stopped posting node status.") // within the window
	expectProgress(t, told, "node wait-b: Kubelet stopped posting node status.")
	lastReady := time.Now()
	setReady(t, c, "wait-b", corev1.ConditionTrue, "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(lastReady); took < window {
		t.Errorf("waited %v after the last change, want the window of %v", took, window)
	}
}

func TestWaitNodesReady_NamesWhoIsMissing(t *testing.T) {
	c := sharedClient(t)
	makeNode(t, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "missing-a"}})
	setReady(t, c, "missing-a", corev1.ConditionFalse, "no network")
	const missingNodes = "node missing-a: no network; node missing-b: has not joined"
	ctx, progress := expireWhenTold(t, missingNodes)
	err := c.WaitNodesReady(ctx, []string{"missing-b", "missing-a"}, WaitOptions{Progress: progress})
	want := "nodes not ready: " + missingNodes
	if !errors.Is(err, ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var missing *NotReadyError
	if !errors.As(err, &missing) || len(missing.Missing) != 2 || missing.Missing[0].Node != "missing-a" {
		t.Errorf("the error does not carry who is missing: %+v", missing)
	}
}

// Nodes that have been Ready for long need no window: a run that changes nothing does not wait.
func TestWaitNodesReady_LongReadyIsReadyAtOnce(t *testing.T) {
	c := sharedClient(t)
	makeNode(t, c, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "long-ready"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now().Add(-2 * time.Hour))}}}})
	if err := c.WaitNodesReady(testContext(t), []string{"long-ready"}, WaitOptions{Window: time.Hour}); err != nil {
		t.Error(err)
	}
}

// A wait is one from its beginning to its end, whatever it is for by then: who is told of it counts how long it has been silent.
func TestAwait_IsOneWaitForWhatChanges(t *testing.T) {
	var begun []func() string
	open := 0
	c := &Client{waiting: func(what func() string) func() {
		begun, open = append(begun, what), open+1
		return func() { open-- }
	}}
	looks := 0
	err := c.await(t.Context(), "nodes", WaitOptions{}, func([]*viewStore) check {
		return func(time.Time) ([]Missing, time.Duration) {
			if looks++; looks == 4 {
				if now := begun[len(begun)-1](); len(begun) != 1 || now != "nodes: node n-3: not Ready" {
					t.Errorf("%d waits, the last for %q", len(begun), now)
				}
				return nil, 0
			}
			return []Missing{{Object: fmt.Sprintf("node n-%d", looks), Reason: "not Ready"}}, time.Nanosecond
		}
	})
	if err != nil || open != 0 {
		t.Errorf("%v, %d go on", err, open)
	}
}

// A wait survives the end of its watches, does not finish on an old picture, and tells when the API server is what is missing.
func TestWaitNodesReady_OutlivesTheAPIServer(t *testing.T) {
	server := kubetest.Start(t)
	c := newClient(t, server.Kubeconfig(), Options{})
	if _, err := c.core.Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "outlives"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	told, done := make(chan []Missing, 100), make(chan error, 2)
	ctx, cancel := context.WithCancelCause(testContext(t))
	defer cancel(nil)
	go func() {
		done <- c.WaitNodesReady(ctx, []string{"outlives"}, WaitOptions{Progress: progressTo(told)})
	}()
	expectProgress(t, told, "node outlives: its kubelet has not reported yet")
	server.StopAPI()

	short, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	err := c.WaitNodesReady(short, []string{"outlives"}, WaitOptions{})
	if !errors.Is(err, ErrNotReady) || !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without an API server: %v", err)
	}

	if err := server.StartAPI(); err != nil {
		t.Fatal(err)
	}
	setReady(t, c, "outlives", corev1.ConditionTrue, "")
	if err := <-done; err != nil {
		t.Error(err)
	}

	// The window passes while nothing can be seen: that proves nothing.
	blind, end := context.WithTimeout(t.Context(), 5*time.Second)
	defer end()
	go func() {
		done <- c.WaitNodesReady(blind, []string{"outlives"}, WaitOptions{Window: 4 * time.Second, Progress: progressTo(told)})
	}()
	expectProgress(t, told, "node outlives: Ready for less than 4s")
	server.StopAPI()
	if err := <-done; !errors.Is(err, ErrNotReady) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("without a picture: %v", err)
	}
}

func TestWait_InterruptedSaysSo(t *testing.T) {
	c := sharedClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	told, done := make(chan []Missing, 1), make(chan error, 1)
	go func() { done <- c.WaitNodesReady(ctx, []string{"nobody"}, WaitOptions{Progress: progressTo(told)}) }()
	<-told
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}
