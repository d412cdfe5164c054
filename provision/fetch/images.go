package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
)

// found is an image of the set, with all that the bundle is to hold of it.
type found struct {
	catalogue.Image
	item      string
	index     string // its digest
	manifests map[platform.Arch]string
	blobs     []image.Blob // configs and layers, each once
	repo      *registry.Repo
}

// digests are all blobs of the bundle: the index, the manifests, the contents.
func (i found) digests() []string {
	out := []string{i.index}
	for _, a := range platform.All() {
		if m := i.manifests[a]; m != "" && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	for _, b := range i.blobs {
		if !slices.Contains(out, b.Digest) {
			out = append(out, b.Digest)
		}
	}
	return out
}

func itemOf(i catalogue.Image) string {
	name := i.Component
	if name == "" {
		repository, _ := splitRef(i.Ref)
		name = path.Base(repository)
	}
	return "image " + name
}

func splitRef(ref string) (repository, tag string) {
	colon := strings.LastIndex(ref, ":")
	return ref[:colon], ref[colon+1:]
}

// resolve finds out what every image consists of: from the cache, or from the registries. It fetches documents alone, and refuses an image
// that is not there for every architecture before anything else is fetched.
func (f *fetcher) resolve(ctx context.Context, set catalogue.Set) ([]found, error) {
	images := make([]found, len(set.Images))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(f.o.Parallel)
	for n, i := range set.Images {
		images[n] = found{Image: i, item: itemOf(i), manifests: map[platform.Arch]string{}}
		g.Go(func() error { return f.resolveOne(gctx, &images[n], set.Archs) })
	}
	return images, g.Wait()
}

func (f *fetcher) resolveOne(ctx context.Context, i *found, archs []platform.Arch) error {
	what := f.imageName(*i)
	raw, err := f.indexOf(ctx, i)
	if err != nil {
		return err
	}
	index, err := image.ReadListing(raw, "")
	if err != nil {
		return failf(ErrContent, "%s: %v", what, err)
	}
	if !index.Index {
		return failf(ErrLacks, "%s is an image of one platform, and no index of several", what)
	}
	for _, a := range archs {
		if _, ok := index.Children[a]; !ok {
			return hint.With(failf(ErrLacks, "%s is not there for %s: its index %s has %s", what, a, index.Digest, index.Has()),
				"a mirror has to hold it for every architecture of the cluster, copied as a whole index (hybridctl bundle push does that)")
		}
	}
	seen := map[string]bool{}
	for _, a := range archs {
		child := index.Children[a]
		i.manifests[a] = child.Digest
		raw, err := f.document(ctx, i, child.Digest)
		if err != nil {
			return err
		}
		manifest, err := image.ReadListing(raw, "")
		if err == nil && manifest.Index {
			err = fmt.Errorf("%s is an index, and the index %s calls it an image", child.Digest, index.Digest)
		}
		if err != nil {
			return failf(ErrContent, "%s for %s: %v", what, a, err)
		}
		for _, b := range manifest.Content {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				i.blobs = append(i.blobs, b)
			}
		}
	}
	return nil
}

func (f *fetcher) imageName(i found) string {
	if i.Component == "" {
		return "the image " + i.Ref
	}
	return fmt.Sprintf("the image %s (%s)", i.Ref, i.Component)
}

// wanted is the digest that an image is to have: the catalogue's, which the lock file must not contradict, or the lock
// file's; "" = no one has said it yet. by says who did.
func (f *fetcher) wanted(i catalogue.Image) (digest, by string, err error) {
	f.mu.Lock()
	locked := f.lock.Images[i.Ref]
	f.mu.Unlock()
	switch {
	case i.Digest != "" && locked != "" && locked != i.Digest:
		return "", "", f.lockDiffers(fmt.Sprintf("the catalogue says that the image %s is %s", i.Ref, i.Digest), locked)
	case i.Digest != "":
		return i.Digest, "the catalogue", nil
	}
	return locked, "the lock file " + f.lockPath(), nil
}

func (f *fetcher) lockDiffers(says, locked string) error {
	return hint.With(failf(ErrContent, "%s, and the lock file %s says %s", says, f.lockPath(), locked),
		"find out who changed it; to take the new one, delete its line from %s", f.lockPath())
}

