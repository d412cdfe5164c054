package plan

import (
	"errors"
	"strings"
	"testing"
)

func TestKeepsQuorum(t *testing.T) {
	all := func(words string) (out []Voter) { // "a b- c": b is not well
		for _, w := range strings.Fields(words) {
			name, sick := strings.CutSuffix(w, "-")
			out = append(out, Voter{Name: name, Healthy: !sick})
		}
		return out
	}
	for _, c := range []struct {
		members, out string
		ok           bool
	}{
		{"a b c", "c", true},
		{"a b c", "b c", true},
		{"a b c", "a b c", false},
		{"a b", "b", true},
		{"a", "a", false},
		{"a b c-", "c", true},   // the one that is away
		{"a b c-", "b", false},  // one of two would be left
		{"a b- c-", "b", false}, // no quorum to change anything with
		{"a b-", "b", false},    // the same: a majority of two is two
		{"a b c d-", "d", true},
		{"a b c", "elsewhere", true},
	} {
		err := KeepsQuorum(all(c.members), strings.Fields(c.out))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrQuorum) {
			t.Errorf("%s without %s: %v", c.members, c.out, err)
		}
	}
}
