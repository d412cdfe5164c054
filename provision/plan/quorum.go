package plan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrQuorum: etcd would not outlive it. The user mends or adds members first.
var ErrQuorum = errors.New("etcd would lose its quorum")

// Member is a member of etcd; its fields are those of kube.EtcdMember.
type Member struct {
	ID      uint64
	Name    string   // the node's; "" = it has not started yet
	Peers   []string // the hosts of its peer URLs: IP addresses, with kubeadm
	Learner bool     // it does not vote
	Healthy bool
}

// String is the member's name, or that it has none yet, with the ID as etcdctl wants it, and where it is.
func (m Member) String() string {
	name := "one that has not started"
	if m.Name != "" {
		name = strconv.Quote(m.Name)
	}
	return fmt.Sprintf("%s (%x at %s)", name, m.ID, strings.Join(m.Peers, ", "))
}

// IsOf reports whether it is a node's member. One that has not started yet is known by its address.
func (m Member) IsOf(node string, addresses ...string) bool {
	return m.Name == node || m.Name == "" && slices.ContainsFunc(m.Peers, func(p string) bool { return slices.Contains(addresses, p) })
}

// Voters are the members that vote.
func Voters(members []Member) (out []Voter) {
	for _, m := range members {
		if !m.Learner {
			out = append(out, Voter{Name: m.Name, Healthy: m.Healthy})
		}
	}
	return out
}

// Voter is a voting member of etcd.
type Voter struct {
	Name    string
	Healthy bool
}

// KeepsQuorum reports whether etcd goes on when these members are taken out, one after another: after each, more than half of those that
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
