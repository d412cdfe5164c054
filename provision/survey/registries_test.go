package survey

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// doorbell is a host that is no registry, and counts who rings.
func doorbell(t *testing.T) (host string, rung *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	rung = &atomic.Int32{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			rung.Add(1)
			c.Close()
		}
	}()
	return l.Addr().String(), rung
}

// Whoever may make pods names images, and so hosts. Only registries that the user or the inventory named are asked, and well-known ones.
func TestRegistries_WhoIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		names func(r *Reader, host string)
		asked bool
	}{
		"a pod":             {func(*Reader, string) {}, false},
		"the user":          {func(r *Reader, host string) { r.OtherRegistries = []string{host} }, true},
		"the user, another": {func(r *Reader, host string) { r.OtherRegistries = []string{"registry.test", host + "0"} }, false},
		"the bundle":        {func(r *Reader, host string) { r.Bundle.Manifest.Images = []bundle.Image{{Ref: host + "/pause:3"}} }, true},
		"spec.registries":   {func(r *Reader, host string) { r.Cluster.Spec.Registries = []inventory.Registry{{Host: host}} }, true},
		"a mirror of spec.registries": {func(r *Reader, host string) {
			r.Cluster.Spec.Registries = []inventory.Registry{{Host: "*", Mirrors: []string{"https://" + host + "/all"}}}
		}, true},
		"every registry has another mirror": {func(r *Reader, _ string) {
			r.Cluster.Spec.Registries = []inventory.Registry{{Host: "*", Mirrors: []string{"mirror.test"}}}
		}, false},
		"the image of the registry scenario": {func(r *Reader, host string) { r.Cluster.Spec.Conformance.Registry.Image = host + "/team/probe:1" }, true},
		"an image of ceph-csi": {func(r *Reader, host string) {
			r.Cluster.Spec.Storage = inventory.Storage{Ceph: inventory.CephClusters{{}}, CSI: inventory.CephCSI{Images: inventory.CephImages{Driver: host + "/cephcsi:v3"}}}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			host, rung := doorbell(t)
			r := Reader{Cluster: &inventory.Cluster{}, Bundle: &bundle.Bundle{}, Patience: 10 * time.Second}
			c.names(&r, host)
			image := host + "/team/app:1"
			_, _, err := r.Registries(t.Context(), []string{image})[image].Get()
			if asked := rung.Load() > 0; asked != c.asked {
				t.Errorf("asked %d times: %v", rung.Load(), err)
			}
			if says := err != nil && strings.HasSuffix(err.Error(), "was not asked: it is no registry of the inventory, and none that is well known") && hint.Text(err) == "--audit-registry "+host+" asks it"; says == c.asked {
				t.Errorf("error %v", err)
			}
		})
	}
	r := Reader{Cluster: &inventory.Cluster{}, Bundle: &bundle.Bundle{}, Patience: 10 * time.Second}
	const odd = "a.test;reboot/app:1" // what a pod names is no command
	if _, _, err := r.Registries(t.Context(), []string{odd})[odd].Get(); err == nil || hint.Text(err) != "--audit-registry 'a.test;reboot' asks it" {
		t.Errorf("error %v", err)
	}
	may := r.mayAsk()
	if !may("ghcr.io") || !may("index.docker.io") || may("ghcr.io.test") || may("") {
		t.Error("the well-known ones")
	}
}
