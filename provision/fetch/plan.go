package fetch

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Missing is what the cache lacks for a set.
type Missing struct {
	Files  []Lack `json:"files,omitempty"`
	Images []Lack `json:"images,omitempty"`
}

// Lack is one thing that would be fetched.
type Lack struct {
	Name  string `json:"name"`            // "kubelet v1.36.4 for arm64", "registry.k8s.io/etcd:3.6.8-0"
	Host  string `json:"host"`            // that would be asked
	Bytes int64  `json:"bytes,omitempty"` // that are still to come; 0 = not known before they are asked for
}

// None reports whether nothing would be fetched.
func (m Missing) None() bool { return len(m.Files)+len(m.Images) == 0 }

// Hosts are those that would be asked, each once.
func (m Missing) Hosts() []string {
	var hosts []string
	for _, l := range slices.Concat(m.Files, m.Images) {
		hosts = append(hosts, l.Host)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// Bytes are those that are known to come; unknown is for how many things they are not known before they are asked for.
func (m Missing) Bytes() (known int64, unknown int) {
	for _, l := range slices.Concat(m.Files, m.Images) {
		if l.Bytes == 0 {
			unknown++
		}
		known += l.Bytes
	}
	return known, unknown
}

// String is the whole in one clause: "26 files and 9 images from dl.k8s.io, ghcr.io (12 MB; of 30 the size is not known yet)".
func (m Missing) String() string {
	if m.None() {
		return "nothing"
	}
	var what []string
	if n := len(m.Files); n > 0 {
		what = append(what, report.Count(n, "file"))
	}
	if n := len(m.Images); n > 0 {
		what = append(what, report.Count(n, "image"))
	}
	text := strings.Join(what, " and ") + " from " + strings.Join(m.Hosts(), ", ")
	switch known, unknown := m.Bytes(); {
	case unknown == 0:
		return text + " (" + report.Bytes(known) + ")"
	case known == 0:
		return text + " (how much is not known before they are asked for)"
	default:
		return fmt.Sprintf("%s (%s; of %d the size is not known before they are asked for)", text, report.Bytes(known), unknown)
	}
}

// Plan tells what Bundle would fetch. It opens no connection and writes nothing; what is in the cache is looked at, and not read.
// Errors: ErrInput, ErrContent (the catalogue and the lock file contradict one another); ErrProgram comes with what is missing besides.
func Plan(set catalogue.Set, o Options) (Missing, error) {
	f, err := newFetcher(o)
	if err != nil {
		return Missing{}, err
	}
	own := ownPrograms(set, f.o.Program)
	if own == nil {
		if _, ok, err := f.complete(context.Background(), set, false); ok || err != nil {
			return Missing{}, err
		}
	}
	var m Missing
	for _, file := range set.Files {
		sum, err := f.known(file)
		if err != nil {
			return Missing{}, err
		}
		if has, touched := f.cache.look(sum, -1); sum != "" && (has || touched) {
			continue
		}
		u, err := url.Parse(f.o.Sources.of(file.URL))
		if err != nil {
			return Missing{}, failf(ErrInput, "%s: its address cannot be read", file)
		}
		m.Files = append(m.Files, Lack{Name: file.String(), Host: u.Host})
	}
	listed := map[string]bool{}
	for _, i := range set.Images {
		lack, err := f.lacks(i, set, listed)
		if err != nil {
			return Missing{}, err
		}
		if lack != nil {
			m.Images = append(m.Images, *lack)
		}
	}
	return m, own
}

// lacks looks at one image; nil = all of it is there.
func (f *fetcher) lacks(i catalogue.Image, set catalogue.Set, listed map[string]bool) (*Lack, error) {
	digest, _, err := f.wanted(i)
	if err != nil {
		return nil, err
	}
	repository, _ := splitRef(i.Ref)
	lack := &Lack{Name: i.Ref, Host: f.o.Sources.image(repository)[0].host()}
	index, ok := f.listing(digest)
	if !ok {
		return lack, nil
	}
	whole := true
	for _, a := range set.Archs {
		manifest, ok := f.listing(index.Children[a].Digest)
		if !ok {
			return lack, nil
		}
		for _, b := range manifest.Content {
			has, touched := f.cache.look(b.Digest, b.Size)
			if has || touched {
				continue
			}
			whole = false
			if !listed[b.Digest] {
				listed[b.Digest] = true
				lack.Bytes += max(b.Size-f.cache.part(b.Digest), 1)
			}
		}
	}
	if whole {
		return nil, nil
	}
	return lack, nil
}

// listing reads a document of the cache; false = it is not there.
func (f *fetcher) listing(digest string) (image.Listing, bool) {
	if digest == "" {
		return image.Listing{}, false
	}
	raw, err := f.cache.read(digest)
	if err != nil {
		return image.Listing{}, false
	}
	l, err := image.ReadListing(raw, "")
	return l, err == nil && l.Digest == digest
}
