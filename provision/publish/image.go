package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
)

const (
	blobsAtOnce = 4
	maxDocument = 8 << 20
)

// pusher puts the images of one bundle into one registry.
type pusher struct {
	b       *bundle.Bundle
	o       Options
	results []Result

	mu   sync.Mutex
	lies map[string][]string // repositories that have a blob, by its digest
}

// push puts one image under one name. What it returns with an error is what was known by then.
func (p *pusher) push(ctx context.Context, i bundle.Image, name string) (Result, error) {
	colon := strings.LastIndex(name, ":")
	repository, tag := name[:colon], name[colon+1:]
	r := Result{Ref: i.Ref, To: name, Digest: i.Digest}
	raw, err := p.document(i.Digest)
	if err != nil {
		return r, err
	}
	index, err := image.ReadListing(raw, "")
	if err != nil {
		return r, fmt.Errorf("its index: %w", err)
	}
	r.LeftOut = leftOut(index, i)
	if len(r.LeftOut) > 0 && p.o.Reduce {
		if raw, err = reduced(raw, i); err != nil {
			return r, err
		}
		r.Digest, r.Reduced = digestOf(raw), true
	}
	to, err := p.o.Registry.NamedWritable(ctx, repository, p.o.Keychain, p.others(repository)...)
	if err != nil {
		return r, err
	}
	if r.Unchanged, err = p.there(ctx, to, tag, r.Digest, i); err != nil || r.Unchanged {
		return r, err
	}
	for _, a := range i.Archs {
		if err := p.child(ctx, to, i, i.Manifests[a], &r); err != nil {
			return r, err
		}
	}
	if err := to.Put(ctx, tag, index.Media, raw); err != nil {
		return r, &indexError{err}
	}
	return r, nil
}

// indexError is about an index, of which all images are in place.
type indexError struct{ error }

func (e *indexError) Unwrap() error { return e.error }

// leftOut are the platforms that an index names and the bundle has no image for.
func leftOut(index image.Listing, i bundle.Image) []string {
	out := slices.Clone(index.Others)
	for _, a := range platform.All() {
		if c, ok := index.Children[a]; ok && i.Manifests[a] != c.Digest {
			out = append(out, a.String())
		}
	}
	slices.Sort(out)
	return out
}

// reduced is an index of the images that the bundle has; every other byte of an entry stays.
func reduced(raw []byte, i bundle.Image) ([]byte, error) {
	var whole map[string]json.RawMessage
	var entries []json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(whole["manifests"], &entries); err != nil {
		return nil, err
	}
	var kept []json.RawMessage
	for _, e := range entries {
		var d struct{ Digest string }
		if err := json.Unmarshal(e, &d); err != nil {
			return nil, err
		}
		for _, m := range i.Manifests {
			if m == d.Digest {
				kept = append(kept, e)
				break
			}
		}
	}
	list, err := json.Marshal(kept)
	if err != nil {
		return nil, err
	}
	whole["manifests"] = list
	return json.Marshal(whole)
}

// there asks whether the tag stands for that index already, and its images are there.
func (p *pusher) there(ctx context.Context, to *registry.Repo, tag, digest string, i bundle.Image) (bool, error) {
	now, err := to.Digest(ctx, tag)
	if registry.IsNotFound(err) {
		return false, nil
	}
	if err != nil || now != digest {
		return false, err
	}
	for _, a := range i.Archs {
		if _, err := to.Digest(ctx, i.Manifests[a]); err != nil {
			if registry.IsNotFound(err) {
				return false, nil
			}
			return false, err
		}
	}
	return true, nil
}

// child sends one image by its digest: its blobs, then its manifest. A registry that has the manifest has the blobs.
func (p *pusher) child(ctx context.Context, to *registry.Repo, i bundle.Image, digest string, r *Result) error {
	raw, err := p.document(digest)
	if err != nil {
		return err
	}
	manifest, err := image.ReadListing(raw, "")
	if err != nil {
		return fmt.Errorf("its manifest %s: %w", digest, err)
	}
	_, err = to.Digest(ctx, digest)
	if err != nil && !registry.IsNotFound(err) {
		return err
	}
	if err == nil {
		p.remember(to, manifest.Content...)
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(blobsAtOnce)
	for _, blob := range manifest.Content {
		g.Go(func() error { return p.blob(gctx, to, i.Ref, blob, r) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return to.Put(ctx, digest, manifest.Media, raw)
}

// blob has the registry take a blob from another of its repositories, or sends it; one that is there stays.
func (p *pusher) blob(ctx context.Context, to *registry.Repo, ref string, blob image.Blob, r *Result) error {
	there, err := to.HasBlob(ctx, blob.Digest)
	if err != nil {
		return err
	}
	if there {
		p.remember(to, blob)
		return nil
	}
	open := func() (io.ReadCloser, error) {
		from, err := p.b.OpenBlob(blob.Digest)
		if err != nil {
			return nil, err
		}
		return &verifying{ReadCloser: from, want: blob, sum: sha256.New(), read: func(n int) {
			if p.o.Sending != nil {
				p.o.Sending(ref, int64(n))
			}
		}}, nil
	}
	how := registry.Sent
	if from := p.other(to, blob.Digest); from != "" {
		how, err = to.Mount(ctx, blob.Digest, blob.Size, from, open)
	} else {
		err = to.Upload(ctx, blob.Digest, blob.Size, open)
	}
	if err != nil {
		return err
	}
	p.remember(to, blob)
	p.mu.Lock()
	defer p.mu.Unlock()
	if how == registry.Mounted {
		r.Mounted++
	} else {
		r.Sent++
	}
	return nil
}

func (p *pusher) remember(to *registry.Repo, blobs ...image.Blob) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range blobs {
		if name := to.Name().Name(); !slices.Contains(p.lies[b.Digest], name) {
			p.lies[b.Digest] = append(p.lies[b.Digest], name)
		}
	}
}

// other is another repository that has a blob, as it is called within the registry; "" = none is known.
func (p *pusher) other(to *registry.Repo, digest string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range p.lies[digest] {
		if name != to.Name().Name() {
			return strings.TrimPrefix(name, to.Name().RegistryStr()+"/")
		}
	}
	return ""
}

// others are the repositories that blobs may be mounted from: a token has to cover them.
func (p *pusher) others(but string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, names := range p.lies {
		for _, name := range names {
			if name != but && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// document reads a manifest or an index of the bundle.
func (p *pusher) document(digest string) ([]byte, error) {
	from, err := p.b.OpenBlob(digest)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(from, maxDocument+1))
	if err = errors.Join(err, from.Close()); err != nil {
		return nil, err
	}
	if digestOf(raw) != digest {
		return nil, fmt.Errorf("%w: %s has another content than its digest says", bundle.ErrDamaged, digest)
	}
	return raw, nil
}

func digestOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// verifying fails at the end of a blob that is not what its digest says: nothing damaged gets into the registry.
type verifying struct {
	io.ReadCloser
	want image.Blob
	sum  hash.Hash
	n    int64
	read func(int)
}

func (v *verifying) Read(b []byte) (int, error) {
	n, err := v.ReadCloser.Read(b)
	v.sum.Write(b[:n])
	v.n += int64(n)
	v.read(n)
	if v.n > v.want.Size || err == io.EOF && (v.n != v.want.Size || !bytes.Equal(v.sum.Sum(nil), sumIn(v.want.Digest))) {
		return n, fmt.Errorf("%w: blob %s has another content", bundle.ErrDamaged, v.want.Digest)
	}
	return n, err
}

func sumIn(digest string) []byte {
	raw, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		return nil // never equal
	}
	return raw
}
