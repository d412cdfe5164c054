package workload

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// NodesOf are a cluster's nodes as the scheduler looks at them, without the taints that come and go with a node's health. Nodes of other
// architectures and operating systems than those that are supported are left out.
func NodesOf(nodes []corev1.Node) []Node {
	var out []Node
	for _, n := range nodes {
		arch, err := platform.Parse(n.Labels[archLabel])
		if os := n.Labels[osLabel]; err != nil || os != "" && os != linux {
			continue
		}
		one := Node{Name: n.Name, Arch: arch, Labels: n.Labels}
		for _, t := range n.Spec.Taints {
			if !strings.HasPrefix(t.Key, "node.kubernetes.io/") && !strings.HasPrefix(t.Key, "node.cloudprovider.kubernetes.io/") {
				one.Taints = append(one.Taints, Taint{t.Key, t.Value, string(t.Effect)})
			}
		}
		out = append(out, one)
	}
	return out
}

// allowed are the architectures that a template's pods may come to. Of a cluster whose nodes are known it is those that have a node for it; where no
// node is, as in a pool that is still empty, its words about the architecture alone decide.
func (l *lint) allowed(t *Template) []platform.Arch {
	said := t.Allowed(l.archs)
	w := t.workload()
	var there []platform.Arch
	name := text(t.spec, "nodeName")
	for _, n := range l.nodes {
		if name != "" && name != n.Name {
			continue
		}
		if slices.Contains(said, n.Arch) && !slices.Contains(there, n.Arch) && w.MayRunOn(n) {
			there = append(there, n.Arch)
		}
	}
	if len(there) == 0 {
		return said
	}
	return slices.DeleteFunc(said, func(a platform.Arch) bool { return !slices.Contains(there, a) })
}

// workload is the template as MayRunOn looks at it.
func (t *Template) workload() Workload {
	w := Workload{Daemon: t.Daemon, Tolerations: t.tolerations()}
	for _, p := range t.selector() {
		if w.Selector == nil {
			w.Selector = map[string]string{}
		}
		w.Selector[p.key] = p.value
	}
	terms, has := t.required()
	if !has {
		return w
	}
	w.Terms = []Term{}
	for _, m := range terms {
		one := Term{}
		for _, e := range m.exprs {
			one = append(one, Requirement{Key: e.key.Value, Operator: e.op, Values: e.values})
		}
		for _, f := range items(value(m.node, "matchFields")) {
			one = append(one, Requirement{Key: text(f, "key"), Operator: text(f, "operator"), Values: words(value(f, "values")), Field: true})
		}
		w.Terms = append(w.Terms, one)
	}
	return w
}
