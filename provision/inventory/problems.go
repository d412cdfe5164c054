package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with an inventory: where it stands, what it is and what may help.
type Problem struct {
	File    string
	Line    int // from 1; 0 when the problem is the file itself
	Column  int // from 1, in characters
	Path    string
	Message string
	Hint    string
}

// String gives "file:line:column: field.path: what is wrong (hint)", leaving out what is not known.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Path != "" {
		b.WriteString(": " + p.Path)
	}
	b.WriteString(": " + p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems is everything wrong with an inventory, in the order of the file. It is an error for the user, who mends the file;
// nothing has been done yet. Wrapped inside may be the reason why the file could not be read (fs.ErrNotExist, …).
type Problems struct {
	List []Problem

	cause error
}

// Error gives one line for each problem.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns why the file could not be read, or nil.
func (p *Problems) Unwrap() error { return p.cause }

// asError sorts the problems by position; no problem is no error.
func asError(list []Problem) error {
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	return &Problems{List: list}
}
