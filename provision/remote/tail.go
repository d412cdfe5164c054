package remote

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// stderrTail is how much of a command's stderr is kept.
const stderrTail = 64 << 10

// tail keeps the last bytes written to it.
type tail struct {
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > t.max {
		p = p[len(p)-t.max:]
	}
	t.buf = append(t.buf, p...)
	// Cut off only when twice the size has come together, so that small writes cost no copy each.
	if len(t.buf) > 2*t.max {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-t.max:]...)
	}
	return n, nil
}

func (t *tail) bytes() []byte {
	if len(t.buf) > t.max {
		return t.buf[len(t.buf)-t.max:]
	}
	return t.buf
}

// outputLimit is how much a command may print unless it says otherwise: no answer of a host that works is a tenth of that.
const outputLimit = 8 << 20

var errTooMuch = errors.New("too much output")

// bounded takes no more than so many bytes, and fails then. A negative number is no bound.
type bounded struct {
	to   io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left < 0 {
		return b.keep(p)
	}
	if int64(len(p)) > b.left {
		return 0, errTooMuch
	}
	b.left -= int64(len(p))
	return b.keep(p)
}

func (b *bounded) keep(p []byte) (int, error) {
	n, err := b.to.Write(p)
	if err != nil {
		err = fmt.Errorf("the command's output could not be kept: %w", err)
	}
	return n, err
}

// gate passes writes on until it is shut: what a session still prints after Run has returned must not reach the caller's
// writer. A failing writer is told once; the rest is swallowed, so that the command is not stuck on a full pipe meanwhile.
type gate struct {
	mu     sync.Mutex
	to     io.Writer
	shut   bool
	failed chan error // room for one
}

func newGate(to io.Writer) *gate { return &gate{to: to, failed: make(chan error, 1)} }

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return len(p), nil
	}
	if _, err := g.to.Write(p); err != nil {
		g.shut = true
		g.failed <- err
	}
	return len(p), nil
}

// ReadFrom copies with little memory until there is much to copy: most commands say little, and there may be a thousand streams.
func (g *gate) ReadFrom(r io.Reader) (total int64, err error) {
	buf := make([]byte, 1<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			g.Write(buf[:n])
		}
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		if n == len(buf) && n < 32<<10 {
			buf = make([]byte, 32<<10)
		}
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
}
