package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/registry"
)

const (
	maxRedirects = 5
	maxPause     = 60 * time.Second
)

// newClient makes the client for files. It speaks HTTP/1.1: files that come at once have a connection each, and one that is cut takes no
// other along. Proxies are the environment's.
func newClient(o Options) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, Time: o.Now}
	if o.CAFile != "" {
		pool, err := authorities(o.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableCompression: true, MaxIdleConnsPerHost: o.Parallel,
		IdleConnTimeout: 30 * time.Second, DialContext: (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: o.Patience, ReadBufferSize: 64 << 10,
	}
	registry.NameProxy(transport)
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect}, nil
}

// authorities are the system's and those of a file.
func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, failf(ErrInput, "the authorities' file %s cannot be read: %v", file, errors.Unwrap(err))
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, failf(ErrInput, "%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// refusedRedirect is a redirect that is not followed.
type refusedRedirect struct{ host, text string }

func (r *refusedRedirect) Error() string { return r.host + " " + r.text }

func checkRedirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1].URL
	switch {
	case len(via) > maxRedirects:
		return &refusedRedirect{last.Host, fmt.Sprintf("sends on and on: more than %d times, last to %s", maxRedirects, req.URL.Host)}
	case last.Scheme == "https" && req.URL.Scheme != "https":
		return &refusedRedirect{last.Host, fmt.Sprintf("sends to %s by HTTP, which is refused", req.URL.Host)}
	case req.URL.User != nil:
		return &refusedRedirect{last.Host, fmt.Sprintf("sends to %s with a name and a password in the address, which is refused", req.URL.Host)}
	}
	return nil
}

// webFile is a file at an address.
type webFile struct {
	*fetcher
	what string
	url  *url.URL
}

// webFile is the file at an address, from where the sources have it.
func (f *fetcher) webFile(what, address string) (*webFile, error) {
	to := f.o.Sources.of(address)
	if err := checkAddress(to, "https", "http"); err != nil {
		return nil, failf(ErrInput, "%s: its address %s %v", what, shown(to), err)
	}
	u, err := url.Parse(to)
	if err != nil {
		return nil, failf(ErrInput, "%s: its address cannot be read", what)
	}
	if u.Scheme == "http" && to == address {
		return nil, failf(ErrInput, "%s: its address %s is none of HTTPS", what, shown(to))
	}
	return &webFile{f, what, u}, nil
}

func (w *webFile) host() string { return w.url.Host }

