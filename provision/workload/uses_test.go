package workload

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/platform"
)

func TestUses(t *testing.T) {
	set, err := Read([]Source{{Name: "dir/a.yaml", Text: []byte(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team}
spec:
  template:
    spec:
      initContainers: [{name: i, image: init:1}]
      containers:
        - name: app
          image: app:1
---
apiVersion: v1
kind: Pod
metadata: {name: x86}
spec:
  nodeSelector: {kubernetes.io/arch: amd64}
  containers: [{name: a, image: "only:1"}]
`)}}, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range set.Uses(platform.All()) {
		got = append(got, fmt.Sprintf("%s %s %s:%d:%d %s %v", u.Image, u.Object, u.File, u.Line, u.Column, u.Path, u.Archs))
	}
	want := []string{
		"init:1 Deployment team/web dir/a.yaml:7:41 spec.template.spec.initContainers[0].image [amd64 arm64]",
		"app:1 Deployment team/web dir/a.yaml:10:18 spec.template.spec.containers[0].image [amd64 arm64]",
		"only:1 Pod x86 dir/a.yaml:17:33 spec.containers[0].image [amd64]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if off := set.Uses([]platform.Arch{platform.ARM64}); len(off) != 2 {
		t.Errorf("%+v", off)
	}
}
