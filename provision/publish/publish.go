// Package publish puts the images of a bundle into a registry of the site, where nodes and other people pull them: whole indexes as far as
// the bundle has them, each blob mounted or sent once, and nothing that is there already. It owns under which names they lie there, and what
// is told of an index that is not whole. It never deletes, and it changes no other tag.
package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/registry"
)

// The sentinels of this package. Each error that wraps one is a sentence for the user.
var (
	// ErrInput: the target is no registry, or two images would lie under one name. The user names another.
	ErrInput = errors.New("wrong target")
	// ErrSparse: the registry does not take an index of which the bundle has only some images.
	ErrSparse = errors.New("sparse index refused")
)

// Options are how the registry is reached, and what is done with indexes that are not whole.
type Options struct {
	Registry *registry.Client
	Keychain registry.Keychain // nil = docker's configuration and its helpers
	// Reduce writes, in place of an index that names more than the bundle has, one of what it has: under another digest.
	Reduce bool
	// Done is called after each image, by the calling goroutine.
	Done func(Result)
	// Sending hears of the bytes of an image's blobs, from several goroutines.
	Sending func(ref string, n int64)
}

// Result is what became of one image in one place.
type Result struct {
	Ref       string   `json:"ref"`
	To        string   `json:"to"`
	Digest    string   `json:"digest"` // that the tag stands for now
	Unchanged bool     `json:"unchanged"`
	Sent      int      `json:"sent"`    // blobs
	Mounted   int      `json:"mounted"` // blobs
	LeftOut   []string `json:"leftOut,omitempty"`
	Reduced   bool     `json:"reduced,omitempty"`
}

// target is the beginning of a repository's name: a registry, and folders.
var target = regexp.MustCompile(`^(localhost|[a-z0-9][a-z0-9.-]*\.[a-z0-9.-]+|[a-z0-9][a-z0-9.-]*:[0-9]+|localhost:[0-9]+|\[[0-9a-f:]+\](:[0-9]+)?)(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)

// Names are the repositories where an image lies beneath a target: its own without its registry; CoreDNS also without the folder that it
// has upstream, as kubeadm asks for it where another repository than upstream's is set.
func Names(to, ref string) []string {
	repository, tag := ref[:strings.LastIndex(ref, ":")], ref[strings.LastIndex(ref, ":"):]
	_, path, _ := strings.Cut(repository, "/")
	names := []string{to + "/" + path + tag}
	if path == "coredns/coredns" {
		names = append(names, to+"/coredns"+tag)
	}
	return names
}

// Push puts every image of a bundle beneath a target, "harbor.example/k8s". It goes on where an earlier run ended, as what is there is not
// sent. On an error the images before it are there; the results say which.
// Errors: ErrInput, ErrSparse, bundle.ErrDamaged, those of package registry, or the context's.
func Push(ctx context.Context, b *bundle.Bundle, to string, o Options) ([]Result, error) {
	to = strings.TrimSuffix(to, "/")
	if !target.MatchString(to) || !hasPort(to) {
		if at := strings.LastIndex(to, "@"); at >= 0 {
			to = "…" + to[at:] // what stands before it may be a password
		}
		return nil, hint.With(fmt.Errorf("%w: %q is no registry with or without a folder, such as harbor.example/k8s", ErrInput, to),
			"write the host with its port where it has one, without https://")
	}
	if err := collisions(b, to); err != nil {
		return nil, err
	}
	p := &pusher{b: b, o: o, lies: map[string][]string{}}
	for _, i := range b.Manifest.Images {
		for _, name := range Names(to, i.Ref) {
			r, err := p.push(ctx, i, name)
			if err != nil {
				return p.results, p.explain(ctx, name, r, err)
			}
			p.results = append(p.results, r)
			if o.Done != nil {
				o.Done(r)
			}
		}
	}
	return p.results, nil
}

// hasPort reports whether the port of a target, where it names one, is any.
func hasPort(to string) bool {
	host, _, _ := strings.Cut(to, "/")
	colon := strings.LastIndex(host, ":")
	if colon < 0 || strings.HasSuffix(host, "]") {
		return true
	}
	n, err := strconv.ParseUint(host[colon+1:], 10, 16)
	return err == nil && n > 0
}

// collisions finds images of two registries that would lie under one name.
func collisions(b *bundle.Bundle, to string) error {
	by := map[string]bundle.Image{}
	for _, i := range b.Manifest.Images {
		for _, name := range Names(to, i.Ref) {
			if other, twice := by[name]; twice && other.Digest != i.Digest {
				return fmt.Errorf("%w: %s and %s would both lie at %s, and are not the same", ErrInput, other.Ref, i.Ref, name)
			}
			by[name] = i
		}
	}
	return nil
}

// explain says what to do about an image that could not be pushed.
func (p *pusher) explain(ctx context.Context, name string, r Result, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var index *indexError
	if len(r.LeftOut) > 0 && !p.o.Reduce && errors.As(err, &index) && refusesSparse(err) {
		return hint.With(fmt.Errorf("%s: %w: its index also names images for %s, which the bundle does not have, and the registry takes only whole ones (%v)",
			name, ErrSparse, strings.Join(r.LeftOut, ", "), err),
			"have the registry take them (distribution: validation.manifests.indexes.platforms: none), or write smaller indexes: --reduce-indexes; those have other digests")
	}
	host, _, _ := strings.Cut(name, "/")
	var e *registry.Error
	answered := errors.As(err, &e)
	err = fmt.Errorf("%s: %w", name, err)
	switch advice := registry.Hint(err); {
	case errors.Is(err, registry.ErrLogin):
		return hint.With(err, "docker login %s (or podman login), as someone who may write there", host)
	case errors.Is(err, registry.ErrDocker):
		return hint.With(err, "mend it, or name another folder with DOCKER_CONFIG; docker login %s writes one", host)
	case answered && e.Status == http.StatusForbidden:
		return hint.With(err, "docker login %s as someone who may write there; some registries want the project to be made first", host)
	case answered && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed):
		return hint.With(err, "is %s a registry? It has to answer below /v2/; some want the project to be made first", host)
	case advice != "":
		return hint.With(err, "%s", advice)
	}
	return err
}

// refusesSparse reports whether a registry's answer to an index may be that it misses some of its images.
func refusesSparse(err error) bool {
	var e *registry.Error
	if !errors.As(err, &e) || e.Status < 400 || e.Status >= 500 {
		return false
	}
	known := []string{"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNVERIFIED"}
	return e.Status == 404 || slices.ContainsFunc(e.Codes, func(code string) bool { return slices.Contains(known, code) })
}
