package inventory

import (
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
)

func (v *validator) ssh() {
	s := v.c.Spec.SSH
	v.login("spec.ssh", s.User, s.Port, s.IdentityFiles, s.SudoPasswordFile, s.SudoPasswordEnv)
	hint := ""
	switch s.HostKeys {
	case "no", "off", "none", "ignore", "insecure", "false":
		hint = "a changed host key is always refused"
	case "yes", "ask", "true":
		hint = "did you mean " + HostKeysStrict + "?"
	}
	v.oneOf("spec.ssh.hostKeys", s.HostKeys, hint, HostKeysAcceptNew, HostKeysStrict)
}

// login checks the settings that spec.ssh and hosts have alike.
func (v *validator) login(path, user string, port int, identityFiles []string, sudoFile, sudoEnv string) {
	if p := field(path, "user"); user != "" && !userRule.ok(user) {
		v.fail(p, "", "%q is not a user name", user)
	}
	if p := field(path, "port"); (port != 0 || v.c.given(p)) && !validPort(port) {
		v.fail(p, "from 1 to 65535", "%d is not a port", port)
	}
	v.distinct(field(path, "identityFiles"), identityFiles)
	if p := field(path, "sudoPasswordEnv"); sudoEnv != "" && !envRule.ok(sudoEnv) {
		// What stands here may be the password itself, so it is not repeated.
		v.fail(p, "its name without the $; the password does not belong in this file", "is not the name of an environment variable")
	}
	if sudoFile != "" && sudoEnv != "" {
		v.fail(field(path, "sudoPasswordEnv"), "keep one of the two", "is given besides sudoPasswordFile")
	}
}

// jumps checks that every jump leads somewhere, and not back to where it began.
func (v *validator) jumps() {
	c := v.c
	if _, err := c.parseJump(c.Spec.SSH.Jump); err != nil {
		v.fail("spec.ssh.jump", hint.Text(err), "%s", err)
		return // every host's way would be wrong in the same manner
	}
	for i, h := range c.Spec.Hosts {
		path := hostField(i, "jump")
		hops, err := c.jumps(h)
		switch {
		case err != nil:
			v.fail(path, hint.Text(err), "%s", err)
		case h.Jump == "" || h.Jump == JumpNone:
		default:
			for _, hop := range hops {
				if hop.Host == h.Name {
					v.fail(path, "", "%s is reached through itself", h.Name)
				}
			}
		}
	}
	v.circles()
}

// circles finds hosts that are reached through one another. A host is dialled through the first hop of its jump, and that one
// through its own.
func (v *validator) circles() {
	c := v.c
	told := map[string]bool{}
	for i, start := range c.Spec.Hosts {
		trail := []string{start.Name}
		inTrail := map[string]bool{start.Name: true}
		for at := start; !told[at.Name]; {
			hops, err := c.jumps(at)
			if err != nil || len(hops) == 0 {
				break
			}
			next, ok := c.Host(hops[0].Host)
			if !ok {
				break
			}
			trail = append(trail, next.Name)
			if next.Name == start.Name && len(trail) > 2 {
				v.fail(hostField(i, "jump"), "write jump: "+JumpNone+" at the one that is reached directly",
					"the way goes in a circle: %s", strings.Join(trail, ", "))
				for _, name := range trail {
					told[name] = true
				}
			}
			if inTrail[next.Name] {
				break
			}
			inTrail[next.Name] = true
			at = next
		}
	}
}
