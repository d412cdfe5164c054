package registry

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxDocument bounds manifests, indexes and configs, which are read whole; registries refuse larger ones.
const maxDocument = 8 << 20

// Document is a manifest or an index as the registry has it.
type Document struct {
	Raw    []byte
	Media  string
	Digest string // of Raw
}

// accepted are the documents that lead to an image's platforms. Without them, registries answer with older ones.
var accepted = strings.Join([]string{
	string(types.OCIImageIndex), string(types.DockerManifestList), string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}, ", ")

// call is a request to a repository.
type call struct {
	method string
	path   string // beneath the repository; or where, when it is set
	where  *url.URL
	query  url.Values
	header http.Header
	body   func() (io.ReadCloser, error)
	size   int64
	again  bool
	good   []int
	what   string // that a redirect is for
}

// do asks the registry, with the credentials that it wants, and follows where it sends to. The caller closes the body.
func (r *Repo) do(ctx context.Context, q call) (*http.Response, error) {
	registry := r.name.RegistryStr()
	if r.c.Allowed != nil && !r.c.Allowed(registry) {
		return nil, fmt.Errorf("%s %w", registry, ErrNotAsked)
	}
	where := q.where
	if where == nil {
		where = &url.URL{Scheme: r.c.scheme(registry), Host: registry, Path: "/v2/" + r.name.RepositoryStr() + "/" + q.path}
	}
	if q.query != nil {
		merged := where.Query()
		for key, values := range q.query {
			merged[key] = values
		}
		copied := *where
		copied.RawQuery = merged.Encode()
		where = &copied
	}
	defer r.host.alone()()
	for renewed, learned := false, 0; ; {
		r.mu.Lock()
		n := r.key
		r.mu.Unlock()
		key := r.keys[n]
		resp, err := r.ask(ctx, q, where, key)
		var e *Error
		login := errors.Is(err, ErrLogin)
		if errors.As(err, &e) && e.Status == http.StatusUnauthorized {
			known := r.learn(e.challenge)
			switch {
			case !known && learned < 3: // a challenge that is another each time has an end
				learned++
				continue // now it is known how to log in
			case !renewed && r.forget(key):
				renewed = true // the token may have been too old
				continue
			}
			login, err = true, r.login(key, e)
		}
		refused := e != nil && (e.Status == http.StatusForbidden || e.Status == http.StatusNotFound && n+2 < len(r.keys))
		if (login || refused) && r.next(n) {
			if login || e.Status == http.StatusForbidden {
				r.mu.Lock()
				r.turnedAway = err
				r.mu.Unlock()
			}
			renewed = false
			continue
		}
		return resp, err
	}
}

// next goes on to the credential after the one that was of no use; false when there is none.
func (r *Repo) next(after int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.key == after && after+1 < len(r.keys) {
		r.key++
	}
	return r.key > after
}

// learn keeps how a registry wants to be logged in to; true when that is what was known.
func (r *Repo) learn(text string) bool {
	c := parseChallenge(text)
	h := r.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if c == nil || h.challenge != nil && *h.challenge == *c {
		return true
	}
	h.challenge = c
	return false
}

