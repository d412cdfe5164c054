package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Run implements Runner.
func (c *Conn) Run(ctx context.Context, cmd Command) (Output, error) {
	secrets := redactor(cmd.Redact)
	line, err := newLine(cmd, cmd.Sudo && !c.sudo.root)
	if err != nil {
		return Output{}, err
	}
	what := describe(cmd, secrets)
	ctx, cancel := c.bound(ctx)
	defer cancel()
	began := time.Now()
	out, err := c.run(ctx, cmd, line, what, secrets)
	c.log.Debug("run", "command", what, "took", time.Since(began), "error", err)
	return out, err
}

// bound gives a Run without a deadline the host's command timeout.
func (c *Conn) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || c.timeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, c.timeout, &lateError{c.timeout})
}

// lateError is a command that took longer than the host's command timeout.
type lateError struct{ after time.Duration }

func (e *lateError) Error() string { return fmt.Sprintf("no end after %v", e.after) }

func (e *lateError) Unwrap() error { return context.DeadlineExceeded }

func (c *Conn) run(ctx context.Context, cmd Command, line Line, what string, secrets *strings.Replacer) (Output, error) {
	session, giveBack, err := c.open(ctx, what)
	if err != nil {
		return Output{}, err
	}
	defer giveBack()
	c.sessions.Add(1)
	x := newExecution(c, session, cmd, line)
	waitErr := x.wait(ctx, line.String())
	out := x.output(cmd)
	var exit *ssh.ExitError
	var ours *fault
	switch {
	case waitErr == nil:
		return out, nil
	case errors.As(waitErr, &exit):
		e := &ExitError{Command: what, Status: exit.ExitStatus(), Signal: exit.Signal(), Stderr: secrets.Replace(string(out.Stderr))}
		if x.talk != nil && !x.talk.started {
			return out, c.sudoFailure(x.talk, e, secrets)
		}
		return out, e
	case errors.Is(waitErr, ErrClosed):
		return out, c.lost(what)
	case errors.As(waitErr, &ours):
		return out, waitErr
	case waitErr == errStopped:
		if words := x.talk.waiting(); words != "" {
			what += ": sudo waits after saying " + strconv.Quote(secrets.Replace(words))
		}
		return out, ended(ctx, what)
	}
	return out, fmt.Errorf("%s: %w", what, waitErr)
}

// execution is one command under way.
type execution struct {
	conn    *Conn
	session *ssh.Session
	in      io.Reader
	stdin   io.WriteCloser
	stdout  *gate
	collect *bytes.Buffer // nil when the caller has a writer
	stderr  *gate
	errTail *tail
	talk    *sudoTalk // nil without sudo
	started chan struct{}
	ended   chan struct{}
	stop    atomic.Bool
}

func newExecution(c *Conn, s *ssh.Session, cmd Command, line Line) *execution {
	x := &execution{conn: c, session: s, in: cmd.Stdin, errTail: &tail{max: stderrTail},
		started: make(chan struct{}), ended: make(chan struct{})}
	out := cmd.Stdout
	if out == nil {
		x.collect = new(bytes.Buffer)
		out = x.collect
	}
	x.stdout = newGate(out)
	var stderr io.Writer = x.errTail
	if line.Sudo {
		x.talk = newSudoTalk(line, x.errTail)
		stderr = x.talk
	}
	x.stderr = newGate(stderr)
	return x
}

// errStopped: the ctx ended.
var errStopped = errors.New("stopped")

// wait starts the command and returns how it ended: nil, *ssh.ExitError, ErrClosed, errStopped, or what broke on our side.
func (x *execution) wait(ctx context.Context, line string) error {
	defer x.stdout.close()
	defer x.stderr.close()
	x.session.Stdout, x.session.Stderr = x.stdout, x.stderr
	stdin, err := x.session.StdinPipe()
	if err != nil {
		return err
	}
	x.stdin = stdin

	exited := make(chan error, 1)
	go func() {
		err := x.session.Start(line)
		if err == nil {
			close(x.started)
			err = x.session.Wait()
		}
		close(x.ended)
		exited <- err
	}()
	fed := make(chan error, 1)
	go func() { fed <- x.feed(ctx) }()

	for feeding := true; ; {
		select {
		case err := <-exited:
			x.stop.Store(true)
			if feeding {
				if e := x.lastRead(ctx, fed); e != nil && err == nil {
					return e
				}
			}
			return ending(err)
		case err := <-fed:
			if err != nil {
				go x.kill()
				return err
			}
			feeding = false
		case err := <-x.stdout.failed:
			go x.kill()
			return fmt.Errorf("the command's output could not be kept: %w", err)
		case <-ctx.Done():
			go x.kill()
			return errStopped
		case <-x.conn.closing:
			go x.kill()
			return ErrClosed
		case <-x.conn.link.done:
			return ErrClosed
		}
	}
}

// lastRead waits for the reader of Stdin, so that the caller has it back when Run returns.
func (x *execution) lastRead(ctx context.Context, fed <-chan error) error {
	select {
	case err := <-fed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// ending tells an exit from a session that ended without one.
func ending(err error) error {
	var exit *ssh.ExitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return ErrClosed
}

// feed gives the command its stdin: once it has started, for sshd forgets an end of input that comes before, and once sudo has
// let us in.
func (x *execution) feed(ctx context.Context) error {
	select {
	case <-x.started:
	case <-x.ended:
		return nil
	case <-ctx.Done():
		return errStopped
	}
	defer x.stdin.Close()
	if x.talk != nil {
		if err := x.conn.unlock(ctx, x.talk, x.stdin, x.ended); err != nil {
			return err
		}
	}
	if x.in == nil {
		return nil
	}
	buf := make([]byte, 32<<10)
	for !x.stop.Load() {
		n, err := x.in.Read(buf)
		if n > 0 {
			if _, werr := x.stdin.Write(buf[:n]); werr != nil {
				return nil // the command has closed its stdin, or ended: its status tells
			}
			x.conn.sent.Add(int64(n))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read stdin: %w", err)
		}
	}
	return nil
}

// kill ends the command as well as sshd allows: it passes signals to commands of a login user who is not root, and not on to
// what runs under sudo. It may hang as long as the connection does.
func (x *execution) kill() {
	x.stop.Store(true)
	x.session.Signal(ssh.SIGTERM)
	x.session.Signal(ssh.SIGKILL)
	x.session.Close()
}

func (x *execution) output(cmd Command) Output {
	o := Output{Stderr: x.errTail.bytes()}
	if x.collect != nil {
		o.Stdout = x.collect.Bytes()
	}
	return o
}
