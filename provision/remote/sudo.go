package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hybridctl/hybridctl/provision/hint"
)

// become says how a command gets to be root's here.
func (c *Conn) become(cmd Command) become {
	switch {
	case !cmd.Sudo || c.sudo.root:
		return asLogin
	case c.sudo.doas.Load():
		return byDoas
	}
	return bySudo
}

// sudoPassword is what a connection knows about becoming root.
type sudoPassword struct {
	root bool                   // we are root already
	doas atomic.Bool            // the host has no sudo, so doas is tried
	ask  func() (string, error) // nil: there is no password

	mu     sync.Mutex // held while a password that sudo has not yet taken is tried: a wrong one is tried once, not by all
	asked  bool
	word   string
	err    error // why there is none, or that sudo did not take it
	proven bool
}

// get returns the password. The caller holds mu.
func (s *sudoPassword) get() (string, error) {
	if s.err != nil || s.asked {
		return s.word, s.err
	}
	s.asked = true
	if s.ask == nil {
		s.err = faultf(ErrSudoPassword, nil, "sudo asks for a password and none is given (sudoPasswordFile or sudoPasswordEnv in the inventory)")
		return "", s.err
	}
	word, err := s.ask()
	switch {
	case err != nil:
		s.err = faultf(ErrSudoPassword, err, "sudo asks for a password: %v", err)
	case strings.ContainsAny(word, "\n\r\x00"):
		s.err = faultf(ErrSudoPassword, nil, "the sudo password has a line break in it")
	default:
		s.word = word
	}
	return s.word, s.err
}

func wrongPassword() error {
	return faultf(ErrSudoPassword, nil, "sudo does not take the password: it is wrong")
}

// sudoTalk reads what sudo says on stderr before the command starts. From the ready mark on, everything is the command's.
type sudoTalk struct {
	prompt, ready []byte
	doas          bool
	command       io.Writer // the command's stderr

	said    []byte // by sudo, its questions taken out
	asked   bool
	cut     int // where our prompt stood in said, until it is known what is behind it; -1: nowhere
	started bool

	onPrompt chan struct{} // one token for each time sudo asks
	onReady  chan struct{} // closed at the ready mark
}

func newSudoTalk(l Line, command io.Writer) *sudoTalk {
	return &sudoTalk{prompt: []byte(l.Prompt), ready: []byte(l.Ready), command: command, doas: l.Doas, cut: -1,
		onPrompt: make(chan struct{}, 8), onReady: make(chan struct{})}
}

func (t *sudoTalk) Write(p []byte) (int, error) {
	if t.started {
		return t.command.Write(p)
	}
	t.said = append(t.said, p...)
	if before, after, ok := bytes.Cut(t.said, t.ready); ok {
		t.said, t.started = before, true
		close(t.onReady)
		_, err := t.command.Write(after)
		return len(p), err
	}
	for t.question() {
		t.asked = true
		select {
		case t.onPrompt <- struct{}{}:
		default: // no one answers that many
		}
	}
	if len(t.said) > 2*stderrTail {
		t.said = append(t.said[:0], t.said[len(t.said)-stderrTail:]...)
		t.cut = -1
	}
	return len(p), nil
}

// question takes one question out of what sudo said.
func (t *sudoTalk) question() bool {
	if t.cut >= 0 && !t.trim() {
		return false
	}
	if before, after, ok := bytes.Cut(t.said, t.prompt); ok && len(t.prompt) > 0 {
		before = bytes.TrimSuffix(before, []byte(rsBefore))
		t.cut = len(before)
		t.said = append(bytes.Clone(before), after...)
		t.trim()
		return true
	}
	if asksOtherwise(t.said) {
		t.said = append(t.said, '\n')
		return true
	}
	return false
}

// rsBefore is what sudo-rs puts before our prompt; behind it come `] ` and what PAM wants to ask (src/pam/converse.rs).
const rsBefore = "[sudo: "

