package remote

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Line is a command as the host's login shell is asked for it. Run spells it, ParseLine reads it back.
type Line struct {
	Argv []string // of a script: sh -c SCRIPT sh ARGS…
	Sudo bool

	// Under sudo: what sudo shows on stderr when it wants a password, and what appears there once the command may start.
	Prompt, Ready string
}

// maxLine is what the kernel takes as one argument of an exec (MAX_ARG_STRLEN); sshd passes the line to the shell as one.
const maxLine = 128<<10 - 1

// locale is set for every command: what it prints does not depend on whose account it is.
const locale = "LC_ALL=C"

// announce tells on stderr that sudo has let us in, then becomes the command. Stdin is sent only after that, so that sudo can
// never take a line of it for a password, nor the command get the password. The mark is put together there: sudo quotes the
// whole command when it refuses one, and that must not look like the mark.
const announce = `printf %s-ready "$0" >&2; exec "$@"`

// newLine checks a command and turns it into a line.
func newLine(cmd Command, sudo bool) (Line, error) {
	l := Line{Argv: cmd.Argv, Sudo: sudo}
	switch {
	case len(cmd.Argv) > 0 && cmd.Script != "":
		return Line{}, errors.New("a command has either Argv or Script, not both")
	case cmd.Script != "":
		l.Argv = append([]string{"sh", "-c", cmd.Script, "sh"}, cmd.Args...)
	case len(cmd.Argv) == 0 || cmd.Argv[0] == "":
		return Line{}, errors.New("empty command")
	case len(cmd.Args) > 0:
		return Line{}, errors.New("a command with Argv takes no Args")
	}
	if slices.ContainsFunc(l.Argv, func(w string) bool { return strings.ContainsRune(w, 0) }) {
		return Line{}, errors.New("a command's words must not contain NUL bytes")
	}
	if sudo {
		nonce := make([]byte, 8)
		rand.Read(nonce) // never fails
		l.Prompt = "hybridctl-sudo-" + hex.EncodeToString(nonce)
		l.Ready = "hybridctl-run-" + hex.EncodeToString(nonce) + "-ready"
	}
	if n := len(l.String()); n > maxLine {
		return Line{}, fmt.Errorf("the command is %d bytes long, the limit is %d: send the data on stdin", n, maxLine)
	}
	return l, nil
}

// String spells the line for the login shell.
func (l Line) String() string {
	if !l.Sudo {
		return locale + " " + Quote(l.Argv...)
	}
	return locale + " " + Quote(append([]string{"sudo", "-S", "-p", l.Prompt, "--", "sh", "-c", announce, strings.TrimSuffix(l.Ready, "-ready")}, l.Argv...)...)
}

// Script returns the script and its arguments, when the line runs one.
func (l Line) Script() (script string, args []string, ok bool) {
	if len(l.Argv) < 4 || l.Argv[0] != "sh" || l.Argv[1] != "-c" || l.Argv[3] != "sh" {
		return "", nil, false
	}
	return l.Argv[2], l.Argv[4:], true
}

// ParseLine reads back what Run asked of a host. Servers made for tests need it; other lines than Run's are an error.
func ParseLine(s string) (Line, error) {
	words, err := split(s)
	if err != nil {
		return Line{}, err
	}
	if len(words) < 2 || words[0] != locale {
		return Line{}, errors.New("not a line of this program")
	}
	words = words[1:]
	if words[0] != "sudo" {
		return Line{Argv: words}, nil
	}
	if len(words) < 10 || words[7] != announce {
		return Line{}, errors.New("sudo in words of somebody else")
	}
	return Line{Argv: words[9:], Sudo: true, Prompt: words[3], Ready: words[8] + "-ready"}, nil
}

// describe names a command in messages: short, on one line, secrets redacted.
func describe(cmd Command, r *strings.Replacer) string {
	s := "script"
	if cmd.Script == "" {
		s = Quote(cmd.Argv...)
	} else if len(cmd.Args) > 0 {
		s += " " + Quote(cmd.Args...)
	}
	if cmd.Sudo {
		s = "sudo " + s
	}
	s = strings.Join(strings.Fields(r.Replace(s)), " ")
	return shorten(s, 160)
}

// redactor replaces the secrets of a command.
func redactor(secrets []string) *strings.Replacer {
	// The longest first: a secret that begins another must not leave the other's end in the open.
	secrets = slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range secrets {
		if s == "" {
			continue
		}
		if q := Quote(s); q != s {
			pairs = append(pairs, q, "[redacted]")
		}
		pairs = append(pairs, s, "[redacted]")
	}
	return strings.NewReplacer(pairs...)
}
