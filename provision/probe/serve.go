package probe

import (
	"bufio"
	"bytes"
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// The bounds of a server, whose container has 64 MiB of memory.
const (
	helloTimeout = 10 * time.Second // for a client to say hello
	serveTimeout = 30 * time.Second // for a conversation that does not go on

	maxWaiting       = 256       // connections that have not said hello; one more ends the oldest
	maxConversations = 64        // of those who know the secret; more wait
	maxLarge         = 4         // of them those that send more than smallBody
	smallBody        = 128 << 10 // bytes
)

// server answers those who know the secret, and no one else.
type server struct {
	who    Who
	secret Secret

	mu      sync.Mutex
	waiting *list.List // of net.Conn, the oldest first
	places  chan struct{}
	large   chan struct{}
}

// Serve answers on both sockets until the context ends, and closes them. The error is that of a socket that broke, or of a secret that is
// empty.
func Serve(ctx context.Context, who Who, secret Secret, tcp net.Listener, udp net.PacketConn) error {
	if secret == "" {
		return errors.Join(errors.New("the probe has no secret: it would answer everybody"), tcp.Close(), udp.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = tcp.Close()
		_ = udp.Close()
	})
	defer stop()
	s := &server{who: who, secret: secret, waiting: list.New(), places: make(chan struct{}, maxConversations), large: make(chan struct{}, maxLarge)}
	errs := make(chan error, 2)
	go func() { errs <- s.serveUDP(udp) }()
	go func() { errs <- s.serveTCP(ctx, tcp) }()
	err := <-errs
	ended := ctx.Err() != nil
	cancel()
	<-errs
	if ended || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *server) serveTCP(ctx context.Context, l net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		heard := s.wait(conn)
		open.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			_ = s.converse(ctx, conn, heard) // the client sees it, and says what it saw
		})
	}
}

// wait notes a connection that has not said hello, and ends the oldest when there are too many of them: strangers do not keep the run's
// own clients out. heard takes it off the list.
func (s *server) wait(conn net.Conn) (heard func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting.Len() >= maxWaiting {
		_ = s.waiting.Remove(s.waiting.Front()).(net.Conn).Close()
	}
	e := s.waiting.PushBack(conn)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waiting.Remove(e)
	}
}

// converse answers one client: who we are and what came, then the payload back. Nothing is kept for one that does not know the secret.
func (s *server) converse(ctx context.Context, conn net.Conn, heard func()) error {
	_ = conn.SetDeadline(time.Now().Add(helloTimeout))
	r := bufio.NewReaderSize(conn, maxLine)
	var h hello
	err := readLine(r, &h)
	heard()
	switch {
	case err != nil:
		return err
	case !s.secret.knows(h):
		return errors.New("a stranger")
	case h.Size < 0 || h.Size > MaxSize:
		return errors.New("a payload of a size that is not allowed")
	}
	leave, err := s.enter(ctx, h.Size)
	if err != nil {
		return err
	}
	defer leave()
	_ = conn.SetDeadline(time.Now().Add(serveTimeout))
	body := make([]byte, h.Size)
	n, err := io.ReadFull(r, body)
	if err != nil {
		return err
	}
	line, err := encodeLine(s.reply(h, conn.RemoteAddr(), body[:n]))
	if err != nil {
		return err
	}
	if _, err := conn.Write(line); err != nil {
		return err
	}
	_, err = conn.Write(body)
	return err
}

// enter waits for a place among the conversations.
func (s *server) enter(ctx context.Context, size int) (leave func(), err error) {
	want := []chan struct{}{s.places}
	if size > smallBody {
		want = append(want, s.large)
	}
	var taken []chan struct{}
	leave = func() {
		for _, t := range taken {
			<-t
		}
	}
	late := time.NewTimer(serveTimeout)
	defer late.Stop()
	for _, w := range want {
		select {
		case w <- struct{}{}:
			taken = append(taken, w)
		case <-ctx.Done():
			leave()
			return nil, ctx.Err()
		case <-late.C:
			leave()
			return nil, errors.New("too many conversations")
		}
	}
	return leave, nil
}

func (s *server) reply(h hello, from net.Addr, body []byte) Reply {
	return s.secret.signed(Reply{Who: s.who, Nonce: h.Nonce, Client: hostOf(from), Size: len(body), SHA256: digest(body)})
}

func (s *server) serveUDP(c net.PacketConn) error {
	buf := make([]byte, maxLine+MaxDatagram)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		if answer := s.answer(buf[:n], from); answer != nil {
			_, _ = c.WriteTo(answer, from)
		}
	}
}

// answer is what a datagram is answered with; nil when with nothing, which is what a lost datagram gets too. It is never longer than the
// datagram.
func (s *server) answer(datagram []byte, from net.Addr) []byte {
	head, body, ok := bytes.Cut(datagram, []byte{'\n'})
	var h hello
	if !ok || len(head) > maxLine || json.Unmarshal(head, &h) != nil || !s.secret.knows(h) || h.Size != len(body) {
		return nil
	}
	line, err := encodeLine(s.reply(h, from, body))
	if err != nil || len(line)+len(body) > len(datagram) {
		return nil
	}
	return append(line, body...)
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
