package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// dialFailure turns what a TCP connect (ours, or the last hop's for us) says into one sentence.
func dialFailure(ctx context.Context, l *link, err error) error {
	addr := l.ep.addr()
	if l.ep.via != nil {
		addr += " behind jump host " + l.ep.via.name
	}
	var open *ssh.OpenChannelError
	var family *net.AddrError
	var dns *net.DNSError
	var device *deviceError
	switch {
	case errors.As(err, &open):
		return channelFailure(l, addr, open)
	case l.parent != nil && l.parent.isDone():
		return jumpError(l.parent.ep, faultf(ErrUnreachable, err, "connection lost").passing())
	case errors.Is(context.Cause(ctx), errClock):
		return faultf(ErrUnreachable, err, "%s: no answer within %v: is the host up, and the address right?", addr, l.ep.timeout).passing()
	case ctx.Err() != nil:
		return stopped(ctx, l.ep)
	case l.ep.from != "" && l.parent == nil && errors.Is(err, syscall.EADDRNOTAVAIL):
		return faultf(ErrUnreachable, err, "%s: BindAddress %s in your ssh config is no address of this machine", addr, l.ep.from)
	case errors.As(err, &device):
		return faultf(ErrUnreachable, err, "%s: BindInterface %s in your ssh config %s", addr, l.ep.device, device.why)
	case l.ep.network != "tcp" && errors.As(err, &family):
		return faultf(ErrUnreachable, err, "%s: is no address of the family that AddressFamily in your ssh config wants", addr)
	case errors.As(err, &dns):
		f := faultf(ErrUnreachable, err, "%s: the name %s does not resolve", addr, dns.Name)
		f.transient = dns.IsTemporary || dns.IsTimeout
		return f
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		return connectFailure(addr, errno.Error(), err)
	}
	return faultf(ErrUnreachable, err, "%s: %v", addr, err).passing()
}

// channelFailure is a hop that could not, or would not, connect for us.
func channelFailure(l *link, addr string, open *ssh.OpenChannelError) error {
	if open.Reason == ssh.Prohibited {
		return &JumpError{Host: l.parent.ep.name, Err: forbidden(l.ep.addr(), open)}
	}
	return connectFailure(addr, open.Message, open)
}

func forbidden(addr string, open *ssh.OpenChannelError) error {
	return faultf(ErrForwarding, open, "does not forward connections to %s: AllowTcpForwarding or PermitOpen in its sshd_config forbid it", addr)
}

// connectFailure reads the system's words: our own kernel's, or those that the hop's sshd passes on.
func connectFailure(addr, words string, err error) error {
	words = strings.ToLower(words)
	hint := ""
	switch {
	case strings.Contains(words, "refused"):
		words, hint = "connection refused", ": is sshd running there?"
	case strings.Contains(words, "no route"):
		words, hint = "no route to host", ": is the host up, and on this network?"
	case strings.Contains(words, "unreachable"):
		words, hint = "network is unreachable", ": is there a route to it?"
	case strings.Contains(words, "timed out"):
		words, hint = "no answer", ": is the host up, and the address right?"
	}
	return faultf(ErrUnreachable, err, "%s: %s%s", addr, words, hint).passing()
}

// failure turns what ended a handshake into one sentence. head is what the other side said first.
func (a *attempt) failure(ctx context.Context, l *link, head []byte, err error) error {
	ep := l.ep
	a.mu.Lock()
	key, keyErr := a.key, a.keyErr
	a.mu.Unlock()
	var none *ssh.AlgorithmNegotiationError
	var unsigned *notSigned
	switch {
	case keyErr != nil:
		return keyErr
	case errors.As(err, &unsigned):
		return faultf(ErrAuth, err, "%s does not let user %s in: it takes a key of the agent %s, which does not sign with it: %v", ep.addr(), ep.user, ep.agent, printable(unsigned.Error()))
	case key == nil && isFull(head):
		return faultf(errFull, err, "%s: the server takes no more logins just now: it says %q (MaxStartups or PerSourcePenalties in its sshd_config)",
			ep.addr(), firstLine(head)).passing()
	case len(head) > 0 && !bytes.Contains(head, []byte("SSH-")) && key == nil:
		return faultf(ErrProtocol, err, "%s: this is not an SSH server: it says %q", ep.addr(), firstLine(head))
	case errors.Is(context.Cause(ctx), errClock):
		return lateHandshake(ep, head, err)
	case ctx.Err() != nil:
		return stopped(ctx, ep)
	case l.parent != nil && l.parent.isDone():
		return jumpError(l.parent.ep, faultf(ErrUnreachable, err, "connection lost").passing())
	case errors.As(err, &none):
		return faultf(ErrProtocol, err, "%s: no common %s: the server has only %s", ep.addr(), none.What, printable(strings.Join(none.RequestedAlgorithms, ", ")))
	case wasCut(err):
		kind := ErrUnreachable
		if key == nil {
			kind = errCut
		}
		return faultf(kind, err,
			"%s: the server closed the connection during the SSH handshake: too many logins at once (MaxStartups), or is this machine blocked?", ep.addr()).passing()
	case key != nil:
		return a.login.refused(ep, err)
	}
	return faultf(ErrProtocol, err, "%s: %s", ep.addr(), strings.TrimPrefix(err.Error(), "ssh: "))
}

// fullWords are what sshd says in place of its version when it takes no more connections for now (sshd.c: should_drop_connection).
var fullWords = []string{"Exceeded MaxStartups", "Not allowed at this time"}

// isFull reports whether the first words are those of a server that is full for a moment.
func isFull(head []byte) bool {
	return slices.ContainsFunc(fullWords, func(w string) bool { return bytes.Contains(head, []byte(w)) })
}

func lateHandshake(ep *endpoint, head []byte, err error) error {
	if len(head) == 0 {
		return faultf(ErrUnreachable, err, "%s: accepts connections but says nothing within %v: is it an SSH server, is the host overloaded?",
			ep.addr(), ep.timeout).passing()
	}
	return faultf(ErrUnreachable, err, "%s: the SSH handshake did not end within %v: is the host overloaded?", ep.addr(), ep.timeout).passing()
}

// wasCut reports whether the connection ended, rather than the talk on it.
func wasCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrDeadlineExceeded)
}

// cause leaves the operation and path out of a file error.
func cause(err error) error {
	var p *os.PathError
	var op *net.OpError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &op):
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(b), []byte("\n"))
	return shorten(string(bytes.TrimSpace(line)), 200)
}
