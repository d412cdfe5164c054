package yamltext

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Tagged reports whether a node has a tag in the text; the library forgets that of a lone "!".
func Tagged(n *yaml.Node) bool { return n.Style&yaml.TaggedStyle != 0 }

// IsFlow reports whether a collection is written in brackets.
func IsFlow(n *yaml.Node) bool { return n.Style&yaml.FlowStyle != 0 }

// Start is where a node begins in the text, its anchor and tag included. Block collections without either begin at their first
// key or dash.
func (t *Text) Start(n *yaml.Node) (int, error) {
	if n.Line < 1 || n.Line > len(t.starts) {
		return 0, placed(n, "cannot be found in the text")
	}
	offset := t.starts[n.Line-1]
	for range n.Column - 1 {
		if offset >= len(t.Bytes) {
			return 0, placed(n, "cannot be found in the text")
		}
		_, size := utf8.DecodeRune(t.Bytes[offset:])
		offset += size
	}
	return offset, nil
}

// Body is where a node's own text begins: after its anchor and tag.
func (t *Text) Body(n *yaml.Node) (int, error) {
	offset, err := t.Start(n)
	if err != nil || n.Anchor == "" && !Tagged(n) {
		return offset, err
	}
	for offset < len(t.Bytes) && (t.Bytes[offset] == '&' || t.Bytes[offset] == '!') {
		for offset < len(t.Bytes) && !strings.ContainsRune(" \t\r\n", rune(t.Bytes[offset])) {
			offset++
		}
		offset = t.Skip(offset, " \t")
	}
	return offset, nil
}

// End is where a node's text ends. outer is the column, counted from 0, that a block scalar's lines are indented beyond.
func (t *Text) End(n *yaml.Node, outer int) (int, error) {
	start, err := t.Body(n)
	if err != nil {
		return 0, err
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return t.plainEnd(n, start, "*"+n.Value)
	case n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return t.blockScalarEnd(start, outer), nil
	case n.Kind == yaml.ScalarNode && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return t.quotedEnd(n, start)
	case n.Kind == yaml.ScalarNode:
		return t.plainEnd(n, start, n.Value)
	case IsFlow(n):
		return t.flowEnd(n, start)
	}
	return t.blockEnd(n, start)
}

func (t *Text) plainEnd(n *yaml.Node, start int, text string) (int, error) {
	if !bytes.HasPrefix(t.Bytes[start:], []byte(text)) {
		return 0, placed(n, "spans several lines")
	}
	return start + len(text), nil
}

func (t *Text) quotedEnd(n *yaml.Node, start int) (int, error) {
	if start >= len(t.Bytes) || t.Bytes[start] != '"' && t.Bytes[start] != '\'' {
		return 0, placed(n, "cannot be found in the text")
	}
	quote := t.Bytes[start]
	for i := start + 1; i < len(t.Bytes); i++ {
		switch {
		case t.Bytes[i] == '\\' && quote == '"':
			i++
		case t.Bytes[i] == quote && quote == '\'' && i+1 < len(t.Bytes) && t.Bytes[i+1] == quote:
			i++
		case t.Bytes[i] == quote:
			return i + 1, nil
		}
	}
	return 0, placed(n, "cannot be found in the text")
}

// blockScalarEnd is the end of the last line that belongs to a | or > scalar.
func (t *Text) blockScalarEnd(start, outer int) int {
	last := t.LineOf(start)
	for n := last + 1; n < len(t.starts); n++ {
		text := t.Line(n)
		content := bytes.TrimLeft(text, " ")
		if len(bytes.TrimSpace(content)) == 0 {
			continue
		}
		if len(text)-len(content) <= outer {
			break
		}
		last = n
	}
	return t.LineEnd(t.starts[last])
}

