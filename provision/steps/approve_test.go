package steps

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
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
	none := &Owners{Cluster: &inventory.Cluster{Spec: inventory.Spec{Hosts: c.Spec.Hosts}}, Hosts: hosts}
	if got := none.Of("w"); !slices.Equal(got, []string{"192.0.2.10"}) {
		t.Errorf("there is none: %q", got)
	}
}

// Where it is not known which addresses the API server has, a worker that says that one is its own may have taken it: what the inventory says of
// the worker is left.
func TestOwners_AnotherIsNotKnown(t *testing.T) {
	found := func(_ context.Context, host string) ([]string, error) { return []string{"192.0.2.100"}, nil }
	for name, c := range map[string]struct {
		endpoint string
		lookup   func(context.Context, string) ([]string, error)
		change   func(*Owners)
		all      bool // that w says it has is its own
		says     string
	}{
		"all is known":                    {"api.example:6443", found, func(*Owners) {}, true, ""},
		"the endpoint is not found":       {"api.example:6443", func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }, func(*Owners) {}, false, "the API server's name api.example is not found from here"},
		"it has no address":               {"api.example:6443", func(context.Context, string) ([]string, error) { return nil, nil }, func(*Owners) {}, false, "api.example is not found"},
		"it has no port":                  {"api.example", func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }, func(*Owners) {}, false, "api.example is not found"},
		"it is a control plane's":         {"cp.example:6443", nil, func(*Owners) {}, true, ""},
		"a control plane does not answer": {"cp.example:6443", nil, func(o *Owners) { delete(o.Hosts, "cp") }, false, "the addresses of the control plane cp are not known"},
		"it is a node": {"cp.example:6443", nil, func(o *Owners) {
			delete(o.Hosts, "cp")
			o.Nodes = []kube.Node{{Name: "cp", InternalIPs: []string{"192.0.2.1"}}}
		}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := &inventory.Cluster{}
			cluster.Spec.Kubernetes.Endpoint = c.endpoint
			cluster.Spec.Hosts = []inventory.Host{{Name: "cp", Address: "cp.example", Role: inventory.ControlPlane}, {Name: "w", Address: "192.0.2.10", Role: inventory.Worker},
				{Name: "named", Address: "named.example", Role: inventory.Worker}, {Name: "given", Address: "given.example", NodeIP: "192.0.2.30", Role: inventory.Worker}}
			o := &Owners{Cluster: cluster, Lookup: c.lookup, Hosts: map[string]facts.Host{"cp": {Addresses: []string{"192.0.2.1"}}, "w": {Addresses: []string{"192.0.2.10", "192.0.2.50"}},
				"named": {Addresses: []string{"192.0.2.20"}}, "given": {Addresses: []string{"192.0.2.30", "192.0.2.31"}}}}
			c.change(o)
			want := map[string][]string{"w": {"192.0.2.10"}, "named": nil, "given": {"192.0.2.30"}}
			if c.all {
				want["w"], want["named"] = []string{"192.0.2.10", "192.0.2.50"}, []string{"192.0.2.20"}
			}
			for host, addresses := range want {
				if got := slices.Compact(o.Of(host)); !slices.Equal(got, addresses) {
					t.Errorf("%s: %q, want %q", host, got, addresses)
				}
			}
			err := o.May(kube.ServingRequestOf(kubetest.KubeletRequest("csr", "named", []string{"192.0.2.20"}, nil)))
			if (err == nil) != c.all || err != nil && (!strings.Contains(err.Error(), c.says) || !strings.HasSuffix(err.Error(), "nodeIP in the inventory says what is named's")) {
				t.Errorf("named: %v", err)
			}
			if err := o.May(kube.ServingRequestOf(kubetest.KubeletRequest("csr", "given", []string{"192.0.2.30"}, nil))); err != nil {
				t.Errorf("given: %v", err)
			}
		})
	}
}

// A worker's name that is the API server's too is no name of the worker alone, whatever addresses it asks for.
func TestOwners_NamesOfOthers(t *testing.T) {
	c := &inventory.Cluster{}
	c.Spec.Kubernetes = inventory.Kubernetes{Endpoint: "api.example:6443", DNSDomain: "cluster.local"}
	refused := []string{"api.example", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "cp.example"}
	for _, name := range append(refused, "w") {
		c.Spec.Hosts = append(c.Spec.Hosts, inventory.Host{Name: name, Address: "192.0.2.9", NodeIP: "192.0.2.9", Role: inventory.Worker})
	}
	c.Spec.Hosts = append(c.Spec.Hosts, inventory.Host{Name: "cp", Address: "cp.example", Role: inventory.ControlPlane})
	o := &Owners{Cluster: c}
	for _, h := range c.Spec.Hosts {
		err := o.May(kube.ServingRequestOf(kubetest.KubeletRequest("csr", h.Name, nil, nil)))
		if slices.Contains(refused, h.Name) != (err != nil) {
			t.Errorf("%s: %v", h.Name, err)
		}
	}
}
