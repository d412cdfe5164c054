package yamltext

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse returns the root node of each document.
func Parse(data io.Reader) ([]*yaml.Node, error) {
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
		if len(n.Content) > 0 {
			roots = append(roots, n.Content[0])
		}
	}
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// Explain turns an error of Parse into a place, counted from 1, a sentence, and a hint or "". The library names the line where the surrounding block began,
// or none, so the place is the first line with which the text stops being YAML for good.
func Explain(data []byte, err error) (line, column int, message, hint string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	reported := 1
	if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			reported = n
		}
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	line = min(lastGood(lines, reported-1)+1, len(lines))
	text := lines[line-1]
	indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
	column = len(indent) + 1

	if tab := bytes.IndexByte(indent, '\t'); tab >= 0 {
		return line, tab + 1, "a tab indents this line", "YAML wants spaces"
	}
	if tab := bytes.IndexByte(text, '\t'); tab >= 0 && strings.HasPrefix(message, "found character that cannot start any token") {
		return line, tab + 1, "a tab stands before this token", "YAML wants spaces"
	}
	if name, ok := strings.CutPrefix(message, "unknown anchor '"); ok {
		name = strings.TrimSuffix(name, "' referenced")
		return line, column, fmt.Sprintf("the alias *%s has no anchor &%s before it", printable(name), printable(name)), ""
	}
	return line, column, "not YAML: " + message, syntaxHint(message)
}

// maxReread is how many bytes are read again to find a mistake: after an open quote in a long text, every line is behind it.
const maxReread = 16 << 20

// lastGood returns how many lines can be read before a mistake, and at least known. Brackets that are not closed yet are no mistake, so it
// looks from where reading ends, and not from the top.
func lastGood(lines [][]byte, known int) int {
	r := lineReader{lines: lines}
	_, _ = Parse(&r) // its error is the one that is explained
	for n, left := r.read, maxReread; n > known && left > 0; n-- {
		text := bytes.Join(lines[:n], nil)
		if _, err := Parse(bytes.NewReader(text)); err == nil {
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

func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