// flowEnd goes behind the last child, and from there to the closing bracket.
func (t *Text) flowEnd(n *yaml.Node, start int) (int, error) {
	offset := start
	opened := offset < len(t.Bytes) && (t.Bytes[offset] == '{' || t.Bytes[offset] == '[')
	if opened {
		offset++
	}
	for _, child := range n.Content {
		end, err := t.End(child, 0)
		if err != nil {
			return 0, err
		}
		offset = max(offset, end)
	}
	if !opened { // [a: b] holds a mapping without brackets
		return offset, nil
	}
	for offset < len(t.Bytes) {
		switch c := t.Bytes[offset]; {
		case c == '}' || c == ']':
			return offset + 1, nil
		case c == '#':
			offset = t.LineEnd(offset)
		case strings.IndexByte(" \t\r\n,:?", c) >= 0:
			offset++
		default:
			return 0, placed(n, "its closing bracket cannot be found")
		}
	}
	return 0, placed(n, "its closing bracket cannot be found")
}

// blockEnd is the end of what stands last in a block mapping or list.
func (t *Text) blockEnd(n *yaml.Node, start int) (int, error) {
	end := start
	for _, child := range n.Content {
		childEnd, err := t.End(child, t.IndentOf(n))
		if err != nil {
			return 0, err
		}
		end = max(end, childEnd)
	}
	return end, nil
}

// IndentOf is the column, counted from 0, of a block collection's keys or dashes.
func (t *Text) IndentOf(n *yaml.Node) int {
	if len(n.Content) == 0 {
		return n.Column - 1
	}
	if n.Kind == yaml.MappingNode {
		return n.Content[0].Column - 1
	}
	if dash, err := t.Dash(n.Content[0]); err == nil {
		return t.ColumnOf(dash)
	}
	return n.Column - 1
}

// ColumnOf counts the characters before an offset in its line.
func (t *Text) ColumnOf(offset int) int {
	return utf8.RuneCount(t.Bytes[t.starts[t.LineOf(offset)]:offset])
}

// Dash is where the dash of a block list's item stands.
func (t *Text) Dash(item *yaml.Node) (int, error) {
	start, err := t.Start(item)
	if err != nil {
		return 0, err
	}
	for n := t.LineOf(start); n >= 0; n-- {
		before := t.Line(n)
		if n == t.LineOf(start) {
			before = t.Bytes[t.starts[n]:start]
		} else if i := bytes.Index(before, []byte(" #")); i >= 0 {
			before = before[:i]
		}
		before = bytes.TrimRight(before, " \t\r")
		switch {
		case bytes.HasSuffix(before, []byte("-")):
			return t.starts[n] + len(before) - 1, nil
		case len(before) > 0 && bytes.TrimLeft(before, " ")[0] != '#':
			return 0, placed(item, "its dash cannot be found")
		}
	}
	return 0, placed(item, "its dash cannot be found")
}

// Colon is the offset behind the colon of a key.
func (t *Text) Colon(key *yaml.Node) (int, error) {
	offset, err := t.End(key, 0)
	if err != nil {
		return 0, err
	}
	if offset = t.Skip(offset, " \t"); offset >= len(t.Bytes) || t.Bytes[offset] != ':' {
		return 0, placed(key, "has no colon behind it")
	}
	return offset + 1, nil
}

func (t *Text) Skip(offset int, set string) int {
	for offset < len(t.Bytes) && strings.IndexByte(set, t.Bytes[offset]) >= 0 {
		offset++
	}
	return offset
}

// Alone reports whether nothing but blanks and a comment follows an offset in its line.
func (t *Text) Alone(offset int) bool {
	rest := bytes.TrimSpace(t.Bytes[offset:t.LineEnd(offset)])
	return len(rest) == 0 || rest[0] == '#'
}

// First reports whether nothing but blanks precedes an offset in its line.
func (t *Text) First(offset int) bool {
	return len(bytes.TrimSpace(t.Bytes[t.starts[t.LineOf(offset)]:offset])) == 0
}
