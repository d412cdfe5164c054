// Package strict reads small YAML documents of ours without guessing: unknown and doubled fields, wrong types and further documents are
// problems, every problem has its line and column, and all of them are told at once. It is a leaf: it knows nothing of what the fields mean.
package strict

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// problem is one thing that is wrong with a document or a file it names.
type problem struct {
	line, column int
	field        string
	text         string
}

// Problems collects everything that is wrong with one document, and knows where each field stands. The zero value collects, too.
type Problems struct {
	File string // as the user named it

	at     map[string]*yaml.Node
	unread bool // the document is no YAML, so nothing is known of its fields
	list   []problem
}

// Add reports on a field, "images[2].ref"; one that is not in the document is reported where the nearest field around it stands. Of a document
// that could not be read, that alone is a problem.
func (p *Problems) Add(field, format string, args ...any) {
	if p.unread {
		return
	}
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

// Text is "" when nothing is wrong, else a line for each problem, "file:line:column: field: what", in the order of the file.
func (p *Problems) Text() string {
	slices.SortStableFunc(p.list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var lines []string
	for _, one := range p.list {
		where := fmt.Sprintf("%s:%d:%d: ", p.File, one.line, one.column)
		if one.field != "" {
			where += one.field + ": "
		}
		lines = append(lines, where+one.text)
	}
	return strings.Join(slices.Compact(lines), "\n")
}

// lineOf is how the YAML library begins what it says of one line.
var lineOf = regexp.MustCompile(`^line ([0-9]{1,9}): (.*)$`)

// Decode fills out, a pointer to a struct with yaml tags, from the one document in raw. A field is a string, a *bool, or a slice, a map or a
// struct of these. What is the document's name in a sentence, such as "bundle source".
func (p *Problems) Decode(raw []byte, what string, out any) {
	p.at = map[string]*yaml.Node{}
	d := yaml.NewDecoder(strings.NewReader(string(raw)))
	var doc, next yaml.Node
	if err := d.Decode(&doc); err != nil {
		if err == io.EOF {
			err = errors.New("the file is empty")
		}
		line, text := 1, strings.TrimPrefix(err.Error(), "yaml: ")
		if m := lineOf.FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1]) // these are digits
			text = m[2]
		}
		p.list = append(p.list, problem{line: line, column: 1, text: "not a YAML document: " + text})
		p.unread = true
		return
	}
	p.value(doc.Content[0], reflect.ValueOf(out).Elem(), "")
	if d.Decode(&next) == nil {
		p.at["---"] = &next
		p.Add("---", "a second document; the file holds one %s", what)
	}
}

func (p *Problems) value(n *yaml.Node, v reflect.Value, field string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	p.at[field] = n
	var err error
	switch v.Kind() {
	case reflect.String:
		err = text(n, v)
	case reflect.Pointer:
		err = truth(n, v)
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
			p.Add(name, "unknown field (known: %s)", strings.Join(yamlFields(v.Type()), ", "))
		})
	}
	if err != nil {
		p.Add(field, "%v", err)
	}
}

func text(n *yaml.Node, v reflect.Value) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("must be a string, not %s", kindName(n))
	}
	if n.ShortTag() != "!!str" {
		return fmt.Errorf("must be a string (put quotes around %s)", cmp.Or(n.Value, "it"))
	}
	v.SetString(n.Value)
	return nil
}

// truth fills a *bool.
func truth(n *yaml.Node, v reflect.Value) error {
	b, known := map[string]bool{"true": true, "false": false}[n.Value]
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || !known {
		return errors.New("must be true or false")
	}
	v.Set(reflect.ValueOf(&b))
	return nil
}

func (p *Problems) sequence(n *yaml.Node, v reflect.Value, field string) error {
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("must be a list, not %s", kindName(n))
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		p.value(item, v.Index(i), fmt.Sprintf("%s[%d]", field, i))
	}
	return nil
}

func (p *Problems) mapping(n *yaml.Node, field string, each func(key, value *yaml.Node, name string)) error {
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
