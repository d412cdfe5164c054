package steps

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
)

// Who has a host can give it any address: those of others are not its own.
func TestOwners(t *testing.T) {
	c := &inventory.Cluster{}
	c.Spec.Kubernetes = inventory.Kubernetes{PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/12", Endpoint: "192.0.2.100:6443"}
	c.Spec.Hosts = []inventory.Host{{Name: "a", Address: "gate.example"}, {Name: "b", Address: "192.0.2.2", NodeIP: "198.51.100.2"}, {Name: "c", Address: "192.0.2.3", NodeIP: "198.51.100.3"}}
	has := facts.Host{Addresses: []string{"192.0.2.1", "198.51.100.7", "10.244.3.1", "10.96.0.1", "2001:db8::1", "192.0.2.100", "192.0.2.2", "198.51.100.2", "::ffff:192.0.2.2"}}
	o := &Owners{Cluster: c, Hosts: map[string]facts.Host{"a": has}}
	for name, want := range map[string][]string{
		"a": {"192.0.2.1", "198.51.100.7", "2001:db8::1"},
		"b": {"198.51.100.2"}, // its kubelet is given it, and asks for no other
	} {
		if got := o.Of(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, a := range []net.IP{net.IPv4(10, 244, 3, 1), net.IPv4(10, 96, 0, 1)} {
		asked := kube.ServingRequestOf(kubetest.KubeletRequest("csr", "a", nil, func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{a} }))
		if err := asked.Fits("a", o.Of("a")); err == nil {
			t.Errorf("%s is approved", a)
		}
	}
}

// Where the inventory has names alone, what hosts say of themselves and what the cluster knows of its nodes tells whose an address is. What a
// worker says keeps no control plane from its own.
func TestOwners_OfHostsThatAreNames(t *testing.T) {
	c := &inventory.Cluster{}
	c.Spec.Kubernetes.Endpoint = "api.example:6443"
	for name, role := range map[string]inventory.Role{"cp": inventory.ControlPlane, "cp-2": inventory.ControlPlane, "w": inventory.Worker, "w-2": inventory.Worker, "away": inventory.Worker} {
		c.Spec.Hosts = append(c.Spec.Hosts, inventory.Host{Name: name, Address: name + ".example", Role: role})
	}
	hosts := map[string]facts.Host{
		"cp":   {Addresses: []string{"192.0.2.1", "192.0.2.200", "172.17.0.1"}},
		"cp-2": {Addresses: []string{"192.0.2.2", "172.17.0.1"}},
		"w":    {Addresses: []string{"192.0.2.10", "172.17.0.1"}},
		// it takes those of the API server, of a control plane, of another worker, of one that is away, and of a node that no host is
		"w-2": {Addresses: []string{"192.0.2.11", "192.0.2.100", "192.0.2.101", "192.0.2.1", "192.0.2.2", "192.0.2.10", "192.0.2.12", "192.0.2.13"}},
	}
	nodes := []kube.Node{{Name: "cp", ControlPlane: true, InternalIPs: []string{"192.0.2.1"}}, {Name: "w-2", InternalIPs: []string{"192.0.2.11", "192.0.2.2"}},
		{Name: "away", InternalIPs: []string{"192.0.2.12"}}, {Name: "of-others", InternalIPs: []string{"192.0.2.13"}}}
	asked := 0
	lookup := func(_ context.Context, host string) ([]string, error) {
		if asked++; host != "api.example" {
			t.Errorf("asked for %s", host)
		}
		return []string{"192.0.2.100", "192.0.2.101"}, nil
	}
	o := &Owners{Cluster: c, Hosts: hosts, Nodes: nodes, Lookup: lookup}
	for name, want := range map[string][]string{
		"cp":   {"192.0.2.1", "192.0.2.200"}, // the last of the API server's, perhaps
		"cp-2": {"192.0.2.2"},
		"w":    nil, // another worker says that it has it: neither is believed
		"w-2":  {"192.0.2.11"},
		"away": nil,
	} {
		if got := o.Of(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if asked != 1 {
		t.Errorf("the resolver was asked %d times", asked)
	}
	delete(hosts, "w-2")
	if got := o.Of("w"); !slices.Equal(got, []string{"192.0.2.10"}) {
		t.Errorf("w alone: %q", got)
	}
	for name, o := range map[string]*Owners{
		"it is not found": {Cluster: c, Hosts: hosts, Lookup: func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }},
		"there is none":   {Cluster: &inventory.Cluster{Spec: inventory.Spec{Hosts: c.Spec.Hosts}}, Hosts: hosts},
	} {
		if got := o.Of("w"); !slices.Equal(got, []string{"192.0.2.10"}) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
