package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// fullFor is how long a server that is full is asked again, in connect timeouts; a server that hangs up without a word may be
// full as well, or something else, and is asked again for a moment alone.
const (
	fullFor  = 2
	cutTries = 3
)

// patiently connects l and logs in. A server that is full for a moment is asked again, more and more rarely.
func (d *Dialer) patiently(ctx context.Context, l *link) error {
	began := time.Now()
	wait := 100 * time.Millisecond
	for try := 1; ; try++ {
		err := d.handshakes(ctx, l)
		switch {
		case errors.Is(err, errFull) && time.Since(began)+wait < fullFor*l.ep.timeout:
		case errors.Is(err, errCut) && try < cutTries:
		default:
			return err
		}
		d.log.Info("the server is full, it is asked again", "host", l.ep.name, "addr", l.ep.addr(), "in", wait)
		// Not all hosts behind one jump host, or all runs, at the same moment.
		pause(ctx, wait/2+rand.N(wait))
		if ctx.Err() != nil {
			return stopped(ctx, l.ep)
		}
		wait = min(2*wait, 3*time.Second)
	}
}

// handshakes connects l and logs in. More than one try is made only when a pinned fingerprint may belong to another of the
// host's keys than the one it showed.
func (d *Dialer) handshakes(ctx context.Context, l *link) error {
	var first error
	for _, algorithms := range d.known.algorithms(l.ep) {
		err := d.handshake(ctx, l, algorithms)
		if err == nil {
			return nil
		}
		var none *ssh.AlgorithmNegotiationError
		if first == nil || errors.As(first, &none) {
			first = err
		}
		if !errors.Is(err, ErrHostKeyChanged) && !errors.As(err, &none) {
			return err
		}
	}
	return first
}

func (d *Dialer) handshake(ctx context.Context, l *link, algorithms []string) error {
	ep := l.ep
	ctx, watch := startClock(ctx, ep.timeout)
	defer watch.stop()

	raw, err := l.netDial(ctx)
	if err != nil {
		return dialFailure(ctx, l, err)
	}
	conn := &recordingConn{Conn: raw}
	defer context.AfterFunc(ctx, func() { raw.Close() })()

	attempt := attempt{login: d.keys.login(ep, watch.hold)}
	config := &ssh.ClientConfig{
		User:              ep.user,
		Auth:              attempt.login.method(),
		AuthCallback:      attempt.login.note,
		HostKeyAlgorithms: algorithms,
		Config:            ssh.Config{KeyExchanges: secure.KeyExchanges, Ciphers: secure.Ciphers, MACs: secure.MACs},
		BannerCallback:    attempt.login.heard,
		HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			return attempt.check(d.known, ep, remote, key)
		},
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, ep.addr(), config)
	if err != nil {
		raw.Close()
		return attempt.failure(ctx, l, conn.head(), err)
	}
	if attempt.standing != knownKeys {
		if err := d.keep(ep, attempt.key, attempt.standing); err != nil {
			c.Close()
			return err
		}
	}
	l.client = ssh.NewClient(c, chans, reqs)
	return nil
}

// keep adds a host's key to what is known, and says so when it was new.
func (d *Dialer) keep(ep *endpoint, key ssh.PublicKey, s standing) error {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	if err := d.known.add(ep, key); err != nil || s != newKey {
		return err
	}
	d.log.Info("host key accepted", "host", ep.name, "addr", ep.addr(), "key", ssh.FingerprintSHA256(key))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accepted = append(d.accepted, ep.name)
	return nil
}

// secure are the algorithms without known weaknesses. The library's defaults have some with SHA-1 as well, for old servers' sake.
var secure = ssh.SupportedAlgorithms()

// attempt is what is known about a handshake while it goes on. The host key is checked again on every later key exchange,
// on another goroutine: the lock.
type attempt struct {
	login *login

	mu       sync.Mutex
	key      ssh.PublicKey // the host's, once it is let pass
	standing standing
	keyErr   error
}

func (a *attempt) check(known *knownHosts, ep *endpoint, remote net.Addr, key ssh.PublicKey) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.key != nil {
		if !same(a.key, key) {
			return faultf(ErrHostKeyChanged, nil, "the host key of %s changed within the connection", ep.addr())
		}
		return nil
	}
	a.standing, a.keyErr = known.check(ep, remote, key)
	if a.keyErr == nil {
		a.key = key
	}
	return a.keyErr
}

var errClock = errors.New("timeout")

// clock ends a context when a dial takes too long. It stands still while the user types a passphrase.
type clock struct {
	timeout time.Duration
	timer   *time.Timer
	cancel  context.CancelCauseFunc
}

func startClock(ctx context.Context, timeout time.Duration) (context.Context, *clock) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &clock{timeout, time.AfterFunc(timeout, func() { cancel(errClock) }), cancel}
}

func (c *clock) hold() (release func()) {
	c.timer.Stop()
	return func() { c.timer.Reset(c.timeout) }
}

func (c *clock) stop() {
	c.timer.Stop()
	c.cancel(nil)
}

// recordingConn keeps the first bytes that the other side says, to tell in an error what it is if not an SSH server. It also
// hands them out from memory: the library asks for the first line byte by byte.
type recordingConn struct {
	net.Conn
	mu     sync.Mutex // the reader's and head's
	first  []byte
	unread []byte // of first
}

const recorded = 512

// Read has one caller at a time.
func (c *recordingConn) Read(p []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	if len(c.first) == recorded {
		return c.Conn.Read(p)
	}
	buf := make([]byte, recorded-len(c.first))
	n, err := c.Conn.Read(buf)
	c.mu.Lock()
	c.first = append(c.first, buf[:n]...)
	c.mu.Unlock()
	c.unread = buf[:n]
	n = copy(p, c.unread)
	c.unread = c.unread[n:]
	if len(c.unread) > 0 {
		err = nil // the next Read finds it again
	}
	return n, err
}

func (c *recordingConn) head() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}
