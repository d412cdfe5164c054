package hint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var errSentinel = errors.New("refused")

// own is an error with a hint of its own.
type own string

func (own) Error() string  { return "own" }
func (o own) Hint() string { return string(o) }

func TestOf(t *testing.T) {
	plain := errors.New("the disk is full")
	one := With(fmt.Errorf("%w: no host %q", errSentinel, "x"), "name one of %s", "a, b")
	two := With(plain, "make room")
	for name, c := range map[string]struct {
		err  error
		text string
		want []string
	}{
		"nothing":              {nil, "", nil},
		"no hint":              {plain, "the disk is full", nil},
		"one":                  {one, `refused: no host "x"`, []string{"name one of a, b"}},
		"wrapped":              {fmt.Errorf("host-1: %w", one), `host-1: refused: no host "x"`, []string{"name one of a, b"}},
		"wrapped with more":    {fmt.Errorf("%w: %w", errSentinel, two), "refused: the disk is full", []string{"make room"}},
		"several":              {errors.Join(two, plain, one, two), "the disk is full\nthe disk is full\nrefused: no host \"x\"\nthe disk is full", []string{"make room", "name one of a, b"}},
		"by a method":          {fmt.Errorf("save: %w", own("make room")), "save: own", []string{"make room"}},
		"by one that has none": {With(own(""), "make room"), "own", []string{"make room"}},
		"a hint on another":    {With(fmt.Errorf("save: %w", two), "or save elsewhere"), "save: the disk is full", []string{"or save elsewhere", "make room"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Of(c.err); !slices.Equal(got, c.want) {
				t.Errorf("hints %q, want %q", got, c.want)
			}
			if got := Text(c.err); got != strings.Join(c.want, "; ") {
				t.Errorf("as one line %q", got)
			}
			if c.err != nil && c.err.Error() != c.text {
				t.Errorf("text %q, want %q", c.err, c.text)
			}
		})
	}
	if !errors.Is(one, errSentinel) {
		t.Error("the sentinel is lost")
	}
	if With(nil, "x") != nil {
		t.Error("no error became one")
	}
}
