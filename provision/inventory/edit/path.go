package edit

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// segment is one part of a path as it was written: spec, [arm-1], [example.com/rack].
type segment struct {
	text    string
	bracket bool
}

// step is a segment whose place in the document is known: a field's name, or the index in a list.
type step struct {
	name  string
	index int // -1: a field
}

// parsePath reads spec.hosts[arm-1].labels.zone. The error is for the user.
func parsePath(path string) ([]segment, error) {
	var segments []segment
	for rest := path; rest != ""; {
		if rest[0] == '[' {
			end := strings.IndexByte(rest, ']')
			if end < 2 {
				return nil, fmt.Errorf("the path %q has a bracket that holds nothing or does not close", path)
			}
			segments = append(segments, segment{rest[1:end], true})
			rest = rest[end+1:]
			continue
		}
		if len(segments) > 0 {
			if rest[0] != '.' {
				return nil, fmt.Errorf("the path %q wants a dot before %q", path, rest)
			}
			rest = rest[1:]
		}
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			return nil, fmt.Errorf("the path %q has an empty name in it: names are separated by one dot, as in spec.kubernetes.version", path)
		}
		segments = append(segments, segment{rest[:end], false})
		rest = rest[end:]
	}
	if len(segments) == 0 || segments[0].bracket {
		return nil, fmt.Errorf("%q is not a path such as spec.kubernetes.version or spec.hosts[arm-1].labels.zone", path)
	}
	return segments, nil
}

// resolve finds the steps of a path in the document. Fields need not be there; items of lists do, but for the one after the last.
func (d *document) resolve(path string) ([]step, error) {
	segments, err := parsePath(path)
	if err != nil {
		return nil, &PathError{text: err.Error()}
	}
	var steps []step
	var at any = d.values
	for i, s := range segments {
		list, isList := at.([]any)
		if !isList && (at != nil || !s.bracket || s.text != "0") {
			steps = append(steps, step{s.text, -1})
			at = member(at, s.text)
			continue
		}
		index := itemIndex(list, s.text)
		if index < 0 || index > len(list) {
			return nil, &PathError{text: noItem(written(segments[:i]), s.text, list)}
		}
		steps = append(steps, step{s.text, index})
		if at = nil; index < len(list) {
			at = list[index]
		}
	}
	return steps, nil
}

// PathError says that a path names nothing in the inventory. The user corrects the path; nothing was written.
type PathError struct{ text, mend string }

func (e *PathError) Error() string { return e.text }

// Hint is what the user can do about it, as package hint has it; "" = nothing but what the text says.
func (e *PathError) Hint() string { return e.mend }

func written(segments []segment) string {
	var b strings.Builder
	for i, s := range segments {
		switch {
		case s.bracket:
			b.WriteString("[" + s.text + "]")
		case i > 0:
			b.WriteString("." + s.text)
		default:
			b.WriteString(s.text)
		}
	}
	return b.String()
}

func member(v any, name string) any {
	m, _ := v.(map[string]any)
	return m[name]
}

// itemIndex finds an item by its name, else by its number; -1 when it is neither.
func itemIndex(list []any, text string) int {
	if i := slices.IndexFunc(list, func(v any) bool { return member(v, "name") == text }); i >= 0 {
		return i
	}
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return -1
}

func noItem(path, text string, list []any) string {
	var names []string
	for _, v := range list {
		if name, ok := member(v, "name").(string); ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return fmt.Sprintf("%s has no item %s: it has %d", path, text, len(list))
	}
	if near := inventory.Suggest(text, names); near != "" {
		return fmt.Sprintf("%s has no %s; did you mean %s?", path, text, near)
	}
	return fmt.Sprintf("%s has no %s; there are %s", path, text, strings.Join(names, ", "))
}

// put returns v with the value at the steps; what is missing on the way is made.
func put(v any, steps []step, value any) (any, error) {
	if len(steps) == 0 {
		return value, nil
	}
	s := steps[0]
	if s.index < 0 {
		m, ok := v.(map[string]any)
		if !ok && v != nil {
			return nil, &PathError{text: fmt.Sprintf("%s cannot be set: what it would stand in is no mapping", s.name)}
		}
		child, err := put(m[s.name], steps[1:], value)
		if err != nil {
			return nil, err
		}
		out := map[string]any{}
		maps.Copy(out, m)
		out[s.name] = child
		return out, nil
	}
	list, _ := v.([]any)
	out := slices.Clone(list)
	if s.index == len(out) {
		out = append(out, nil)
	}
	child, err := put(out[s.index], steps[1:], value)
	out[s.index] = child
	return out, err
}

// drop returns v without the value at the steps.
func drop(v any, steps []step) any {
	s := steps[0]
	if list, ok := v.([]any); ok {
		out := slices.Clone(list)
		if len(steps) == 1 {
			return slices.Delete(out, s.index, s.index+1)
		}
		out[s.index] = drop(out[s.index], steps[1:])
		return out
	}
	out := maps.Clone(v.(map[string]any))
	if len(steps) == 1 {
		delete(out, s.name)
	} else {
		out[s.name] = drop(out[s.name], steps[1:])
	}
	return out
}

// place is a node and where it stands.
type place struct {
	node   *yaml.Node // of a mapping's entry the value; nil at the root's parent
	key    *yaml.Node // of a mapping's entry
	parent *yaml.Node
	index  int // of the key or item in parent.Content
}

// trail returns the places along the steps, the root first, as far as the file has them: what a merge key brings is not there.
// It refuses to go through an alias.
func (d *document) trail(steps []step) ([]place, error) {
	trail := []place{{node: d.root}}
	d.touched = append(d.touched, d.root)
	for _, s := range steps {
		n := trail[len(trail)-1].node
		if n.Kind == yaml.AliasNode {
			return nil, d.problem(n, "", fmt.Sprintf("the value is the alias *%s of what stands in line %d", n.Value, n.Alias.Line),
				"edit it there for all who use it, or write it out here first")
		}
		p, ok := child(n, s)
		if !ok {
			break
		}
		trail = append(trail, p)
		d.touched = append(d.touched, p.node)
	}
	return trail, nil
}

func child(n *yaml.Node, s step) (place, bool) {
	if s.index >= 0 {
		if n.Kind != yaml.SequenceNode || s.index >= len(n.Content) {
			return place{}, false
		}
		return place{node: n.Content[s.index], parent: n, index: s.index}, true
	}
	if n.Kind != yaml.MappingNode {
		return place{}, false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; key.Kind == yaml.ScalarNode && key.Value == s.name {
			return place{node: n.Content[i+1], key: key, parent: n, index: i}, true
		}
	}
	return place{}, false
}

// merge returns what a mapping's merge key brings, or nil.
func merge(n *yaml.Node) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].ShortTag() == "!!merge" {
			return n.Content[i]
		}
	}
	return nil
}

// typeAt is the type that the document has at the steps; nil where anything may stand, or where nothing is known.
func typeAt(steps []step) reflect.Type {
	t := reflect.TypeFor[inventory.Cluster]()
	for _, s := range steps {
		if t != nil && t.Kind() == reflect.Slice && s.index < 0 { // a single Ceph cluster, without the list around it
			t = t.Elem()
		}
		switch {
		case t == nil:
			return nil
		case t.Kind() == reflect.Struct:
			t = inventory.FieldType(t, s.name)
		case t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
			t = t.Elem()
		default:
			return nil
		}
	}
	return t
}
