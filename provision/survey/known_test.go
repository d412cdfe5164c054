package survey

import (
	"errors"
	"testing"
)

func TestKnown_ThreeAnswersAreThree(t *testing.T) {
	away := errors.New("not reached")
	var zero Known[int]
	for name, c := range map[string]struct {
		known Known[int]
		want  int
		there bool
		err   error
	}{
		"found":     {Found(7), 7, true, nil},
		"none":      {None[int](), 0, false, nil},
		"not known": {Unknown[int](away), 0, false, away},
		"no reason": {Unknown[int](nil), 0, false, errNotAsked},
		"zero":      {zero, 0, false, errNotAsked},
	} {
		if v, there, err := c.known.Get(); v != c.want || there != c.there || !errors.Is(err, c.err) {
			t.Errorf("%s: %d, %t, %v", name, v, there, err)
		}
	}
}
