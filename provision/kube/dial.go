package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Route says which way to the API server is used.
type Route string

const (
	Direct     Route = "direct"
	ThroughSSH Route = "through SSH"
)

// tunnelTimeout bounds the dial on the far side of the tunnel, where the kernel's own would be minutes.
const tunnelTimeout = 15 * time.Second

// router dials the API server: directly, else through the tunnel. The way that answered last is tried first.
type router struct {
	direct  net.Dialer
	tunnel  DialFunc
	mu      sync.Mutex
	via     Route
	foreign bool // another cluster's server answers directly: networks of private addresses overlap
}

func newRouter(tunnel DialFunc, directTimeout time.Duration) *router {
	return &router{tunnel: tunnel, direct: net.Dialer{Timeout: directTimeout}}
}

func (r *router) current() Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.via
}

// ways lists the routes to try, in order.
func (r *router) ways() []Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.tunnel == nil:
		return []Route{Direct}
	case r.foreign:
		return []Route{ThroughSSH}
	case r.via == ThroughSSH:
		return []Route{ThroughSSH, Direct}
	}
	return []Route{Direct, ThroughSSH}
}

func (r *router) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	failed := &unreachableError{addr: addr}
	for _, way := range r.ways() {
		conn, err := r.try(ctx, way, network, addr)
		if err == nil {
			r.mu.Lock()
			r.via = way
			r.mu.Unlock()
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed.causes = append(failed.causes, fmt.Errorf("%s: %w", way, plainCause(err)))
	}
	return nil, failed
}

func (r *router) try(ctx context.Context, way Route, network, addr string) (net.Conn, error) {
	if way == Direct {
		return r.direct.DialContext(ctx, network, addr)
	}
	ctx, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	return r.tunnel(ctx, network, addr)
}

// plainCause leaves out what net.OpError says of addresses, which the sentence around it says already.
func plainCause(err error) error {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Timeout():
		return errNoAnswer
	case errors.As(err, &op) && op.Err != nil:
		return op.Err
	case errors.Is(err, context.DeadlineExceeded):
		return errNoAnswer
	}
	return err
}

var errNoAnswer = errors.New("no answer in time")

// unreachableError is ErrUnreachable with the cause of each way that was tried.
type unreachableError struct {
	addr   string
	causes []error
}

func (e *unreachableError) Error() string {
	text := "the API server at " + e.addr + " does not answer"
	for i, cause := range e.causes {
		text += []string{": ", "; "}[min(i, 1)] + cause.Error()
	}
	return text
}

func (e *unreachableError) Unwrap() []error { return append([]error{ErrUnreachable}, e.causes...) }

// wrap sends a request again through the tunnel when what answered directly is not the cluster's API server.
func (r *router) wrap(next http.RoundTripper) http.RoundTripper { return &reroute{r, next} }

type reroute struct {
	router *router
	next   http.RoundTripper
}

// WrappedRoundTripper lets the connections beneath be found and closed.
func (t *reroute) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *reroute) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil || !foreignServer(err) || !t.router.leaveDirect() {
		return resp, err
	}
	again := req.Clone(req.Context())
	if req.Body != nil {
		if req.GetBody == nil {
			return nil, err
		}
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return t.next.RoundTrip(again)
}

// leaveDirect gives the direct way up for good; false when there is no other, or it has been given up before.
func (r *router) leaveDirect() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tunnel == nil || r.via == ThroughSSH && r.foreign {
		return false
	}
	r.foreign = true
	return true
}

// foreignServer reports whether the TLS handshake showed another server than the kubeconfig's.
func foreignServer(err error) bool {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	return errors.As(err, &authority) || errors.As(err, &host)
}
