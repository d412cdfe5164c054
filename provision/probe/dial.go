package probe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// Ending is how an attempt ended. No two of them may be taken for one another: that nothing answers is not known from
// an attempt that no one could make.
type Ending string

const (
	Answered Ending = "answered" // a probe of the run answered, rightly or not
	Strange  Ending = "strange"  // something took the connection, or answered, and is no probe of the run
	Refused  Ending = "refused"  // the far end said that nothing listens there
	Silent   Ending = "silent"   // it was asked, and nothing came in time
	Untried  Ending = "untried"  // nothing was asked: the fault is on this side
)

// Attempt is one conversation with a server, or why there was none.
type Attempt struct {
	Nonce  string  `json:"nonce"`
	Ending Ending  `json:"ending"`
	Reply  *Reply  `json:"reply,omitempty"` // of a probe of the run
	Error  string  `json:"error,omitempty"` // one sentence; empty when the payload came back as it was sent
	Millis float64 `json:"ms"`
}

// Call is what an attempt asks.
type Call struct {
	Network string // "tcp", "udp", or one with a 4 or 6
	Addr    string
	Nonce   string
	Size    int // bytes of payload
}

// Dialer opens the connection of an attempt: net.Dialer, or one that goes through an SSH connection.
type Dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// Dial has one conversation: it sends size bytes that follow from the nonce and wants them back. Whether the right one answered is
// for the caller to say.
func Dial(ctx context.Context, d Dialer, secret Secret, c Call) Attempt {
	a := Attempt{Nonce: c.Nonce}
	start := time.Now()
	reply, err := dial(ctx, d, secret, c)
	a.Millis = float64(time.Since(start).Microseconds()) / 1000
	a.Reply, a.Ending = reply, Answered
	if err != nil {
		a.Error, a.Ending = plain(err), endingOf(ctx, reply, err)
	}
	return a
}

// strangeError is of a connection that was taken.
type strangeError struct{ text string }

func (e *strangeError) Error() string { return e.text }

// endingOf tells how an attempt ended that was not answered as it should be.
func endingOf(ctx context.Context, reply *Reply, err error) Ending {
	var strange *strangeError
	var timeout interface{ Timeout() bool }
	switch {
	case reply != nil:
		return Answered
	case errors.As(err, &strange):
		return Strange
	case IsRefused(err):
		return Refused
	case errors.Is(ctx.Err(), context.Canceled):
		return Untried // whoever asked does not want to know any more
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, syscall.EHOSTUNREACH):
		return Silent
	}
	return Untried
}

// IsRefused reports whether an error says that the far end was reached and that nothing listens there: a reset of the handshake, an ICMP port
// unreachable, or sshd's word for the same.
func IsRefused(err error) bool {
	var refused interface{ Refused() bool }
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &refused) && refused.Refused()
}

func dial(ctx context.Context, d Dialer, secret Secret, c Call) (*Reply, error) {
	conn, err := d.DialContext(ctx, c.Network, c.Addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// A deadline would do for sockets; a channel of an SSH connection has none.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	body := payload(c.Nonce, c.Size)
	talk := stream
	if strings.HasPrefix(c.Network, "udp") {
		talk = datagram
	}
	reply, back, err := talk(conn, secret.helloFor(c.Nonce, c.Size), body)
	if reply != nil && !secret.trusts(*reply) {
		return nil, &strangeError{"what answers is not a probe of this run"}
	}
	if err != nil {
		switch {
		case ctx.Err() == nil:
		case reply == nil && strings.HasPrefix(c.Network, "udp"):
			err = fmt.Errorf("no answer in time: %w", ctx.Err())
		case reply == nil:
			err = &strangeError{fmt.Sprintf("no answer in time: the connection was taken, and nothing came: %v", ctx.Err())}
		default: // small packets get through and large ones do not: how far it got is what tells
			err = fmt.Errorf("no answer in time: %d of %d bytes came back", len(back), c.Size)
		}
		return reply, err
	}
	switch sum := digest(body); {
	case reply.Nonce != c.Nonce:
		return reply, fmt.Errorf("the answer is to another question: nonce %q, sent %q", reply.Nonce, c.Nonce)
	case reply.Size != c.Size || reply.SHA256 != sum:
		return reply, fmt.Errorf("%d bytes arrived with sha256 %.12s…; %d with %.12s… were sent", reply.Size, reply.SHA256, c.Size, sum)
	case !bytes.Equal(back, body):
		return reply, fmt.Errorf("the payload came back changed: %d bytes with sha256 %.12s…, sent %d with %.12s…", len(back), digest(back), c.Size, sum)
	}
	return reply, nil
}

// stream talks over a connection. Whatever goes wrong, someone took it.
func stream(conn net.Conn, h hello, body []byte) (*Reply, []byte, error) {
	line, err := encodeLine(h)
	if err != nil {
		return nil, nil, err
	}
	if _, err := conn.Write(append(line, body...)); err != nil {
		return nil, nil, &strangeError{"connected, but " + plain(err)}
	}
	r := bufio.NewReaderSize(conn, maxLine)
	reply := new(Reply)
	if err := readLine(r, reply); err != nil {
		return nil, nil, &strangeError{"connected, but " + plain(err)}
	}
	back := make([]byte, len(body))
	n, err := io.ReadFull(r, back)
	if err != nil {
		return reply, back[:n], fmt.Errorf("%d of %d bytes came back: %s", n, len(body), plain(err))
	}
	return reply, back, nil
}

// datagram sends one and waits for one. A socket that was opened has asked no one yet.
func datagram(conn net.Conn, h hello, body []byte) (*Reply, []byte, error) {
	line, err := padded(h)
	if err != nil {
		return nil, nil, err
	}
	if _, err := conn.Write(append(line, body...)); err != nil {
		return nil, nil, err
	}
	buf := make([]byte, maxLine+MaxDatagram)
	n, err := conn.Read(buf)
	if err != nil {
		return nil, nil, err
	}
	return readDatagram(buf[:n])
}

// readDatagram takes an answer apart.
func readDatagram(b []byte) (*Reply, []byte, error) {
	head, back, _ := bytes.Cut(b, []byte{'\n'})
	reply := new(Reply)
	if err := json.Unmarshal(head, reply); err != nil {
		return nil, nil, &strangeError{fmt.Sprintf("what came is not a probe's: %v", err)}
	}
	return reply, back, nil
}

// plain leaves out what net.OpError says of addresses: the caller knows them.
func plain(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		if op.Timeout() {
			return "no answer in time"
		}
		return op.Err.Error()
	}
	return err.Error()
}
