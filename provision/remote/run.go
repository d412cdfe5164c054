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
	line, err := newLine(cmd, c.become(cmd))
	if err != nil {
		return Output{}, err
	}
	what := describe(cmd, secrets)
	ctx, cancel := c.bound(ctx)
	defer cancel()
	began := time.Now()
	out, err := c.run(ctx, cmd, line, what, secrets)
	if errors.Is(err, ErrSudoMissing) && !line.Doas { // so nothing has run
		c.sudo.doas.Store(true)
		if line, err = newLine(cmd, byDoas); err == nil {
			out, err = c.run(ctx, cmd, line, what, secrets)
		}
	}
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

// run runs a line. Where the first command on a connection fails, and it is not sudo that says why, it finds out whether any command runs here at all.
func (c *Conn) run(ctx context.Context, cmd Command, line spelled, what string, secrets *strings.Replacer) (Output, error) {
	out, started, err := c.runOnce(ctx, cmd, line, what, secrets)
	var exit *ExitError
	switch {
	case err == nil || started:
		c.proven.Store(true)
	case errors.As(err, &exit) && !saysSudo(exit.Stderr) && !c.proven.Load():
		if why := c.whyNothingRuns(ctx, exit); why != nil {
			return out, why
		}
	}
	return out, err
}

// runOnce runs a line. started is true when it is known that the command began, whatever became of it.
func (c *Conn) runOnce(ctx context.Context, cmd Command, line spelled, what string, secrets *strings.Replacer) (out Output, started bool, err error) {
	session, giveBack, err := c.open(ctx, what)
	if err != nil {
		return Output{}, false, err
	}
	defer giveBack()
	c.sessions.Add(1)
	x := newExecution(c, session, cmd, line.Line)
	waitErr := x.wait(ctx, line.text)
	out = x.output(cmd)
	started = x.talk != nil && x.talk.begun()
	err = c.outcome(ctx, x, waitErr, what, out, secrets)
	return out, started, err
}

// outcome turns how a command ended into the caller's error.
func (c *Conn) outcome(ctx context.Context, x *execution, waitErr error, what string, out Output, secrets *strings.Replacer) error {
	var exit *ssh.ExitError
	var ours *fault
	switch {
	case waitErr == nil:
		return nil
	case errors.As(waitErr, &exit):
		e := &ExitError{Command: what, Status: exit.ExitStatus(), Signal: exit.Signal(), Stderr: secrets.Replace(string(out.Stderr))}
		if x.talk != nil && !x.talk.begun() {
			e.Stderr = secrets.Replace(string(x.talk.said))
			return c.sudoFailure(x.talk, e, secrets)
		}
		return e
	case errors.Is(waitErr, ErrClosed):
		return c.lost(what)
	case errors.As(waitErr, &ours):
		return waitErr
	case waitErr == errStopped:
		if words := x.talk.waiting(); words != "" {
			what += ": sudo waits after saying " + strconv.Quote(secrets.Replace(words))
		}
		return ended(ctx, what)
	case errors.Is(waitErr, errNoExec):
		return faultf(ErrNoShell, waitErr, "the server runs no commands for user %s: it refuses to (a ForceCommand, or an account for SFTP alone?)", c.link.ep.user)
	case errors.Is(waitErr, errTooMuch):
		return faultf(ErrOutput, waitErr, "%s: the host printed more than %d KiB, which is no answer to this command; it was stopped", what, x.limit>>10)
	}
	return fmt.Errorf("%s: %w", what, waitErr)
}

// execution is one command under way.
type execution struct {
	conn    *Conn
	session *ssh.Session
	in      io.Reader
	stdin   io.WriteCloser
	stdout  *gate
	collect *bytes.Buffer // nil when the caller has a writer
	limit   int64
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
	if x.limit = cmd.Limit; x.limit == 0 {
		x.limit = outputLimit
	}
	x.stdout = newGate(&bounded{to: out, left: x.limit})
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
		switch {
		case err == nil:
			close(x.started)
			err = x.session.Wait()
		case strings.HasPrefix(err.Error(), "ssh: command ") && !x.conn.link.isDone():
			err = errNoExec // the library's words hold the whole command
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
			select { // both may be ready
			case failed := <-x.stdout.failed:
				return failed
			default:
			}
			if feeding {
				if e := x.lastRead(ctx, fed); e != nil && (err == nil || errors.Is(e, ErrSudoPassword)) {
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
			return err
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
	if err == nil || errors.As(err, &exit) || errors.Is(err, errNoExec) {
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
		if !x.talk.begun() {
			return nil // sudo failed: nothing of Stdin is read, which may be wanted once more
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
