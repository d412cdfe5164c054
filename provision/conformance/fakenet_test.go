package conformance

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hybridctl/hybridctl/provision/probe"
)

func refused(network string) error {
	return &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func unanswered(network string) error {
	return &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
}

// podDialer connects as a pod does.
type podDialer struct {
	p *fakePod
	c *fake
}

func (d podDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if port != fmt.Sprint(probe.Port) {
		return nil, refused(network)
	}
	d.c.mu.Lock()
	to := d.p
	s := d.c.named(host)
	for _, o := range d.c.svcs {
		if o.ip == host {
			s = o
		}
	}
	switch {
	case host == "127.0.0.1":
	case host == "::1":
		d.c.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}
	case s != nil:
		to = d.c.backend(s)
	default:
		to = nil
		for _, p := range d.c.pods {
			if p.IP == host {
				to = p
			}
		}
	}
	local := d.p.IP
	if d.c.masks {
		local = d.p.node.address
	}
	d.c.mu.Unlock()
	if to == nil {
		return nil, refused(network)
	}
	return d.c.connect(ctx, d.p, to, d.p.node, local, network)
}

// ruled are the selector and the policy that the nodes' rules know of a Service; c.mu is held.
func (c *fake) ruled(s *fakeService) (selector map[string]string, policy string) {
	if s.was != nil && time.Since(s.changed) < c.behind {
		s = s.was
	}
	return s.selector, s.policy
}

// backend is the pod behind a Service; c.mu is held.
func (c *fake) backend(s *fakeService) *fakePod {
	selector, _ := c.ruled(s)
	for _, name := range slices.Sorted(maps.Keys(c.pods)) {
		p := c.pods[name]
		if !p.Ready {
			continue
		}
		fits := len(selector) > 0
		for key, value := range selector {
			fits = fits && p.Labels[key] == value
		}
		byHand := false
		for service, ip := range c.slices {
			byHand = byHand || c.svcs[service] == s && ip == p.IP
		}
		if fits || byHand || c.lingers != "" && c.svcs[c.lingers] == s && name == "a-0" {
			return p
		}
	}
	return nil
}

// connect opens a socket to a pod, with that local address, if the way from the node that sends to the pod's is open.
func (c *fake) connect(ctx context.Context, from, to *fakePod, via *fakeNode, local, network string) (net.Conn, error) {
	c.mu.Lock()
	there, back := [2]string{via.name, to.node.name}, [2]string{to.node.name, via.name}
	closed := c.drops[there] != "" || c.drops[back] != "" || via.gone || to.node.gone
	intercept, tamper := c.intercept, c.tamper
	c.mu.Unlock()
	if closed {
		return nil, unanswered(network)
	}
	if intercept != nil {
		if err := intercept(from, to, network); err != nil {
			return nil, err
		}
	}
	var d net.Dialer
	ip := net.ParseIP(local)
	d.LocalAddr = &net.TCPAddr{IP: ip}
	if strings.HasPrefix(network, "udp") {
		d.LocalAddr = &net.UDPAddr{IP: ip}
	}
	conn, err := d.DialContext(ctx, network, at(to.IP, probe.Port))
	if err == nil && tamper != nil {
		conn = tamper(from, network, conn)
	}
	return conn, err
}

// outside connects to node ports from a place that is no node.
type outside struct{ c *fake }

func (o outside) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var node *fakeNode
	for _, n := range o.c.nodes {
		if n.address == host {
			node = n
		}
	}
	if node == nil {
		return nil, fmt.Errorf("no node has the address %s", host)
	}
	o.c.mu.Lock()
	var to *fakePod
	local := node.address // the policy Cluster hides who asks
	silent := node.gone
	for _, s := range o.c.svcs {
		if s.port == 0 || fmt.Sprint(s.port) != port || time.Since(s.made) < o.c.behind {
			continue
		}
		to = o.c.backend(s)
		if _, policy := o.c.ruled(s); policy == "Local" {
			if !o.c.hides {
				local = o.c.ip(outsideHost)
			}
			silent = silent || to == nil || to.node != node && !o.c.anywhere
		}
	}
	o.c.mu.Unlock()
	switch {
	case silent:
		return nil, unanswered(network)
	case to == nil:
		return nil, refused(network)
	}
	return o.c.connect(ctx, nil, to, node, local, network)
}
