package kube

import (
	"context"
	"errors"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWaitDeployment(t *testing.T) {
	c := sharedClient(t)
	deployments := c.apps.Deployments("kube-system")
	told, done := make(chan []Missing, 100), make(chan error, 1)
	go func() {
		done <- c.WaitDeployment(testContext(t), "kube-system", "dns", WaitOptions{Progress: progressTo(told)})
	}()
	expectProgress(t, told, "deployment kube-system/dns: does not exist")
	labels := map[string]string{"app": "dns"}
	made, err := deployments.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "dns"},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "dns", Image: "x"}}}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := deployments.Delete(context.Background(), "dns", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	expectProgress(t, told, "deployment kube-system/dns: its controller has not seen its present form yet")
	made.Status.ObservedGeneration = made.Generation
	if made, err = deployments.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	expectProgress(t, told, "deployment kube-system/dns: 0 of 1 replicas available")

	short, progress := expireWhenTold(t, "deployment kube-system/dns: 0 of 1 replicas available")
	err = c.WaitDeployment(short, "kube-system", "dns", WaitOptions{Progress: progress})
	if want := "deployment not ready: deployment kube-system/dns: 0 of 1 replicas available"; !errors.Is(err, ErrNotReady) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}

	made.Status.Replicas, made.Status.UpdatedReplicas, made.Status.ReadyReplicas, made.Status.AvailableReplicas = 1, 1, 1, 1
	if _, err := deployments.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
