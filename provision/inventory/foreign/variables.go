package foreign

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// setHostVariable gives a host what a variable says of it; false when that has no counterpart.
func setHostVariable(h *inventory.Host, v variable) bool {
	text := textOf(v.value)
	if strings.Contains(text, "{{") {
		return false
	}
	switch v.name {
	case "ansible_host", "ansible_ssh_host":
		h.Address = text
	case "ansible_user", "ansible_ssh_user":
		h.User = text
	case "ansible_port", "ansible_ssh_port":
		port, err := strconv.Atoi(text)
		if err != nil {
			return false
		}
		h.Port = port
	case "ansible_ssh_private_key_file", "ansible_private_key_file":
		return keyFile(h, v.value)
	case "ip":
		h.NodeIP = text
	case "node_labels":
		h.Labels = texts(v.value)
		return h.Labels != nil
	case "node_taints":
		var taints []string
		if v.value.Decode(&taints) != nil {
			return false
		}
		h.Taints = taints
		return len(taints) > 0
	default:
		return false
	}
	return text != ""
}

// setClusterVariable gives the cluster what a variable of kubespray says of it; false when that has no counterpart.
func setClusterVariable(k *inventory.Kubernetes, v variable) bool {
	text := textOf(v.value)
	if text == "" || strings.Contains(text, "{{") {
		return false
	}
	switch v.name {
	case "kube_version":
		k.Version = "v" + strings.TrimPrefix(text, "v")
	case "kube_pods_subnet":
		k.PodCIDR = text
	case "kube_service_addresses":
		k.ServiceCIDR = text
	case "cluster_name", "dns_domain":
		k.DNSDomain = text
	default:
		return false
	}
	return true
}

// texts reads a mapping of texts; a truth value or number is the text that stands there.
func texts(n *yaml.Node) map[string]string {
	out := map[string]string{}
	for key, v := range fields(n) {
		if v.Kind != yaml.ScalarNode {
			return nil
		}
		out[key.Value] = v.Value
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
