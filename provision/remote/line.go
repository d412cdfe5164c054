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
	Doas bool // with Sudo: by doas, on a host that has no sudo

	// Under sudo: what sudo shows on stderr when it wants a password, and what appears there once the command may start.
	Prompt, Ready string
}

// become is how a command gets to be root's.
type become int

const (
	asLogin become = iota
	bySudo
	byDoas
)

// maxLine is what the kernel takes as one argument of an exec (MAX_ARG_STRLEN); sshd passes the line to the shell as one.
const maxLine = 128<<10 - 1

// locale is set for every command: what it prints does not depend on whose account it is. By env, for tcsh knows no `NAME=value`
// before a command.
var locale = []string{"env", "LC_ALL=C"}

// unwrap reads back words in which awkward spelled a line break or an exclamation mark, and becomes the command. The words without
// a backslash are as they were.
const unwrap = `n=$#; while [ $n -gt 0 ]; do case $1 in *\\*) w=$(printf %b. "$1"); w=${w%.};; *) w=$1;; esac; ` +
	`shift; set -- "$@" "$w"; n=$((n-1)); done; exec "$@"`

// csh and tcsh read line breaks and exclamation marks within quotes, so that no quoting carries them through every shell.
const awkward = "\n!"

var wrapper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "!", `\0041`)

// wrapped spells the words for every login shell there is.
func wrapped(argv []string) []string {
	if !slices.ContainsFunc(argv, func(w string) bool { return strings.ContainsAny(w, awkward) }) {
		return argv
	}
	words := []string{"sh", "-c", unwrap, "sh"}
	for _, w := range argv {
		words = append(words, wrapper.Replace(w))
	}
	return words
}

// unwrapped is its reverse.
func unwrapped(argv []string) ([]string, error) {
	if len(argv) < 4 || argv[2] != unwrap {
		return argv, nil
	}
	var words []string
	for _, w := range argv[4:] {
		var b strings.Builder
		b.Grow(len(w))
		for {
			plain, rest, escaped := strings.Cut(w, `\`)
			b.WriteString(plain)
			if !escaped {
				break
			}
			switch {
			case strings.HasPrefix(rest, `\`):
				b.WriteByte('\\')
				w = rest[1:]
			case strings.HasPrefix(rest, "n"):
				b.WriteByte('\n')
				w = rest[1:]
			case strings.HasPrefix(rest, "0041"):
				b.WriteByte('!')
				w = rest[4:]
			default:
				return nil, errors.New("a backslash that is not ours")
			}
		}
		words = append(words, b.String())
	}
	return words, nil
}

// announce tells on stderr that sudo has let us in, then becomes the command. Stdin is sent only after that, so that sudo can
// never take a line of it for a password, nor the command get the password. The mark is put together there: sudo quotes the
// whole command when it refuses one, and that must not look like the mark.
const announce = `printf %s-ready "$0" >&2; exec "$@"`

// spelled is a line with its text: scripts are long, and go to hundreds of hosts, so they are not spelled twice.
type spelled struct {
	Line
	text string
}

// newLine checks a command and turns it into a line.
func newLine(cmd Command, become become) (spelled, error) {
	l := Line{Argv: cmd.Argv, Sudo: become != asLogin, Doas: become == byDoas}
	switch {
	case len(cmd.Argv) > 0 && cmd.Script != "":
		return spelled{}, errors.New("a command has either Argv or Script, not both")
	case cmd.Script != "":
		l.Argv = append([]string{"sh", "-c", cmd.Script, "sh"}, cmd.Args...)
	case len(cmd.Argv) == 0 || cmd.Argv[0] == "":
		return spelled{}, errors.New("empty command")
	case len(cmd.Args) > 0:
		return spelled{}, errors.New("a command with Argv takes no Args")
	}
	if slices.ContainsFunc(l.Argv, func(w string) bool { return strings.ContainsRune(w, 0) }) {
		return spelled{}, errors.New("a command's words must not contain NUL bytes")
	}
	if l.Sudo {
		nonce := make([]byte, 8)
		rand.Read(nonce) // never fails
		if !l.Doas {
			l.Prompt = "hybridctl-sudo-" + hex.EncodeToString(nonce)
		}
		l.Ready = "hybridctl-run-" + hex.EncodeToString(nonce) + "-ready"
	}
	text := l.String()
	if n := len(text); n > maxLine {
		return spelled{}, fmt.Errorf("the command is %d bytes long, the limit is %d: send the data on stdin", n, maxLine)
	}
	return spelled{l, text}, nil
}

// String spells the line for the login shell.
func (l Line) String() string {
	argv := wrapped(l.Argv)
	run := slices.Concat([]string{"sh", "-c", announce, strings.TrimSuffix(l.Ready, "-ready")}, argv)
	switch {
	case !l.Sudo:
		return Quote(slices.Concat(locale, argv)...)
	case l.Doas: // it keeps nothing of the environment, and reads passwords from a terminal alone: -n
		return Quote(slices.Concat([]string{"doas", "-n", "--"}, locale, run)...)
	}
	return Quote(slices.Concat(locale, []string{"sudo", "-S", "-p", l.Prompt, "--"}, run)...)
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
	l := Line{}
	if len(words) > 3 && words[0] == "doas" {
		l.Sudo, l.Doas, words = true, true, words[3:]
	}
	if len(words) < len(locale)+1 || !slices.Equal(words[:len(locale)], locale) {
		return Line{}, errors.New("not a line of this program")
	}
	words = words[len(locale):]
	if words[0] == "sudo" && !l.Sudo && len(words) > 5 {
		l.Sudo, l.Prompt, words = true, words[3], words[5:]
	} else if words[0] == "sudo" {
		return Line{}, errors.New("sudo in the words of another program")
	}
	if l.Sudo {
		if len(words) < 5 || words[2] != announce {
			return Line{}, errors.New("sudo in the words of another program")
		}
		l.Ready, words = words[3]+"-ready", words[4:]
	}
	l.Argv, err = unwrapped(words)
	if err != nil || len(l.Argv) == 0 {
		return Line{}, errors.New("not a line of this program")
	}
	return l, nil
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
