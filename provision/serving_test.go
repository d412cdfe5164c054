package provision

import (
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
	"github.com/hybridctl/hybridctl/provision/remote/remotetest"
)

// What kubelets ask for when they join is approved in the step, and what they ask for later at the next up, also where that changes nothing.
func TestUp_ApprovesServingCertificates(t *testing.T) {
	s := newSim(t, 2, remotetest.Options{})
	s.c.Spec.Kubernetes.ServerTLSBootstrap = true
	request := func(name, node string, addresses ...string) {
		s.api.Serving = append(s.api.Serving, kube.ServingRequestOf(kubetest.KubeletRequest(name, node, addresses, nil)))
	}
	request("csr-1", "host-1", "192.0.2.1")
	request("csr-2", "host-2", "192.0.2.2")
	mustUp(t, s)
	if !slices.Contains(s.api.Did, "approve csr-1") || !slices.Contains(s.api.Did, "approve csr-2") {
		t.Errorf("done %q", s.api.Did)
	}
	s.changed()
	s.api.Did = nil
	request("csr-3", "host-2", "192.0.2.2")
	request("csr-4", "host-2", "192.0.2.1")
	request("csr-5", "stranger", "192.0.2.9")
	request("csr-6", "host-1", "192.0.2.1")
	s.api.Decides = "csr-6" // another does so first
	r := mustUp(t, s)
	if n := s.changed(); n != 0 || r.Plan.Changes() != 0 || !slices.Equal(s.api.Did, []string{"approve csr-3"}) {
		t.Errorf("%d hosts' things changed, %d planned, done %q", n, r.Plan.Changes(), s.api.Did)
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"the kubelet of host-2 asked for is approved", "csr-4 for a serving certificate is not approved: it asks for the address 192.0.2.1",
		"csr-5 for a serving certificate is not approved: it comes from no host that the inventory has", "kubectl certificate approve csr-5", "csr-6 for a serving certificate is not approved: another has"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in the notes:\n%s", want, notes)
		}
	}
}
