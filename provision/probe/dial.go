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
	"time"
)

// Attempt is one conversation with a server, or why there was none.
type Attempt struct {
	Nonce  string  `json:"nonce"`
	Reply  *Reply  `json:"reply,omitempty"`
	Error  string  `json:"error,omitempty"` // one sentence; empty when the payload came back as it was sent
	Closed bool    `json:"closed,omitempty"`
	Millis float64 `json:"ms"`
}

// Dialer opens the connection of an attempt: net.Dialer, or one that goes through an SSH connection.
type Dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// Dial has one conversation: it sends size bytes that follow from the nonce and wants them back. Whether the right one answered is
// for the caller to say. Closed tells that nothing listens there, as opposed to anything else that can go wrong.
func Dial(ctx context.Context, d Dialer, network, addr, nonce string, size int) Attempt {
	a := Attempt{Nonce: nonce}
	start := time.Now()
	reply, err := dial(ctx, d, network, addr, nonce, size)
	a.Millis = float64(time.Since(start).Microseconds()) / 1000
	a.Reply = reply
	if err != nil {
		a.Error, a.Closed = plain(err), closed(err)
	}
	return a
}

func dial(ctx context.Context, d Dialer, network, addr, nonce string, size int) (*Reply, error) {
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// A deadline would do for sockets; a channel of an SSH connection has none.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	body := payload(nonce, size)
	line, err := encodeLine(hello{Nonce: nonce, Size: size})
	if err != nil {
		return nil, err
	}
	talk := stream
	if network == "udp" || network == "udp4" || network == "udp6" {
		talk = datagram
	}
	reply, back, err := talk(conn, line, body)
	if err != nil {
		switch {
		case ctx.Err() == nil:
		case reply == nil:
			err = fmt.Errorf("no answer in time: %w", ctx.Err())
		default: // small packets get through and large ones do not: how far it got is what tells
			err = fmt.Errorf("no answer in time: %d of %d bytes came back", len(back), size)
		}
		return reply, err
	}
	switch sum := digest(body); {
	case reply.Nonce != nonce:
		return reply, fmt.Errorf("the answer is to another question: nonce %q, sent %q", reply.Nonce, nonce)
	case reply.Size != size || reply.SHA256 != sum:
		return reply, fmt.Errorf("%d bytes arrived with sha256 %.12s…; %d with %.12s… were sent", reply.Size, reply.SHA256, size, sum)
	case !bytes.Equal(back, body):
		return reply, fmt.Errorf("the payload came back changed: %d bytes with sha256 %.12s…, sent %d with %.12s…", len(back), digest(back), size, sum)
	}
	return reply, nil
}

func stream(conn net.Conn, line, body []byte) (*Reply, []byte, error) {
	if _, err := conn.Write(append(line, body...)); err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(conn, maxLine)
	reply := new(Reply)
	if err := readLine(r, reply); err != nil {
		return nil, nil, fmt.Errorf("connected, but %s", plain(err))
	}
	back := make([]byte, len(body))
	n, err := io.ReadFull(r, back)
	if err != nil {
		return reply, back[:n], fmt.Errorf("%d of %d bytes came back: %s", n, len(body), plain(err))
	}
	return reply, back, nil
}

func datagram(conn net.Conn, line, body []byte) (*Reply, []byte, error) {
	if _, err := conn.Write(append(line, body...)); err != nil {
		return nil, nil, err
	}
	buf := make([]byte, maxLine+MaxDatagram)
	n, err := conn.Read(buf)
	if err != nil {
		return nil, nil, err
	}
	head, back, _ := bytes.Cut(buf[:n], []byte{'\n'})
	reply := new(Reply)
	if err := json.Unmarshal(head, reply); err != nil {
		return nil, nil, fmt.Errorf("what came is not a probe's: %w", err)
	}
	return reply, back, nil
}

// closed tells whether the far end said that nothing listens: a reset of the handshake, an ICMP port unreachable, or sshd's word for
// the same.
func closed(err error) bool {
	var refused interface{ Refused() bool }
	return errors.Is(err, errRefused) || errors.As(err, &refused) && refused.Refused()
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
