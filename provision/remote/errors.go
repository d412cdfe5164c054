package remote

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// The kinds of failure. Every error of this package wraps at most one of them; its text is one sentence for the user.
var (
	// ErrUnreachable: the host, or a jump host before it, does not answer. Mostly transient: see Transient. Tell the user.
	ErrUnreachable = errors.New("host unreachable")
	// ErrProtocol: something answers, but it does not speak SSH, or none of our algorithms. Tell the user; do not retry.
	ErrProtocol = errors.New("no usable SSH server")
	// ErrHostKeyChanged: the host shows another key than the known or pinned one. Stop; never retry, never go round it.
	ErrHostKeyChanged = errors.New("host key changed")
	// ErrHostKeyUnknown: no key of the host is known and the policy is strict. The user adds or pins the key.
	ErrHostKeyUnknown = errors.New("host key unknown")
	// ErrAuth: the host takes none of our keys for this user. The user mends keys or user name; do not retry.
	ErrAuth = errors.New("authentication refused")
	// ErrSudoPassword: sudo wants a password, and there is none or it is wrong. Do not retry: accounts get locked.
	ErrSudoPassword = errors.New("sudo password")
	// ErrSudoMissing: the host has no sudo. The user logs in as root or installs it.
	ErrSudoMissing = errors.New("sudo is not installed")
	// ErrSudoDenied: sudo does not let the login user become root. The user mends the host's sudoers.
	ErrSudoDenied = errors.New("sudo refused")
	// ErrSudoTTY: sudo insists on a terminal (requiretty). The user takes that line out of the host's sudoers.
	ErrSudoTTY = errors.New("sudo wants a terminal")
	// ErrClosed: the connection ended before the answer; the command may or may not have run. Look before running it again.
	ErrClosed = errors.New("connection lost")
	// ErrForwarding: the server forbids tunnels. The user allows TCP forwarding there.
	ErrForwarding = errors.New("forwarding forbidden")
	// ErrNoShell: the host lets us in and runs no commands for this user. The user mends the account, or logs in as another.
	ErrNoShell = errors.New("no commands are run")
	// ErrOutput: a command printed more than any answer has. Something is wrong with the host; do not retry.
	ErrOutput = errors.New("too much output")
	// ErrNoSpace: the disk of the host is full. The user makes room; Put then goes on from where it stopped.
	ErrNoSpace = errors.New("no space left on device")
)

// Two kinds of ErrUnreachable that a dial tries again by itself: they pass within moments.
var (
	errFull = fmt.Errorf("%w: full", ErrUnreachable) // the server says so
	errCut  = fmt.Errorf("%w: cut", ErrUnreachable)  // it hung up before it showed its key, as a full one of an older release does
)

// Mend says how the user mends what an error of this package tells: where to look, and the error's own hints; "" = neither is known.
func Mend(err error) string {
	all := hint.Of(err)
	if place := placeToMend(err); place != "" {
		all = slices.Insert(all, 0, place)
	}
	return strings.Join(all, "; ")
}

// placeToMend is where the user looks; "" = it is of no kind that has such a place.
func placeToMend(err error) string {
	is := func(kinds ...error) bool {
		return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
	}
	switch {
	case is(ErrHostKeyChanged, ErrHostKeyUnknown):
		return "compare it with what the host itself says, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; hostKey in the inventory pins a key"
	case is(ErrAuth):
		return "see user and identityFiles in the inventory"
	case is(ErrSudoPassword):
		return "see sudoPasswordFile and sudoPasswordEnv in the inventory"
	case is(ErrSudoMissing, ErrSudoDenied, ErrSudoTTY, ErrNoShell):
		return "mend the account on the host, or name another as user in the inventory"
	case is(ErrForwarding):
		return "see jump in the inventory, or allow the jump host to forward connections"
	case is(ErrProtocol):
		return "see address and port in the inventory"
	}
	return ""
}

// fault is an error of a kind, with its own sentence.
type fault struct {
	kind      error
	text      string
	cause     error
	transient bool
}

func (f *fault) Error() string { return f.text }

func (f *fault) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

func faultf(kind, cause error, format string, args ...any) *fault {
	return &fault{kind: kind, cause: cause, text: fmt.Sprintf(format, args...)}
}

// passing marks the fault as one that may be gone on the next try.
func (f *fault) passing() *fault {
	f.transient = true
	return f
}

// Transient reports whether the same call may succeed later without anybody mending anything: the host is booting, the network
// is away, the connection was cut. Dial may be retried on it; Run only where running twice does no harm.
func Transient(err error) bool {
	var f *fault
	return errors.As(err, &f) && f.transient
}

// JumpError is a failure of a jump host: every host behind it fails alike.
type JumpError struct {
	Host string // the jump host's name or address
	Err  error
}

func (e *JumpError) Error() string { return "jump host " + e.Host + ": " + e.Err.Error() }

func (e *JumpError) Unwrap() error { return e.Err }

// jumpError names the hop nearest to the cause, not every hop behind it.
func jumpError(ep *endpoint, err error) error {
	var j *JumpError
	if errors.As(err, &j) {
		return err
	}
	return &JumpError{Host: ep.name, Err: err}
}

// ExitError is a command that ended with a status other than zero. The caller decides by Status; the text is for people.
type ExitError struct {
	Command string // short, with secrets redacted
	Status  int    // 128+n when a signal ended it
	Signal  string // without SIG: KILL; empty when it exited by itself
	Stderr  string // the last 64 KiB, with secrets redacted
}

func (e *ExitError) Error() string {
	var b strings.Builder
	b.WriteString(e.Command)
	if e.Signal != "" {
		fmt.Fprintf(&b, ": ended by signal %s", e.Signal)
	} else {
		fmt.Fprintf(&b, ": exit status %d", e.Status)
	}
	if line := lastLine(e.Stderr); line != "" {
		b.WriteString(": ")
		b.WriteString(line)
	}
	return b.String()
}

// lastLine returns the last line that is not blank, shortened.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	return shorten(printable(strings.TrimSpace(s)), 300)
}

// printable puts a space in place of each control character: what a host says must not reach a terminal as more than text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
}

func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
