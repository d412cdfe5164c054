package fetch

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Remote fetches single things, for bundle.Create. Where they lie is good until Close. Its methods may be called at once.
type Remote struct {
	f     *fetcher
	inUse *os.File
	dir   string // for directories and layouts

	deciding sync.Mutex
}

var _ bundle.Remote = (*Remote)(nil)

// NewRemote opens the cache. Errors: ErrInput, ErrDisk, or the context's.
func NewRemote(ctx context.Context, o Options) (*Remote, error) {
	f, err := newFetcher(o)
	if err != nil {
		return nil, err
	}
	if err := f.cache.make(); err != nil {
		return nil, f.diskError("the cache", err)
	}
	r := &Remote{f: f}
	if r.inUse, err = f.cache.use(ctx, f.o.Wait, clearing(f)); err != nil {
		return nil, f.diskError("the cache", err)
	}
	if r.dir, err = os.MkdirTemp(f.cache.path("sha256"), ".remote.*"); err != nil {
		return nil, errors.Join(f.diskError("the cache", err), r.inUse.Close())
	}
	return r, nil
}

// Close deletes what is not kept in the cache.
func (r *Remote) Close() error { return errors.Join(os.RemoveAll(r.dir), r.inUse.Close()) }

// File implements bundle.Remote.
func (r *Remote) File(ctx context.Context, f bundle.RemoteFile) (string, error) {
	file := fileOf(f, catalogue.Program{Name: path.Base(f.Member), Path: f.Member})
	if f.Member == "" {
		return r.f.cache.file(f.SHA256), r.fetch(ctx, f)
	}
	found, err := r.unpacked(ctx, f, file)
	if err != nil {
		return "", err
	}
	return r.f.cache.file(found[0].SHA256), nil
}

// Directory implements bundle.Remote.
func (r *Remote) Directory(ctx context.Context, f bundle.RemoteFile) (string, error) {
	if f.Member != "" {
		return "", failf(ErrInput, "%s: all programs of an archive are taken, and #%s names one", f.What, f.Member)
	}
	found, err := r.unpacked(ctx, f, fileOf(f))
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(r.dir, "")
	for _, b := range found {
		if err == nil {
			err = image.Link(r.f.cache.file(b.SHA256), filepath.Join(dir, b.Name))
		}
	}
	return dir, r.f.diskError(f.What, err)
}

// fileOf is the file as the catalogue has files: without programs, all of it are taken.
func fileOf(f bundle.RemoteFile, programs ...catalogue.Program) catalogue.File {
	return catalogue.File{Name: f.What, URL: f.Address, SHA256: f.SHA256, Programs: programs, AllPrograms: len(programs) == 0}
}

func (r *Remote) unpacked(ctx context.Context, f bundle.RemoteFile, file catalogue.File) ([]bundle.Binary, error) {
	if err := r.fetch(ctx, f); err != nil {
		return nil, err
	}
	return r.f.unpack(ctx, file, f.SHA256)
}

func (r *Remote) fetch(ctx context.Context, f bundle.RemoteFile) error {
	has, _, err := r.f.cache.has(ctx, f.SHA256, -1)
	if err != nil || has {
		return r.f.diskError(f.What, err)
	}
	if r.f.o.Offline {
		return failf(ErrOffline, "%s is not in the cache, and nothing was to be asked for", f.What)
	}
	from, err := r.f.webFile(f.What, f.Address)
	if err != nil {
		return err
	}
	item := strings.TrimSpace(f.What)
	j := r.f.job(item, &download{what: f.What, digest: "sha256:" + f.SHA256, size: -1, from: from, by: "the bundle source"})
	if err := j.d.run(ctx); err != nil {
		return err
	}
	r.f.ended(item)
	return nil
}

// Image implements bundle.Remote.
func (r *Remote) Image(ctx context.Context, ref, digest string, archs []platform.Arch) (string, error) {
	set := catalogue.Set{Archs: archs, Images: []catalogue.Image{{Ref: ref, Digest: digest}}}
	r.deciding.Lock()
	images, err := r.f.decide(ctx, set)
	r.deciding.Unlock()
	if err != nil {
		return "", err
	}
	if err := r.f.fetchAll(ctx, catalogue.Set{}, images); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(r.dir, "")
	if err != nil {
		return "", r.f.diskError(ref, err)
	}
	layout, err := image.CreateLayout(dir)
	if err == nil {
		err = layout.Take(ref, images[0].index, images[0].digests(), r.f.cache.file)
	}
	if err == nil {
		err = layout.Save()
	}
	return dir, r.f.diskError(ref, err)
}
