package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// link is one SSH connection, shared by whoever needs that host: Conns to it, and links through it.
type link struct {
	dialer *Dialer
	ep     *endpoint
	key    string // ep's
	parent *link  // the hop before, with a reference of ours
	client *ssh.Client
	slots  *slots

	ready chan struct{} // closed when the dial has ended; then err is set or client is
	err   error
	refs  int // guarded by dialer.mu

	once  sync.Once
	done  chan struct{} // closed when the connection has ended; then cause is set
	cause error
}

func newLink(d *Dialer, ep *endpoint, key string) *link {
	return &link{dialer: d, ep: ep, key: key, slots: newSlots(maxSessions), ready: make(chan struct{}), done: make(chan struct{})}
}

// netDial makes the byte stream: a TCP connection, or a tunnel through the hop before.
func (l *link) netDial(ctx context.Context) (net.Conn, error) {
	if l.parent == nil && l.ep.device != "" && l.dialer.plain {
		return (&net.Dialer{Control: bindTo(l.ep.device)}).DialContext(ctx, l.ep.network, l.ep.addr())
	}
	if l.parent == nil && l.ep.from != "" && l.dialer.plain {
		from, err := net.ResolveTCPAddr(l.ep.network, net.JoinHostPort(l.ep.from, "0"))
		if err != nil {
			return nil, err
		}
		return (&net.Dialer{LocalAddr: from}).DialContext(ctx, l.ep.network, l.ep.addr())
	}
	if l.parent == nil {
		return l.dialer.netDial(ctx, l.ep.network, l.ep.addr())
	}
	return l.parent.client.DialContext(ctx, "tcp", l.ep.addr())
}

// start watches over the connection: two goroutines, for its end and for its silence.
func (l *link) start() {
	go func() {
		err := l.client.Wait()
		if err == nil || wasCut(err) {
			err = errors.New("the host closed the connection")
		}
		l.fail(err)
	}()
	if l.ep.keepAlive > 0 {
		go l.keepAlive(l.ep.keepAlive)
	}
}

// fail ends the link; the first cause stays.
func (l *link) fail(cause error) {
	l.once.Do(func() {
		l.cause = cause
		l.dialer.forget(l)
		close(l.done)
		if l.parent == nil {
			l.client.Close()
		} else {
			go l.client.Close() // tells the hop before, which may be dead and not take it
		}
	})
}

// forget makes the next Dial connect again.
func (d *Dialer) forget(l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.links[l.key] == l {
		delete(d.links, l.key)
	}
}

func (l *link) isDone() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// silence is how many intervals a host may leave the keep-alive question unanswered.
const silence = 3

// keepAlive asks the host at intervals whether it is there. The question is ssh's own; any answer will do.
func (l *link) keepAlive(interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	answer := make(chan error, 1)
	asked, missed := false, 0
	for {
		select {
		case <-l.done:
			return
		case err := <-answer:
			if err != nil {
				return // the connection has ended, and client.Wait tells
			}
			asked, missed = false, 0
		case <-tick.C:
			if !asked {
				asked = true
				go func() {
					_, _, err := l.client.SendRequest("keepalive@openssh.com", true, nil)
					answer <- err
				}()
			}
			if missed++; missed > silence {
				l.fail(fmt.Errorf("the host gave no sign of life for %v", silence*interval))
				return
			}
		}
	}
}
