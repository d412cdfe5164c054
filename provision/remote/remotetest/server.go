package remotetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

func (h *Host) accept(l net.Listener) {
	for {
		raw, err := l.Accept()
		if err != nil {
			return // closed by Refuse
		}
		h.counters.connections.Add(1)
		c := newConn(h, raw, h.fleet.options.RTT)
		h.mu.Lock()
		h.conns[c] = true
		stopped := h.stopped
		h.mu.Unlock()
		if stopped {
			c.abort()
		}
		h.running.Go(func() {
			h.serve(c)
			c.Close()
			h.mu.Lock()
			delete(h.conns, c)
			h.idle.Broadcast()
			h.mu.Unlock()
		})
	}
}

// serve talks SSH on one connection until it ends.
func (h *Host) serve(c *conn) {
	h.mu.Lock()
	banner := h.banner
	full, words := h.fullFor > 0, h.full
	if full {
		h.fullFor--
	}
	h.mu.Unlock()
	if full {
		io.WriteString(c, words)
		return
	}
	if banner != "" {
		io.WriteString(c, banner)
		io.Copy(io.Discard, c)
		return
	}
	server, channels, requests, err := ssh.NewServerConn(c, h.serverConfig())
	if err != nil {
		return
	}
	h.counters.logins.Add(1)
	defer c.running.Wait()
	c.running.Go(func() { h.global(requests) })
	var open atomic.Int64
	for n := range channels {
		switch n.ChannelType() {
		case "session":
			h.session(c, n, server.User(), &open)
		case "direct-tcpip":
			c.running.Go(func() { h.forward(c, n) })
		default:
			n.Reject(ssh.UnknownChannelType, "unknown channel type")
		}
	}
}

func (h *Host) serverConfig() *ssh.ServerConfig {
	h.mu.Lock()
	defer h.mu.Unlock()
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) { return nil, h.admit(key) },
	}
	if word := h.password; word != "" {
		config.PasswordCallback = func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			if string(p) == word {
				return nil, nil
			}
			return nil, errors.New("wrong password")
		}
	}
	for _, k := range h.hostKeys {
		config.AddHostKey(k)
	}
	return config
}

func (h *Host) admit(key ssh.PublicKey) error {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.SignatureKey
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.ContainsFunc(h.authorized, func(a ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), key.Marshal()) }) {
		return nil
	}
	return errors.New("unknown key")
}

// global answers keep-alive questions as sshd does: with a refusal, which is an answer.
func (h *Host) global(requests <-chan *ssh.Request) {
	for r := range requests {
		h.counters.keepAlives.Add(1)
		if r.WantReply {
			r.Reply(false, nil)
		}
	}
}

// session opens one session, when the host still has room for it on this connection.
func (h *Host) session(c *conn, n ssh.NewChannel, user string, open *atomic.Int64) {
	h.mu.Lock()
	limit := h.sessions
	h.mu.Unlock()
	if limit != 0 && open.Load() >= int64(limit) {
		h.counters.refused.Add(1)
		n.Reject(ssh.ConnectionFailed, "open failed")
		return
	}
	channel, requests, err := n.Accept()
	if err != nil {
		return
	}
	open.Add(1)
	c.running.Go(func() {
		defer open.Add(-1)
		h.serveSession(c, channel, requests, user)
	})
}

func (h *Host) forward(c *conn, n ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(n.ExtraData(), &to); err != nil {
		n.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	h.mu.Lock()
	forbidden := h.noForward
	address, routed := h.routes[net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port)))]
	h.mu.Unlock()
	if !routed {
		address = net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port)))
	}
	if forbidden {
		n.Reject(ssh.Prohibited, "open failed")
		return
	}
	target, err := net.Dial("tcp", address)
	if err != nil {
		n.Reject(ssh.ConnectionFailed, reason(err))
		return
	}
	defer target.Close()
	channel, requests, err := n.Accept()
	if err != nil {
		return
	}
	h.counters.tunnels.Add(1)
	go ssh.DiscardRequests(requests)
	c.running.Go(func() {
		io.Copy(channel, target)
		channel.Close()
	})
	io.Copy(target, channel)
}

// reason is the system's own word, which is what sshd passes on.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		for e := op.Err; e != nil; e = errors.Unwrap(e) {
			err = e
		}
	}
	return err.Error()
}

func exitStatus(status int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(status)) }

func unmarshalString(payload []byte) (string, error) {
	var s struct{ Value string }
	if err := ssh.Unmarshal(payload, &s); err != nil {
		return "", fmt.Errorf("malformed request: %w", err)
	}
	return s.Value, nil
}
