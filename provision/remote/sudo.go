package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
)

// sudoPassword is what a connection knows about becoming root.
type sudoPassword struct {
	root bool                   // we are root already
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
	command       io.Writer // the command's stderr

	said    []byte // by sudo, its questions taken out
	asked   bool
	started bool

	onPrompt chan struct{} // one token for each time sudo asks
	onReady  chan struct{} // closed at the ready mark
}

func newSudoTalk(l Line, command io.Writer) *sudoTalk {
	return &sudoTalk{prompt: []byte(l.Prompt), ready: []byte(l.Ready), command: command,
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
		default: // nobody answers that many
		}
	}
	if len(t.said) > 2*stderrTail {
		t.said = append(t.said[:0], t.said[len(t.said)-stderrTail:]...)
	}
	return len(p), nil
}

// question takes one question out of what sudo said.
func (t *sudoTalk) question() bool {
	if before, after, ok := bytes.Cut(t.said, t.prompt); ok {
		t.said = append(bytes.Clone(before), after...)
		return true
	}
	if asksOtherwise(t.said) {
		t.said = append(t.said, '\n')
		return true
	}
	return false
}

// waiting returns sudo's last words while it keeps the command back.
func (t *sudoTalk) waiting() string {
	if t == nil || t.started {
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
		return faultf(ErrSudoMissing, exit, "the host has no sudo, and the login user is not root")
	case has("must have a tty"):
		return faultf(ErrSudoTTY, exit, "sudo wants a terminal: take requiretty out of the host's sudoers")
	case has("not in the sudoers file", "is not allowed to", "may not run sudo"):
		return faultf(ErrSudoDenied, exit, "sudo does not let the login user run commands as root: mend the host's sudoers")
	case t.asked && has("incorrect password", "try again", "uthentication fail"):
		c.sudo.mu.Lock()
		defer c.sudo.mu.Unlock()
		c.sudo.err = wrongPassword()
		return c.sudo.err
	}
	return faultf(ErrSudoDenied, exit, "sudo failed with status %d: %s", exit.Status, lastLine(secrets.Replace(string(t.said))))
}
