package progress

import (
	"fmt"
	"io"
	"sync"
)

// maxQueued bounds the lines kept when no one reads them (a stopped terminal, a blocked pipe).
const maxQueued = 20000

// pump writes lines in its own goroutine, so that a writer never waits for the reader.
type pump struct {
	mu      sync.Mutex
	queue   [][]byte
	dropped int
	closed  bool

	wake    chan struct{}
	done    chan struct{}
	writing sync.Mutex // held while out is in use
	out     io.Writer  // guarded by writing
}

func newPump(out io.Writer) *pump {
	p := &pump{wake: make(chan struct{}, 1), done: make(chan struct{}), out: out}
	go p.run()
	return p
}

// put takes a line over and returns at once.
func (p *pump) put(line []byte) {
	p.mu.Lock()
	if p.closed || len(p.queue) >= maxQueued {
		p.dropped++
	} else {
		p.queue = append(p.queue, line)
	}
	p.mu.Unlock()
	p.signal()
}

// Write implements io.Writer with put; it copies, as callers may use their slice again.
func (p *pump) Write(b []byte) (int, error) {
	p.put(append([]byte(nil), b...))
	return len(b), nil
}

// Suspend calls fn while the pump writes nothing.
func (p *pump) Suspend(fn func()) {
	p.writing.Lock()
	defer p.writing.Unlock()
	fn()
}

// Close writes what is left and ends the goroutine.
func (p *pump) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.signal()
	<-p.done
}

func (p *pump) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pump) run() {
	defer close(p.done)
	for range p.wake {
		lines, dropped, closed := p.take()
		p.writing.Lock()
		for _, line := range lines {
			_, _ = p.out.Write(line) // no reader is left
		}
		if dropped > 0 {
			fmt.Fprintf(p.out, "(%d lines of progress left out)\n", dropped)
		}
		p.writing.Unlock()
		if closed {
			return
		}
	}
}

func (p *pump) take() (lines [][]byte, dropped int, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines, dropped = p.queue, p.dropped
	p.queue, p.dropped = nil, 0
	return lines, dropped, p.closed
}
