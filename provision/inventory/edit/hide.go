package edit

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/yamltext"
)

// marks are what stands for the secrets of texts while these are compared. Each secret has its number, so that texts whose secrets differ do
// so too.
type marks map[string]int

// mark holds a character that YAML does not.
var mark = regexp.MustCompile("\x00([0-9]+)\x00")

// hide returns an inventory's text with marks in place of its secrets.
func (m marks) hide(file string, text []byte) ([]byte, error) {
	d, err := read(file, text)
	if err != nil {
		return nil, err
	}
	secret := map[*yaml.Node]bool{}
	noteSecrets(d.root, reflect.TypeFor[inventory.Cluster](), secret, map[typed]bool{})
	spans, err := d.spans(secret)
	if err != nil {
		return nil, err
	}
	for _, s := range slices.Backward(spans) {
		if _, known := m[s.value]; !known {
			m[s.value] = len(m)
		}
		text = slices.Concat(text[:s.start], fmt.Appendf(nil, "\x00%d\x00", m[s.value]), text[s.end:])
	}
	return text, nil
}

// say writes words in place of marks, others for those that came behind the first ones.
func (m marks) say(text []byte, first int) []byte {
	return mark.ReplaceAllFunc(text, func(found []byte) []byte {
		if n, err := strconv.Atoi(string(found[1 : len(found)-1])); err == nil && first > 0 && n >= first {
			return []byte("(hidden, another)")
		}
		return []byte("(hidden)")
	})
}

// typed is a node that is looked at as a value of a type.
type typed struct {
	node *yaml.Node
	t    reflect.Type
}

// noteSecrets notes the scalars that are secrets in a value of a type, behind aliases and merge keys too.
func noteSecrets(n *yaml.Node, t reflect.Type, secret map[*yaml.Node]bool, been map[typed]bool) {
	n = behindAlias(n)
	if t == nil || been[typed{n, t}] {
		return
	}
	been[typed{n, t}] = true
	if t.Kind() == reflect.Slice { // a single item may stand without the list
		t = t.Elem()
	}
	isSecret := t == reflect.TypeFor[inventory.Secret]()
	switch {
	case n.Kind == yaml.ScalarNode && isSecret:
		secret[n] = true
	case n.Kind == yaml.SequenceNode || isSecret:
		for _, c := range n.Content {
			noteSecrets(c, t, secret, been)
		}
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		for i := 0; i+1 < len(n.Content); i += 2 {
			inner := t // of what a merge key brings
			if key := behindAlias(n.Content[i]); key.ShortTag() != "!!merge" {
				inner = inventory.FieldType(t, key.Value)
			}
			noteSecrets(n.Content[i+1], inner, secret, been)
		}
	}
}

// span is where a scalar's text stands, without quotes around it.
type span struct {
	start, end int
	value      string
}

// spans finds scalars in the text, in its order.
func (d *document) spans(wanted map[*yaml.Node]bool) ([]span, error) {
	var all []span
	var walk func(n *yaml.Node, outer int) error
	walk = func(n *yaml.Node, outer int) error {
		if wanted[n] && n.Value != "" {
			s, err := d.span(n, outer)
			if err != nil {
				return fmt.Errorf("the key in line %d is written in a way that cannot be hidden", n.Line)
			}
			all = append(all, s)
		}
		if n.Kind != yaml.ScalarNode && !yamltext.IsFlow(n) {
			outer = d.IndentOf(n)
		}
		for _, c := range n.Content {
			if err := walk(c, outer); err != nil {
				return err
			}
		}
		return nil
	}
	err := walk(d.root, 0)
	return all, err
}

func (d *document) span(n *yaml.Node, outer int) (span, error) {
	start, err := d.Body(n)
	if err != nil {
		return span{}, err
	}
	end, err := d.End(n, outer)
	switch {
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		start, end = start+1, end-1
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		start = min(d.Skip(d.LineEnd(start), " \t\r\n"), end)
	}
	return span{start, end, n.Value}, err
}
