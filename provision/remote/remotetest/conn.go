package remotetest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a client's connection as the host sees it: counted, delayed, and broken when asked for.
type conn struct {
	net.Conn
	host    *Host
	in, out *line // nil without delay
	once    sync.Once
	closed  chan struct{}
	running sync.WaitGroup // sessions and tunnels
}

func newConn(h *Host, raw net.Conn, rtt time.Duration) *conn {
	c := &conn{Conn: raw, host: h, closed: make(chan struct{})}
	if rtt > 0 {
		// A real client learns that it is connected after one round trip, a real server after one and a half.
		now := time.Now()
		c.in, c.out = newLine(rtt/2, now.Add(rtt)), newLine(rtt/2, now.Add(rtt+rtt/2))
		h.running.Go(c.receive)
		h.running.Go(c.send)
	}
	return c
}

func (c *conn) Read(p []byte) (int, error) {
	if c.in != nil {
		return c.in.read(p)
	}
	return c.take(p)
}

// take reads from the wire, faults applied.
func (c *conn) take(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.host.counters.in.Add(int64(n))
	if !c.host.faults.hang.wait(c.closed) {
		return 0, net.ErrClosed
	}
	if n > 0 && c.host.faults.spend(int64(n)) {
		c.abort()
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.out != nil {
		return c.out.write(p)
	}
	return c.give(p)
}

func (c *conn) give(p []byte) (int, error) {
	if !c.host.faults.hang.wait(c.closed) {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Write(p)
	c.host.counters.out.Add(int64(n))
	return n, err
}

func (c *conn) receive() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.take(buf)
		if n > 0 {
			c.in.write(buf[:n])
		}
		if err != nil {
			c.in.close(err)
			return
		}
	}
}

func (c *conn) send() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.out.read(buf)
		if err != nil {
			c.abort()
			return
		}
		if _, err := c.give(buf[:n]); err != nil {
			c.abort()
			return
		}
	}
}

// Close ends the connection after what is on its way out.
func (c *conn) Close() error {
	if c.out != nil {
		c.out.close(io.EOF)
		return nil
	}
	return c.abort()
}

// abort ends it at once.
func (c *conn) abort() error {
	var err error
	c.once.Do(func() {
		close(c.closed)
		err = c.Conn.Close()
		if c.in != nil {
			c.in.close(net.ErrClosed)
			c.out.close(net.ErrClosed)
		}
	})
	return err
}

// line is one direction of a long wire: bytes come out as they went in, later.
type line struct {
	delay time.Duration
	open  time.Time // nothing enters before

	mu     sync.Mutex
	wake   *sync.Cond
	chunks []chunk
	err    error
}

type chunk struct {
	due  time.Time
	data []byte
}

func newLine(delay time.Duration, open time.Time) *line {
	l := &line{delay: delay, open: open}
	l.wake = sync.NewCond(&l.mu)
	return l
}

func (l *line) write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	enter := time.Now()
	if enter.Before(l.open) {
		enter = l.open
	}
	l.chunks = append(l.chunks, chunk{enter.Add(l.delay), append([]byte(nil), p...)})
	l.wake.Signal()
	return len(p), nil
}

// read returns what is due. It has one caller at a time.
func (l *line) read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.chunks) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		l.wake.Wait()
	}
	if wait := time.Until(l.chunks[0].due); wait > 0 {
		l.mu.Unlock()
		time.Sleep(wait)
		l.mu.Lock()
	}
	c := &l.chunks[0]
	n := copy(p, c.data)
	if c.data = c.data[n:]; len(c.data) == 0 {
		l.chunks = l.chunks[1:]
	}
	return n, nil
}

func (l *line) close(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.wake.Broadcast()
}

// faults are what is wrong with a host's connections.
type faults struct {
	budget atomic.Int64 // bytes that still come through; negative: no end
	free   atomic.Int64 // bytes that SFTP may still write; negative: no end
	hang   hang
}

func (f *faults) init() {
	f.budget.Store(-1)
	f.free.Store(-1)
}

// spend reports whether the budget is used up by n bytes; it works once.
func (f *faults) spend(n int64) bool {
	for {
		left := f.budget.Load()
		if left < 0 {
			return false
		}
		if n < left {
			if f.budget.CompareAndSwap(left, left-n) {
				return false
			}
		} else if f.budget.CompareAndSwap(left, -1) {
			return true
		}
	}
}

// DropAfter cuts the connection on which the host has received n more bytes, once.
func (h *Host) DropAfter(n int64) { h.faults.budget.Store(n) }

// FreeSpace bounds what SFTP may still write on the host; negative is no bound.
func (h *Host) FreeSpace(n int64) { h.faults.free.Store(n) }

// Hang makes the host silent: connections stay open, nothing is read or written any more. Resume ends it.
func (h *Host) Hang() { h.faults.hang.begin() }

// Resume ends Hang.
func (h *Host) Resume() { h.faults.hang.release() }

// hang is a gate that is open when the channel is nil.
type hang struct {
	mu sync.Mutex
	ch chan struct{}
}

func (g *hang) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ch == nil {
		g.ch = make(chan struct{})
	}
}

func (g *hang) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ch != nil {
		close(g.ch)
		g.ch = nil
	}
}

func (g *hang) wait(closed <-chan struct{}) bool {
	g.mu.Lock()
	ch := g.ch
	g.mu.Unlock()
	if ch == nil {
		return true
	}
	select {
	case <-ch:
		return true
	case <-closed:
		return false
	}
}
