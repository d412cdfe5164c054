package steps

import (
	"crypto/x509"
	"net"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
)

// Who has a host can give it any address: those of others are not its own.
func TestServingAddresses(t *testing.T) {
	c := &inventory.Cluster{}
	c.Spec.Kubernetes = inventory.Kubernetes{PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/12", Endpoint: "192.0.2.100:6443"}
	c.Spec.Hosts = []inventory.Host{{Name: "a", Address: "gate.example"}, {Name: "b", Address: "192.0.2.2", NodeIP: "198.51.100.2"}, {Name: "c", Address: "192.0.2.3", NodeIP: "198.51.100.3"}}
	has := facts.Host{Addresses: []string{"192.0.2.1", "198.51.100.7", "10.244.3.1", "10.96.0.1", "2001:db8::1", "192.0.2.100", "192.0.2.2", "198.51.100.2", "::ffff:192.0.2.2"}}
	for name, want := range map[string][]string{
		"a": {"192.0.2.1", "198.51.100.7", "2001:db8::1"},
		"b": {"198.51.100.2"}, // its kubelet is given it, and asks for no other
	} {
		if got := ServingAddresses(c, has, name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, a := range []net.IP{net.IPv4(10, 244, 3, 1), net.IPv4(10, 96, 0, 1)} {
		asked := kube.ServingRequestOf(kubetest.KubeletRequest("csr", "a", nil, func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{a} }))
		if err := asked.Fits("a", ServingAddresses(c, has, "a")); err == nil {
			t.Errorf("%s is approved", a)
		}
	}
}
