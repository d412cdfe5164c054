package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Root returns the mapping that an inventory's text is, with the places of all its nodes, for edits that keep the text. Its content
// need not be valid. The error is a *Problems.
func Root(file string, data []byte) (*yaml.Node, error) {
	doc, problems := readDocument(file, data)
	if len(problems) > 0 {
		return nil, asError(problems)
	}
	return doc.root, nil
}

// readDocument parses bytes into the one YAML mapping that an inventory is. It says what is wrong with the text; what is wrong
// with the content is decode's and validate's business.
func readDocument(file string, data []byte) (*document, []Problem) {
	doc := &document{file: file, positions: map[string]position{}}
	fail := func(at position, message, hint string) (*document, []Problem) {
		return nil, []Problem{doc.problem(at, "", message, hint)}
	}
	if bytes.HasPrefix(data, []byte{0xFE, 0xFF}) || bytes.HasPrefix(data, []byte{0xFF, 0xFE}) {
		return fail(position{1, 1}, "the file is UTF-16", "save it as UTF-8")
	}
	roots, err := parseYAML(bytes.NewReader(data))
	switch {
	case err != nil:
		at, message, hint := explainSyntax(data, err)
		return fail(at, message, hint)
	case len(roots) == 0 || isNull(roots[0]):
		return fail(position{1, 1}, "the file is empty", "an inventory begins with apiVersion: "+APIVersion+" and kind: "+Kind)
	case len(roots) > 1:
		return fail(nodePosition(roots[1]), "a second document begins here", "one file holds one cluster: keep each in a file of its own")
	case roots[0].Kind != yaml.MappingNode:
		return fail(nodePosition(roots[0]), "the file is "+describe(roots[0])+", not a mapping",
			"an inventory begins with apiVersion: "+APIVersion+" and kind: "+Kind)
	}
	doc.root = roots[0]
	return doc, nil
}

// parseYAML returns the root node of each document.
func parseYAML(data io.Reader) ([]*yaml.Node, error) {
	var roots []*yaml.Node
	decoder := yaml.NewDecoder(data)
	for {
		var n yaml.Node
		err := decoder.Decode(&n)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			return nil, err
		}
		roots = append(roots, n.Content[0])
	}
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// explainSyntax turns a YAML error into a place and a sentence. The library names the line where the surrounding block began,
// or none, so the place is the first line with which the text stops being YAML for good.
func explainSyntax(data []byte, err error) (at position, message, hint string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	reported := 1
	if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			reported = n
		}
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	line := min(lastGood(lines, reported-1)+1, len(lines))
	text := lines[line-1]
	indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
	at = position{line: line, column: len(indent) + 1}

	if tab := bytes.IndexByte(indent, '\t'); tab >= 0 {
		return position{line, tab + 1}, "a tab indents this line", "YAML wants spaces"
	}
	if name, ok := strings.CutPrefix(message, "unknown anchor '"); ok {
		name = strings.TrimSuffix(name, "' referenced")
		return at, fmt.Sprintf("the alias *%s has no anchor &%s before it", printable(name), printable(name)), ""
	}
	return at, "not YAML: " + message, syntaxHint(message)
}

// maxReread is how many bytes are read again to find a mistake: after an open quote in a long text, every line is behind it.
const maxReread = 16 << 20

// lastGood returns how many lines can be read before a mistake, and at least known. Brackets that are not closed yet are no mistake, so it
// looks from where reading ends, and not from the top.
func lastGood(lines [][]byte, known int) int {
	r := lineReader{lines: lines}
	_, _ = parseYAML(&r) // its error is the one that is explained
	for n, left := r.read, maxReread; n > known && left > 0; n-- {
		text := bytes.Join(lines[:n], nil)
		if _, err := parseYAML(bytes.NewReader(text)); err == nil {
			return n
		}
		left -= len(text)
	}
	return known
}

// lineReader hands out one line at a time, and so tells how far the parser came.
type lineReader struct {
	lines [][]byte
	read  int    // of the lines
	rest  []byte // of the last one that was read
}

func (r *lineReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.read == len(r.lines) {
			return 0, io.EOF
		}
		r.rest = r.lines[r.read]
		r.read++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func syntaxHint(message string) string {
	switch {
	case strings.HasPrefix(message, "mapping values are not allowed"):
		return "a value with a colon in it needs quotes; or the indentation is wrong"
	case strings.HasPrefix(message, "did not find expected key"), strings.HasPrefix(message, "did not find expected '-'"):
		return "look at the indentation of this line and the one before"
	case strings.HasPrefix(message, "found character that cannot start any token"):
		return "quote a value that begins with a special character"
	case strings.Contains(message, "UTF-8"), strings.Contains(message, "control characters"):
		return "save the file as UTF-8 text"
	}
	return ""
}

// lookup returns the value of a mapping's own field, or nil.
func lookup(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	return nil
}
