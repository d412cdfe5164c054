package kube

import (
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestUsesOf(t *testing.T) {
	yes := true
	meta := func(name, ownerVersion, ownerKind string) metav1.ObjectMeta {
		m := metav1.ObjectMeta{Namespace: "team", Name: name}
		if ownerKind != "" {
			m.OwnerReferences = []metav1.OwnerReference{{APIVersion: ownerVersion, Kind: ownerKind, Name: "owner", Controller: &yes}}
		}
		return m
	}
	containers := func(images ...string) corev1.PodSpec {
		s := corev1.PodSpec{}
		for _, i := range images {
			s.Containers = append(s.Containers, corev1.Container{Image: i})
		}
		return s
	}
	all := containers("app")
	all.InitContainers = []corev1.Container{{Image: "init"}}
	all.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Image: "debug"}}}
	all.Volumes = []corev1.Volume{{Name: "none"}, {Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "models"}}}}
	all.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	specs := []podSpec{
		{"Deployment", "spec.template.spec", meta("web", "", ""), all},
		{"Deployment", "spec.template.spec", meta("operated", "kafka.example/v1", "Broker"), containers("broker")},
	}
	pods := []podSpec{
		{"Pod", "spec", meta("web-1", "apps/v1", "ReplicaSet"), containers("app", "injected")},
		{"Pod", "spec", meta("web-2", "apps/v1", "ReplicaSet"), containers("app", "injected")},
		{"Pod", "spec", meta("bare", "", ""), containers("app")},
		{"Pod", "spec", meta("static", "v1", "Node"), containers("static")},
	}
	var got []string
	for _, u := range usesOf(specs, pods) {
		got = append(got, u.Template.Name+" "+u.Path+" "+u.Image+" "+u.Owner)
	}
	want := []string{
		"web spec.template.spec.initContainers[0].image init ", "web spec.template.spec.containers[0].image app ", "web spec.template.spec.ephemeralContainers[0].image debug ",
		"web spec.template.spec.volumes[1].image.reference models ", "operated spec.template.spec.containers[0].image broker Broker/owner",
		"web-1 spec.containers[1].image injected ReplicaSet/owner", "bare spec.containers[0].image app ", "static spec.containers[0].image static Node/owner",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if u := usesOf(specs, nil)[0]; !slices.Equal(u.PullSecrets, []string{"pull"}) {
		t.Errorf("%+v", u)
	}
}

func TestStartOf(t *testing.T) {
	s := podSpec{kind: "Pod", path: "spec", spec: corev1.PodSpec{
		Containers: []corev1.Container{{Image: "app", Command: []string{"a"}, Args: []string{"b"}, WorkingDir: "/w", VolumeMounts: []corev1.VolumeMount{{MountPath: "/v"}},
			Env: []corev1.EnvVar{{Name: "PATH", Value: "/p"}}}, {Image: "own"}, {Image: "variable", Args: []string{"$(X)"}}},
		EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Image: "debug", Command: []string{"sh"}}}},
		Volumes:             []corev1.Volume{{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "models"}}}},
	}}
	want := map[string]*Start{
		"app": {Command: []string{"a"}, Args: []string{"b"}, Dir: "/w", Path: "/p", Mounts: []string{"/v"}}, "own": {}, "debug": {Command: []string{"sh"}}, "models": nil,
		"variable": {Args: []string{"$(X)"}, Unknown: "the name of its program has a variable: $(X)"},
	}
	uses := s.uses()
	for _, u := range uses {
		if !reflect.DeepEqual(u.Start, want[u.Image]) {
			t.Errorf("%s: %+v", u.Image, u.Start)
		}
	}
	if len(uses) != len(want) {
		t.Errorf("%+v", uses)
	}
}
