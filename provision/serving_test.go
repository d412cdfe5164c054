package provision

import (
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// What kubelets ask for when they join is approved in the step, and what they ask for later at the next up, also where that changes nothing.
func TestUp_ApprovesServingCertificates(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	s.c.Spec.Kubernetes.ServerTLSBootstrap = true
	request := func(name, node string, addresses ...string) {
		s.api.serving = append(s.api.serving, kube.ServingRequestOf(kubetest.KubeletRequest(name, node, addresses, nil)))
	}
	request("csr-1", "host-1", "192.0.2.1")
	request("csr-2", "host-2", "192.0.2.2")
	mustUp(t, s)
	if !slices.Contains(s.api.done, "approve csr-1") || !slices.Contains(s.api.done, "approve csr-2") {
		t.Errorf("done %q", s.api.done)
	}
	s.changed()
	s.api.done = nil
	request("csr-3", "host-2", "192.0.2.2")
	request("csr-4", "host-2", "192.0.2.1")
	request("csr-5", "stranger", "192.0.2.9")
	request("csr-6", "host-1", "192.0.2.1")
	s.api.decides = "csr-6" // another does so first
	r := mustUp(t, s)
	if n := s.changed(); n != 0 || r.Plan.Changes() != 0 || !slices.Equal(s.api.done, []string{"approve csr-3"}) {
		t.Errorf("%d hosts' things changed, %d planned, done %q", n, r.Plan.Changes(), s.api.done)
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"the kubelet of host-2 asked for is approved", "csr-4 for a serving certificate is not approved: it asks for the address 192.0.2.1",
		"csr-5 for a serving certificate is not approved: it comes from no host that the inventory has", "kubectl certificate approve csr-5", "csr-6 for a serving certificate is not approved: another has"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in the notes:\n%s", want, notes)
		}
	}
}

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
		if got := servingAddresses(c, has, name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, a := range []net.IP{net.IPv4(10, 244, 3, 1), net.IPv4(10, 96, 0, 1)} {
		asked := kube.ServingRequestOf(kubetest.KubeletRequest("csr", "a", nil, func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{a} }))
		if err := asked.Fits("a", servingAddresses(c, has, "a")); err == nil {
			t.Errorf("%s is approved", a)
		}
	}
}
