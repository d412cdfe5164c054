package kube

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// An API server whose answer never ends takes no more memory than the bound, and is asked once. A watch goes on.
func TestBounded(t *testing.T) {
	const most = 1 << 20
	for name, c := range map[string]struct {
		path  string
		bytes int
		want  error
	}{
		"as long as it may be": {"/api/v1/pods", most, nil},
		"a byte more":          {"/api/v1/pods", most + 1, ErrTooLong},
		"much more":            {"/api/v1/pods?limit=500", 64 * most, ErrTooLong},
		"a watch":              {"/api/v1/pods?watch=true", 4 * most, nil},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", c.bytes)) }))
		client := http.Client{Transport: &bounded{http.DefaultTransport, most}}
		resp, err := client.Get(s.URL + c.path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !errors.Is(err, c.want) || Transient(err) || c.want == nil && len(text) != c.bytes || c.want != nil && len(text) != most {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
		s.Close()
	}
}

// clientOf is a client of a server of the test.
func clientOf(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewTLSServer(handler)
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	c, err := New(fmt.Appendf(nil, `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}], users: [{name: u, user: {token: t}}]}`, s.URL, base64.StdEncoding.EncodeToString(ca)),
		Options{mostBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The clients of an API server have the bound.
func TestBounded_OfEveryRequest(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for range 64 {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<20)); err != nil {
				return
			}
		}
	})
	if _, err := c.Nodes(t.Context()); !errors.Is(err, ErrTooLong) || !strings.HasPrefix(err.Error(), "list the nodes: the API server's answer has more than 1 MiB") {
		t.Errorf("%v", err)
	}
}

// An API server that sends requests on is not followed: whom it names is its word alone.
func TestRedirect_IsNotFollowed(t *testing.T) {
	followed := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	defer other.Close()
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/api", http.StatusFound) })
	_, err := c.Nodes(t.Context())
	if want := fmt.Sprintf("the server at %s sends requests on to %q, which no API server does", c.Server(), strings.TrimPrefix(other.URL, "http://")); !errors.Is(err, ErrUntrusted) ||
		!strings.HasSuffix(err.Error(), want) || followed {
		t.Errorf("followed: %t, %v", followed, err)
	}
}
