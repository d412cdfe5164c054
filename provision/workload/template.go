package workload

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Template is a pod template, or a pod, within an object.
type Template struct {
	Object *Object
	Path   string // of the pod spec: spec.template.spec
	Daemon bool   // its controller puts a pod on every node that it allows

	spec *yaml.Node
	meta *yaml.Node // the template's own metadata; nil where there is none

	used []use // what uses found; nil = it was not asked yet, or found nothing
}

// specPaths is where Kubernetes' own kinds have their pod specs.
var specPaths = map[string]string{
	"Pod": "spec", "PodTemplate": "template.spec", "CronJob": "spec.jobTemplate.spec.template.spec",
	"Deployment": "spec.template.spec", "StatefulSet": "spec.template.spec", "DaemonSet": "spec.template.spec",
	"ReplicaSet": "spec.template.spec", "ReplicationController": "spec.template.spec", "Job": "spec.template.spec",
}

// builtIn are the API groups of Kubernetes' own kinds that run pods; another group may have a kind of the same name.
func builtIn(apiVersion string) bool {
	group, _, found := strings.Cut(apiVersion, "/")
	return !found || group == "apps" || group == "batch" || group == "extensions"
}

// ownGroup reports whether a group is one of Kubernetes' own, whose kinds are known: none of them has pod templates but those of specPaths.
func ownGroup(apiVersion string) bool {
	group, _, found := strings.Cut(apiVersion, "/")
	return !found || !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") // x-k8s.io is for custom resources
}

// templates finds the pod templates of an object: where its kind has them, else whatever has their shape.
func templates(o *Object, opts ReadOptions) []Template {
	if path, ok := specPaths[o.Kind]; ok && builtIn(o.APIVersion) {
		spec, above := o.root, o.root
		for key := range strings.SplitSeq(path, ".") {
			above, spec = spec, value(spec, key)
		}
		if spec == nil || spec.Kind != yaml.MappingNode {
			return nil
		}
		return []Template{{Object: o, Path: o.at(path), Daemon: o.Kind == "DaemonSet", spec: spec, meta: value(above, "metadata")}}
	}
	if opts.KnownKindsOnly || ownGroup(o.APIVersion) {
		return nil
	}
	f := finder{object: o, been: map[*yaml.Node]bool{}}
	f.find(o.root, nil, "", 0)
	return f.found
}

// at is a path within the object as a path within its document.
func (o *Object) at(path string) string {
	if o.path == "" {
		return path
	}
	return o.path + "." + path
}

// finder looks for pod specs by their shape.
type finder struct {
	object *Object
	found  []Template
	been   map[*yaml.Node]bool
}

// find looks at a node whose place is path; above is the mapping around it.
func (f *finder) find(n, above *yaml.Node, path string, depth int) {
	n = behind(n)
	if n == nil || f.been[n] || depth > 24 {
		return
	}
	f.been[n] = true
	switch n.Kind {
	case yaml.MappingNode:
		if hasContainers(n) {
			f.found = append(f.found, Template{Object: f.object, Path: f.object.at(path), spec: n, meta: value(above, "metadata")})
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			inner := n.Content[i].Value
			if path != "" {
				inner = path + "." + inner
			}
			f.find(n.Content[i+1], n, inner, depth+1)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			f.find(item, n, fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
	}
}

// hasContainers reports whether a mapping has the shape of a pod spec: a list of containers, each with a name or an image, which some kinds give
// to one without a name (Knative's Service), and one at least with an image.
func hasContainers(n *yaml.Node) bool {
	list := value(n, "containers")
	if list == nil || list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		return false
	}
	image := false
	for _, c := range list.Content {
		if text(c, "name") == "" && text(c, "image") == "" {
			return false
		}
		image = image || text(c, "image") != ""
	}
	return image
}

// role is what an image is for in a pod.
type role string

const (
	roleMain      role = "container"
	roleInit      role = "init container"
	roleSidecar   role = "sidecar"
	roleEphemeral role = "ephemeral container"
	roleVolume    role = "image volume"
)

// use is an image in a pod template.
type use struct {
	image string
	role  role
	name  string // of the container or volume
	path  string // of the image's field
	node  *yaml.Node
	item  *yaml.Node // the container or volume
}

// uses lists the images of a template in the order of its text's lists. Every rule asks, so it is kept.
func (t *Template) uses() []use {
	if t.used == nil {
		t.used = t.findUses()
	}
	return t.used
}

func (t *Template) findUses() []use {
	var out []use
	for _, l := range []struct {
		list string
		role role
	}{{"initContainers", roleInit}, {"containers", roleMain}, {"ephemeralContainers", roleEphemeral}} {
		for i, c := range items(value(t.spec, l.list)) {
			r := l.role
			if r == roleInit && text(c, "restartPolicy") == "Always" {
				r = roleSidecar
			}
			if image := value(c, "image"); text(c, "image") != "" {
				out = append(out, use{image.Value, r, text(c, "name"), fmt.Sprintf("%s.%s[%d].image", t.Path, l.list, i), image, c})
			}
		}
	}
	for i, v := range items(value(t.spec, "volumes")) {
		if ref := value(value(v, "image"), "reference"); text(value(v, "image"), "reference") != "" {
			out = append(out, use{ref.Value, roleVolume, text(v, "name"), fmt.Sprintf("%s.volumes[%d].image.reference", t.Path, i), ref, v})
		}
	}
	return out
}

// Images lists the images of a template: of its containers of every kind, and of its image volumes.
func (t *Template) Images() []string {
	var out []string
	for _, u := range t.uses() {
		out = append(out, u.image)
	}
	return out
}

func items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	out := make([]*yaml.Node, 0, len(n.Content))
	for _, c := range n.Content {
		out = append(out, behind(c))
	}
	return out
}

