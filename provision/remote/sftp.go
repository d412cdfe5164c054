package remote

import (
	"context"
	"fmt"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
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
	return nil, nil, fmt.Errorf("%s: the host has no SFTP (Subsystem sftp in its sshd_config): %w", what, err)
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
	return sftp.NewClientPipe(stdout, stdin, sftp.MaxPacketUnchecked(sftpPacket),
		sftp.MaxConcurrentRequestsPerFile(sftpWindow), sftp.UseConcurrentWrites(true))
}
