// Package workload judges whether what runs in a cluster can run on nodes of another architecture: which pod templates may come to a
// node by their constraints, and whether their images are made for it. It is pure: objects, nodes and what is known of images come in
// as values. It changes no object.
package workload

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Workload is an object with a pod template.
type Workload struct {
	Object      string // "DaemonSet kube-system/kube-proxy"
	Daemon      bool   // it runs on every node that its constraints allow
	Selector    map[string]string
	Terms       []Term // of the required node affinity; nil = none. One of them has to match
	Tolerations []Toleration
	Images      []string
}

// Term is a node selector term: all of it has to match. An empty one matches nothing.
type Term []Requirement

// Requirement is about a label of the node.
type Requirement struct {
	Key, Operator string // as in the API: In, NotIn, Exists, DoesNotExist, Gt, Lt
	Values        []string
	Field         bool // about the field metadata.name, the only one there is
}

// Toleration is the API's own.
type Toleration struct{ Key, Operator, Value, Effect string }

// Node is a node as the scheduler looks at it.
type Node struct {
	Name   string
	Arch   platform.Arch
	Labels map[string]string
	Taints []Taint
}

// Taint is the API's own.
type Taint struct{ Key, Value, Effect string }

// ParseTaints reads taints as kubectl writes them: key=value:effect, or key:effect.
func ParseTaints(texts []string) (out []Taint) {
	for _, text := range texts {
		id, effect, _ := strings.Cut(text, ":")
		key, value, _ := strings.Cut(id, "=")
		out = append(out, Taint{Key: key, Value: value, Effect: effect})
	}
	return out
}

// MayRunOn reports whether the scheduler, or the DaemonSet's controller, may put a pod of it on the node.
func (w Workload) MayRunOn(n Node) bool {
	for key, value := range w.Selector {
		if there, ok := n.Labels[key]; !ok || there != value {
			return false
		}
	}
	if w.Terms != nil && !slices.ContainsFunc(w.Terms, func(t Term) bool { return t.matches(n) }) {
		return false
	}
	for _, t := range n.Taints {
		if t.Effect != "PreferNoSchedule" && !slices.ContainsFunc(w.Tolerations, func(o Toleration) bool { return o.tolerates(t) }) {
			return false
		}
	}
	return true
}

func (t Term) matches(n Node) bool {
	for _, r := range t {
		if !r.matches(n) {
			return false
		}
	}
	return len(t) > 0
}

func (r Requirement) matches(n Node) bool {
	value, there := n.Labels[r.Key]
	if r.Field {
		value, there = n.Name, r.Key == "metadata.name"
	}
	switch r.Operator {
	case "In":
		return there && slices.Contains(r.Values, value)
	case "NotIn":
		return !there || !slices.Contains(r.Values, value)
	case "Exists":
		return there
	case "DoesNotExist":
		return !there
	case "Gt", "Lt":
		is, err := strconv.Atoi(value)
		if err != nil || len(r.Values) != 1 {
			return false
		}
		than, err := strconv.Atoi(r.Values[0])
		return err == nil && (r.Operator == "Gt" && is > than || r.Operator == "Lt" && is < than)
	}
	return false
}

func (o Toleration) tolerates(t Taint) bool {
	if o.Effect != "" && o.Effect != t.Effect || o.Key != "" && o.Key != t.Key {
		return false
	}
	if o.Operator == "Exists" {
		return true
	}
	return o.Key != "" && o.Value == t.Value
}