// indexOf reads an image's index, and fixes its digest.
func (f *fetcher) indexOf(ctx context.Context, i *found) ([]byte, error) {
	digest, by, err := f.wanted(i.Image)
	if err != nil {
		return nil, err
	}
	if digest != "" {
		i.index = digest
		raw, err := f.document(ctx, i, digest)
		if registry.IsNotFound(err) {
			return nil, f.moved(ctx, i, digest, by, err)
		}
		return raw, err
	}
	_, tag := splitRef(i.Ref)
	d, err := f.ask(ctx, i, tag)
	if err != nil {
		return nil, err
	}
	if _, err := image.ReadListing(d.Raw, ""); err != nil {
		host := i.repo.Name().RegistryStr()
		return nil, hint.With(failf(ErrContent, "%s: %s gives no manifest that can be read: %v", f.imageName(*i), host, err), "ask whoever runs %s, or name another source in spec.sources (or by --source)", host)
	}
	i.index = d.Digest
	if err := f.cache.put(d.Digest, d.Raw); err != nil {
		return nil, f.diskError(f.imageName(*i), err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lock.Images[i.Ref] = d.Digest
	return d.Raw, nil
}

// moved explains that a registry does not have the digest that an image is to have.
func (f *fetcher) moved(ctx context.Context, i *found, digest, by string, cause error) error {
	_, tag := splitRef(i.Ref)
	now, err := f.ask(ctx, i, tag)
	host := i.repo.Name().RegistryStr()
	if err != nil {
		return &failure{fmt.Sprintf("%s: %s does not have %s, which %s says it is", f.imageName(*i), host, digest, by), ErrLacks, cause}
	}
	return hint.With(&failure{fmt.Sprintf("%s: %s has %s under that name, and %s says %s; nothing of it is used", f.imageName(*i), host, now.Digest, by, digest),
		ErrContent, cause}, "a mirror may be behind or ahead: have it take that very digest; if the new one is right, delete its line from the lock file")
}

// document is a manifest or an index by its digest, from the cache or from the registry.
func (f *fetcher) document(ctx context.Context, i *found, digest string) ([]byte, error) {
	if !ociSum.MatchString(digest) {
		return nil, failf(ErrContent, "%s: %q is no digest of sha256", f.imageName(*i), digest)
	}
	has, damaged, err := f.cache.has(ctx, digest, -1)
	if err != nil {
		return nil, err
	}
	if damaged {
		f.note(i.item, "a manifest in the cache was damaged, and is fetched again")
	}
	if has {
		raw, err := f.cache.read(digest)
		if sum := sha256.Sum256(raw); err == nil && "sha256:"+hex.EncodeToString(sum[:]) == digest {
			return raw, nil
		}
	}
	d, err := f.ask(ctx, i, digest)
	if err != nil {
		return nil, err
	}
	return d.Raw, f.diskError(f.imageName(*i), f.cache.put(digest, d.Raw))
}

// ask asks a registry for a manifest or an index: where the sources have the image, and under CoreDNS' other name when it is not there.
func (f *fetcher) ask(ctx context.Context, i *found, identifier string) (registry.Document, error) {
	if f.o.Offline {
		return registry.Document{}, failf(ErrOffline, "%s is not in the cache, and nothing was to be asked for", f.imageName(*i))
	}
	repository, _ := splitRef(i.Ref)
	if i.repo != nil {
		return f.askAt(ctx, i, i.repo, identifier)
	}
	var first error
	for _, at := range f.o.Sources.image(repository) {
		repo, err := f.named(ctx, i, at)
		if err != nil {
			return registry.Document{}, err
		}
		d, err := f.askAt(ctx, i, repo, identifier)
		if err == nil {
			i.repo = repo
			return d, nil
		}
		if first == nil {
			first, i.repo = err, repo
		}
		if !registry.IsNotFound(err) {
			return d, err
		}
	}
	return registry.Document{}, first
}

func (f *fetcher) askAt(ctx context.Context, i *found, repo *registry.Repo, identifier string) (registry.Document, error) {
	d, err := repo.Manifest(ctx, identifier)
	if err != nil {
		return d, f.registryError(ctx, f.imageName(*i), repo, identifier, err)
	}
	return d, nil
}

// repoOf is where an image's blobs are asked for, when its documents came from the cache. Where the image may have two names, one small
// question tells under which it is there.
func (f *fetcher) repoOf(ctx context.Context, i *found) (*registry.Repo, error) {
	if i.repo != nil {
		return i.repo, nil
	}
	repository, _ := splitRef(i.Ref)
	places := f.o.Sources.image(repository)
	if len(places) > 1 {
		_, err := f.ask(ctx, i, i.index)
		return i.repo, err
	}
	var err error
	i.repo, err = f.named(ctx, i, places[0])
	return i.repo, err
}

func (f *fetcher) named(ctx context.Context, i *found, at place) (*registry.Repo, error) {
	repo, err := f.images.Named(ctx, at.repository, f.o.Keychain)
	if err != nil {
		return nil, &failure{fmt.Sprintf("%s: %s: %v", f.imageName(*i), at.host(), err), ErrInput, err}
	}
	return repo, nil
}
