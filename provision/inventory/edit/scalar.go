package edit

import (
	"encoding"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
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

// quoteText writes text as YAML, in quotes where it needs them.
func quoteText(s string) string {
	if needsQuotes(s) {
		return strconv.Quote(s)
	}
	return s
}

// requote writes text in place of a scalar, with that one's quotes. Double quotes that were needed go when they no longer are.
func requote(old *yaml.Node, s string) string {
	single := old.Style&yaml.SingleQuotedStyle != 0
	double := old.Style&yaml.DoubleQuotedStyle != 0
	switch {
	case single && strconv.Quote(s) == `"`+s+`"`:
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	case single, double && (needsQuotes(s) || !needsQuotes(old.Value)):
		return strconv.Quote(s)
	}
	return quoteText(s)
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// isText reports whether values of a type are written as text, whatever they look like.
func isText(t reflect.Type) bool {
	return t != nil && (t.Kind() == reflect.String || reflect.PointerTo(t).Implements(textType))
}

// parseValue reads a value that is not text: a number, a truth value, or a list or mapping in brackets.
func parseValue(s string) (any, bool) {
	var n yaml.Node
	var v any
	if strings.ContainsAny(s, "\r\n") || yaml.Unmarshal([]byte("v: ["+s+"]"), &n) != nil {
		return nil, false
	}
	list := n.Content[0].Content[1]
	if len(list.Content) != 1 || strings.Contains(s, "#") && !strings.ContainsAny(s, `"'`) {
		return nil, false
	}
	item := list.Content[0]
	if item.Style&yaml.FlowStyle == 0 && item.Kind != yaml.ScalarNode || item.Kind == yaml.MappingNode && !strings.HasPrefix(s, "{") {
		return nil, false
	}
	if safeDecode(item, &v) != nil || v == nil {
		return nil, false
	}
	return v, true
}
