// Package hint joins an error to what the user can do about it. The error says what is wrong, and why; the hint says how it is mended,
// with the command to run, and whoever prints the error writes the hint on a line of its own. It is a leaf that every package may import:
// it knows nothing of hosts, plans or the command line.
package hint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// hinted is an error with its hint. Its text is the error's alone.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }
func (h *hinted) Hint() string  { return h.hint }

// With returns err with a hint, which begins with a small letter and ends without a full stop, as an error does. nil stays nil.
func With(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// Of returns the hints of an error and of all that it wraps, the outermost first, each once. An error has one by With, or by a method Hint.
func Of(err error) []string {
	var out []string
	if h, ok := err.(interface{ Hint() string }); ok { // this error alone: what it wraps comes after it
		if text := h.Hint(); text != "" {
			out = append(out, text)
		}
	}
	var beneath []error
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		beneath = []error{errors.Unwrap(err)}
	case interface{ Unwrap() []error }:
		beneath = e.Unwrap()
	}
	for _, b := range beneath {
		for _, h := range Of(b) {
			if !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	return out
}

// Text is Of as one line, for what has one field for it; "" = none.
func Text(err error) string { return strings.Join(Of(err), "; ") }
