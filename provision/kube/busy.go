package kube

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// busy ends a request whose server asks to be left alone for longer than the request may take. client-go would wait for that in silence, so that the
// user heard of a server that does not answer.
type busy struct {
	next   http.RoundTripper
	server string
	most   time.Duration // of a request that may take any time
}

// WrappedRoundTripper lets the connections beneath be found and closed.
func (t *busy) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *busy) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < 500 {
		return resp, err
	}
	now := time.Now()
	asked := retryAfter(resp.Header, now)
	if end, bounded := req.Context().Deadline(); asked == 0 || bounded && now.Add(asked).Before(end) || !bounded && asked <= t.most {
		return resp, nil
	}
	_ = resp.Body.Close() // it says the same
	return nil, &busyError{t.server, resp.StatusCode, asked}
}

// busyError is ErrBusy with how long the server asks to be left alone.
type busyError struct {
	server string
	status int
	asked  time.Duration
}

func (e *busyError) Error() string {
	return fmt.Sprintf("the API server at %s answers %d %s, and asks to come back in %s", e.server, e.status, http.StatusText(e.status), e.asked)
}

func (e *busyError) Unwrap() error { return ErrBusy }

// asksFor is how long a server asks to be left alone; 0 = it does not say, or it is another error.
func asksFor(err error) time.Duration {
	var busy *busyError
	if errors.As(err, &busy) {
		return busy.asked
	}
	return 0
}

// retryAfter reads the header of this name: seconds or a date (RFC 9110, 10.2.3). 0 = there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	const year = 365 * 24 * 60 * 60 // seconds: more is as long, and would not fit
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(n, year)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0).Round(time.Second)
	}
	return 0
}
