package inventory

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// scalar decodes text, whole numbers and truth values, each only from YAML that says just that.
func (d *decoder) scalar(n *yaml.Node, path string, v reflect.Value) {
	switch kind := v.Kind(); {
	case kind == reflect.String && isText(n):
		if strings.ContainsFunc(n.Value, unicode.IsControl) {
			d.fail(n, path, "contains a line break or a control character", "write it in one line")
			return
		}
		v.SetString(n.Value)
	case kind == reflect.Int && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int":
		var i int
		if err := n.Decode(&i); err != nil {
			d.fail(n, path, printable(n.Value)+" is out of range", "")
			return
		}
		v.SetInt(int64(i))
	case kind == reflect.Bool && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool":
		v.SetBool(strings.EqualFold(n.Value, "true"))
	default:
		d.wrongType(n, path, v.Type())
	}
}

// text decodes a type with a spelling of its own, such as Duration.
func (d *decoder) text(n *yaml.Node, path string, v encoding.TextUnmarshaler) {
	if !isText(n) {
		d.wrongType(n, path, reflect.TypeOf(v).Elem())
		return
	}
	if err := v.UnmarshalText([]byte(n.Value)); err != nil {
		d.fail(n, path, err.Error(), "for instance 90s or 15m")
	}
}

// free decodes YAML of any shape into what JSON can hold, for the fragments that are handed on.
func (d *decoder) free(n *yaml.Node, path string, v reflect.Value) {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		d.mapping(n, path, reflect.ValueOf(&m).Elem())
		v.Set(reflect.ValueOf(m))
	case yaml.SequenceNode:
		l := []any{}
		d.list(n, path, reflect.ValueOf(&l).Elem())
		v.Set(reflect.ValueOf(l))
	default:
		value, err := freeScalar(n)
		if err != nil {
			d.fail(n, path, err.Error(), "")
			return
		}
		v.Set(reflect.ValueOf(value))
	}
}

func freeScalar(n *yaml.Node) (any, error) {
	if isText(n) {
		return n.Value, nil
	}
	var value any
	switch tag := n.ShortTag(); tag {
	case "!!int", "!!float", "!!bool":
		if err := n.Decode(&value); err != nil {
			return nil, fmt.Errorf("%s is not a value of type %s", printable(n.Value), tag)
		}
	default:
		return nil, errors.New("has the unknown tag " + printable(n.Tag))
	}
	f, isFloat := value.(float64)
	if isFloat && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, fmt.Errorf("%s is not a finite number", printable(n.Value))
	}
	if isFloat && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int(f), nil // 1.0 and 1 are the same number, and are written the same way
	}
	return value, nil
}

// envField is a field where the password or key itself may stand by mistake, so that no value of it is repeated.
var envField = regexp.MustCompile(`\.(sudoPasswordEnv|passwordEnv|keyEnv)$`)

func (d *decoder) wrongType(n *yaml.Node, path string, t reflect.Type) {
	hint := ""
	scalar := n.Kind == yaml.ScalarNode
	switch {
	case scalar && t == reflect.TypeFor[Secret]():
		hint = "put it in quotes"
	case scalar && envField.MatchString(path):
		hint = "the name of an environment variable, not what it holds"
	case t.Kind() == reflect.String && scalar:
		hint = fmt.Sprintf("put it in quotes: %q", n.Value)
	case t == reflect.TypeFor[Duration]() && n.ShortTag() == "!!int":
		hint = fmt.Sprintf("with a unit: %ss", printable(n.Value))
	case t.Kind() == reflect.Int && isText(n) && strings.Trim(n.Value, "0123456789") == "":
		hint = "take the quotes away"
	case t == reflect.TypeFor[[]string]() && isText(n):
		hint = fmt.Sprintf("write [%s]", printable(n.Value))
	case t == reflect.TypeFor[[]NameValue]():
		hint = "each as {name: NAME, value: VALUE}"
	case t == reflect.TypeFor[NameValue]():
		hint = "{name: NAME, value: VALUE}"
	}
	d.fail(n, path, "is "+describe(n)+", not "+describeType(t), hint)
}

func isText(n *yaml.Node) bool {
	// A date is text too: JSON, which is what the values end as, has none.
	return n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!str" || n.ShortTag() == "!!timestamp")
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func isMerge(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge" }

// describe says in words what a node is.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!timestamp":
		return "text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a truth value"
	case "!!null":
		return "nothing"
	default:
		return "of type " + printable(tag)
	}
}

// describeType says in words what a field takes.
func describeType(t reflect.Type) string {
	if t == reflect.TypeFor[Duration]() {
		return "a duration such as 90s"
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	}
	return "text"
}
