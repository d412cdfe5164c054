package inventory

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is the YAML a Cluster was read from. It stays at hand so that later problems can name line and column, and so that
// the file can be shown, or edited, as the user wrote it.
type document struct {
	file      string // as the user named it
	root      *yaml.Node
	positions map[string]position // by field path
}

type position struct{ line, column int }

// Pos returns where a field stands, for instance "spec.hosts[2].address". A field that is not in the file stands where the
// nearest thing around it does. Zero means that the Cluster was not read from a file.
func (c *Cluster) Pos(path string) (line, column int) {
	if c.doc == nil {
		return 0, 0
	}
	p := c.doc.pos(path)
	return p.line, p.column
}

// ProblemAt makes a problem of a field, with its position.
func (c *Cluster) ProblemAt(path, message, hint string) Problem {
	if c.doc == nil {
		return Problem{File: c.Path, Path: path, Message: message, Hint: hint}
	}
	return c.doc.problemAt(path, message, hint)
}

// given reports whether the file has the field, as opposed to a default.
func (c *Cluster) given(path string) bool {
	if c.doc == nil {
		return false
	}
	_, ok := c.doc.positions[path]
	return ok
}

func (d *document) pos(path string) position {
	for ; path != ""; path = parent(path) {
		if p, ok := d.positions[path]; ok {
			return p
		}
	}
	return nodePosition(d.root)
}

func (d *document) problemAt(path, message, hint string) Problem {
	return d.problem(d.pos(path), path, message, hint)
}

func (d *document) problem(at position, path, message, hint string) Problem {
	return Problem{File: d.file, Line: at.line, Column: at.column, Path: path, Message: message, Hint: hint}
}

func nodePosition(n *yaml.Node) position { return position{line: n.Line, column: n.Column} }

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// field returns the path of a named field; a name that would not read well stands in brackets: labels[kubernetes.io/os].
func field(path, name string) string {
	switch {
	case !plainKey.MatchString(name):
		return path + "[" + printable(name) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}

func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func hostField(i int, name string) string { return field(item("spec.hosts", i), name) }

// parent cuts the last field, item or key off a path.
func parent(path string) string {
	if strings.HasSuffix(path, "]") {
		return path[:max(strings.LastIndexByte(path, '['), 0)]
	}
	return path[:max(strings.LastIndexByte(path, '.'), 0)]
}

// printable returns s as it is, or quoted when it holds anything a terminal should not see.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
