package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/hybridctl/hybridctl/provision/hint"
)

const (
	// sftpPacket is more than the protocol promises, and what every OpenSSH server takes: fewer answers to wait for.
	sftpPacket = 64 << 10
	// sftpWindow is how many writes are under way at once: with sftpPacket as much as an SSH channel holds.
	sftpWindow = 32
)

// uploads is the SFTP side of a connection: one session, opened when it is first needed. While no one uses it, it stays open unless
// another session waits for its place among the connection's sessions.
type uploads struct {
	opening chan struct{} // holds one token while the session is being opened

	mu     sync.Mutex
	client *sftp.Client
	end    func()
	users  int
}

// sftp returns the connection's one SFTP client, opening it the first time. The caller calls done when it needs it no more; cut
// ends it, for all.
func (c *Conn) sftp(ctx context.Context, what string) (client *sftp.Client, cut, done func(), err error) {
	u := &c.uploads
	select {
	case u.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, nil, ended(ctx, what)
	}
	defer func() { <-u.opening }()
	client = u.use(c.link.slots)
	if client == nil {
		var end func()
		if client, end, err = c.openSFTP(ctx, what); err != nil {
			return nil, nil, nil, err
		}
		u.mu.Lock()
		u.client, u.end, u.users = client, end, 1
		u.mu.Unlock()
	}
	return client, func() { u.drop(client) }, func() { u.leave(c.link.slots, client) }, nil
}

// use returns the open client, in use from now on, or nil.
func (u *uploads) use(s *slots) *sftp.Client {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.client != nil {
		u.users++
		s.wake(u)
	}
	return u.client
}

// leave ends a use. The last one ends the session when another one waits for its place.
func (u *uploads) leave(s *slots, client *sftp.Client) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.client != client {
		return // it was cut
	}
	if u.users--; u.users == 0 && !s.rest(u) {
		u.close()
	}
}

// dropIdle ends the session unless it is in use again.
func (u *uploads) dropIdle() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.client != nil && u.users == 0 {
		u.close()
	}
}

// drop ends an SFTP session, if it still is the connection's: another Put may have opened a new one.
func (u *uploads) drop(client *sftp.Client) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.client == client {
		u.close()
	}
}

// close ends the session. The caller holds mu.
func (u *uploads) close() {
	u.end()
	u.client, u.end, u.users = nil, nil, 0
}

func (c *Conn) openSFTP(ctx context.Context, what string) (client *sftp.Client, end func(), err error) {
	s, giveBack, err := c.open(ctx, what)
	if err != nil {
		return nil, nil, err
	}
	end = func() {
		go s.Close() // it may hang as long as the connection does
		giveBack()
	}
	client, err = within(ctx, c.link.done, func() (*sftp.Client, error) { return newSFTP(s) }, func(*sftp.Client) {})
	if err == nil {
		c.sftps.Add(1)
		return client, end, nil
	}
	end()
	switch {
	case ctx.Err() != nil:
		return nil, nil, ended(ctx, what)
	case c.link.isDone():
		return nil, nil, c.lost(what)
	}
	if errors.Is(err, errNotSFTP) {
		return nil, nil, hint.With(fmt.Errorf("%s: %w", what, err), QuietLogin)
	}
	return nil, nil, fmt.Errorf("%s: the host has no SFTP (Subsystem sftp in its sshd_config): %w", what, err)
}

// QuietLogin is how the user mends a login that prints, which comes before whatever the host answers.
const QuietLogin = "start-up files of the login's shell (.bashrc, .zshenv) may print to terminals only: [ -t 1 ] && echo Welcome"

var errNotSFTP = errors.New("what answers for SFTP does not speak it")

// opening keeps what a session begins with.
type opening struct {
	io.Reader
	kept []byte
}

func (o *opening) Read(p []byte) (int, error) {
	n, err := o.Reader.Read(p)
	o.kept = append(o.kept, p[:min(n, 60-len(o.kept))]...)
	return n, err
}

// talks reports whether what was kept is something else than SFTP's first packet: a length of less than 16 MiB, and the type 2.
func (o *opening) talks() bool {
	return len(o.kept) > 0 && o.kept[0] != 0 || len(o.kept) > 4 && o.kept[4] != 2
}

func newSFTP(s *ssh.Session) (*sftp.Client, error) {
	stdin, err := s.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := s.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.RequestSubsystem("sftp"); err != nil {
		return nil, err
	}
	first := &opening{Reader: stdout}
	client, err := sftp.NewClientPipe(bufio.NewReader(first), stdin, sftp.MaxPacketUnchecked(sftpPacket),
		sftp.MaxConcurrentRequestsPerFile(sftpWindow), sftp.UseConcurrentWrites(true))
	if err != nil && first.talks() {
		return nil, fmt.Errorf("%w: it begins %q", errNotSFTP, first.kept)
	}
	return client, err
}
