package edit

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// Set returns the edit that gives a field a value: spec.kubernetes.version, spec.hosts[arm-1].labels.zone. Items of lists are named
// by their name or number; the number after the last one adds an item. A field that takes text takes value as it is; any other
// takes a number, true or false, or YAML in brackets. Fields and mappings on the way are made. A *PathError says that there is
// nothing of that path.
func Set(path, value string) Edit { return set{path, value} }

type set struct{ path, value string }

func (e set) mean(d *document) (map[string]any, error) {
	steps, err := d.resolve(e.path)
	if err != nil {
		return nil, err
	}
	value, _, err := e.parsed(d, steps)
	if err != nil {
		return nil, err
	}
	values, err := put(d.values, steps, value)
	if err != nil {
		return nil, err
	}
	return values.(map[string]any), nil
}

// parsed returns the value, and how it is written where no other scalar stood.
func (e set) parsed(d *document, steps []step) (value any, text string, err error) {
	t := typeAt(steps)
	if isText(t) {
		return e.value, d.quote(e.value), nil
	}
	value, n, ok := parseValue(e.value)
	switch {
	case ok && d.notation == inJSON:
		if text, ok = asJSON(e.value, value, n); !ok {
			return nil, "", &PathError{fmt.Sprintf("%s: %q is no value of JSON, which the inventory is", e.path, e.value), "write the value as JSON"}
		}
		return value, text, nil
	case ok:
		return value, e.value, nil
	case t == nil || t.Kind() == reflect.Interface:
		return e.value, d.quote(e.value), nil
	}
	return nil, "", &PathError{fmt.Sprintf("%s: %q is no value in one line of YAML", e.path, e.value), "write lists as [a, b], and mappings as {name: value}"}
}

func (e set) splice(d *document) ([]byte, error) {
	steps, err := d.resolve(e.path)
	if err != nil {
		return nil, err
	}
	_, text, err := e.parsed(d, steps)
	if err != nil {
		return nil, err
	}
	trail, err := d.trail(steps)
	if err != nil {
		return nil, err
	}
	last := trail[len(trail)-1]
	if len(trail) == len(steps)+1 {
		if isText(typeAt(steps)) && last.node.Kind == yaml.ScalarNode {
			text = d.requote(last.node, e.value)
		}
		return d.replace(last, text)
	}
	missing := steps[len(trail)-1:]
	if m := merge(last.node); m != nil && len(missing) > 1 && member(valueAt(d.values, steps[:len(trail)-1]), missing[0].name) != nil {
		return nil, d.problem(m, "", fmt.Sprintf("%s comes from this merge key", missing[0].name), "write it out here first, or edit it where it stands")
	}
	if last.node.Kind == yaml.ScalarNode && last.node.ShortTag() == "!!null" {
		return d.replace(last, d.nest(missing, text))
	}
	return d.insert(last.node, typeAt(steps[:len(trail)-1]), missing, text)
}

func valueAt(v any, steps []step) any {
	for _, s := range steps {
		if list, ok := v.([]any); ok && s.index < len(list) {
			v = list[s.index]
			continue
		}
		v = member(v, s.name)
	}
	return v
}

// replace writes text where a value stands.
func (d *document) replace(p place, text string) ([]byte, error) {
	n := p.node
	if n.Anchor != "" || yamltext.Tagged(n) {
		return nil, d.byHand(n, "has an anchor or a tag")
	}
	start, err := d.Start(n)
	if err != nil {
		return nil, err
	}
	end, err := d.End(n, d.outer(p))
	if err != nil {
		return nil, err
	}
	switch {
	case n.Kind == yaml.ScalarNode && start == end: // "key:" with nothing behind it
		return d.Cut(start, start, " "+text), nil
	case p.key == nil || n.Kind == yaml.ScalarNode || n.Kind == yaml.AliasNode || yamltext.IsFlow(n):
		return d.Cut(start, end, text), nil
	}
	return d.replaceBlock(p, end, text)
}

// replaceBlock writes text behind the key and takes the lines below it away.
func (d *document) replaceBlock(p place, end int, text string) ([]byte, error) {
	colon, err := d.Colon(p.key)
	if err != nil {
		return nil, err
	}
	first := d.LineOf(colon) + 1
	if !d.Alone(colon) || !d.Alone(end) {
		return nil, d.byHand(p.node, "does not stand on its own lines")
	}
	without := newDocument(d.file, d.CutLines(first, d.LineOf(end)), d.root)
	return without.Cut(colon, colon, " "+text), nil
}

