package remotetest

import (
	"context"
	"net"

	"golang.org/x/crypto/ssh"
)

// BareExec dials the host with nothing but x/crypto/ssh, runs one command and hangs up: what benchmarks are measured against.
// The host must have an answer to the command.
func (h *Host) BareExec(ctx context.Context, command string) error {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", h.Addr())
	if err != nil {
		return err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	c, chans, reqs, err := ssh.NewClientConn(raw, h.Addr(), &ssh.ClientConfig{
		User:            h.fleet.options.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(h.fleet.key)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // it is our own fleet
	})
	if err != nil {
		return err
	}
	client := ssh.NewClient(c, chans, reqs)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	return session.Run(command)
}