// forget drops a token; false when there was none.
func (r *Repo) forget(key Credential) bool {
	t := r.tokenOf(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	had := t.value != ""
	t.value = ""
	return had
}

// ask sends one request, and follows redirects. Only the registry's own host is shown credentials.
func (r *Repo) ask(ctx context.Context, q call, where *url.URL, key Credential) (*http.Response, error) {
	registry, began := r.name.RegistryStr(), where.Host
	for hop := 0; ; hop++ {
		ask := request{method: q.method, url: *where, header: q.header.Clone(), body: q.body, size: q.size, again: q.again}
		if where.Host == registry && where.Scheme == r.c.scheme(registry) {
			signed := &http.Request{Header: http.Header{}}
			if err := r.authorize(ctx, signed, key); err != nil {
				return nil, err
			}
			ask.sign = func(req *http.Request) {
				if a := signed.Header.Get("Authorization"); a != "" {
					req.Header.Set("Authorization", a)
				}
			}
		}
		resp, done, err := r.c.send(ctx, r.c.host(where.Host), ask)
		if err != nil {
			return nil, err
		}
		resp.Body = &closing{resp.Body, done}
		for _, good := range q.good {
			if resp.StatusCode == good {
				return resp, nil
			}
		}
		if to := resp.Header.Get("Location"); resp.StatusCode >= 301 && resp.StatusCode <= 308 && to != "" {
			resp.Body.Close()
			if hop == maxRedirects {
				return nil, fmt.Errorf("%s sends on and on: more than %d times", began, maxRedirects)
			}
			if where, err = r.location(ctx, where, to, cmp.Or(q.what, "it")); err != nil {
				return nil, err
			}
			continue
		}
		return nil, answered(where.Host, resp)
	}
}

// closing ends a request when its body is closed.
type closing struct {
	io.ReadCloser
	done func()
}

func (c *closing) Close() error {
	err := c.ReadCloser.Close()
	c.done()
	return err
}

// location is where an answer sends to. A registry behind a proxy that it does not know of names its own host by HTTP: HTTPS is meant.
func (r *Repo) location(ctx context.Context, from *url.URL, to, what string) (*url.URL, error) {
	u, err := from.Parse(to)
	if err != nil {
		return nil, fmt.Errorf("%s sends to an address that cannot be read", from.Host)
	}
	if u.Scheme == "http" && from.Scheme == "https" && u.Hostname() == from.Hostname() {
		u.Scheme = "https"
		if u.Port() == "80" || u.Port() == "" {
			u.Host = from.Host
		}
	}
	return u, r.c.mayAsk(ctx, r.name.RegistryStr(), u, what)
}

// Manifest reads a manifest or an index by its tag or digest; what was asked for by digest is verified. Errors: ErrOther.
func (r *Repo) Manifest(ctx context.Context, identifier string) (Document, error) {
	resp, err := r.do(ctx, call{method: http.MethodGet, path: "manifests/" + identifier, header: http.Header{"Accept": {accepted}}, again: true,
		good: []int{http.StatusOK}, what: "a manifest"})
	if err != nil {
		return Document{}, err
	}
	defer resp.Body.Close()
	raw, err := document(resp.Body)
	if err != nil {
		return Document{}, fmt.Errorf("%s: %w", r.name.RegistryStr(), err)
	}
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if strings.EqualFold(strings.TrimSpace(media), "text/html") {
		return Document{}, fmt.Errorf("%s %w", resp.Request.URL.Host, errPage)
	}
	d := Document{Raw: raw, Media: strings.TrimSpace(media), Digest: digest(raw)}
	if strings.Contains(identifier, ":") && identifier != d.Digest {
		return Document{}, fmt.Errorf("%s %w for %s: its digest is %s", r.name.RegistryStr(), ErrOther, identifier, d.Digest)
	}
	return d, nil
}

func document(from io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(from, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("the answer breaks off: %w", err)
	}
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("a document of more than %d MiB is refused", maxDocument>>20)
	}
	return raw, nil
}

func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Digest asks for a manifest's digest alone; "" when the registry does not say it.
func (r *Repo) Digest(ctx context.Context, identifier string) (string, error) {
	resp, err := r.do(ctx, call{method: http.MethodHead, path: "manifests/" + identifier, header: http.Header{"Accept": {accepted}}, again: true,
		good: []int{http.StatusOK}, what: "a manifest"})
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	return resp.Header.Get("Docker-Content-Digest"), nil
}

// HasBlob asks whether the repository has a blob.
func (r *Repo) HasBlob(ctx context.Context, digest string) (bool, error) {
	resp, err := r.do(ctx, call{method: http.MethodHead, path: "blobs/" + digest, again: true, good: []int{http.StatusOK}, what: "a blob"})
	if IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, resp.Body.Close()
}

// Small reads a small blob, as a config, whole, and verifies it.
func (r *Repo) Small(ctx context.Context, want string) ([]byte, error) {
	b, err := r.Blob(ctx, want)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	raw, err := document(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name.RegistryStr(), err)
	}
	if got := digest(raw); got != want {
		return nil, fmt.Errorf("%s %w for %s: its digest is %s", r.name.RegistryStr(), ErrOther, want, got)
	}
	return raw, nil
}

