package bundle

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Remote brings what bundle.yaml names by its address onto this machine.
type Remote interface {
	// File fetches a file, or of an archive the program that it names, and returns where it lies.
	File(ctx context.Context, f RemoteFile) (path string, err error)
	// Directory fetches an archive, and returns a directory with every executable of it.
	Directory(ctx context.Context, f RemoteFile) (path string, err error)
	// Image fetches an image for those architectures, and returns an OCI layout that holds it under ref. Without a digest it is what the tag
	// stands for.
	Image(ctx context.Context, ref, digest string, archs []platform.Arch) (path string, err error)
}

// RemoteFile is a file at an address.
type RemoteFile struct {
	What    string // for people: "kubelet v1.36.4 for arm64"
	Address string
	Member  string // of an archive; "" = the file itself
	SHA256  string // of what the address gives
}

// registryScheme begins what is fetched from a registry.
const registryScheme = "registry://"

func isRemote(path string) bool { return strings.Contains(path, "://") }

// checkRemote says in a sentence's end what is wrong with an address of a file.
func checkRemote(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("is no address that can be read")
	case u.Scheme != "https":
		return fmt.Errorf("begins with %s://, and only https:// is fetched", u.Scheme)
	case u.User != nil:
		return fmt.Errorf("holds a name or a password, which is refused")
	}
	return nil
}

// checkSums holds addresses and sums against one another.
func (b sourceBinary) checkSums(p *problems, field string) {
	for _, one := range []struct {
		field string
		paths map[string]string
	}{{field + ".files", b.Files}, {field + ".directories", b.Directories}} {
		for _, key := range slices.Sorted(maps.Keys(one.paths)) {
			switch at := one.paths[key]; {
			case !isRemote(at) && b.SHA256[key] != "":
				p.add(field+".sha256."+key, "goes with an address; what lies here is taken as it is")
			case !isRemote(at):
			case checkRemote(at) != nil:
				p.add(one.field+"."+key, "%v", checkRemote(at))
			case !hexDigest.MatchString(b.SHA256[key]):
				p.add(one.field+"."+key, "needs the sha256 of what is there: sha256: {%s: …}, 64 hexadecimal digits", key)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b.SHA256)) {
		if b.Files[key] == "" && b.Directories[key] == "" {
			p.add(field+".sha256."+key, "is of no file")
		}
	}
}

// checkRemote says what is wrong with an image's addresses.
func (i sourceImage) checkRemote(p *problems, field string) {
	if isRemote(i.Path) {
		if _, _, err := registryImage(i.Path); err != nil {
			p.add(field+".path", "%v", err)
		}
		if i.Name != "" {
			p.add(field+".name", "goes with a layout or an archive; registry:// names the image itself")
		}
	}
	for _, one := range []struct {
		field string
		paths map[string]string
	}{{field + ".paths", i.Paths}, {field + ".programs", i.Programs}} {
		for _, key := range slices.Sorted(maps.Keys(one.paths)) {
			if isRemote(one.paths[key]) {
				p.add(one.field+"."+key, "is fetched only as a whole: path: registry://…")
			}
		}
	}
}

// registryImage takes registry://HOST/NAME:TAG[@sha256:…] apart.
func registryImage(at string) (ref, digest string, err error) {
	rest, ok := strings.CutPrefix(at, registryScheme)
	if !ok {
		return "", "", fmt.Errorf("begins with %s, and only %s is fetched", at[:strings.Index(at, "://")+3], registryScheme)
	}
	ref, digest, pinned := strings.Cut(rest, "@")
	if pinned && !ociDigest.MatchString(digest) {
		return "", "", fmt.Errorf("has the digest %q, which is none of sha256", digest)
	}
	if _, err := image.ParseRef(ref); err != nil {
		return "", "", fmt.Errorf("%q is %w", ref, err)
	}
	return ref, digest, nil
}

// hasRemote reports whether anything is to be fetched.
func (s source) hasRemote() bool {
	for _, b := range s.Binaries {
		for _, paths := range []map[string]string{b.Files, b.Directories} {
			for _, at := range paths {
				if isRemote(at) {
					return true
				}
			}
		}
	}
	return slices.ContainsFunc(s.Images, func(i sourceImage) bool { return isRemote(i.Path) })
}

// localize fetches what is named by its address, several things at once, and puts where it lies in its place.
func (s *source) localize(ctx context.Context, remote Remote, archs []platform.Arch) error {
	if !s.hasRemote() {
		return nil
	}
	if remote == nil {
		return sentencef(ErrSource, "the bundle source names addresses, and nothing is fetched here")
	}
	const atOnce = 6
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for n := range s.Binaries {
		b := &s.Binaries[n]
		for _, one := range []struct {
			paths *map[string]string
			fetch func(context.Context, RemoteFile) (string, error)
		}{{&b.Files, remote.File}, {&b.Directories, remote.Directory}} {
			paths := maps.Clone(*one.paths)
			*one.paths = paths
			for key, f := range b.remotes(paths) {
				g.Go(func() error {
					where, err := one.fetch(gctx, f)
					mu.Lock()
					defer mu.Unlock()
					paths[key] = where
					return err
				})
			}
		}
	}
	for n := range s.Images {
		if i := &s.Images[n]; isRemote(i.Path) {
			g.Go(func() error {
				ref, digest, err := registryImage(i.Path)
				if err != nil {
					return err
				}
				at, err := remote.Image(gctx, ref, digest, archs)
				i.Path, i.Name = at, ref
				return err
			})
		}
	}
	return g.Wait()
}

// remotes are the files at addresses, by the key of their architecture.
func (b sourceBinary) remotes(paths map[string]string) map[string]RemoteFile {
	out := map[string]RemoteFile{}
	for key, at := range paths {
		if !isRemote(at) {
			continue
		}
		address, member, _ := strings.Cut(at, "#")
		name := b.Name
		if name == "" {
			name = path.Base(address)
		}
		out[key] = RemoteFile{What: fmt.Sprintf("%s %s for %s", name, b.Version, key), Address: address, Member: member, SHA256: b.SHA256[key]}
	}
	return out
}
