package foreign

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// errUnknown says that a variable has no counterpart.
var errUnknown = errors.New(noCounterpart)

// setHostVariable gives a host what a variable says of it, and returns the field. The error is errUnknown, or says why the value cannot be taken.
func setHostVariable(h *inventory.Host, v variable) (field string, err error) {
	set, known := hostVariables[v.name]
	if !known {
		return "", errUnknown
	}
	if err := readable(v.value); err != nil {
		return set.field, err
	}
	return set.field, set.to(h, v.value)
}

type hostVariable struct {
	field string
	to    func(h *inventory.Host, n *yaml.Node) error
}

var hostVariables = map[string]hostVariable{
	"ansible_host":                 {"address", toAddress},
	"ansible_ssh_host":             {"address", toAddress},
	"ansible_user":                 {"user", toText(func(h *inventory.Host) *string { return &h.User })},
	"ansible_ssh_user":             {"user", toText(func(h *inventory.Host) *string { return &h.User })},
	"ansible_port":                 {"port", toPort},
	"ansible_ssh_port":             {"port", toPort},
	"ansible_ssh_private_key_file": {"identityFiles", toKeyFile},
	"ansible_private_key_file":     {"identityFiles", toKeyFile},
	"ip":                           {"nodeIP", toText(func(h *inventory.Host) *string { return &h.NodeIP })},
	"node_labels":                  {"labels", toLabels},
	"node_taints":                  {"taints", toTaints},
	"ansible_connection":           {"connection", func(*inventory.Host, *yaml.Node) error { return nil }}, // see overSSH
}

func toText(field func(*inventory.Host) *string) func(*inventory.Host, *yaml.Node) error {
	return func(h *inventory.Host, n *yaml.Node) error {
		text := textOf(n)
		if text == "" {
			return errUnknown
		}
		*field(h) = text
		return nil
	}
}

// toAddress reads an address; one of IPv6 may stand in brackets, which YAML takes for a list of one.
func toAddress(h *inventory.Host, n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 1 && isIPv6(textOf(behindAlias(n.Content[0]))) {
		n = behindAlias(n.Content[0])
	}
	if h.Address = cmp.Or(unbracketed(textOf(n)), h.Address); textOf(n) == "" {
		return errUnknown
	}
	return nil
}

func toPort(h *inventory.Host, n *yaml.Node) error {
	port, err := strconv.Atoi(textOf(n))
	if err != nil {
		return errors.New("is no port")
	}
	h.Port = port
	return nil
}

func toKeyFile(h *inventory.Host, n *yaml.Node) error {
	if !keyFile(h, n) {
		return errUnknown
	}
	return nil
}

// toLabels reads a mapping, or the text key=value,key=value that kubespray takes as well.
func toLabels(h *inventory.Host, n *yaml.Node) error {
	if n.Kind == yaml.MappingNode {
		if h.Labels = texts(n); h.Labels == nil {
			return errors.New("is no mapping of names and texts")
		}
		return nil
	}
	labels := map[string]string{}
	for _, pair := range listOf(n) {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return errors.New("is neither a mapping nor key=value,key=value")
		}
		labels[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	if len(labels) == 0 {
		return errUnknown
	}
	h.Labels = labels
	return nil
}

// toTaints reads a list, or a text with commas.
func toTaints(h *inventory.Host, n *yaml.Node) error {
	if h.Taints = listOf(n); len(h.Taints) == 0 {
		return errUnknown
	}
	return nil
}

// listOf reads a list of texts, or the parts of one text between commas.
func listOf(n *yaml.Node) []string {
	var list []string
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			list = append(list, textOf(behindAlias(item)))
		}
	case yaml.ScalarNode:
		for part := range strings.SplitSeq(textOf(n), ",") {
			list = append(list, strings.TrimSpace(part))
		}
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

// setClusterVariable gives the cluster what a variable of kubespray says of it, as setHostVariable does.
func setClusterVariable(k *inventory.Kubernetes, v variable) (field string, err error) {
	var to *string
	switch v.name {
	case "kube_version":
		field, to = "version", &k.Version
	case "kube_pods_subnet":
		field, to = "podCIDR", &k.PodCIDR
	case "kube_service_addresses":
		field, to = "serviceCIDR", &k.ServiceCIDR
	case "cluster_name", "dns_domain":
		field, to = "dnsDomain", &k.DNSDomain
	case "loadbalancer_apiserver":
		field, to = "endpoint", &k.Endpoint
	default:
		return "", errUnknown
	}
	field = "spec.kubernetes." + field
	if err := readable(v.value); err != nil {
		return field, err
	}
	text := textOf(v.value)
	if to == &k.Endpoint {
		text = balancer(v.value)
	}
	if text == "" {
		return field, errUnknown
	}
	if to == &k.Version {
		text = "v" + strings.TrimPrefix(text, "v")
	}
	*to = text
	return field, nil
}

// balancer is the address and port of kubespray's loadbalancer_apiserver, a mapping, which an ini file writes in braces; "" = it is none.
func balancer(n *yaml.Node) string {
	if n = behindAlias(n); n != nil && n.Kind == yaml.ScalarNode {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(n.Value), &doc) != nil || len(doc.Content) != 1 {
			return ""
		}
		n = doc.Content[0]
	}
	if n == nil || n.Kind != yaml.MappingNode {
		return ""
	}
	address := unbracketed(textOf(value(n, "address")))
	if address == "" {
		return ""
	}
	return net.JoinHostPort(address, cmp.Or(textOf(value(n, "port")), inventory.DefaultAPIPort))
}

// isTaken reports whether a variable of this name may become something here.
func isTaken(name string) bool {
	field, _ := setClusterVariable(&inventory.Kubernetes{}, variable{name: name})
	return hostVariables[name].field != "" || field != ""
}

// readable says why only Ansible can read a value.
func readable(n *yaml.Node) error {
	switch {
	case encrypted(n):
		return errors.New("is encrypted with Ansible's vault: what it holds may stand in the new inventory, if it is no secret")
	case template(n):
		return errors.New("is a template, which only Ansible can fill in")
	}
	return nil
}

// template tells of a value that holds {{ }}, in a list or a mapping too.
func template(n *yaml.Node) bool {
	n = behindAlias(n)
	if n == nil {
		return false
	}
	if n.Kind == yaml.ScalarNode {
		return strings.Contains(n.Value, "{{")
	}
	if n.Kind != yaml.SequenceNode && n.Kind != yaml.MappingNode {
		return false
	}
	for _, item := range n.Content {
		if item.Kind == yaml.ScalarNode && strings.Contains(item.Value, "{{") {
			return true
		}
	}
	return false
}

// texts reads a mapping of texts; a truth value or number is the text that stands there.
func texts(n *yaml.Node) map[string]string {
	out := map[string]string{}
	for key, v := range fields(n) {
		if v.Kind != yaml.ScalarNode {
			return nil
		}
		out[key.Value] = textOf(v)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
