package edit

import (
	"encoding"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// plain is text that needs no quotes wherever it stands, if it is not taken for something else than text.
var plain = regexp.MustCompile(`^[A-Za-z0-9/~._][A-Za-z0-9/~._@+:-]*$`)

// oldTruth are words that other readers of YAML take for truth values.
var oldTruth = []string{"y", "n", "yes", "no", "on", "off"}

func needsQuotes(s string) bool {
	if !plain.MatchString(s) || strings.HasSuffix(s, ":") || slices.Contains(oldTruth, strings.ToLower(s)) {
		return true
	}
	n := yaml.Node{Kind: yaml.ScalarNode, Value: s}
	return n.ShortTag() != "!!str"
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// isText reports whether values of a type are written as text, whatever they look like.
func isText(t reflect.Type) bool {
	return t != nil && (t.Kind() == reflect.String || reflect.PointerTo(t).Implements(textType))
}

// parseValue reads a value that is not text: a number, a truth value, or a list or mapping in brackets.
func parseValue(s string) (v any, n *yaml.Node, ok bool) {
	var doc yaml.Node
	if strings.ContainsAny(s, "\r\n") || yaml.Unmarshal([]byte("v: ["+s+"]"), &doc) != nil {
		return nil, nil, false
	}
	list := doc.Content[0].Content[1]
	if len(list.Content) != 1 || strings.Contains(s, "#") && !strings.ContainsAny(s, `"'`) {
		return nil, nil, false
	}
	item := list.Content[0]
	if item.Style&yaml.FlowStyle == 0 && item.Kind != yaml.ScalarNode || item.Kind == yaml.MappingNode && !strings.HasPrefix(s, "{") {
		return nil, nil, false
	}
	if safeDecode(item, &v) != nil || v == nil {
		return nil, nil, false
	}
	return v, item, true
}
