package edit

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// notation is how what is added to a text is written.
type notation bool

const (
	inYAML notation = false // with as few quotes as it needs
	inJSON notation = true
)

// notationOf is JSON for a text that is JSON to the letter: whoever reads it as that can go on doing so.
func notationOf(text []byte) notation { return notation(json.Valid(text)) }

// quote writes text, in quotes where it needs them.
func (n notation) quote(s string) string {
	switch {
	case n == inJSON:
		return quoteJSON(s)
	case needsQuotes(s):
		return strconv.Quote(s)
	}
	return s
}

// quoteJSON writes text as JSON that is YAML too.
func quoteJSON(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // text cannot fail, and a builder does not
	return strings.TrimSuffix(b.String(), "\n")
}

// requote writes text in place of a scalar, with that one's quotes. Double quotes that were needed go when they no longer are.
func (n notation) requote(old *yaml.Node, s string) string {
	single := old.Style&yaml.SingleQuotedStyle != 0
	double := old.Style&yaml.DoubleQuotedStyle != 0
	switch {
	case n == inJSON:
	case single && strconv.Quote(s) == `"`+s+`"`:
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	case single, double && (needsQuotes(s) || !needsQuotes(old.Value)):
		return strconv.Quote(s)
	}
	return n.quote(s)
}

// nest writes a value inside what is missing around it: {labels: {zone: a}}.
func (n notation) nest(missing []step, text string) string {
	for _, s := range slices.Backward(missing) {
		if s.index >= 0 {
			text = "[" + text + "]"
		} else {
			text = "{" + n.quote(s.name) + ": " + text + "}"
		}
	}
	return text
}

// flow writes a node in one line.
func (n notation) flow(of *yaml.Node) string {
	var parts []string
	switch of.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(of.Content); i += 2 {
			parts = append(parts, n.key(of.Content[i])+": "+n.flow(of.Content[i+1]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case yaml.SequenceNode:
		for _, c := range of.Content {
			parts = append(parts, n.flow(c))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case yaml.AliasNode:
		if n == inJSON {
			return n.flow(of.Alias)
		}
	}
	return n.scalar(of)
}

func (n notation) key(of *yaml.Node) string {
	if n == inJSON {
		return quoteJSON(of.Value)
	}
	return n.flow(of)
}

// scalar writes a word.
func (n notation) scalar(of *yaml.Node) string {
	switch {
	case of.ShortTag() == "!!str":
		return n.quote(of.Value)
	case n == inYAML || json.Valid([]byte(of.Value)):
		return of.Value
	}
	var v any
	if safeDecode(of, &v) == nil {
		if text, err := json.Marshal(v); err == nil {
			return string(text) // 0x10 is 16, ~ is null
		}
	}
	return n.quote(of.Value)
}

// asJSON writes a value that was given as YAML as JSON. It is not ok when JSON has no way to mean the same: a date, a number that is none.
func asJSON(given string, value any, n *yaml.Node) (text string, ok bool) {
	if json.Valid([]byte(given)) {
		return given, true
	}
	text = inJSON.flow(n)
	same, _, ok := parseValue(text)
	return text, ok && json.Valid([]byte(text)) && reflect.DeepEqual(same, value)
}
