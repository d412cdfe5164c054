package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Conn is a connected host. It implements Runner.
type Conn struct {
	name    string
	link    *link
	dialer  *Dialer
	log     *slog.Logger
	timeout time.Duration // of a Run without a deadline
	sudo    sudoPassword

	sessions, sftps atomic.Int64
	sent            atomic.Int64

	uploads uploads
	proven  atomic.Bool // commands run here

	closeOnce sync.Once
	closing   chan struct{}
}

var _ Runner = (*Conn)(nil)

// Name returns the host's name.
func (c *Conn) Name() string { return c.name }

// Stats returns what the connection has cost so far.
func (c *Conn) Stats() Stats {
	return Stats{Connections: 1, Sessions: int(c.sessions.Load()), SFTP: int(c.sftps.Load()), BytesSent: c.sent.Load()}
}

// Close ends what runs here with ErrClosed, and the connection when no one else shares it.
func (c *Conn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closing)
		c.dialer.release(c.link)
	})
	return nil
}

// Done is closed when the connection has ended, whoever ended it.
func (c *Conn) Done() <-chan struct{} { return c.link.done }

// lost is the error of whatever was under way when the connection ended. Sessions end a moment before their connection does:
// it waits that moment, to tell one from the other.
func (c *Conn) lost(what string) error {
	select {
	case <-c.closing:
	case <-c.link.done:
	case <-time.After(100 * time.Millisecond):
	}
	switch {
	case c.closed():
		return faultf(ErrClosed, nil, "%s: the connection was closed", what)
	case c.link.isDone():
		return faultf(ErrClosed, c.link.cause, "%s: connection lost: %v", what, c.link.cause).passing()
	}
	return faultf(ErrClosed, nil, "%s: the session ended without an answer", what).passing()
}

func (c *Conn) closed() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// ended is the error of what stopped because ctx ended. It always is ctx.Err, whatever else the cause says.
func ended(ctx context.Context, what string) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return fmt.Errorf("%s: %w", what, cause)
	}
	return fmt.Errorf("%s: %w: %w", what, err, cause)
}

// open opens a session. Servers bound the sessions of a connection: it waits for its turn.
func (c *Conn) open(ctx context.Context, what string) (s *ssh.Session, giveBack func(), err error) {
	slots := c.link.slots
	if c.closed() {
		return nil, nil, c.lost(what)
	}
	for {
		if err := slots.take(ctx, c.link.done); errors.Is(err, ErrClosed) {
			return nil, nil, c.lost(what)
		} else if err != nil {
			return nil, nil, ended(ctx, what)
		}
		s, err := c.newSession(ctx, what)
		if err == nil {
			return s, slots.give, nil
		}
		slots.giveUnused()
		if !errors.Is(err, errCrowded) {
			return nil, nil, err
		}
	}
}

// errCrowded: the server allows as many sessions as are open; the next that ends makes room.
var errCrowded = errors.New("all sessions that the server allows are open")

// newSession asks for a session, again where a refusal may be out of date.
func (c *Conn) newSession(ctx context.Context, what string) (*ssh.Session, error) {
	for try := 0; ; try++ {
		s, err := within(ctx, c.link.done, c.link.client.NewSession, func(s *ssh.Session) { s.Close() })
		var refused *ssh.OpenChannelError
		switch {
		case err == nil:
			return s, nil
		case ctx.Err() != nil:
			return nil, ended(ctx, what)
		case !errors.As(err, &refused):
			return nil, c.lost(what)
		case !c.link.slots.refused(try):
			return nil, errCrowded
		case try == triesAlone:
			return nil, fmt.Errorf("%s: the server refuses the session: %s (MaxSessions in its sshd_config?)", what, refused.Message)
		}
		pause(ctx, 20*time.Millisecond<<try)
	}
}

// triesAlone is how often a session is asked for that no other seems to stand in the way of: the server may not yet have cleared
// away the one before. Together they are some five seconds.
const (
	triesAlone  = 8
	triesBeside = 3 // where others are open as well
)

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// within waits for f no longer than ctx and the connection last; what f returns too late is dropped.
func within[T any](ctx context.Context, done <-chan struct{}, f func() (T, error), drop func(T)) (T, error) {
	type result struct {
		v   T
		err error
	}
	results := make(chan result, 1)
	go func() {
		v, err := f()
		results <- result{v, err}
	}()
	late := func() {
		if r := <-results; r.err == nil {
			drop(r.v)
		}
	}
	var zero T
	select {
	case r := <-results:
		return r.v, r.err
	case <-ctx.Done():
		go late()
		return zero, context.Cause(ctx)
	case <-done:
		go late()
		return zero, ErrClosed
	}
}

// DialContext opens a connection from the host to addr. Only TCP: network is "tcp", "tcp4" or "tcp6".
func (c *Conn) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	what := "tunnel to " + addr
	if c.closed() {
		return nil, c.lost(what)
	}
	conn, err := within(ctx, c.link.done, func() (net.Conn, error) { return c.link.client.Dial(network, addr) },
		func(conn net.Conn) { conn.Close() })
	var open *ssh.OpenChannelError
	switch {
	case err == nil:
		return conn, nil
	case errors.As(err, &open) && open.Reason == ssh.Prohibited:
		return nil, fmt.Errorf("host %s: %w", c.name, forbidden(addr, open))
	case errors.As(err, &open):
		return nil, &tunnelError{connectFailure(addr+" seen from "+c.name, open.Message, open), open.Message}
	case ctx.Err() != nil:
		return nil, ended(ctx, what)
	case c.link.isDone():
		return nil, c.lost(what)
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}
