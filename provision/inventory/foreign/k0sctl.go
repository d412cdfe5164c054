package foreign

import (
	"cmp"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

const k0sctlAPI = "k0sctl.k0sproject.io/"

// k0sctl is a k0sctl file on its way to a draft.
type k0sctl struct {
	file  string
	draft Draft
	count map[inventory.Role]int // of hosts without a name
	lines map[string]int         // of the fields of the host that is read
	gone  int                    // the line of a controller that was left out
}

func readK0sctl(file string, root *yaml.Node) (Draft, error) {
	k := &k0sctl{file: file, count: map[inventory.Role]int{}}
	for key, v := range fields(root) {
		switch key.Value {
		case "apiVersion", "kind":
		case "metadata":
			k.walk(v, "metadata", map[string]func(*yaml.Node) bool{
				"name": func(n *yaml.Node) bool {
					name, changed := nodeName(k.text(n, "metadata.name"))
					if changed {
						k.left(n.Line, "metadata.name", "is "+name+" here, as clusters are named")
					}
					k.draft.Cluster.Metadata.Name = name
					k.draft.from("metadata.name", n.Line)
					return true
				},
			})
		case "spec":
			k.spec(v)
		default:
			k.left(key.Line, key.Value, noCounterpart)
		}
	}
	hosts := k.draft.Cluster.Spec.Hosts
	switch isPlane := func(h inventory.Host) bool { return h.Role == inventory.ControlPlane }; {
	case k.gone > 0 && !slices.ContainsFunc(hosts, isPlane):
		return k.draft, problem(file, k.gone, "every controller is left out, this one among them", aControlPlane)
	case len(hosts) == 0:
		return k.draft, problem(file, root.Line, "spec.hosts holds no host that is reached over SSH", "")
	}
	return k.draft, nil
}

// text is a scalar's text. k0sctl fills ${VAR} in from its environment, and nothing here does: such a value is told, and none.
func (k *k0sctl) text(n *yaml.Node, path string) string {
	text := textOf(n)
	if name := environment.FindString(text); name != "" {
		k.left(n.Line, path, "holds "+name+", which k0sctl takes from its environment: fill it in first (envsubst <"+k.file+" >FILE), or in the new inventory")
		return ""
	}
	return text
}

// environment is a variable of the environment as k0sctl knows them.
var environment = regexp.MustCompile(`\$\{[^}]*\}|\$[A-Za-z_][A-Za-z0-9_]*`)

func (k *k0sctl) left(line int, what, why string) {
	k.draft.Left = append(k.draft.Left, Leftover{k.file, line, what, why})
}

// walk hands each field of a mapping to its reader; a field without one, or whose reader returns false, is left.
func (k *k0sctl) walk(n *yaml.Node, path string, readers map[string]func(*yaml.Node) bool) {
	for key, v := range fields(n) {
		if read := readers[key.Value]; read == nil || !read(v) {
			k.left(key.Line, path+"."+key.Value, noCounterpart)
		}
	}
}

func (k *k0sctl) spec(n *yaml.Node) {
	k.walk(n, "spec", map[string]func(*yaml.Node) bool{
		"hosts": func(n *yaml.Node) bool {
			for i, h := range n.Content {
				k.host(behindAlias(h), fmt.Sprintf("spec.hosts[%d]", i))
			}
			return n.Kind == yaml.SequenceNode
		},
		"k0s": func(n *yaml.Node) bool {
			k.walk(n, "spec.k0s", map[string]func(*yaml.Node) bool{"version": k.version, "config": k.config})
			return n.Kind == yaml.MappingNode
		},
	})
}

// version takes Kubernetes' version from that of k0s: v1.36.3+k0s.0.
func (k *k0sctl) version(n *yaml.Node) bool {
	version, _, _ := strings.Cut(k.text(n, "spec.k0s.version"), "+")
	if version == "" {
		return environment.MatchString(textOf(n))
	}
	k.draft.from("spec.kubernetes.version", n.Line)
	k.draft.Cluster.Spec.Kubernetes.Version = "v" + strings.TrimPrefix(version, "v")
	return true
}

// config takes what a k0s configuration has in common with kubeadm's.
func (k *k0sctl) config(n *yaml.Node) bool {
	kubernetes := &k.draft.Cluster.Spec.Kubernetes
	const path = "spec.k0s.config.spec"
	text := func(field *string, name, from string) func(*yaml.Node) bool {
		return func(n *yaml.Node) bool {
			*field = k.text(n, from)
			k.draft.from("spec.kubernetes."+name, n.Line)
			return *field != "" || environment.MatchString(textOf(n))
		}
	}
	ignored := func(*yaml.Node) bool { return true }
	k.walk(n, "spec.k0s.config", map[string]func(*yaml.Node) bool{
		"apiVersion": ignored, "kind": ignored, "metadata": ignored,
		"spec": func(n *yaml.Node) bool {
			k.walk(n, path, map[string]func(*yaml.Node) bool{
				"api": func(n *yaml.Node) bool {
					var address, number string
					k.walk(n, path+".api", map[string]func(*yaml.Node) bool{
						"externalAddress": text(&address, "endpoint", path+".api.externalAddress"),
						"port": func(port *yaml.Node) bool { // of no use alone
							return value(n, "externalAddress") != nil && text(&number, "endpoint", path+".api.port")(port)
						},
					})
					if address != "" {
						kubernetes.Endpoint = net.JoinHostPort(address, cmp.Or(number, inventory.DefaultAPIPort))
					}
					return true
				},
				"network": func(n *yaml.Node) bool {
					k.walk(n, path+".network", map[string]func(*yaml.Node) bool{
						"podCIDR":       text(&kubernetes.PodCIDR, "podCIDR", path+".network.podCIDR"),
						"serviceCIDR":   text(&kubernetes.ServiceCIDR, "serviceCIDR", path+".network.serviceCIDR"),
						"clusterDomain": text(&kubernetes.DNSDomain, "dnsDomain", path+".network.clusterDomain"),
					})
					return true
				},
			})
			return true
		},
	})
	return n.Kind == yaml.MappingNode
}

// host reads one host; one that is not reached over SSH, or is to be no member any more, is left.
func (k *k0sctl) host(n *yaml.Node, path string) {
	h := inventory.Host{Role: inventory.Worker}
	k.lines = map[string]int{}
	before := len(k.draft.Left)
	why := notOverSSH(n)
	k.walk(n, path, map[string]func(*yaml.Node) bool{
		"role": func(n *yaml.Node) bool {
			if !k.role(&h, n, path) && why == "" {
				why = "has the role " + textOf(n) + ", which is not known here, and is left out"
			}
			return true
		},
		"hostname":       k.field(&h.Name, "name", path+".hostname"),
		"privateAddress": k.field(&h.NodeIP, "nodeIP", path+".privateAddress"),
		"ssh":            func(n *yaml.Node) bool { k.ssh(&h, n, path+".ssh"); return true },
		"openSSH":        func(n *yaml.Node) bool { k.ssh(&h, n, path+".openSSH"); return true },
		"reset": func(n *yaml.Node) bool {
			if isTrue(n) {
				why = "is marked to leave the cluster (reset: true), and left out"
			}
			return true
		},
	})
	h.Address = unbracketed(h.Address)
	switch {
	case why != "":
	case value(n, "role") == nil:
		why = "has no role, and is left out"
	case h.Address == "":
		why = "has no address that can be read here, and is left out"
	default:
		why = unusable(h.Address)
	}
	if why != "" {
		own := slices.DeleteFunc(slices.Clone(k.draft.Left[before:]), func(l Leftover) bool { return !strings.Contains(l.Why, "environment") })
		k.draft.Left = append(k.draft.Left[:before], own...)
		k.left(n.Line, path, why)
		if h.Role == inventory.ControlPlane {
			k.gone = cmp.Or(k.gone, n.Line)
		}
		return
	}
	k.name(&h, n.Line, path)
	k.draft.add(h, n.Line, k.lines)
}

// notOverSSH says how k0sctl reaches a host that it does not reach over SSH; "" when it does.
func notOverSSH(n *yaml.Node) string {
	switch local := value(n, "localhost"); { // the machine on which k0sctl runs
	case local != nil && (isTrue(local) || isTrue(value(local, "enabled"))):
		return "is not reached over SSH: it is left out"
	case value(n, "ssh") == nil && value(n, "openSSH") == nil:
		return "is not reached over SSH: it is left out"
	}
	return ""
}

func isTrue(n *yaml.Node) bool {
	var yes bool
	return n != nil && n.Decode(&yes) == nil && yes
}

// field reads a text into a field of the host that is read.
func (k *k0sctl) field(to *string, name, path string) func(*yaml.Node) bool {
	return func(n *yaml.Node) bool {
		*to = k.text(n, path)
		k.lines[name] = n.Line
		return *to != "" || environment.MatchString(textOf(n))
	}
}

func (k *k0sctl) role(h *inventory.Host, n *yaml.Node, path string) bool {
	switch role := textOf(n); role {
	case "worker":
	case "controller":
		h.Role = inventory.ControlPlane
	case "controller+worker", "single":
		h.Role = inventory.ControlPlane
		k.left(n.Line, path+".role", role+" takes pods too: here it gets kubeadm's taint as a control plane")
	default:
		return false
	}
	return true
}

// name makes up what k0sctl asks the host for.
func (k *k0sctl) name(h *inventory.Host, line int, path string) {
	if h.Name == "" {
		k.count[h.Role]++
		h.Name = fmt.Sprintf("%s-%d", h.Role, k.count[h.Role])
		k.left(line, path, "has no hostname, so it is called "+h.Name+" here")
		return
	}
	if name, changed := nodeName(h.Name); changed {
		k.left(line, path+".hostname", "is "+name+" here, as nodes are named")
		h.Name = name
	}
}

func (k *k0sctl) ssh(h *inventory.Host, n *yaml.Node, path string) {
	k.walk(n, path, map[string]func(*yaml.Node) bool{
		"address": k.field(&h.Address, "address", path+".address"),
		"user":    k.field(&h.User, "user", path+".user"),
		"port":    k.port(&h.Port, "port", path+".port"),
		"keyPath": func(n *yaml.Node) bool {
			k.lines["identityFiles"] = n.Line
			if k.text(n, path+".keyPath") == "" {
				return textOf(n) != "" || n.ShortTag() == "!!null"
			}
			return keyFile(h, n)
		},
		"hostKey": k.field(&h.HostKey, "hostKey", path+".hostKey"),
		"bastion": func(n *yaml.Node) bool {
			h.Jump = k.bastion(n, path+".bastion")
			k.lines["jump"] = n.Line
			return true
		},
	})
}

// bastion becomes user@address:port.
func (k *k0sctl) bastion(n *yaml.Node, path string) string {
	var user, address string
	var number int
	k.walk(n, path, map[string]func(*yaml.Node) bool{
		"address": func(n *yaml.Node) bool { address = k.text(n, path+".address"); return true },
		"user":    func(n *yaml.Node) bool { user = k.text(n, path+".user"); return true },
		"port":    k.port(&number, "jump", path+".port"),
	})
	if address == "" {
		k.left(n.Line, path, "has no address that can be read here: the host has no jump")
		return ""
	}
	if isIPv6(address) {
		k.left(n.Line, path, noIPv6)
		return ""
	}
	return hop(user, address, number)
}

func (k *k0sctl) port(to *int, name, path string) func(*yaml.Node) bool {
	return func(n *yaml.Node) bool {
		if textOf(n) != "" && k.text(n, path) == "" {
			return true
		}
		v, err := strconv.Atoi(textOf(n))
		if err != nil {
			return false
		}
		*to = v
		k.lines[name] = n.Line
		return true
	}
}

func keyFile(h *inventory.Host, n *yaml.Node) bool {
	if textOf(n) == "" {
		return false
	}
	h.IdentityFiles = []string{textOf(n)}
	return true
}
