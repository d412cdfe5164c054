// Package yamltext finds where the nodes of a YAML text stand in its bytes, and splices there, so that an edit keeps every other byte:
// comments, order, anchors, quotes, indentation and line ends. It knows nothing of what the text means: whoever splices reads the result
// again and compares it with what was meant.
package yamltext

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Text is a YAML text, of one document or several, with the places of its lines.
type Text struct {
	Bytes  []byte
	starts []int // where each line begins
}

// PlaceError reports a place in the text that cannot be spliced. It is for the user, who edits the place by hand.
type PlaceError struct {
	Node    *yaml.Node // Line and Column tell the place, counted from 1
	Message string
	Hint    string
}

func (e *PlaceError) Error() string { return e.Message + " (" + e.Hint + ")" }

func placed(n *yaml.Node, message string) error {
	return &PlaceError{Node: n, Message: message, Hint: "edit this place by hand"}
}

var byteOrderMark = []byte("\uFEFF")

// New notes where the lines of a text begin. The text is not copied.
func New(text []byte) *Text {
	t := &Text{Bytes: text, starts: []int{0}}
	if bytes.HasPrefix(text, byteOrderMark) {
		t.starts[0] = len(byteOrderMark)
	}
	for i, b := range text {
		if b == '\n' {
			t.starts = append(t.starts, i+1)
		}
	}
	return t
}

// Lines is how many lines there are; a text that ends with a newline has an empty last one.
func (t *Text) Lines() int { return len(t.starts) }

// LineStart is the offset at which a line, counted from 0, begins.
func (t *Text) LineStart(n int) int { return t.starts[n] }

// Splice is a replacement of the bytes from Start to End.
type Splice struct {
	Start, End int
	With       string
}

// Apply returns the text with all splices carried out. They are places of the text as it is and must not overlap; of several insertions at
// one place the first stands first.
func (t *Text) Apply(splices []Splice) []byte {
	sorted := slices.Clone(splices)
	slices.SortStableFunc(sorted, func(a, b Splice) int { return cmp.Compare(a.Start, b.Start) })
	var out bytes.Buffer
	at := 0
	for _, s := range sorted {
		out.Write(t.Bytes[at:s.Start])
		out.WriteString(s.With)
		at = max(at, s.End)
	}
	out.Write(t.Bytes[at:])
	return out.Bytes()
}

// Line returns the text of a line, counted from 0, without its newline; a carriage return stays.
func (t *Text) Line(n int) []byte {
	end := len(t.Bytes)
	if n+1 < len(t.starts) {
		end = t.starts[n+1] - 1
	}
	return t.Bytes[t.starts[n]:end]
}

// LineOf returns the line, counted from 0, that an offset stands in.
func (t *Text) LineOf(offset int) int {
	low, high := 0, len(t.starts)
	for low+1 < high {
		if middle := (low + high) / 2; t.starts[middle] <= offset {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// LineEnd is where the text of the line that holds an offset ends, before its line break.
func (t *Text) LineEnd(offset int) int {
	n := t.LineOf(offset)
	return t.starts[n] + len(bytes.TrimSuffix(t.Line(n), []byte("\r")))
}

// Newline is the line break that the file uses.
func (t *Text) Newline() string {
	if len(t.starts) > 1 && bytes.HasSuffix(t.Line(0), []byte("\r")) {
		return "\r\n"
	}
	return "\n"
}

// Cut returns the text with what stands from start to end replaced.
func (t *Text) Cut(start, end int, replacement string) []byte {
	out := make([]byte, 0, len(t.Bytes)+len(replacement))
	out = append(out, t.Bytes[:start]...)
	out = append(out, replacement...)
	return append(out, t.Bytes[end:]...)
}

// CutLines returns the text without the lines from first to last, counted from 0.
func (t *Text) CutLines(first, last int) []byte {
	if last+1 < len(t.starts) {
		return t.Cut(t.starts[first], t.starts[last+1], "")
	}
	start := t.starts[first]
	if first > 0 { // a file that ends without a newline goes on doing so
		start = t.LineEnd(t.starts[first-1])
	}
	return t.Cut(start, len(t.Bytes), "")
}

// InsertLine returns the text with further lines after the one that holds the offset.
func (t *Text) InsertLine(offset int, lines ...string) []byte {
	var all string
	for _, l := range lines {
		all += t.Newline() + l
	}
	end := t.LineEnd(offset)
	return t.Cut(end, end, all)
}

// Behind is what follows in a line: whether it begins with a comma, and whether nothing else follows but a comment.
func (t *Text) Behind(at int) (rest string, comma, comment bool) {
	rest = string(t.Bytes[at:t.LineEnd(at)])
	after, comma := strings.CutPrefix(strings.TrimLeft(rest, " \t"), ",")
	return rest, comma, strings.HasPrefix(strings.TrimLeft(after, " \t"), "#")
}

// CheckLineBreaks refuses line breaks that YAML knows and editors do not: lines would be counted differently.
func (t *Text) CheckLineBreaks() error {
	for line := range t.starts {
		text := bytes.TrimSuffix(t.Line(line), []byte("\r"))
		if i := bytes.IndexAny(text, "\r\u0085\u2028\u2029"); i >= 0 {
			at := &yaml.Node{Line: line + 1, Column: utf8.RuneCount(text[:i]) + 1}
			return &PlaceError{at, "an unusual line break stands here", "replace it with a new line, then edit again"}
		}
	}
	return nil
}
