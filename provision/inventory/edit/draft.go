package edit

import (
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// Draft is an inventory to begin with.
type Draft struct {
	Name       string // of the cluster
	Kubernetes string // version
	Bundle     string
	Endpoint   string           // host:port of the API server; "" = the first control plane
	HA         bool             // three control planes
	Hosts      []inventory.Host // none = examples, as comments
}

// exampleEndpoint stands where no one named one.
const exampleEndpoint = "api.example.com:6443"

// planes is how many control planes are wanted.
func (d Draft) planes() int {
	if d.HA {
		return 3
	}
	return 1
}

// examples stand where no one named a host: addresses of documentation.
func (d Draft) examples() []inventory.Host {
	hosts := []inventory.Host{{Name: "x86-1", Address: "192.0.2.11"}, {Name: "arm-1", Address: "192.0.2.21"}}
	if d.HA {
		hosts = append(hosts, inventory.Host{Name: "arm-2", Address: "192.0.2.22"}, inventory.Host{Name: "x86-2", Address: "192.0.2.12"})
	}
	return hosts
}

// Roles gives the first hosts that say nothing of their role that of a control plane, until there are as many as wanted. The error says, as
// a sentence, which hosts are missing.
func (d Draft) Roles() (Draft, error) {
	hosts := make([]inventory.Host, len(d.Hosts))
	copy(hosts, d.Hosts)
	missing := d.planes()
	for _, h := range hosts {
		if h.Role == inventory.ControlPlane {
			missing--
		}
	}
	for i := range hosts {
		if missing > 0 && hosts[i].Role == "" {
			hosts[i].Role = inventory.ControlPlane
			missing--
		}
	}
	d.Hosts = hosts
	if missing > 0 && len(hosts) > 0 {
		return d, fmt.Errorf("too few of the hosts can become control planes: %d wanted, %d missing (name more hosts, or give some role=control-plane)", d.planes(), missing)
	}
	return d, nil
}

// Text is the inventory with comments that say what may stand in it. With hosts it loads, or the error is the *inventory.Problems that it
// would have; without any it waits for them, and is as right as it can be. file is its name in the problems.
func (d Draft) Text(file string) ([]byte, error) {
	given := len(d.Hosts) > 0
	if !given {
		d.Hosts = d.examples()
		var err error
		if d, err = d.Roles(); err != nil {
			return nil, err
		}
	}
	if !given && d.HA && d.Endpoint == "" {
		d.Endpoint = exampleEndpoint // several control planes need one
	}
	text, err := d.text(true)
	if err != nil {
		return nil, err
	}
	if _, err := inventory.Parse(file, text); err != nil || given {
		return text, err
	}
	return d.text(false)
}

// text writes the document; hosts that are examples stand in comments.
func (d Draft) text(real bool) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `# What the cluster is to be. "hybridctl inventory schema" is all that may stand here; relative paths start at this file's folder.
#   hybridctl preflight   looks at every host, and changes nothing
#   hybridctl plan        shows what up would do, and why
#   hybridctl up          makes the cluster, and may be run again at any time
apiVersion: %s
kind: %s
metadata:
  name: %s # of the cluster, and of its state directory
spec:
  kubernetes:
    version: %s
`, inventory.APIVersion, inventory.Kind, inYAML.quote(d.Name), inYAML.quote(d.Kubernetes))
	switch d.Endpoint {
	case "":
		b.WriteString("    # endpoint: " + exampleEndpoint + " # a load balancer, or an address that moves; several control planes need one\n")
	case exampleEndpoint:
		b.WriteString("    endpoint: " + exampleEndpoint + " # put in yours: it leads to every control plane, as a load balancer, or an address that moves\n")
	default:
		fmt.Fprintf(&b, "    endpoint: %s # leads to every control plane\n", inYAML.quote(d.Endpoint))
	}
	fmt.Fprintf(&b, `    # podCIDR: 10.244.0.0/16    # no address of your networks may be in them
    # serviceCIDR: 10.96.0.0/12
%s
  # cni: {provider: flannel}    # the pod network
  # ssh:                        # how hosts are reached; ~/.ssh/config has a say
  #   user: root                # or someone who may use sudo
  #   identityFiles: [~/.ssh/id_ed25519]
  #   jump: ops@gate.example.com
  hosts: # the first control plane is where the cluster begins; a host without a role is a worker
`, d.bundleLine())
	lead := "    - "
	if !real {
		lead = "    # - "
	}
	for _, h := range d.Hosts {
		n, err := hostNode(h)
		if err != nil {
			return nil, err
		}
		b.WriteString(lead + inYAML.flow(n) + "\n")
	}
	b.WriteString("    # A host may say more: {name: arm-7, address: 192.0.2.27, user: ops, jump: x86-1, labels: {rack: a2}, taints: [\"dedicated=db:NoSchedule\"]}\n")
	return []byte(b.String()), nil
}

// bundleLine says what the cluster is built from.
func (d Draft) bundleLine() string {
	if d.Bundle == "" {
		return "  # bundle: bundle              # a bundle's directory, or its one file; without it, hybridctl fetches what it needs"
	}
	return "  bundle: " + inYAML.quote(d.Bundle) + ` # what the cluster is built from: a bundle's directory, or its one file; "hybridctl bundle" makes it`
}
