package survey

import (
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/bundle/bundletest"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/workload"
)

func TestImagesOf(t *testing.T) {
	got := imagesOf([]workload.Workload{{Images: []string{"a", "b"}}, {Daemon: true, Images: []string{"z", "b"}}, {Images: []string{"z", "a"}}})
	if want := []string{"b", "z", "a"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBroughtTo_EveryNewNodeOfTheArchitecture(t *testing.T) {
	c := &inventory.Cluster{Spec: inventory.Spec{Hosts: []inventory.Host{{Name: "host-1", Role: inventory.ControlPlane}, {Name: "host-2", Role: inventory.Worker}}}}
	inventory.Default(c)
	r := Reader{Cluster: c, Bundle: bundletest.Make(t, platform.AMD64, platform.ARM64)}
	node := func(i int, arch platform.Arch) workload.Node {
		return workload.Node{Name: c.Spec.Hosts[i].Name, Arch: arch}
	}
	for name, test := range map[string]struct {
		image string
		on    []workload.Node
		want  bool
	}{
		"a control plane":        {bundletest.Ref(bundle.Etcd), []workload.Node{node(0, platform.ARM64)}, true},
		"and a worker":           {bundletest.Ref(bundle.Etcd), []workload.Node{node(0, platform.ARM64), node(1, platform.ARM64)}, false},
		"a worker of another":    {bundletest.Ref(bundle.Etcd), []workload.Node{node(0, platform.ARM64), node(1, platform.AMD64)}, true},
		"an image of every node": {bundletest.Ref(bundle.KubeProxy), []workload.Node{node(0, platform.ARM64), node(1, platform.ARM64)}, true},
		"another tag":            {bundletest.Registry + "/kube-proxy:v1.0.0", []workload.Node{node(1, platform.ARM64)}, false},
		"pinned to a digest":     {bundletest.Ref(bundle.KubeProxy) + "@sha256:" + strings.Repeat("a", 64), []workload.Node{node(1, platform.ARM64)}, false},
	} {
		if got := r.broughtTo(test.on)(test.image, platform.ARM64); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
