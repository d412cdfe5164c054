package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// request is one that may be sent again.
type request struct {
	method string
	url    url.URL
	header http.Header
	body   func() (io.ReadCloser, error)
	size   int64
	sign   func(*http.Request)
	again  bool // it does no harm to send it twice
}

// maxPause is the longest that a registry may have a run wait at once, and maxRedirects how often it may send on.
const (
	maxPause     = 60 * time.Second
	maxRedirects = 5
)

// send sends a request to a host, again when that has a prospect: after 429 and failures that pass. The caller closes the body, and calls
// done after it.
func (c *Client) send(ctx context.Context, h *host, q request) (resp *http.Response, done func(), err error) {
	for try := 1; ; try++ {
		resp, done, err = c.once(ctx, h, q)
		pause, again := c.pause(ctx, h, q, resp, err, try)
		if !again || try >= c.Tries {
			if err != nil && ctx.Err() == nil {
				err = h.isSilent(err)
			}
			return resp, done, err
		}
		if resp != nil {
			resp.Body.Close()
			done()
		}
		h.hold(pause)
	}
}

// pause says how long to wait before another try, and whether there is to be one.
func (c *Client) pause(ctx context.Context, h *host, q request, resp *http.Response, err error, try int) (time.Duration, bool) {
	backoff := 250 * time.Millisecond << try
	switch {
	case ctx.Err() != nil, errors.Is(err, ErrSilent), isOwn(err):
		return 0, false
	case err != nil:
		var timeout net.Error
		return backoff, q.again && passes(err) && !(errors.As(err, &timeout) && timeout.Timeout())
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		asked := RetryAfter(resp.Header, time.Now())
		end, bounded := ctx.Deadline() // one that ends before says nothing of what the registry asked
		return max(asked, backoff), asked <= maxPause && (!bounded || time.Now().Add(asked).Before(end))
	case resp.StatusCode >= 502 && resp.StatusCode <= 504:
		return backoff, q.again
	}
	return 0, false
}

// passes reports whether a failure of the connection may pass: one that ended is tried again, one that no one takes, or
// whose certificate is wrong, is not.
func passes(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "connection reset") ||
		strings.Contains(err.Error(), "broken pipe") || strings.Contains(err.Error(), "server closed idle connection")
}

// RetryAfter is how long a server asks to be left alone, by its header of this name: seconds or a date (RFC 9110, 10.2.3). 0 = it does not say.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		const year = 365 * 24 * 60 * 60 // seconds: more is as long, and would not fit
		return time.Duration(min(n, year)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// hold keeps all requests to a host for a while.
func (h *host) hold(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until := time.Now().Add(d); until.After(h.until) {
		h.until = until
	}
}

// isSilent remembers a host that does not answer: everything else that is asked of it would wait for the same.
func (h *host) isSilent(err error) error {
	if errors.Is(err, ErrSilent) || isOwn(err) {
		return err
	}
	err = &Silent{Host: h.name, Err: err}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent = err
	return err
}

// once sends a request when the host may be asked. It waits for the beginning of the answer no longer than Patience, and storing times as long
// when something was sent.
func (c *Client) once(ctx context.Context, h *host, q request) (*http.Response, func(), error) {
	h.mu.Lock()
	silent, until := h.silent, h.until
	h.mu.Unlock()
	if silent != nil {
		return nil, nil, silent
	}
	if d := time.Until(until); d > 0 {
		if err := c.Wait(ctx, d); err != nil {
			return nil, nil, err
		}
	}
	select {
	case h.atOne <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	defer func() { <-h.atOne }()
	bounded, cancel := context.WithCancelCause(ctx)
	patience := &patience{of: c.Patience}
	patience.timer = c.after(c.Patience, func() { cancel(errPatience{patience.now()}) })
	req, content, err := c.build(bounded, q)
	if err != nil {
		cancel(nil)
		return nil, nil, own{err}
	}
	content.sending = patience.begin
	c.requests.Add(1)
	resp, err := c.http.Do(req)
	patience.end()
	if err != nil {
		cause := context.Cause(bounded)
		cancel(nil)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if late := (errPatience{}); errors.As(cause, &late) {
			return nil, nil, late
		}
		if failed := content.failed(); failed != nil {
			return nil, nil, own{failed}
		}
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, c: c, ctx: bounded, cancel: cancel}
	return resp, func() { cancel(nil) }, nil
}

func (c *Client) build(ctx context.Context, q request) (*http.Request, *sent, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, q.url.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	for key, values := range q.header {
		req.Header[key] = values
	}
	req.Header.Set("User-Agent", "hybridctl")
	content := &sent{c: c, left: q.size}
	if q.body != nil {
		if content.ReadCloser, err = q.body(); err != nil {
			return nil, nil, err
		}
		req.Body, req.ContentLength = content, q.size
		if q.size == 0 {
			req.Body = http.NoBody
		}
	}
	if q.sign != nil {
		q.sign(req)
	}
	return req, content, nil
}

// own is an error of this side: of what was to be sent, not of the registry.
type own struct{ error }

func (o own) Unwrap() error { return o.error }

func isOwn(err error) bool {
	var o own
	return errors.As(err, &o) || errors.Is(err, ErrNotAsked)
}

// errPatience says that a host was given up on.
type errPatience struct{ d time.Duration }

func (e errPatience) Error() string   { return "no answer within " + e.d.String() }
func (e errPatience) Timeout() bool   { return true }
func (e errPatience) Temporary() bool { return true }

// patience is how long an answer is waited for: again after each part that was sent.
type patience struct {
	of    time.Duration
	timer timer

	mu     sync.Mutex
	stored bool // all was sent
	ended  bool // the answer is there, or will not come
}

// begin waits again; whole = all was sent.
func (p *patience) begin(whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stored = whole
	if !p.ended {
		p.timer.Reset(p.length())
	}
}

// end waits no more, also when parts go on being sent: a registry may answer before it has taken all.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.timer.Stop()
}

func (p *patience) now() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.length()
}