func (w *webFile) open(ctx context.Context, at int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "hybridctl")
	if at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", at))
	}
	resp, err := w.web.Do(req)
	if err != nil {
		return nil, w.failed(ctx, at, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp, nil
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		if at > 0 {
			return resp, nil
		}
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
	resp.Body.Close()
	return nil, w.refused(resp)
}

// failed is a request that got no answer.
func (w *webFile) failed(ctx context.Context, at int64, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	host := w.url.Host
	var e *url.Error
	if errors.As(err, &e) {
		if u, parsed := url.Parse(e.URL); parsed == nil && u.Host != "" {
			host = u.Host
		}
	}
	var r *refusedRedirect
	if errors.As(err, &r) {
		return hint.With(failf(ErrContent, "%s: %v", w.what, r), "ask whoever runs %s, or name another source in spec.sources (or by --source)", r.host)
	}
	if host != w.url.Host {
		host += " (where " + w.url.Host + " sends to)"
	}
	sentence := w.unreachable(w.what, host, err)
	if at > 0 {
		sentence = &failure{fmt.Sprintf("%v; %s came, and the next run goes on from there", sentence, progress{at, -1}), ErrUnreachable, sentence}
	}
	switch _, cause := registry.Explain(host, err, w.o.Now()); {
	case cause == registry.CauseRefused, (cause == registry.CauseResolver || cause == registry.CauseOther) && !isTimeout(err):
		return &passing{err: sentence}
	}
	return sentence // another try would wait for the same
}

// unreachable names what was wanted and the host.
func (f *fetcher) unreachable(what, host string, err error) error {
	var silent *registry.Silent
	if errors.As(err, &silent) {
		err = silent.Err
	}
	e := unreachable(host, err, f.o.Now())
	return hinted(&failure{what + ": " + e.Error(), ErrUnreachable, err}, e)
}

// hinted is err with the hints of another.
func hinted(err, of error) error {
	for _, h := range hint.Of(of) {
		err = hint.With(err, "%s", h)
	}
	return err
}

// refused is an answer that brings no file.
func (w *webFile) refused(resp *http.Response) error {
	host, status := resp.Request.URL.Host, resp.StatusCode
	answer := fmt.Sprintf("%s: %s answers %d %s", w.what, host, status, http.StatusText(status))
	const other = "name another source in spec.sources (or by --source)"
	switch {
	case status == http.StatusNotFound || status == http.StatusGone:
		return hint.With(failf(ErrLacks, "%s: it does not have %s", answer, w.url.Path), "a mirror may be behind: name another in spec.sources, or have it fetch %s", w.url.Path)
	case status == http.StatusTooManyRequests || status >= 500:
		pause := registry.RetryAfter(resp.Header, w.o.Now())
		if pause > maxPause {
			return hint.With(failf(ErrUnreachable, "%s, and asks to come back in %s", answer, pause), "try again then, or %s", other)
		}
		return &passing{err: hint.With(failf(ErrUnreachable, "%s", answer), "try again later, or %s", other), pause: pause}
	case status == http.StatusProxyAuthRequired:
		return hint.With(failf(ErrUnreachable, "%s", answer), registry.Proxies)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return hint.With(failf(ErrUnreachable, "%s", answer), "files are asked for without a login: name a mirror that wants none in spec.sources (or by --source)")
	case status == http.StatusBadRequest && w.url.Scheme == "http":
		return hint.With(failf(ErrUnreachable, "%s", answer), "it was asked by HTTP, and may want HTTPS: write https:// before it in spec.sources (or in --source)")
	case status >= 300 && status < 400:
		return hint.With(failf(ErrUnreachable, "%s, and does not say where", answer), other)
	}
	return hint.With(failf(ErrUnreachable, "%s", answer), "ask whoever runs %s, or %s", host, other)
}

// blobFile is a blob of a registry.
type blobFile struct {
	*fetcher
	what   string
	repo   *registry.Repo
	digest string
}

func (b *blobFile) host() string { return b.repo.Name().RegistryStr() }

func (b *blobFile) open(ctx context.Context, at int64) (*http.Response, error) {
	resp, err := b.repo.BlobFrom(ctx, b.digest, at)
	if err != nil {
		return nil, b.registryError(ctx, b.what, b.repo, b.digest, err)
	}
	return resp, nil
}

// registryError is the sentence for what a registry did not do; identifier is what it was asked for, a tag or a digest.
func (f *fetcher) registryError(ctx context.Context, what string, repo *registry.Repo, identifier string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	host := repo.Name().RegistryStr()
	var e *registry.Error
	var silent *registry.Silent
	switch {
	case errors.As(err, &e) && e.Status == http.StatusNotFound:
		place := repo.Name().Name() + ":" + identifier
		if strings.Contains(identifier, ":") {
			place = repo.Name().Name() + "@" + identifier
		}
		return hint.With(&failure{fmt.Sprintf("%s: %v: it does not have %s", what, err, place), ErrLacks, err},
			"a mirror may be behind: name another in spec.sources, or have it take %s", place)
	case errors.As(err, &silent):
		if silent.Host != host {
			host = silent.Host + " (where " + host + " sends to)"
		}
		return f.unreachable(what, host, silent)
	}
	sentence := error(&failure{fmt.Sprintf("%s: %v", what, err), ErrUnreachable, err})
	switch advice := registry.Hint(err); {
	case errors.Is(err, registry.ErrLogin):
		return hint.With(sentence, "docker login %s, or name credentials in spec.registries", host)
	case advice != "" && !strings.HasPrefix(advice, "--"): // those flags are other verbs'
		return hint.With(sentence, "%s", advice)
	}
	return hint.With(sentence, "ask whoever runs %s, or name another source in spec.sources (or by --source)", host)
}
