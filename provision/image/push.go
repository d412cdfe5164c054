package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/registry"
)

// Pushed is what pushing an assembly came to.
type Pushed struct {
	Unchanged bool           `json:"unchanged"` // the registry had it already; nothing was sent
	Mounted   int            `json:"mounted"`   // blobs that the registry took from another of its repositories
	Sent      int            `json:"sent"`      // blobs
	Stats     registry.Stats `json:"stats"`     // of the whole run
}

// blobsAtOnce is how many blobs are sent at a time.
const blobsAtOnce = 4

// pusher sends one assembly.
type pusher struct {
	*Assembly
	places *Places
	to     *registry.Repo
	repo   name.Repository
	before string // what the tag stood for at the beginning; "" = nothing

	mu   sync.Mutex
	out  Pushed
	done map[v1.Hash]bool
}

// Push sends what the registry lacks: blobs, then the images by their digests, then the index by its tag; and reads it back. What failed
// half-way leaves the tag as it was.
func (a *Assembly) Push(ctx context.Context, p *Places) (Pushed, error) {
	repo := a.tag.Context()
	keys, err := p.keys(ctx, repo)
	if err != nil {
		return Pushed{}, err
	}
	x := &pusher{Assembly: a, places: p, repo: repo, to: p.Registry.Writable(repo, keys, a.sources()), done: map[v1.Hash]bool{}}
	err = x.push(ctx)
	x.out.Stats = p.Registry.Stats()
	if err != nil {
		return x.out, fmt.Errorf("%s: %w", a.Target, err)
	}
	return x.out, nil
}

// sources are the repositories that blobs may be mounted from.
func (a *Assembly) sources() []name.Repository {
	var out []name.Repository
	for _, c := range a.Children {
		if r, ok := c.entry.from.(remote); ok && !slices.Contains(out, r.Name()) {
			out = append(out, r.Name())
		}
	}
	return out
}

func (x *pusher) push(ctx context.Context) error {
	var err error
	if x.before, err = x.target(ctx); err != nil {
		return err
	}
	if x.before == x.Digest {
		whole, err := x.whole(ctx)
		if err != nil {
			return err
		}
		if whole {
			x.out.Unchanged = true
			return nil
		}
	}
	for i := range x.Children {
		if err := x.child(ctx, &x.Children[i]); err != nil {
			return err
		}
	}
	for _, e := range x.extra {
		if err := x.manifest(ctx, e.other.from, e.doc.image, nil); err != nil {
			return err
		}
		if err := x.put(ctx, e.doc.hash.String(), e.doc.media, e.doc.raw); err != nil {
			return err
		}
	}
	if err := x.still(ctx); err != nil {
		return err
	}
	if err := x.put(ctx, x.tag.TagStr(), types.MediaType(x.MediaType), x.raw); err != nil {
		return err
	}
	return x.readBack(ctx)
}

// target is the digest that the tag stands for now.
func (x *pusher) target(ctx context.Context) (string, error) {
	digest, err := x.to.Digest(ctx, x.tag.TagStr())
	if registry.IsNotFound(err) {
		return "", nil
	}
	if err == nil && digest == "" { // some registries do not say it
		d, err := x.to.Manifest(ctx, x.tag.TagStr())
		return d.Digest, err
	}
	return digest, err
}

// whole asks whether an index that is there already still has its images.
func (x *pusher) whole(ctx context.Context) (bool, error) {
	for _, c := range x.Children {
		for _, id := range append([]string{c.Digest}, tagOf(c)...) {
			digest, err := x.to.Digest(ctx, id)
			if registry.IsNotFound(err) || err == nil && digest != "" && digest != c.Digest {
				return false, nil
			}
			if err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func tagOf(c Child) []string {
	if c.Tag == "" {
		return nil
	}
	return []string{c.Tag}
}

// child sends an image that is not there.
func (x *pusher) child(ctx context.Context, c *Child) error {
	r, isRemote := c.entry.from.(remote)
	there := isRemote && r.Name() == x.repo && c.Was == ""
	if !there && x.before != "" { // an image that is pushed again is often there
		_, err := x.to.Digest(ctx, c.Digest)
		if err != nil && !registry.IsNotFound(err) {
			return err
		}
		there = err == nil
	}
	if !there {
		if err := x.manifest(ctx, c.entry.from, c.manifest, c.config); err != nil {
			return err
		}
	}
	switch {
	case c.Tag != "":
		return x.put(ctx, c.Tag, c.media, c.raw) // it is there by its digest then, too
	case there:
		return nil
	}
	return x.put(ctx, c.Digest, c.media, c.raw)
}

// manifest sends the blobs of an image. config is its content when the source does not have it.
func (x *pusher) manifest(ctx context.Context, from origin, m *v1.Manifest, config []byte) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(blobsAtOnce)
	for i, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if x.done[d.Digest] {
			continue
		}
		x.done[d.Digest] = true
		if i > 0 && !d.MediaType.IsDistributable() {
			continue // it stays where its address says; nodes fetch it from there
		}
		g.Go(func() error {
			if i == 0 && config != nil {
				return x.small(gctx, d, config)
			}
			return x.blob(gctx, from, d)
		})
	}
	return g.Wait()
}

func (x *pusher) small(ctx context.Context, d v1.Descriptor, raw []byte) error {
	return x.send(ctx, d, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil })
}

