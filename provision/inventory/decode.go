package inventory

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxDepth    = 64     // of nesting; only kubelet and kubeProxy nest freely
	maxExpanded = 100000 // values that come from aliases: a few lines of YAML can stand for billions
)

// decode fills a Cluster from the document, with no defaults, and notes where each field stands. It goes on after a problem.
// The second result are the paths about which enough has been said: validation is silent on them.
func decode(doc *document) (*Cluster, map[string]bool, []Problem) {
	d := &decoder{doc: doc, bad: map[string]bool{}, open: map[*yaml.Node]bool{}, budget: count(doc.root) + maxExpanded}
	c := &Cluster{}
	d.value(doc.root, nil, "", reflect.ValueOf(c).Elem(), false)
	return c, d.bad, d.problems
}

// decoder walks nodes and Go values together. yaml.v3's own decoding neither names columns nor field paths, and it takes what
// it can convert for what was meant.
type decoder struct {
	doc      *document
	problems []Problem
	bad      map[string]bool

	open   map[*yaml.Node]bool // the nodes around the present one, to notice an alias that contains itself
	budget int                 // how many values may still be looked at
}

// count counts the nodes that are in the file, not those that aliases stand for.
func count(n *yaml.Node) int {
	sum := 1
	for _, child := range n.Content {
		sum += count(child)
	}
	return sum
}

func (d *decoder) fail(n *yaml.Node, path, message, hint string) {
	if d.budget < 0 {
		return
	}
	d.bad[path] = true
	d.problems = append(d.problems, d.doc.problem(nodePosition(n), path, message, hint))
}

// value decodes n, whose key is key (nil for list items), into v. What is required may not be taken out.
func (d *decoder) value(n, key *yaml.Node, path string, v reflect.Value, required bool) {
	n, done := d.enter(n, path)
	if n == nil {
		return
	}
	defer done()
	d.note(n, key, path)
	if isNull(n) {
		d.fail(d.at(n, key), path, "has no value", emptyHint(path, "give it one", required))
		return
	}
	if v.Kind() == reflect.Pointer { // of which nothing and the zero value are two things
		given := reflect.New(v.Type().Elem())
		defer func(pointer reflect.Value) {
			if !d.bad[path] {
				pointer.Set(given)
			}
		}(v)
		v = given.Elem()
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, path, text)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, key, path, v)
	case reflect.Slice:
		d.list(n, path, v)
	case reflect.Map:
		d.mapping(n, path, v)
	case reflect.Interface:
		d.free(n, path, v)
	default:
		d.scalar(n, path, v)
	}
}

// enter follows an alias and counts. A nil node means that the problem has been told.
func (d *decoder) enter(n *yaml.Node, path string) (*yaml.Node, func()) {
	alias := n
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.budget--
	switch {
	case d.open[n]:
		d.fail(alias, path, "the alias *"+printable(alias.Value)+" stands inside its own anchor", "")
	case len(d.open) >= maxDepth:
		d.fail(alias, path, "is nested too deeply", "")
	case d.budget == 0:
		d.fail(alias, "", fmt.Sprintf("the aliases stand for more than %d values", maxExpanded), "")
		for _, f := range fieldsOf(reflect.TypeFor[Cluster]()) {
			d.bad[f.name] = true // what comes now is not decoded, so nothing more can be said
		}
	case d.budget > 0:
		d.open[n] = true
		return n, func() { delete(d.open, n) }
	}
	return nil, nil
}

// at is where a value is reported: collections at their key, because their own first character may be lines below.
func (d *decoder) at(n, key *yaml.Node) *yaml.Node {
	if key != nil && (n.Kind != yaml.ScalarNode || isNull(n)) {
		return key
	}
	return n
}

func (d *decoder) note(n, key *yaml.Node, path string) {
	d.doc.positions[path] = nodePosition(d.at(n, key))
}

func (d *decoder) structure(n, key *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, path, v.Type())
		return
	}
	fields := fieldsOf(v.Type())
	settled := map[string]bool{} // given, or meant by a misspelt field, which is then not missing as well
	for _, e := range d.entries(n, path) {
		settled[e.name] = true
		if i := slices.IndexFunc(fields, func(f structField) bool { return f.name == e.name }); i >= 0 {
			d.member(e, field(path, e.name), v.Field(fields[i].index), fields[i])
			continue
		}
		known := fieldNames(fields)
		meant := Suggest(e.name, known)
		settled[meant] = true
		d.fail(e.key, field(path, e.name), "unknown field", unknownFieldHint(e.name, meant, known))
	}
	for _, f := range fields {
		if f.required && !settled[f.name] {
			d.fail(d.at(n, key), field(path, f.name), "is missing", missingHint(field(path, f.name)))
		}
	}
}

// member decodes one field of a struct. Text that is empty says nothing, so it is refused rather than taken for a default.
func (d *decoder) member(e entry, path string, v reflect.Value, f structField) {
	d.value(e.value, e.key, path, v, f.required)
	if v.Kind() == reflect.String && v.Len() == 0 && !f.mayBeEmpty && !d.bad[path] {
		d.fail(e.value, path, "is empty", emptyHint(path, "give it a value", f.required))
	}
}

func (d *decoder) list(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind == yaml.MappingNode && v.Type() == reflect.TypeFor[CephClusters]() {
		v.Set(reflect.MakeSlice(v.Type(), 1, 1)) // a single one needs no list
		d.structure(n, nil, path, v.Index(0))
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.wrongType(n, path, v.Type())
		return
	}
	if len(n.Content) == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, nil, fmt.Sprintf("%s[%d]", path, i), v.Index(i), false)
	}
}

func (d *decoder) mapping(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, path, v.Type())
		return
	}
	entries := d.entries(n, path)
	if len(entries) == 0 {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range entries {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, e.key, field(path, e.name), value, false)
		v.SetMapIndex(reflect.ValueOf(e.name), value)
	}
}

// emptyHint is what can be done about a field without a value.
func emptyHint(path, give string, required bool) string {
	if !required {
		return give + ", or take the line out"
	}
	return cmp.Or(missingHint(path), give+": the field is needed")
}

// missingHint is how a field is written that is needed; "" = its name says it.
func missingHint(path string) string {
	switch strings.TrimLeft(path[strings.LastIndexByte(path, ']')+1:], ".") {
	case "apiVersion":
		return "write apiVersion: " + APIVersion
	case "kind":
		return "write kind: " + Kind
	case "metadata":
		return "write metadata: {name: NAME}"
	case "spec":
		return "write kubernetes and hosts under it, indented by two blanks"
	case "spec.kubernetes":
		return "write kubernetes: {version: v1.36.3}"
	case "spec.kubernetes.version":
		return "for instance v1.36.3"
	case "spec.hosts":
		return "name a host: - {name: NAME, address: ADDRESS, role: control-plane}"
	}
	return ""
}
