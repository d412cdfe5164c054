package kube

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A server that asks to be left alone is no silent one: its word is told, at once when there is no time to wait for so long.
func TestBusy_TheServersWordIsTold(t *testing.T) {
	for name, k := range map[string]struct {
		status int
		after  string
		want   string
	}{
		"an hour":               {http.StatusTooManyRequests, "3600", "answers 429 Too Many Requests, and asks to come back in 1h0m0s"},
		"longer than a request": {http.StatusTooManyRequests, "31", "answers 429 Too Many Requests, and asks to come back in 31s"},
		"for ever":              {http.StatusTooManyRequests, "99999999999999999999", "asks to come back in 8760h0m0s"},
		"until a date":          {http.StatusServiceUnavailable, time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat), "answers 503 Service Unavailable, and asks to come back in "},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Retry-After", k.after)
				w.WriteHeader(k.status)
			})
			_, err := c.Nodes(t.Context())
			if !errors.Is(err, ErrBusy) || !Transient(err) || !strings.HasPrefix(err.Error(), "list the nodes: the API server at "+c.Server()+" ") || !strings.Contains(err.Error(), k.want) || asked.Load() != 1 {
				t.Errorf("%v, after %d requests", err, asked.Load())
			}
		})
	}
}

// What a request has time for is waited for.
func TestBusy_AShortTimeIsWaitedFor(t *testing.T) {
	var asked atomic.Int32
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"gitVersion": "v1.36.0"}`))
	})
	if v, err := c.Version(t.Context()); err != nil || v != "v1.36.0" || asked.Load() != 2 {
		t.Errorf("%s, %v, after %d requests", v, err, asked.Load())
	}
}

// A watch may take any time, and does not wait an hour without a word either.
func TestBusy_OfARequestWithoutEnd(t *testing.T) {
	for after, kept := range map[string]bool{"": true, "0": true, "30": true, "31": false} {
		answer := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {after}}, Body: http.NoBody}
		transport := &busy{roundTrips(func(*http.Request) (*http.Response, error) { return answer, nil }), "api:6443", 30 * time.Second}
		req, err := http.NewRequest(http.MethodGet, "https://api:6443/api/v1/pods?watch=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := transport.RoundTrip(req); (resp == answer) != kept || errors.Is(err, ErrBusy) == kept {
			t.Errorf("%q: %v, %v", after, resp, err)
		}
	}
}

type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
