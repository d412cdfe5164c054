package inventory

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// JumpNone as a host's jump means that it is reached directly, whatever spec.ssh.jump says.
const JumpNone = "none"

// Hop is one station on the way to a host: another host of the inventory, with that host's own settings, or an address.
type Hop struct {
	Host    string // name in the inventory; then the other fields are empty
	User    string // empty: as for any host
	Address string
	Port    int // 0: as for any host
}

// Route returns the stations on the way to a host, the one to dial first first. It is empty for a host that is reached directly.
func (c *Cluster) Route(h Host) []Hop {
	var route []Hop
	// Validation refuses circles; the bound keeps a Cluster that was not validated from hanging.
	for range len(c.Spec.Hosts) + 1 {
		jumps, err := c.jumps(h)
		if err != nil || len(jumps) == 0 {
			return route
		}
		route = append(jumps[:len(jumps):len(jumps)], route...)
		via, ok := c.Host(jumps[0].Host)
		if !ok {
			return route
		}
		h = via
	}
	return route
}

// jumps returns the hops that the host's own jump, or spec.ssh.jump, names. A host on the way that spec.ssh.jump describes is
// itself reached by the hops before it.
func (c *Cluster) jumps(h Host) ([]Hop, error) {
	if h.Jump == JumpNone {
		return nil, nil
	}
	if h.Jump != "" {
		return c.parseJump(h.Jump)
	}
	hops, err := c.parseJump(c.Spec.SSH.Jump)
	for i, hop := range hops {
		if hop.Host == h.Name {
			return hops[:i], err
		}
	}
	return hops, err
}

// parseJump reads a list of hops, separated by commas. The error is for the user.
func (c *Cluster) parseJump(jump string) ([]Hop, error) {
	if jump == "" {
		return nil, nil
	}
	var hops []Hop
	for text := range strings.SplitSeq(jump, ",") {
		hop, err := c.parseHop(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		hops = append(hops, hop)
	}
	return hops, nil
}

func (c *Cluster) parseHop(text string) (Hop, error) {
	if _, ok := c.Host(text); ok && text != "" {
		return Hop{Host: text}, nil
	}
	user, address, hasUser := strings.Cut(text, "@")
	if !hasUser {
		user, address = "", text
	}
	name, portText, hasPort := strings.Cut(address, ":")
	port := 0
	if hasPort {
		var err error
		if port, err = strconv.Atoi(portText); err != nil || !validPort(port) {
			return Hop{}, fmt.Errorf("%q has no port from 1 to 65535 after its colon", text)
		}
	}
	if _, ok := c.Host(name); ok && name != "" {
		return Hop{}, hint.With(fmt.Errorf("%q says how to reach host %s, whose own entry says that", text, name), "write just %s", name)
	}
	switch {
	case text == "":
		return Hop{}, errors.New("a comma has nothing before or after it")
	case hasUser && !userRule.ok(user):
		return Hop{}, fmt.Errorf("%q has no user before its @", text)
	case !validAddress(name):
		return Hop{}, fmt.Errorf("%q is neither a host's name nor [user@]address[:port]", text)
	case !hasUser && !hasPort && !strings.Contains(name, "."):
		return Hop{}, fmt.Errorf("no host is named %s; an address that has no dot is written %s:22", name, name)
	}
	return Hop{User: user, Address: name, Port: port}, nil
}

// SSHFor returns the SSH settings of a host: its own, and the cluster's where it has none. The way to it is Route's business:
// Jump is empty.
func (c *Cluster) SSHFor(h Host) SSH {
	s := c.Spec.SSH
	s.Jump = ""
	if h.User != "" {
		s.User = h.User
	}
	if h.Port != 0 {
		s.Port = h.Port
	}
	if len(h.IdentityFiles) > 0 {
		s.IdentityFiles = h.IdentityFiles
	}
	if h.SudoPasswordFile != "" || h.SudoPasswordEnv != "" {
		s.SudoPasswordFile, s.SudoPasswordEnv = h.SudoPasswordFile, h.SudoPasswordEnv
	}
	return s
}
