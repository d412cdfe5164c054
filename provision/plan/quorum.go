package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrQuorum: etcd would not outlive it. The user mends or adds members first.
var ErrQuorum = errors.New("etcd would lose its quorum")

// Voter is a voting member of etcd.
type Voter struct {
	Name    string
	Healthy bool
}

// KeepsQuorum tells whether etcd goes on when these members are taken out, one after another: after each, more than half of those that
// are left have to be well. ErrQuorum: it does not.
func KeepsQuorum(members []Voter, out []string) error {
	left := slices.Clone(members)
	for _, name := range out {
		if !slices.ContainsFunc(left, func(v Voter) bool { return v.Name == name }) {
			continue // it is out already
		}
		if well := healthy(left); well <= len(left)/2 {
			return fmt.Errorf("%w: only %d of its %d members are well, and it cannot change them", ErrQuorum, well, len(left))
		}
		left = slices.DeleteFunc(left, func(v Voter) bool { return v.Name == name })
		if len(left) == 0 {
			return fmt.Errorf("%w: %s is its last member", ErrQuorum, name)
		}
		if well := healthy(left); well <= len(left)/2 {
			return fmt.Errorf("%w: without %s, %d of %d members are well; not well: %s", ErrQuorum, name, well, len(left), strings.Join(unwell(left), ", "))
		}
	}
	return nil
}

func healthy(all []Voter) (n int) {
	for _, v := range all {
		if v.Healthy {
			n++
		}
	}
	return n
}

func unwell(all []Voter) (names []string) {
	for _, v := range all {
		if !v.Healthy {
			names = append(names, v.Name)
		}
	}
	return names
}
