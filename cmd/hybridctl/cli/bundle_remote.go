package cli

import (
	"context"
	"strings"
	"sync"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/fetch"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

// lazyRemote fetches for bundle create; the cache is opened by the first thing that is fetched, as most sources name files alone.
type lazyRemote struct {
	from sourceFlags
	lock string
	sink report.Sink

	once   sync.Once
	remote *fetch.Remote
	err    error

	mu     sync.Mutex
	places []string // that were asked for
}

// note remembers what is fetched: a source may be for it.
func (l *lazyRemote) note(place string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places = append(l.places, place)
}

func (l *lazyRemote) open(ctx context.Context) (*fetch.Remote, error) {
	l.once.Do(func() {
		var o fetch.Options
		if o, l.err = l.from.options(); l.err != nil {
			return
		}
		o.Lock, o.Progress = l.lock, fetching(l.sink)
		l.remote, l.err = fetch.NewRemote(ctx, o)
	})
	return l.remote, l.err
}

func (l *lazyRemote) File(ctx context.Context, f bundle.RemoteFile) (string, error) {
	l.note(f.Address)
	r, err := l.open(ctx)
	if err != nil {
		return "", err
	}
	return r.File(ctx, f)
}

func (l *lazyRemote) Directory(ctx context.Context, f bundle.RemoteFile) (string, error) {
	l.note(f.Address)
	r, err := l.open(ctx)
	if err != nil {
		return "", err
	}
	return r.Directory(ctx, f)
}

func (l *lazyRemote) Image(ctx context.Context, ref, digest string, archs []platform.Arch) (string, error) {
	l.note(ref[:strings.LastIndex(ref, ":")])
	r, err := l.open(ctx)
	if err != nil {
		return "", err
	}
	return r.Image(ctx, ref, digest, archs)
}

func (l *lazyRemote) close() error {
	if l.remote == nil {
		return nil
	}
	return l.remote.Close()
}
