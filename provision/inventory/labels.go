package inventory

import (
	"maps"
	"slices"
	"strings"
)

// freeNamespaces are the parts of kubernetes.io and k8s.io where a kubelet may set labels; the rest is Kubernetes' own, and a
// label there is either overwritten or refused by the NodeRestriction admission plugin.
var freeNamespaces = []string{"kubelet.kubernetes.io", "node.kubernetes.io", "topology.kubernetes.io"}

// ownLabels are set on every node by Kubernetes itself.
var ownLabels = map[string]string{
	"kubernetes.io/arch":     "the kubelet sets it; arch declares what the host must be",
	"kubernetes.io/os":       "the kubelet sets it",
	"kubernetes.io/hostname": "the host's name decides it",
}

func (v *validator) labels(path string, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		p, value := field(path, key), labels[key]
		switch why := reservedLabel(key); {
		case !qualifiedName(key):
			v.fail(p, "[prefix/]name: letters, digits, -, _ and ., at most 63 of them", "%q is not a label", key)
		case why != "":
			v.fail(p, "", "cannot be set here: %s", why)
		case !labelRule.ok(value):
			v.fail(p, "letters, digits, -, _ and ., at most 63 of them", "%q is not a label's value", value)
		}
	}
}

// reservedLabel says why a label is not the user's to set, or "".
func reservedLabel(key string) string {
	if why := ownLabels[key]; why != "" {
		return why
	}
	prefix, _, _ := strings.Cut(key, "/")
	inside := func(namespace string) bool { return prefix == namespace || strings.HasSuffix(prefix, "."+namespace) }
	switch {
	case inside("node-role.kubernetes.io"):
		return "role decides it"
	case inside("node-restriction.kubernetes.io"):
		return "kubelets are kept from this prefix"
	case slices.ContainsFunc(freeNamespaces, inside):
		return ""
	case inside("kubernetes.io"), inside("k8s.io"):
		return "this prefix belongs to Kubernetes"
	}
	return ""
}

func (v *validator) taints(path string, taints []string) {
	type identity struct{ key, effect string }
	first := map[identity]int{}
	for i, taint := range taints {
		p := item(path, i)
		if !taintRule.ok(taint) || !validTaint(taint) {
			v.fail(p, taintHint(taint), "%q is not a taint", taint)
			continue
		}
		key, effect := splitTaint(taint)
		if strings.HasPrefix(key, "node.kubernetes.io/") {
			v.fail(p, "", "%s cannot be set here: Kubernetes sets and removes it", key)
			continue
		}
		if j, twice := first[identity{key, effect}]; twice {
			v.fail(p, "", "has the key and effect of %s", item(path, j))
			continue
		}
		first[identity{key, effect}] = i
	}
}

func splitTaint(taint string) (key, effect string) {
	rest, effect, _ := strings.Cut(taint, ":")
	key, _, _ = strings.Cut(rest, "=")
	return key, effect
}

// validTaint checks the lengths, which the pattern does not.
func validTaint(taint string) bool {
	rest, _, _ := strings.Cut(taint, ":")
	key, value, _ := strings.Cut(rest, "=")
	return qualifiedName(key) && labelRule.ok(value)
}

func taintHint(taint string) string {
	_, effect, _ := strings.Cut(taint, ":")
	if near := Suggest(effect, taintEffects); near != "" && near != effect {
		return "did you mean " + near + "?"
	}
	return "key[=value]:" + strings.Join(taintEffects, "|")
}