func (d *document) outer(p place) int {
	if p.parent == nil {
		return 0
	}
	return d.IndentOf(p.parent)
}

// insert adds to a mapping or list what is missing in it. t is its type, which tells the order of fields.
func (d *document) insert(n *yaml.Node, t reflect.Type, missing []step, text string) ([]byte, error) {
	if n.Kind == yaml.ScalarNode {
		return nil, d.byHand(n, "is no mapping or list that something can be added to")
	}
	name := missing[0]
	if len(n.Content) == 0 {
		return d.fill(n, d.nest(missing, text))
	}
	if name.index < 0 && !yamltext.IsFlow(n) {
		return insertEntry(d, n, t, name.name, d.entryLines(strings.Repeat(" ", d.IndentOf(n)), missing, text)...)
	}
	behind := d.predecessor(n, t, name.name)
	end, err := d.End(behind, d.IndentOf(n))
	if err != nil {
		return nil, err
	}
	if yamltext.IsFlow(n) {
		inner := d.nest(missing, text)
		return d.Cut(end, end, ", "+inner[1:len(inner)-1]), nil
	}
	if !d.Alone(end) {
		return nil, d.byHand(behind, "is followed by something in its line")
	}
	return d.InsertLine(end, strings.Repeat(" ", d.IndentOf(n))+"- "+d.nest(missing[1:], text)), nil
}

// insertEntry writes the lines of a new entry into a block mapping: behind the field that comes before it.
func insertEntry(d *document, n *yaml.Node, t reflect.Type, name string, lines ...string) ([]byte, error) {
	behind := d.predecessor(n, t, name)
	end, err := d.End(behind, d.IndentOf(n))
	if err != nil {
		return nil, err
	}
	if !d.Alone(end) {
		return nil, d.byHand(behind, "is followed by something in its line")
	}
	return d.InsertLine(behindComments(d, end, d.IndentOf(n), name), lines...), nil
}

// behindComments is where an entry of that name and indentation goes: behind the comments that are indented deeper, as they are of what stands
// before them; and where comments of its own indentation follow, one of which shows such an entry, right before that one.
func behindComments(d *document, end, indent int, name string) int {
	next, found := d.LineOf(end)+1, end
	for ; next < d.Lines(); next++ {
		if column, comment := commentIn(d, next); comment == "" || column <= indent {
			break
		}
		found = d.LineStart(next)
	}
	for last := found; next < d.Lines(); next++ {
		column, comment := commentIn(d, next)
		if comment == "" || column != indent {
			break
		}
		if strings.HasPrefix(strings.TrimLeft(comment, "# "), name+":") && len(comment)-len(strings.TrimLeft(comment, "# ")) <= 2 {
			return last
		}
		last = d.LineStart(next)
	}
	return found
}

// entryLines are the lines of a new entry of a block mapping; mappings on the way are blocks too.
func (d *document) entryLines(indent string, missing []step, text string) []string {
	if len(missing) == 1 || missing[1].index >= 0 {
		return []string{indent + d.quote(missing[0].name) + ": " + d.nest(missing[1:], text)}
	}
	deeper := indent + strings.Repeat(" ", d.indentStep())
	return append([]string{indent + d.quote(missing[0].name) + ":"}, d.entryLines(deeper, missing[1:], text)...)
}

// fill writes into the brackets of an empty mapping or list.
func (d *document) fill(n *yaml.Node, nested string) ([]byte, error) {
	start, err := d.Body(n)
	if err != nil {
		return nil, err
	}
	end, err := d.End(n, 0)
	if err != nil {
		return nil, err
	}
	return d.Cut(start, end, nested), nil
}

// predecessor is what a new entry is to stand behind: the field that comes before it in the type, else whatever is last. It is a value, or
// the key of one that is empty.
func (d *document) predecessor(n *yaml.Node, t reflect.Type, name string) *yaml.Node {
	at := len(n.Content) - 1
	if n.Kind == yaml.SequenceNode {
		return n.Content[at]
	}
	if t != nil && t.Kind() == reflect.Struct {
		order := inventory.FieldNames(t)
		rank := slices.Index(order, name)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if other := slices.Index(order, n.Content[i].Value); other >= 0 && other < rank {
				at = i + 1
			}
		}
	}
	return n.Content[at]
}
