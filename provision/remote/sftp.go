package remote

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

const (
	// sftpPacket is more than the protocol promises, and what every OpenSSH server takes: fewer answers to wait for.
	sftpPacket = 64 << 10
	// sftpWindow is how many writes are under way at once: with sftpPacket as much as an SSH channel holds.
	sftpWindow = 32
)

// uploads is the SFTP side of a connection: one session, opened when it is first needed.
type uploads struct {
	lock   chan struct{} // holds one token while somebody looks at the session
	client *sftp.Client
	end    func()
	open   atomic.Int64 // 1 while there is a session
}

// sftp returns the connection's one SFTP client, opening it the first time; cut ends it.
func (c *Conn) sftp(ctx context.Context, what string) (client *sftp.Client, cut func(), err error) {
	u := &c.uploads
	select {
	case u.lock <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ended(ctx, what)
	}
	defer func() { <-u.lock }()
	if u.client == nil {
		if u.client, u.end, err = c.openSFTP(ctx, what); err != nil {
			return nil, nil, err
		}
		u.open.Store(1)
	}
	client = u.client
	return client, func() { u.drop(client) }, nil
}

// drop ends an SFTP session, if it still is the connection's: another Put may have opened a new one.
func (u *uploads) drop(client *sftp.Client) {
	u.lock <- struct{}{}
	defer func() { <-u.lock }()
	if u.client != client {
		return
	}
	u.end()
	u.client, u.end = nil, nil
	u.open.Store(0)
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
