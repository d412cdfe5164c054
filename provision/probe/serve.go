package probe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// serveTimeout ends a conversation that does not go on.
const serveTimeout = 30 * time.Second

// maxConversations bounds how many TCP conversations a server holds at once; more wait in the kernel's queue.
const maxConversations = 64

// Serve answers on both sockets until the context ends, and closes them. The error is that of a socket that broke.
func Serve(ctx context.Context, who Who, tcp net.Listener, udp net.PacketConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = tcp.Close()
		_ = udp.Close()
	})
	defer stop()
	errs := make(chan error, 2)
	go func() { errs <- serveUDP(who, udp) }()
	go func() { errs <- serveTCP(who, tcp) }()
	err := <-errs
	ended := ctx.Err() != nil
	cancel()
	<-errs
	if ended || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func serveTCP(who Who, l net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	places := make(chan struct{}, maxConversations)
	for {
		places <- struct{}{}
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		open.Go(func() {
			defer func() { <-places }()
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(serveTimeout))
			_ = converse(who, conn) // the client sees it, and says what it saw
		})
	}
}

// converse answers one client: who we are and what came, then the payload back.
func converse(who Who, conn net.Conn) error {
	r := bufio.NewReaderSize(conn, maxLine)
	var h hello
	if err := readLine(r, &h); err != nil {
		return err
	}
	if h.Size < 0 || h.Size > MaxSize {
		return errors.New("a payload of a size that is not allowed")
	}
	body := make([]byte, h.Size)
	n, err := io.ReadFull(r, body)
	if err != nil {
		return err
	}
	line, err := encodeLine(Reply{Who: who, Nonce: h.Nonce, Client: hostOf(conn.RemoteAddr()), Size: n, SHA256: digest(body)})
	if err != nil {
		return err
	}
	if _, err := conn.Write(line); err != nil {
		return err
	}
	_, err = conn.Write(body)
	return err
}

func serveUDP(who Who, c net.PacketConn) error {
	buf := make([]byte, maxLine+MaxDatagram)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		head, body, ok := bytes.Cut(buf[:n], []byte{'\n'})
		var h hello
		if !ok || json.Unmarshal(head, &h) != nil || h.Size != len(body) {
			continue // not ours, or cut short: silence is the answer a lost datagram gets too
		}
		line, err := encodeLine(Reply{Who: who, Nonce: h.Nonce, Client: hostOf(from), Size: len(body), SHA256: digest(body)})
		if err != nil {
			continue
		}
		_, _ = c.WriteTo(append(line, body...), from)
	}
}

// hostOf is an address without its port. IPv4 inside IPv6 is written as IPv4, as the API does.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.String()
	}
	return host
}
