package edit

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// document is the text of an inventory with the nodes and the values in it.
type document struct {
	file   string
	text   []byte
	root   *yaml.Node
	values map[string]any // what the nodes mean: aliases followed, merge keys resolved
	starts []int          // where each line begins in text

	aliases map[*yaml.Node]*yaml.Node // from a node with an anchor to the first alias of it
	touched []*yaml.Node              // what the edit goes through, outermost first, for what is said when it is refused
}

var byteOrderMark = []byte("\uFEFF")

func newDocument(file string, text []byte, root *yaml.Node) *document {
	d := &document{file: file, text: text, root: root, starts: []int{0}, aliases: map[*yaml.Node]*yaml.Node{}}
	if bytes.HasPrefix(text, byteOrderMark) {
		d.starts[0] = len(byteOrderMark)
	}
	for i, b := range text {
		if b == '\n' {
			d.starts = append(d.starts, i+1)
		}
	}
	return d
}

// noteAliases remembers where anchors are used.
func (d *document) noteAliases(n *yaml.Node) {
	if n.Kind == yaml.AliasNode && d.aliases[n.Alias] == nil {
		d.aliases[n.Alias] = n
	}
	for _, child := range n.Content {
		d.noteAliases(child)
	}
}

// checkLineBreaks refuses line breaks that YAML knows and editors do not: lines would be counted differently.
func (d *document) checkLineBreaks() error {
	for line := range d.starts {
		text := bytes.TrimSuffix(d.line(line), []byte("\r"))
		if i := bytes.IndexAny(text, "\r\u0085\u2028\u2029"); i >= 0 {
			at := &yaml.Node{Line: line + 1, Column: utf8.RuneCount(text[:i]) + 1}
			return d.problem(at, "", "an unusual line break stands here", "replace it with a new line, then edit again")
		}
	}
	return nil
}

// line returns the text of a line, counted from 0, without its newline; a carriage return stays.
func (d *document) line(n int) []byte {
	end := len(d.text)
	if n+1 < len(d.starts) {
		end = d.starts[n+1] - 1
	}
	return d.text[d.starts[n]:end]
}

// lineOf returns the line, counted from 0, that an offset stands in.
func (d *document) lineOf(offset int) int {
	low, high := 0, len(d.starts)
	for low+1 < high {
		if middle := (low + high) / 2; d.starts[middle] <= offset {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// lineEnd is where the text of the line that holds an offset ends, before its line break.
func (d *document) lineEnd(offset int) int {
	n := d.lineOf(offset)
	return d.starts[n] + len(bytes.TrimSuffix(d.line(n), []byte("\r")))
}

// newline is the line break that the file uses.
func (d *document) newline() string {
	if len(d.starts) > 1 && bytes.HasSuffix(d.line(0), []byte("\r")) {
		return "\r\n"
	}
	return "\n"
}

// indentStep is by how much the file indents: as its first nested mapping does.
func (d *document) indentStep() int {
	for _, n := range d.root.Content {
		if n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle == 0 && len(n.Content) > 0 && n.Content[0].Column > 1 {
			return n.Content[0].Column - 1
		}
	}
	return 2
}

// cut returns the text with what stands from start to end replaced.
func (d *document) cut(start, end int, replacement string) []byte {
	out := make([]byte, 0, len(d.text)+len(replacement))
	out = append(out, d.text[:start]...)
	out = append(out, replacement...)
	return append(out, d.text[end:]...)
}

// cutLines returns the text without the lines from first to last, counted from 0.
func (d *document) cutLines(first, last int) []byte {
	if last+1 < len(d.starts) {
		return d.cut(d.starts[first], d.starts[last+1], "")
	}
	start := d.starts[first]
	if first > 0 { // a file that ends without a newline goes on doing so
		start = d.lineEnd(d.starts[first-1])
	}
	return d.cut(start, len(d.text), "")
}

// insertLine returns the text with further lines after the one that holds the offset.
func (d *document) insertLine(offset int, lines ...string) []byte {
	var all string
	for _, l := range lines {
		all += d.newline() + l
	}
	end := d.lineEnd(offset)
	return d.cut(end, end, all)
}

// problem makes an error with the place of a node.
func (d *document) problem(n *yaml.Node, path, message, hint string) error {
	return &inventory.Problems{List: []inventory.Problem{{
		File: d.file, Line: n.Line, Column: n.Column, Path: path, Message: message, Hint: hint,
	}}}
}

// byHand refuses an edit of a place whose text says it in a way that cannot be spliced.
func (d *document) byHand(n *yaml.Node, message string) error {
	return d.problem(n, "", message, "edit this place by hand")
}

// unsafe refuses an edit whose result would mean something else than was asked for.
func (d *document) unsafe() error {
	for _, n := range d.touched {
		if alias := d.aliases[n]; alias != nil {
			return d.problem(n, "", fmt.Sprintf("what has the anchor &%s here is used again in line %d, which the edit would change too", n.Anchor, alias.Line),
				"write it out in both places, or edit it by hand")
		}
	}
	at := d.root
	if len(d.touched) > 0 {
		at = d.touched[len(d.touched)-1]
	}
	return d.byHand(at, "cannot be edited without changing what other lines mean")
}
