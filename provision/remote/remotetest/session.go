package remotetest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/hybridctl/hybridctl/provision/remote"
)

// Session is one command that a host was asked to run.
type Session struct {
	Host *Host
	User string   // whom the command runs as: root under sudo
	Raw  string   // what the login shell was given
	Argv []string // nil when Raw is not a line of remote's
	Sudo bool

	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	sudoRead []string
	line     remote.Line
	ctx      context.Context
}

// Context ends when the client closes the session, signals the command, or the connection is cut.
func (s *Session) Context() context.Context { return s.ctx }

// Command is the text that handlers match: the script if there is one, else the words with a space between, else Raw.
func (s *Session) Command() string {
	if script, _, ok := s.line.Script(); ok {
		return script
	}
	if s.Argv != nil {
		return strings.Join(s.Argv, " ")
	}
	return s.Raw
}

// Script returns the script and its arguments, when the command is one.
func (s *Session) Script() (script string, args []string, ok bool) { return s.line.Script() }

// Handler answers a command and returns its exit status.
type Handler func(s *Session) int

// Match chooses commands.
type Match func(s *Session) bool

// Any matches every command.
func Any(*Session) bool { return true }

// Is matches a command by its whole text.
func Is(command string) Match { return func(s *Session) bool { return s.Command() == command } }

// Prefix matches commands that begin with text.
func Prefix(text string) Match {
	return func(s *Session) bool { return strings.HasPrefix(s.Command(), text) }
}

type handler struct {
	match  Match
	handle Handler
}

// On answers matching commands on all hosts. Later handlers come first, a host's own before the fleet's.
func (f *Fleet) On(m Match, h Handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handlers = append(f.handlers, handler{m, h})
}

// Reply answers a command on all hosts with a text and status 0.
func (f *Fleet) Reply(command, stdout string) { f.On(Is(command), canned(stdout, "", 0)) }

// On answers matching commands on this host.
func (h *Host) On(m Match, handle Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers = append(h.handlers, handler{m, handle})
}

// Reply answers a command on this host with a text and status 0.
func (h *Host) Reply(command, stdout string) { h.On(Is(command), canned(stdout, "", 0)) }

// Fail makes a command fail on this host.
func (h *Host) Fail(command, stderr string, status int) {
	h.On(Is(command), canned("", stderr, status))
}

func canned(stdout, stderr string, status int) Handler {
	return func(s *Session) int {
		io.Copy(io.Discard, s.Stdin)
		io.WriteString(s.Stdout, stdout)
		io.WriteString(s.Stderr, stderr)
		return status
	}
}

// Recorded is a command that a host was asked to run.
type Recorded struct {
	Raw    string
	Argv   []string
	Sudo   bool
	Stdin  []byte // as far as the handler read it, the first MiB
	Status int

	SudoRead []string // what sudo read as passwords
}

// Command is as Session.Command.
func (r Recorded) Command() string {
	s := Session{Raw: r.Raw, Argv: r.Argv, line: remote.Line{Argv: r.Argv}}
	return s.Command()
}

// Commands returns what the host was asked to run and has ended, in the order of ending.
func (h *Host) Commands() []Recorded {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Recorded(nil), h.commands...)
}

// serveSession answers the requests of one session until the client closes it.
func (h *Host) serveSession(c *conn, channel ssh.Channel, requests <-chan *ssh.Request, user string) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer channel.Close()
	for r := range requests {
		switch r.Type {
		case "exec":
			raw, err := unmarshalString(r.Payload)
			r.Reply(err == nil, nil)
			if err == nil {
				h.counters.execs.Add(1)
				c.running.Go(func() { h.exec(ctx, channel, raw, user) })
			}
		case "subsystem":
			name, err := unmarshalString(r.Payload)
			ok := err == nil && name == "sftp"
			r.Reply(ok, nil)
			if ok {
				h.counters.sftp.Add(1)
				c.running.Go(func() { h.serveSFTP(channel) })
			}
		case "signal":
			cancel()
		case "pty-req":
			h.counters.ptys.Add(1)
			r.Reply(false, nil)
		default:
			if r.WantReply {
				r.Reply(false, nil)
			}
		}
	}
}

func (h *Host) exec(ctx context.Context, channel ssh.Channel, raw, user string) {
	stdin := &recorder{from: channel}
	s := &Session{Host: h, User: user, Raw: raw, Stdin: stdin, Stdout: channel, Stderr: channel.Stderr(), ctx: ctx}
	if l, err := remote.ParseLine(raw); err == nil {
		s.line, s.Argv, s.Sudo = l, l.Argv, l.Sudo
	}
	if h.talksAboutItself(s, channel) {
		return
	}
	status := 0
	if s.Sudo {
		status = h.becomeRoot(s, channel)
	}
	if status == 0 {
		status = h.handler(s)(s)
	}
	h.mu.Lock()
	h.commands = append(h.commands, Recorded{Raw: raw, Argv: s.Argv, Sudo: s.Sudo, Stdin: stdin.bytes(), Status: status, SudoRead: s.sudoRead})
	h.mu.Unlock()
	channel.SendRequest("exit-status", false, exitStatus(status))
	channel.Close()
}

// talksAboutItself answers the question whether commands are run here, which is no command of a test's; a host that runs none says so to every command.
func (h *Host) talksAboutItself(s *Session, channel ssh.Channel) bool {
	h.mu.Lock()
	shell := h.shell
	h.mu.Unlock()
	status := 0
	switch {
	case shell != nil:
		io.WriteString(s.Stdout, shell.Words)
		io.WriteString(s.Stderr, shell.Errors)
		status = shell.Status
	case len(s.Argv) == 2 && s.Argv[0] == "echo" && strings.HasPrefix(s.Argv[1], remote.EchoPrefix):
		h.counters.execs.Add(-1)
		io.WriteString(s.Stdout, s.Argv[1]+"\n")
	default:
		return false
	}
	channel.SendRequest("exit-status", false, exitStatus(status))
	channel.Close()
	return true
}

// handler finds who answers.
func (h *Host) handler(s *Session) Handler {
	h.mu.Lock()
	own := h.handlers[:len(h.handlers):len(h.handlers)]
	h.mu.Unlock()
	h.fleet.mu.Lock()
	all := append(h.fleet.handlers[:len(h.fleet.handlers):len(h.fleet.handlers)], own...)
	h.fleet.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].match(s) {
			return all[i].handle
		}
	}
	return func(s *Session) int {
		h.fleet.noteUnknown(h, s)
		fmt.Fprintf(s.Stderr, "remotetest: no answer to: %.200s\n", s.Command())
		return 127
	}
}

// recorder keeps the first MiB of what is read through it.
type recorder struct {
	from io.Reader
	mu   sync.Mutex
	kept []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if room := 1<<20 - len(r.kept); room > 0 {
		r.kept = append(r.kept, p[:min(n, room)]...)
	}
	return n, err
}

func (r *recorder) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept
}
