package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/kube/kubetest"
)

// closedPort is an address on which nothing listens.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// tunnelTo dials the server whatever is asked for, as seen from another network, and counts.
func tunnelTo(addr string, dials *atomic.Int32) DialFunc {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

func TestRoute_DirectWhenTheEndpointAnswers(t *testing.T) {
	server := kubetest.Shared(t)
	var dials atomic.Int32
	c := newClient(t, server.Kubeconfig(), Options{Dial: tunnelTo(server.Addr(), &dials)})
	if got := c.Route(); got != "" {
		t.Errorf("route before the first request = %q", got)
	}
	if _, err := c.Nodes(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if c.Route() != Direct || dials.Load() != 0 {
		t.Errorf("route = %q with %d dials through the tunnel, want direct", c.Route(), dials.Load())
	}
}

func TestRoute_ThroughSSHWhenTheEndpointDoesNot(t *testing.T) {
	server := kubetest.Shared(t)
	var dials atomic.Int32
	closed := make(chan struct{})
	tunnel := tunnelTo(server.Addr(), &dials)
	c := newClient(t, server.KubeconfigFor(closedPort(t)), Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := tunnel(ctx, network, addr)
		return &noticedConn{conn, closed}, err
	}})
	ctx := testContext(t)
	for range 3 {
		if _, err := c.Nodes(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Diff(ctx, []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}")); err != nil {
		t.Fatal(err)
	}
	if c.Route() != ThroughSSH || dials.Load() != 1 {
		t.Errorf("route = %q with %d connections, want one through SSH", c.Route(), dials.Load())
	}
	c.Close()
	select {
	case <-closed:
	case <-ctx.Done():
		t.Error("Close leaves the connection open")
	}
}

// noticedConn tells when it is closed.
type noticedConn struct {
	net.Conn
	closed chan struct{}
}

func (c *noticedConn) Close() error {
	close(c.closed)
	return c.Conn.Close()
}

// A kubeconfig's private address may belong to someone else on the operator's network.
func TestRoute_ThroughSSHWhenAnotherClusterAnswersDirectly(t *testing.T) {
	server, other := kubetest.Shared(t), kubetest.Start(t)
	var dials atomic.Int32
	c := newClient(t, server.KubeconfigFor(other.Addr()), Options{Dial: tunnelTo(server.Addr(), &dials)})
	if _, err := c.CreateToken(testContext(t), time.Minute, "foreign"); err != nil { // a request with a body
		t.Fatal(err)
	}
	if c.Route() != ThroughSSH {
		t.Errorf("route = %q", c.Route())
	}

	alone := newClient(t, server.KubeconfigFor(other.Addr()), Options{})
	if _, err := alone.Nodes(testContext(t)); !errors.Is(err, ErrUntrusted) {
		t.Errorf("without a tunnel: %v, want ErrUntrusted", err)
	}
}

func TestRoute_NeitherAnswers(t *testing.T) {
	addr := closedPort(t)
	refused := errors.New("ssh: rejected: connect failed")
	r := newRouter(func(context.Context, string, string) (net.Conn, error) { return nil, refused }, time.Second)
	_, err := r.dial(t.Context(), "tcp", addr)
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, refused) || !errors.Is(err, syscall.ECONNREFUSED) || !Transient(err) {
		t.Errorf("err = %v, want a transient ErrUnreachable with both causes", err)
	}
	want := "the API server at " + addr + " does not answer: direct: connect: connection refused; through SSH: " + refused.Error()
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestRoute_RemembersAndComesBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // accepts until the listener is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	closed := closedPort(t)
	tunnelWorks := true
	r := newRouter(func(ctx context.Context, network, _ string) (net.Conn, error) {
		if !tunnelWorks {
			return nil, io.EOF
		}
		return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
	}, time.Second)
	steps := []struct {
		name   string
		addr   string
		tunnel bool
		want   Route
	}{
		{"direct first", l.Addr().String(), true, Direct},
		{"then the tunnel", closed, true, ThroughSSH},
		{"the tunnel is remembered", l.Addr().String(), true, ThroughSSH},
		{"direct again when the tunnel broke", l.Addr().String(), false, Direct},
	}
	for _, step := range steps {
		tunnelWorks = step.tunnel
		conn, err := r.dial(t.Context(), "tcp", step.addr)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		conn.Close()
		if r.current() != step.want {
			t.Errorf("%s: route = %q, want %q", step.name, r.current(), step.want)
		}
	}
}

func TestNodes_UnreachableSaysSo(t *testing.T) {
	c := newClient(t, kubetest.Shared(t).KubeconfigFor(closedPort(t)), Options{RetryFor: time.Millisecond})
	_, err := c.Nodes(testContext(t))
	if !errors.Is(err, ErrUnreachable) || !strings.HasPrefix(err.Error(), "list the nodes: the API server at 127.0.0.1:") {
		t.Errorf("err = %v", err)
	}
}