// pair is an entry of a node selector.
type pair struct {
	key, value         string
	keyNode, valueNode *yaml.Node
}

func (t *Template) selector() []pair { return pairs(value(t.spec, "nodeSelector")) }

// pairs are the entries of a mapping. Of equal keys the last counts, and what is merged in counts only where the mapping has no such key itself.
func pairs(n *yaml.Node) []pair { return pairsOf(n, 16) }

func pairsOf(n *yaml.Node, depth int) []pair {
	if n == nil || n.Kind != yaml.MappingNode || depth == 0 {
		return nil
	}
	var out, merged []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.ShortTag() == "!!merge" {
			for _, from := range mergedFrom(n.Content[i+1]) {
				merged = append(merged, pairsOf(behind(from), depth-1)...)
			}
			continue
		}
		v := behind(n.Content[i+1])
		out = slices.DeleteFunc(out, func(p pair) bool { return p.key == k.Value })
		out = append(out, pair{k.Value, v.Value, k, v})
	}
	for _, m := range merged {
		if !slices.ContainsFunc(out, func(p pair) bool { return p.key == m.key }) {
			out = append(out, m)
		}
	}
	return out
}

func mergedFrom(n *yaml.Node) []*yaml.Node {
	if n = behind(n); n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

// term is a node selector term of the template's affinity.
type term struct {
	path  string
	node  *yaml.Node
	exprs []expr // its matchExpressions; nil = none
	empty bool   // it has nothing at all, and matches no node
}

// expr is a requirement of a term about a label.
type expr struct {
	path    string
	node    *yaml.Node
	key     *yaml.Node
	op      string
	values  []string
	valueAt []*yaml.Node
}

func (t *Template) nodeAffinity() (*yaml.Node, string) {
	return value(value(t.spec, "affinity"), "nodeAffinity"), t.Path + ".affinity.nodeAffinity"
}

const (
	requiredField  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferredField = "preferredDuringSchedulingIgnoredDuringExecution"
)

// required are the terms of the required node affinity; has reports whether there is one.
func (t *Template) required() (terms []term, has bool) {
	affinity, path := t.nodeAffinity()
	required := value(affinity, requiredField)
	if required == nil || required.Kind != yaml.MappingNode {
		return nil, false
	}
	path += "." + requiredField + ".nodeSelectorTerms"
	for i, n := range items(value(required, "nodeSelectorTerms")) {
		terms = append(terms, readTerm(n, fmt.Sprintf("%s[%d]", path, i)))
	}
	return terms, true
}

// preferred are the terms of the preferred node affinity.
func (t *Template) preferred() []term {
	affinity, path := t.nodeAffinity()
	var out []term
	for i, n := range items(value(affinity, preferredField)) {
		if p := value(n, "preference"); p != nil {
			out = append(out, readTerm(p, fmt.Sprintf("%s.%s[%d].preference", path, preferredField, i)))
		}
	}
	return out
}

func readTerm(n *yaml.Node, path string) term {
	t := term{path: path, node: n}
	for i, e := range items(value(n, "matchExpressions")) {
		one := expr{path: fmt.Sprintf("%s.matchExpressions[%d]", path, i), node: e, op: text(e, "operator"), key: value(e, "key")}
		for _, v := range items(value(e, "values")) {
			one.values = append(one.values, v.Value)
			one.valueAt = append(one.valueAt, v)
		}
		if one.key != nil {
			t.exprs = append(t.exprs, one)
		}
	}
	t.empty = len(items(value(n, "matchExpressions"))) == 0 && len(items(value(n, "matchFields"))) == 0
	return t
}

// tolerations are those of the template.
func (t *Template) tolerations() []Toleration {
	var out []Toleration
	for _, n := range items(value(t.spec, "tolerations")) {
		out = append(out, Toleration{Key: text(n, "key"), Operator: text(n, "operator"), Value: text(n, "value"), Effect: text(n, "effect")})
	}
	return out
}