// Blob streams a blob, which the reader has to verify. A connection that ends in the middle is taken up again.
func (r *Repo) Blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	b := &blob{r: r, ctx: ctx, digest: digest}
	return b, b.open()
}

type blob struct {
	r      *Repo
	ctx    context.Context
	digest string
	body   io.ReadCloser
	n      int64
	left   int64 // of what the answer announced; -1 = it did not
	tries  int
}

func (b *blob) open() error {
	q := call{method: http.MethodGet, path: "blobs/" + b.digest, again: true, good: []int{http.StatusOK}, what: "a blob"}
	if b.n > 0 {
		q.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", b.n)}}
		q.good = []int{http.StatusPartialContent}
	}
	resp, err := b.r.do(b.ctx, q)
	if err != nil {
		return err
	}
	b.body, b.left = resp.Body, resp.ContentLength
	return nil
}

func (b *blob) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.n += int64(n)
	if b.left >= 0 {
		b.left -= int64(n)
	}
	if err == nil || err == io.EOF && b.left <= 0 || b.ctx.Err() != nil {
		return n, err
	}
	if b.tries++; b.tries >= b.r.c.Tries {
		return n, fmt.Errorf("%s: the connection ended after %d bytes of %s: %w", b.r.name.RegistryStr(), b.n, b.digest, err)
	}
	b.body.Close()
	if again := b.open(); again != nil {
		return n, fmt.Errorf("%s: the connection ended after %d bytes of %s: %w", b.r.name.RegistryStr(), b.n, b.digest, again)
	}
	return n, nil
}

func (b *blob) Close() error {
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}

// Put puts a manifest under a tag or its digest. An answer that does not say what lies there now is not believed: it is read back.
func (r *Repo) Put(ctx context.Context, identifier, media string, raw []byte) error {
	resp, err := r.do(ctx, call{method: http.MethodPut, path: "manifests/" + identifier, header: http.Header{"Content-Type": {media}}, again: true,
		body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }, size: int64(len(raw)),
		good: []int{http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent}, what: "a manifest"})
	if err != nil {
		return err
	}
	now := resp.Header.Get("Docker-Content-Digest")
	if err := resp.Body.Close(); err != nil || now == digest(raw) {
		return err
	}
	d, err := r.Manifest(ctx, identifier)
	if err == nil && d.Digest != digest(raw) {
		err = fmt.Errorf("%s has another manifest under %s than was sent: %s", r.name.RegistryStr(), identifier, d.Digest)
	}
	return err
}

// Sending is how a blob came into a repository.
type Sending int

// The ways, the cheapest first.
const (
	Mounted Sending = iota
	Sent
)

// Mount has the registry take a blob from another of its repositories. When it does not, what it answers instead begins an upload, which is
// carried on with open.
func (r *Repo) Mount(ctx context.Context, digest string, size int64, from string, open func() (io.ReadCloser, error)) (Sending, error) {
	return r.upload(ctx, digest, size, url.Values{"mount": {digest}, "from": {from}}, open)
}

// Upload sends a blob in one piece.
func (r *Repo) Upload(ctx context.Context, digest string, size int64, open func() (io.ReadCloser, error)) error {
	_, err := r.upload(ctx, digest, size, nil, open)
	return err
}

func (r *Repo) upload(ctx context.Context, digest string, size int64, mount url.Values, open func() (io.ReadCloser, error)) (Sending, error) {
	good := []int{http.StatusAccepted}
	if mount != nil {
		good = append(good, http.StatusCreated)
	}
	resp, err := r.do(ctx, call{method: http.MethodPost, path: "blobs/uploads/", query: mount, again: true, good: good, what: "an upload"})
	if err != nil {
		return Sent, err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		return Mounted, nil
	}
	where, err := r.location(ctx, resp.Request.URL, resp.Header.Get("Location"), "an upload")
	if err != nil {
		return Sent, err
	}
	resp, err = r.do(ctx, call{method: http.MethodPut, where: where, query: url.Values{"digest": {digest}}, body: open, size: size,
		header: http.Header{"Content-Type": {"application/octet-stream"}}, good: []int{http.StatusCreated, http.StatusNoContent}, what: "an upload"})
	if err != nil {
		return Sent, fmt.Errorf("send %s: %w", digest, err)
	}
	return Sent, resp.Body.Close()
}