func (p *patience) length() time.Duration {
	if p.stored {
		return p.of * storing
	}
	return p.of
}

// timer is a *time.Timer; tests have their own.
type timer interface {
	Reset(time.Duration) bool
	Stop() bool
}

// storing is how many times longer an answer may take to something large that was sent whole: many registries move it to its place first, in
// a store elsewhere.
const storing = 10

// sent counts what goes up.
type sent struct {
	io.ReadCloser
	c       *Client
	left    int64 // bytes to be sent
	sending func(whole bool)

	mu  sync.Mutex
	err error // of what is to be sent
}

func (s *sent) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.c.up.Add(int64(n))
	s.left -= int64(n)
	s.sending(s.left <= 0)
	if err != nil && err != io.EOF {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	return n, err
}

func (s *sent) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// body counts what comes down, and gives up on a sender that stops in the middle.
type body struct {
	io.ReadCloser
	c      *Client
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	timer := time.AfterFunc(b.c.Patience, func() { b.cancel(errPatience{b.c.Patience}) })
	n, err := b.ReadCloser.Read(p)
	timer.Stop()
	b.c.down.Add(int64(n))
	if late := (errPatience{}); err != nil && errors.As(context.Cause(b.ctx), &late) {
		err = late
	}
	return n, err
}

// errPrivate marks places in private networks that a registry outside of them sends to.
var errPrivate = errors.New("which is in a private network that the registry itself is not in")

// mayAsk reports whether a registry's word may send us to a place: by HTTPS, or by HTTP to a registry's own host where HTTP was switched on for
// it; and into a private network only from a registry in one, as those of closed sites keep their blobs in a store beside them.
func (c *Client) mayAsk(ctx context.Context, registry string, to *url.URL, what string) error {
	if c.Allowed != nil && !c.Allowed(registry) {
		return fmt.Errorf("%s %w", registry, ErrNotAsked)
	}
	own := to.Host == registry || to.Hostname() == hostname(registry)
	switch {
	case to.Scheme == "https":
	case to.Scheme == "http" && c.plain(registry):
	case to.Scheme == "http":
		return fmt.Errorf("%s sends to %s by HTTP for %s, which is refused", registry, to.Host, what)
	default:
		return fmt.Errorf("%s sends to %q for %s, which is no address of HTTPS", registry, to.Redacted(), what)
	}
	if own || c.AnyRedirect || !isPrivate(to.Hostname()) {
		return nil
	}
	addresses, err := c.Lookup(ctx, hostname(registry))
	if err == nil {
		for _, a := range addresses {
			if isPrivate(a.IP.String()) {
				return nil
			}
		}
	}
	return fmt.Errorf("%s sends to %s for %s, %w", registry, to.Host, what, errPrivate)
}

func hostname(registry string) string {
	u := url.URL{Host: registry}
	return u.Hostname()
}

// isPrivate reports whether a host is an address of this machine or of a private network. A name is not looked up: what it stands for, the
// network decides.
func isPrivate(host string) bool {
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	if cut := strings.IndexByte(host, '%'); cut >= 0 {
		host = host[:cut]
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
}
