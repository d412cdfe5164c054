package survey

import "errors"

// Known is what a run knows of something that may be there: it was found, there is none, or it is not known and why. The zero value
// is not known: no one looked. There is no way to the value past these three.
type Known[T any] struct {
	value  T
	answer answer
	why    error
}

type answer int

const (
	unknown answer = iota
	none
	found
)

// errNotAsked is why a zero Known is not known.
var errNotAsked = errors.New("no one looked")

// Found says that there is one, and what.
func Found[T any](v T) Known[T] { return Known[T]{value: v, answer: found} }

// None says that there is none: whoever says it has looked everywhere.
func None[T any]() Known[T] { return Known[T]{answer: none} }

// Unknown says that it is not known, and why.
func Unknown[T any](why error) Known[T] { return Known[T]{why: why} }

// Get returns the three answers: err is why it is not known; without one, there reports whether there is one, and v is it.
func (k Known[T]) Get() (v T, there bool, err error) {
	if k.answer == unknown {
		if k.why == nil {
			return v, false, errNotAsked
		}
		return v, false, k.why
	}
	return k.value, k.answer == found, nil
}
