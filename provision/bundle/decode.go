package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// problem is one thing that is wrong with bundle.yaml or a file it names.
type problem struct {
	line, column int
	field        string
	text         string
}

// nodes tells where each field stands.
type nodes map[string]*yaml.Node

// problems collects everything that is wrong, and knows where each field stands.
type problems struct {
	file string
	at   nodes
	list []problem
}

// add reports on a field; one that is not in the document is reported where the nearest field around it stands.
func (p *problems) add(field, format string, args ...any) {
	out := problem{line: 1, column: 1, field: field, text: fmt.Sprintf(format, args...)}
	for at := field; at != ""; at = parent(at) {
		if n := p.at[at]; n != nil {
			out.line, out.column = n.Line, n.Column
			break
		}
	}
	p.list = append(p.list, out)
}

func parent(field string) string {
	return field[:max(0, strings.LastIndexAny(field, ".["))]
}

// err is nil, or one ErrSource with a line for each problem in the order of the file.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var lines []string
	for _, one := range p.list {
		where := fmt.Sprintf("%s:%d:%d: ", p.file, one.line, one.column)
		if one.field != "" {
			where += one.field + ": "
		}
		lines = append(lines, where+one.text)
	}
	return sentence{strings.Join(slices.Compact(lines), "\n"), ErrSource}
}

// decode fills out from one YAML document, strictly: unknown and doubled fields, wrong types and further documents are problems.
func decode(raw []byte, out any, p *problems) {
	d := yaml.NewDecoder(strings.NewReader(string(raw)))
	var doc, next yaml.Node
	if err := d.Decode(&doc); err != nil {
		if err == io.EOF {
			err = errors.New("the file is empty")
		}
		p.add("", "not a YAML document: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	p.value(doc.Content[0], reflect.ValueOf(out).Elem(), "")
	if d.Decode(&next) == nil {
		p.at["---"] = &next
		p.add("---", "a second document; the file holds one bundle source")
	}
}

func (p *problems) value(n *yaml.Node, v reflect.Value, field string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	p.at[field] = n
	var err error
	switch v.Kind() {
	case reflect.String:
		err = p.text(n, v)
	case reflect.Slice:
		err = p.sequence(n, v, field)
	case reflect.Map:
		err = p.mapping(n, field, func(key, value *yaml.Node, name string) {
			item := reflect.New(v.Type().Elem()).Elem()
			p.value(value, item, name)
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			v.SetMapIndex(reflect.ValueOf(key.Value), item)
		})
	case reflect.Struct:
		err = p.mapping(n, field, func(key, value *yaml.Node, name string) {
			for i := range v.NumField() {
				if v.Type().Field(i).Tag.Get("yaml") == key.Value {
					p.value(value, v.Field(i), name)
					return
				}
			}
			p.at[name] = key
			p.add(name, "unknown field (known: %s)", strings.Join(yamlFields(v.Type()), ", "))
		})
	}
	if err != nil {
		p.add(field, "%v", err)
	}
}

func (p *problems) text(n *yaml.Node, v reflect.Value) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("must be a string, not %s", kindName(n))
	}
	if n.ShortTag() != "!!str" {
		return fmt.Errorf("must be a string (put quotes around %s)", cmp.Or(n.Value, "it"))
	}
	v.SetString(n.Value)
	return nil
}

func (p *problems) sequence(n *yaml.Node, v reflect.Value, field string) error {
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("must be a list, not %s", kindName(n))
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		p.value(item, v.Index(i), fmt.Sprintf("%s[%d]", field, i))
	}
	return nil
}

func (p *problems) mapping(n *yaml.Node, field string, each func(key, value *yaml.Node, name string)) error {
	if n.Kind != yaml.MappingNode {
		return errors.New("must be a mapping, not " + kindName(n))
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		name := strings.TrimPrefix(field+"."+key.Value, ".")
		if seen[key.Value] {
			p.list = append(p.list, problem{key.Line, key.Column, name, "stands twice"})
			continue
		}
		seen[key.Value] = true
		each(key, n.Content[i+1], name)
	}
	return nil
}

func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "empty"
	}
	return "a single value"
}

func yamlFields(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("yaml"))
	}
	return names
}
