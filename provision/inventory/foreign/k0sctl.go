package foreign

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

const k0sctlAPI = "k0sctl.k0sproject.io/"

// k0sctl is a k0sctl file on its way to a draft.
type k0sctl struct {
	file  string
	draft Draft
	count map[inventory.Role]int // of hosts without a name
}

func readK0sctl(file string, root *yaml.Node) (Draft, error) {
	k := &k0sctl{file: file, count: map[inventory.Role]int{}}
	for key, v := range fields(root) {
		switch key.Value {
		case "apiVersion", "kind":
		case "metadata":
			k.walk(v, "metadata", map[string]func(*yaml.Node) bool{
				"name": func(n *yaml.Node) bool { k.draft.Cluster.Metadata.Name = textOf(n); return true },
			})
		case "spec":
			k.spec(v)
		default:
			k.left(key.Line, key.Value, noCounterpart)
		}
	}
	if len(k.draft.Cluster.Spec.Hosts) == 0 {
		return Draft{}, problem(file, root.Line, "spec.hosts holds no host that is reached over SSH", "")
	}
	return k.draft, nil
}

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
	version, _, _ := strings.Cut(textOf(n), "+")
	if version == "" {
		return false
	}
	k.draft.Cluster.Spec.Kubernetes.Version = "v" + strings.TrimPrefix(version, "v")
	return true
}

// config takes what a k0s configuration has in common with kubeadm's.
func (k *k0sctl) config(n *yaml.Node) bool {
	kubernetes := &k.draft.Cluster.Spec.Kubernetes
	text := func(field *string) func(*yaml.Node) bool {
		return func(n *yaml.Node) bool { *field = textOf(n); return *field != "" }
	}
	ignored := func(*yaml.Node) bool { return true }
	k.walk(n, "spec.k0s.config", map[string]func(*yaml.Node) bool{
		"apiVersion": ignored, "kind": ignored, "metadata": ignored,
		"spec": func(n *yaml.Node) bool {
			const path = "spec.k0s.config.spec"
			k.walk(n, path, map[string]func(*yaml.Node) bool{
				"api": func(n *yaml.Node) bool {
					k.walk(n, path+".api", map[string]func(*yaml.Node) bool{"externalAddress": func(n *yaml.Node) bool {
						if textOf(n) == "" {
							return false
						}
						kubernetes.Endpoint = net.JoinHostPort(textOf(n), inventory.DefaultAPIPort)
						return true
					}})
					return true
				},
				"network": func(n *yaml.Node) bool {
					k.walk(n, path+".network", map[string]func(*yaml.Node) bool{
						"podCIDR": text(&kubernetes.PodCIDR), "serviceCIDR": text(&kubernetes.ServiceCIDR), "clusterDomain": text(&kubernetes.DNSDomain),
					})
					return true
				},
			})
			return true
		},
	})
	return n.Kind == yaml.MappingNode
}

// host reads one host; one that is not reached over SSH is left.
func (k *k0sctl) host(n *yaml.Node, path string) {
	h := inventory.Host{Role: inventory.Worker}
	text := func(field *string) func(*yaml.Node) bool {
		return func(n *yaml.Node) bool { *field = textOf(n); return *field != "" }
	}
	before := len(k.draft.Left)
	k.walk(n, path, map[string]func(*yaml.Node) bool{
		"role":           func(n *yaml.Node) bool { return k.role(&h, n, path) },
		"hostname":       text(&h.Name),
		"privateAddress": text(&h.NodeIP),
		"ssh":            func(n *yaml.Node) bool { k.ssh(&h, n, path+".ssh"); return true },
		"openSSH":        func(n *yaml.Node) bool { k.ssh(&h, n, path+".openSSH"); return true },
	})
	if h.Address == "" {
		k.draft.Left = k.draft.Left[:before]
		k.left(n.Line, path, "is not reached over SSH")
		return
	}
	k.name(&h, n.Line, path)
	k.draft.Cluster.Spec.Hosts = append(k.draft.Cluster.Spec.Hosts, h)
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
		"address": func(n *yaml.Node) bool { h.Address = textOf(n); return true },
		"user":    func(n *yaml.Node) bool { h.User = textOf(n); return true },
		"port":    func(n *yaml.Node) bool { return port(&h.Port, n) },
		"keyPath": func(n *yaml.Node) bool { return keyFile(h, n) },
		"hostKey": func(n *yaml.Node) bool { h.HostKey = textOf(n); return true },
		"bastion": func(n *yaml.Node) bool { h.Jump = k.bastion(n, path+".bastion"); return true },
	})
}

// bastion becomes user@address:port.
func (k *k0sctl) bastion(n *yaml.Node, path string) string {
	var user, address string
	number := 22
	k.walk(n, path, map[string]func(*yaml.Node) bool{
		"address": func(n *yaml.Node) bool { address = textOf(n); return true },
		"user":    func(n *yaml.Node) bool { user = textOf(n); return true },
		"port":    func(n *yaml.Node) bool { return port(&number, n) },
	})
	if user != "" {
		user += "@"
	}
	return user + address + ":" + strconv.Itoa(number)
}

func keyFile(h *inventory.Host, n *yaml.Node) bool {
	if textOf(n) == "" {
		return false
	}
	h.IdentityFiles = []string{textOf(n)}
	return true
}

func port(to *int, n *yaml.Node) bool {
	v, err := strconv.Atoi(textOf(n))
	if err == nil {
		*to = v
	}
	return err == nil
}