func (x *pusher) blob(ctx context.Context, from origin, d v1.Descriptor) error {
	open := func() (io.ReadCloser, error) { return verified(ctx, from, d) }
	r, isRemote := from.(remote)
	if !isRemote || r.Name().RegistryStr() != x.repo.RegistryStr() {
		return x.send(ctx, d, open)
	}
	if r.Name() == x.repo {
		return nil // it lies there
	}
	how, err := x.to.Mount(ctx, d.Digest.String(), d.Size, r.Name().RepositoryStr(), open)
	x.count(how, err)
	return err
}

// send sends a blob that the repository does not have.
func (x *pusher) send(ctx context.Context, d v1.Descriptor, open func() (io.ReadCloser, error)) error {
	there, err := x.to.HasBlob(ctx, d.Digest.String())
	if err != nil || there {
		return err
	}
	err = x.to.Upload(ctx, d.Digest.String(), d.Size, open)
	x.count(registry.Sent, err)
	return err
}

func (x *pusher) count(how registry.Sending, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case err != nil:
	case how == registry.Mounted:
		x.out.Mounted++
	default:
		x.out.Sent++
	}
}

// put writes a document. A registry that takes Docker's types alone says only that it cannot read it.
func (x *pusher) put(ctx context.Context, id string, media types.MediaType, raw []byte) error {
	err := x.to.Put(ctx, id, string(media), raw)
	isOCI := media == types.OCIImageIndex || media == types.OCIManifestSchema1
	if err != nil && isOCI && registry.RefusesOCI(err) {
		return hint.With(fmt.Errorf("%w: the registry does not take %s, and may take Docker's types alone", err, media), "--format docker writes it in those")
	}
	return err
}

// still asks whether the tags that were read, and the one that is written, stand for what they stood for.
func (x *pusher) still(ctx context.Context) error {
	asked := map[string]bool{}
	for _, c := range x.Children {
		r, isRemote := c.entry.from.(remote)
		named, err := ParseName(c.From)
		if _, isTag := named.(name.Tag); !isRemote || err != nil || !isTag || asked[c.From] {
			continue
		}
		asked[c.From] = true
		now, err := r.Digest(ctx, named.Identifier())
		if err != nil {
			return fmt.Errorf("%s cannot be read any more: %w", c.From, err)
		}
		if now != "" && now != c.set.Digest {
			return hint.With(fmt.Errorf("%s was %s when it was read, and is %s now: it was pushed meanwhile; the tag %s was left as it was",
				c.From, c.set.Digest, now, x.tag.TagStr()), "run it again")
		}
	}
	now, err := x.target(ctx)
	if err != nil {
		return err
	}
	if now != x.before {
		return hint.With(fmt.Errorf("the tag was written meanwhile: it was %s, and is %s; it was left as it is", orNothing(x.before), orNothing(now)), "run it again")
	}
	return nil
}

func orNothing(digest string) string {
	if digest == "" {
		return "not there"
	}
	return digest
}

// readBack compares what the registry gives with what was sent.
func (x *pusher) readBack(ctx context.Context) error {
	d, err := x.to.Manifest(ctx, x.tag.TagStr())
	if err != nil {
		return fmt.Errorf("it was sent, and cannot be read back: %w", err)
	}
	if d.Digest != x.Digest {
		return fmt.Errorf("it was sent as %s, and the registry gives %s for it: it changed it, or another push wrote the tag", x.Digest, d.Digest)
	}
	return nil
}

// verified streams a blob, and fails at its end when it is not what its digest says.
func verified(ctx context.Context, from origin, d v1.Descriptor) (io.ReadCloser, error) {
	r, err := from.blob(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	return &verifying{ReadCloser: r, want: d, sum: sha256.New()}, nil
}

type verifying struct {
	io.ReadCloser
	want v1.Descriptor
	sum  hash.Hash
	n    int64
}

func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.sum.Write(p[:n])
	v.n += int64(n)
	if v.n > v.want.Size || err == io.EOF && (v.n != v.want.Size || hex.EncodeToString(v.sum.Sum(nil)) != v.want.Digest.Hex) {
		return n, fmt.Errorf("blob %s is damaged: its content has another digest", v.want.Digest)
	}
	return n, err
}