// trim takes away what sudo-rs puts behind our prompt, so that it does not look like another question. False: it is not all there.
func (t *sudoTalk) trim() bool {
	rest := t.said[t.cut:]
	if len(rest) == 0 {
		return false
	}
	end := 0
	if rest[0] == ']' {
		if end = bytes.IndexAny(rest, ":\n") + 1; end == 0 {
			return false
		}
	}
	t.said = append(t.said[:t.cut], rest[end:]...)
	t.cut = -1
	return true
}

// begun reports whether sudo has let the command start.
func (t *sudoTalk) begun() bool {
	select {
	case <-t.onReady:
		return true
	default:
		return false
	}
}

// waiting returns sudo's last words while it keeps the command back.
func (t *sudoTalk) waiting() string {
	if t == nil || t.begun() {
		return ""
	}
	return lastLine(string(t.said))
}

// asksOtherwise finds a password question that is not ours: some PAM modules show their own instead.
func asksOtherwise(b []byte) bool {
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		b = b[i+1:]
	}
	b = bytes.ToLower(bytes.TrimSpace(b))
	return bytes.HasSuffix(b, []byte(":")) && bytes.Contains(b, []byte("password")) && !bytes.HasPrefix(b, []byte("sudo:"))
}

// unlock answers sudo until the command starts. Nothing else has been written to stdin before, and nothing is until it returns.
func (c *Conn) unlock(ctx context.Context, t *sudoTalk, stdin io.Writer, ended <-chan struct{}) error {
	select {
	case <-t.onReady:
		return nil
	case <-ended:
		return nil // sudo failed; its words say why
	case <-ctx.Done():
		return errStopped
	case <-t.onPrompt:
	}
	s := &c.sudo
	s.mu.Lock()
	word, err := s.get()
	if err != nil || s.proven {
		s.mu.Unlock()
		if err == nil {
			_, err = t.answer(ctx, word, stdin, ended)
		}
		return err
	}
	defer s.mu.Unlock() // one tries it, the others wait
	if s.proven, err = t.answer(ctx, word, stdin, ended); errors.Is(err, ErrSudoPassword) {
		s.err = err
	}
	return err
}

// answer gives sudo the password and waits for what it makes of it.
func (t *sudoTalk) answer(ctx context.Context, word string, stdin io.Writer, ended <-chan struct{}) (taken bool, err error) {
	if _, err := io.WriteString(stdin, word+"\n"); err != nil {
		return false, nil // the session has ended
	}
	select {
	case <-t.onReady:
		return true, nil
	case <-t.onPrompt:
		return false, wrongPassword()
	case <-ended:
		return false, nil
	case <-ctx.Done():
		return false, errStopped
	}
}

// sudoFailure reads sudo's last words, in a session that ended before the command started.
func (c *Conn) sudoFailure(t *sudoTalk, exit *ExitError, secrets *strings.Replacer) error {
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return bytes.Contains(t.said, []byte(p)) })
	}
	switch {
	case exit.Status == 127 || has("sudo: not found", "sudo: command not found"):
		return faultf(ErrSudoMissing, exit, "the host has neither sudo nor doas, and the login user is not root")
	case t.doas:
		return hint.With(faultf(ErrSudoDenied, exit, "doas does not let the login user run commands as root: %s", orElse(lastLine(string(t.said)), "it says nothing")),
			"write `permit nopass %s as root` in the host's doas.conf: without a terminal doas takes no password", c.link.ep.user)
	case has("must have a tty"):
		return hint.With(faultf(ErrSudoTTY, exit, "sudo wants a terminal"), "take requiretty out of the host's sudoers")
	case has("not in the sudoers file", "is not allowed to", "may not run sudo", "I'm afraid I can't do that"):
		return hint.With(faultf(ErrSudoDenied, exit, "sudo does not let the login user run commands as root"), "mend the host's sudoers")
	case t.asked && has("incorrect password", "try again", "uthentication fail"):
		c.sudo.mu.Lock()
		defer c.sudo.mu.Unlock()
		c.sudo.err = wrongPassword()
		return c.sudo.err
	}
	return faultf(ErrSudoDenied, exit, "sudo failed with status %d: %s", exit.Status, orElse(lastLine(secrets.Replace(string(t.said))), "it says nothing"))
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
