package edit

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// start is where a node begins in the text, its anchor and tag included. Block collections without either begin at their first
// key or dash.
func (d *document) start(n *yaml.Node) (int, error) {
	if n.Line < 1 || n.Line > len(d.starts) {
		return 0, d.byHand(n, "cannot be found in the text")
	}
	offset := d.starts[n.Line-1]
	for range n.Column - 1 {
		if offset >= len(d.text) {
			return 0, d.byHand(n, "cannot be found in the text")
		}
		_, size := utf8.DecodeRune(d.text[offset:])
		offset += size
	}
	return offset, nil
}

// body is where a node's own text begins: after its anchor and tag.
func (d *document) body(n *yaml.Node) (int, error) {
	offset, err := d.start(n)
	if err != nil || n.Anchor == "" && !tagged(n) {
		return offset, err
	}
	for offset < len(d.text) && (d.text[offset] == '&' || d.text[offset] == '!') {
		for offset < len(d.text) && !strings.ContainsRune(" \t\r\n", rune(d.text[offset])) {
			offset++
		}
		offset = d.skip(offset, " \t")
	}
	return offset, nil
}

// tagged says whether a node has a tag in the text; the library forgets that of a lone "!".
func tagged(n *yaml.Node) bool { return n.Style&yaml.TaggedStyle != 0 }

func isFlow(n *yaml.Node) bool { return n.Style&yaml.FlowStyle != 0 }

func (d *document) skip(offset int, set string) int {
	for offset < len(d.text) && strings.IndexByte(set, d.text[offset]) >= 0 {
		offset++
	}
	return offset
}

// end is where a node's text ends. outer is the column, counted from 0, that a block scalar's lines are indented beyond.
func (d *document) end(n *yaml.Node, outer int) (int, error) {
	start, err := d.body(n)
	if err != nil {
		return 0, err
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return d.plainEnd(n, start, "*"+n.Value)
	case n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return d.blockScalarEnd(start, outer), nil
	case n.Kind == yaml.ScalarNode && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return d.quotedEnd(n, start)
	case n.Kind == yaml.ScalarNode:
		return d.plainEnd(n, start, n.Value)
	case isFlow(n):
		return d.flowEnd(n, start)
	}
	return d.blockEnd(n, start)
}

func (d *document) plainEnd(n *yaml.Node, start int, text string) (int, error) {
	if !bytes.HasPrefix(d.text[start:], []byte(text)) {
		return 0, d.byHand(n, "spans several lines")
	}
	return start + len(text), nil
}

func (d *document) quotedEnd(n *yaml.Node, start int) (int, error) {
	if start >= len(d.text) || d.text[start] != '"' && d.text[start] != '\'' {
		return 0, d.byHand(n, "cannot be found in the text")
	}
	quote := d.text[start]
	for i := start + 1; i < len(d.text); i++ {
		switch {
		case d.text[i] == '\\' && quote == '"':
			i++
		case d.text[i] == quote && quote == '\'' && i+1 < len(d.text) && d.text[i+1] == quote:
			i++
		case d.text[i] == quote:
			return i + 1, nil
		}
	}
	return 0, d.byHand(n, "cannot be found in the text")
}

// blockScalarEnd is the end of the last line that belongs to a | or > scalar.
func (d *document) blockScalarEnd(start, outer int) int {
	last := d.lineOf(start)
	for n := last + 1; n < len(d.starts); n++ {
		text := d.line(n)
		content := bytes.TrimLeft(text, " ")
		if len(bytes.TrimSpace(content)) == 0 {
			continue
		}
		if len(text)-len(content) <= outer {
			break
		}
		last = n
	}
	return d.lineEnd(d.starts[last])
}

// flowEnd goes behind the last child, and from there to the closing bracket.
func (d *document) flowEnd(n *yaml.Node, start int) (int, error) {
	offset := start
	opened := offset < len(d.text) && (d.text[offset] == '{' || d.text[offset] == '[')
	if opened {
		offset++
	}
	for _, child := range n.Content {
		end, err := d.end(child, 0)
		if err != nil {
			return 0, err
		}
		offset = max(offset, end)
	}
	if !opened { // [a: b] holds a mapping without brackets
		return offset, nil
	}
	for offset < len(d.text) {
		switch c := d.text[offset]; {
		case c == '}' || c == ']':
			return offset + 1, nil
		case c == '#':
			offset = d.lineEnd(offset)
		case strings.IndexByte(" \t\r\n,:?", c) >= 0:
			offset++
		default:
			return 0, d.byHand(n, "its closing bracket cannot be found")
		}
	}
	return 0, d.byHand(n, "its closing bracket cannot be found")
}

// blockEnd is the end of what stands last in a block mapping or list.
func (d *document) blockEnd(n *yaml.Node, start int) (int, error) {
	end := start
	for _, child := range n.Content {
		childEnd, err := d.end(child, d.indentOf(n))
		if err != nil {
			return 0, err
		}
		end = max(end, childEnd)
	}
	return end, nil
}

// indentOf is the column, counted from 0, of a block collection's keys or dashes.
func (d *document) indentOf(n *yaml.Node) int {
	if len(n.Content) == 0 {
		return n.Column - 1
	}
	if n.Kind == yaml.MappingNode {
		return n.Content[0].Column - 1
	}
	if dash, err := d.dash(n.Content[0]); err == nil {
		return d.columnOf(dash)
	}
	return n.Column - 1
}

// columnOf counts the characters before an offset in its line.
func (d *document) columnOf(offset int) int {
	return utf8.RuneCount(d.text[d.starts[d.lineOf(offset)]:offset])
}

// dash is where the dash of a block list's item stands.
func (d *document) dash(item *yaml.Node) (int, error) {
	start, err := d.start(item)
	if err != nil {
		return 0, err
	}
	for n := d.lineOf(start); n >= 0; n-- {
		before := d.line(n)
		if n == d.lineOf(start) {
			before = d.text[d.starts[n]:start]
		} else if i := bytes.Index(before, []byte(" #")); i >= 0 {
			before = before[:i]
		}
		before = bytes.TrimRight(before, " \t\r")
		switch {
		case bytes.HasSuffix(before, []byte("-")):
			return d.starts[n] + len(before) - 1, nil
		case len(before) > 0 && bytes.TrimLeft(before, " ")[0] != '#':
			return 0, d.byHand(item, "its dash cannot be found")
		}
	}
	return 0, d.byHand(item, "its dash cannot be found")
}

// alone says whether nothing but blanks and a comment follows an offset in its line.
func (d *document) alone(offset int) bool {
	rest := bytes.TrimSpace(d.text[offset:d.lineEnd(offset)])
	return len(rest) == 0 || rest[0] == '#'
}

// first says whether nothing but blanks precedes an offset in its line.
func (d *document) first(offset int) bool {
	return len(bytes.TrimSpace(d.text[d.starts[d.lineOf(offset)]:offset])) == 0
}
