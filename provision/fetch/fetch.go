// Package fetch brings the artefacts of a catalogue onto this machine: files by HTTPS and images from registries, or from their mirrors,
// into a cache by digest, and makes bundles of them. It owns what may be fetched twice (nothing), what is taken for good (what has the
// digest that the catalogue or the lock file says), and the sentences for everything that goes wrong in between. It knows no host, and
// never asks for what the cache has.
package fetch

import (
	"cmp"
	"context"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/hybridctl/hybridctl/provision/registry"
)

// Options are where things come from and how. The zero value asks upstream's own hosts.
type Options struct {
	// Cache is the cache's directory; "" = ${XDG_CACHE_HOME:-~/.cache}/hybridctl.
	Cache string
	// Lock is the file with what was decided at the first fetch: the digests of images that the catalogue does not pin, and sums that were
	// upstream's word. "" = the cache's own.
	Lock string
	// Dir is where the bundle is made; "" = in the cache.
	Dir     string
	Sources Sources
	// CAFile has certificates of authorities besides the system's.
	CAFile   string
	Keychain registry.Keychain // nil = docker's configuration and its helpers
	Parallel int               // downloads at once; 0 = 6
	// Offline refuses to ask for anything.
	Offline bool
	// AllowUpstreamChecksums believes the checksum file beside a file whose sum no one pinned, once: the lock file
	// holds it from then on.
	AllowUpstreamChecksums bool
	// Program finds hybridctl's own program for an architecture, which no address has; nil = beside the running executable.
	Program  func(name string) (string, error)
	Progress func(Event) // called by one goroutine at a time

	Patience time.Duration                                    // without a byte; 0 = 60 s
	Wait     func(ctx context.Context, d time.Duration) error // nil = by the clock
	Now      func() time.Time                                 // nil = the clock
}

// Event is something that happened while fetching. Done and Total are of the item; 0 = not known.
type Event struct {
	Item    string // "kubelet arm64", "image etcd"; "" = the whole
	Message string // for people: something else than bytes
	Bytes   int64
	Total   int64 // 0 = not known
	Done    bool
}

// fetcher is one run.
type fetcher struct {
	o      Options
	cache  cache
	lock   *lockFile
	web    *http.Client
	images *registry.Client

	write       func(*os.File, []byte) (int, error) // tests have disks that are full
	maxUnpacked int64
	damaged     bool // the bundle was, and it was said

	mu    sync.Mutex
	bytes map[string]*progress // by item
}

// newFetcher checks the options. It opens no connection and writes nothing.
func newFetcher(o Options) (*fetcher, error) {
	o.Parallel, o.Patience = cmp.Or(o.Parallel, 6), cmp.Or(o.Patience, time.Minute)
	if o.Wait == nil {
		o.Wait = registry.Wait
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Program == nil {
		o.Program = besideExecutable
	}
	if err := o.Sources.Check(); err != nil {
		return nil, err
	}
	dir, err := cacheDir(o.Cache)
	if err != nil {
		return nil, err
	}
	f := &fetcher{o: o, cache: cache{dir}, bytes: map[string]*progress{}, write: (*os.File).Write, maxUnpacked: maxUnpacked}
	if f.lock, err = readLock(f.lockPath()); err != nil {
		return nil, err
	}
	if f.web, err = newClient(o); err != nil {
		return nil, err
	}
	f.images, err = registry.New(registry.Options{CAFile: o.CAFile, PlainHTTP: o.Sources.plainHosts(), Patience: o.Patience, Wait: o.Wait})
	return f, err
}

// note tells something besides bytes.
func (f *fetcher) note(item, message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell(Event{Item: item, Message: message})
}

// add puts an item on the list of what is fetched; size < 0 = not known.
func (f *fetcher) add(item string, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.bytes[item]
	switch {
	case p == nil:
		f.bytes[item] = &progress{0, size}
	case size < 0 || p.size < 0:
		p.size = -1
	default:
		p.size += size
	}
}

// came counts the bytes of an item.
func (f *fetcher) came(item string, n, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.bytes[item]
	p.have += n
	if p.size < 0 && size >= 0 {
		p.size = size
	}
	f.tell(Event{Item: item, Bytes: p.have, Total: max(p.size, 0)})
	whole := Event{}
	for _, p := range f.bytes {
		whole.Bytes += p.have
		if whole.Total >= 0 && p.size >= 0 {
			whole.Total += p.size
		} else {
			whole.Total = -1
		}
	}
	whole.Total = max(whole.Total, 0)
	f.tell(whole)
}

// ended says that an item is whole.
func (f *fetcher) ended(item string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.bytes[item]
	f.tell(Event{Item: item, Bytes: p.have, Total: max(p.size, 0), Done: true})
}

// tell has f.mu.
func (f *fetcher) tell(e Event) {
	if f.o.Progress != nil {
		f.o.Progress(e)
	}
}
