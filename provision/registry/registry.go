// Package registry speaks with container registries as their API has it (github.com/opencontainers/distribution-spec): manifests, blobs,
// mounts, uploads, tokens. It owns what a run may cost a registry, to whom credentials are shown, and what is refused: HTTP where HTTPS was
// not switched off, and redirects into networks that the registry is not in. What manifests mean, it does not know.
//
// It does not use the library's own client (go-containerregistry, pkg/v1/remote): that one asks networks of RFC 1918 by HTTPS and HTTP at
// once, refuses every redirect to a private address, does not read Retry-After, and asks thirty times where twelve requests do.
package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// Options are how registries are reached. The zero value asks by HTTPS alone, without a login.
type Options struct {
	// PlainHTTP are the registries that are asked by HTTP, and shown credentials by it; "*" stands for every one that is not well known.
	PlainHTTP []string
	// CAFile has certificates of authorities besides the system's, and so has CA, in PEM.
	CAFile string
	CA     []byte
	// InsecureSkipTLSVerify takes any certificate.
	InsecureSkipTLSVerify bool
	// AnyRedirect follows redirects into private networks also of registries that are outside of them.
	AnyRedirect bool
	// Allowed limits the registries that are asked; nil = all.
	Allowed func(registry string) bool

	AtOnce   int           // requests to one registry at a time; 0 = 16
	Patience time.Duration // for the beginning of an answer, and between its parts; 0 = 30 s
	Tries    int           // of one request; 0 = 5

	Transport http.RoundTripper                                            // nil = the network
	Lookup    func(ctx context.Context, host string) ([]net.IPAddr, error) // nil = the system's resolver
	Wait      func(ctx context.Context, d time.Duration) error             // nil = by the clock
}

// Client speaks with registries. Its methods may be called at once.
type Client struct {
	Options
	http  http.Client
	mu    sync.Mutex
	hosts map[string]*host
	token map[string]*token

	after func(time.Duration, func()) timer

	shared, sharing []string // scopes of one token, and the repositories that it is for

	requests, up, down atomic.Int64
}

// Stats are what a client has asked, sent and received so far; bodies alone count as bytes.
type Stats struct {
	Requests int64 `json:"requests"`
	Up       int64 `json:"bytesSent"`
	Down     int64 `json:"bytesReceived"`
}

// New makes a client. The error is about CAFile or CA.
func New(o Options) (*Client, error) {
	o.AtOnce, o.Tries, o.Patience = cmp.Or(o.AtOnce, 16), cmp.Or(o.Tries, 5), cmp.Or(o.Patience, 30*time.Second)
	if o.Lookup == nil {
		o.Lookup = net.DefaultResolver.LookupIPAddr
	}
	if o.Wait == nil {
		o.Wait = Wait
	}
	if o.Transport == nil {
		t, err := o.transport()
		if err != nil {
			return nil, err
		}
		o.Transport = t
	}
	after := func(d time.Duration, do func()) timer { return time.AfterFunc(d, do) }
	c := &Client{Options: o, after: after, hosts: map[string]*host{}, token: map[string]*token{}}
	c.http = http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

func (o Options) transport() (http.RoundTripper, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.InsecureSkipTLSVerify}
	var err error
	if config.RootCAs, err = o.authorities(); err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: o.AtOnce, IdleConnTimeout: 30 * time.Second,
		DialContext: (&net.Dialer{Timeout: o.Patience}).DialContext, TLSHandshakeTimeout: o.Patience, DisableCompression: true,
	}
	NameProxy(t)
	return t, nil
}

// authorities are those whose certificates are taken; nil = the system's.
func (o Options) authorities() (*x509.CertPool, error) {
	if o.CAFile == "" && len(o.CA) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", o.CAFile)
		}
	}
	if len(o.CA) > 0 && !pool.AppendCertsFromPEM(o.CA) {
		return nil, errors.New("the certificates given are none in PEM")
	}
	return pool, nil
}

// Wait waits by the clock. Its error is the context's.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stats returns what the client has done so far.
func (c *Client) Stats() Stats {
	return Stats{Requests: c.requests.Load(), Up: c.up.Load(), Down: c.down.Load()}
}

// host is what is known of one registry, or of another place that it sends to.
type host struct {
	name  string // with its port
	atOne chan struct{}

	mu        sync.Mutex
	until     time.Time  // it asked not to be asked before
	challenge *challenge // how it wants to be logged in to
	silent    error      // it does not answer

	first sync.Mutex // one request finds out for all others how the registry is to be asked
	known bool       // it has
}

// alone has the first request to a host go before all others, which then know how to log in, or that no one answers.
func (h *host) alone() (done func()) {
	h.first.Lock()
	if h.known {
		h.first.Unlock()
		return func() {}
	}
	return func() {
		h.known = true
		h.first.Unlock()
	}
}

func (c *Client) host(name string) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	if h == nil {
		h = &host{name: name, atOne: make(chan struct{}, c.AtOnce)}
		c.hosts[name] = h
	}
	return h
}

// Repo is one repository of a registry, with the credentials that fit it.
type Repo struct {
	c    *Client
	name name.Repository
	host *host
	keys []Credential // in the order in which they are tried; the last is no one's

	mu         sync.Mutex
	key        int    // which of them is at work
	turnedAway error  // what became of the last that was someone's
	scope      string // what is asked of a token: "pull", "pull,push"
	more       []string
}

// Repo opens a repository for reading. The keys are tried in their order; after them, it is asked without a login.
func (c *Client) Repo(r name.Repository, keys []Credential) *Repo {
	return &Repo{c: c, name: r, host: c.host(r.RegistryStr()), keys: append(append([]Credential{}, keys...), Credential{}), scope: "pull"}
}

// Writable opens a repository for writing; blobs may be mounted into it from others of the same registry.
func (c *Client) Writable(r name.Repository, keys []Credential, from []name.Repository) *Repo {
	w := c.Repo(r, keys)
	w.scope = "pull,push"
	for _, f := range from {
		if f.RegistryStr() == r.RegistryStr() && f.RepositoryStr() != r.RepositoryStr() {
			w.more = append(w.more, "repository:"+f.RepositoryStr()+":pull")
		}
	}
	return w
}

// Name is the repository's full name.
func (r *Repo) Name() name.Repository { return r.name }

// wellKnown are registries that are on the internet, by HTTPS.
var wellKnown = []string{
	name.DefaultRegistry, "docker.io", "registry-1.docker.io", "ghcr.io", "quay.io", "registry.k8s.io", "k8s.gcr.io", "gcr.io", "public.ecr.aws",
	"mcr.microsoft.com", "registry.gitlab.com", "docker.elastic.co", "registry.access.redhat.com", "registry.redhat.io", "registry.suse.com",
	"nvcr.io", "cr.l5d.io", "lscr.io", "docker.redpanda.com",
}

// WellKnown reports whether a registry is one of the public ones that everybody's clusters pull from.
func WellKnown(registry string) bool {
	for _, known := range wellKnown {
		if strings.EqualFold(registry, known) {
			return true
		}
	}
	return strings.HasSuffix(registry, ".gcr.io") || strings.HasSuffix(registry, ".pkg.dev")
}

// plain reports whether the registry is asked by HTTP.
func (c *Client) plain(registry string) bool {
	for _, p := range c.PlainHTTP {
		if p == registry || p == "*" && !WellKnown(registry) {
			return true
		}
	}
	return false
}

func (c *Client) scheme(registry string) string {
	if c.plain(registry) {
		return "http"
	}
	return "https"
}

// ErrNotAsked marks registries that Options.Allowed left out.
var ErrNotAsked = errors.New("was not asked")
