package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/registry"
)

// ErrInput marks references that are none, and places that are not there. The user corrects the command.
var ErrInput = errors.New("wrong reference")

type inputError struct {
	text  string
	cause error // nil = the reference itself
}

func inputf(format string, args ...any) error { return &inputError{text: fmt.Sprintf(format, args...)} }

func (e *inputError) Error() string        { return e.text }
func (e *inputError) Is(target error) bool { return target == ErrInput }
func (e *inputError) Unwrap() error        { return e.cause }

// inPlace marks what is wrong with a file or folder that the user named, unless the system did not give it, or the run was to end.
func inPlace(ctx context.Context, err error) error {
	var system syscall.Errno
	if err == nil || ctx.Err() != nil || errors.As(err, &system) && system != syscall.ENOENT {
		return err
	}
	return &inputError{err.Error(), err}
}

// Places opens references: to files and folders here, and to registries.
type Places struct {
	Registry *registry.Client
	// Keys are the credentials for a repository; nil = docker's configuration.
	Keys func(ctx context.Context, r name.Repository) ([]registry.Credential, error)

	open []func() error
}

// Close ends the use of all that was opened.
func (p *Places) Close() error {
	var errs []error
	for _, end := range p.open {
		errs = append(errs, end())
	}
	p.open = nil
	return errors.Join(errs...)
}

func (p *Places) keys(ctx context.Context, r name.Repository) ([]registry.Credential, error) {
	if p.Keys != nil {
		return p.Keys(ctx, r)
	}
	return registry.Docker(ctx, r)
}

// Open reads what a reference leads to: the name of an image in a registry, an OCI layout, an OCI archive or an archive of docker save. Of the
// last three, each image is a set of its own, unless the reference names one: PATH:NAME or PATH@sha256:…. Of an index's entries only those
// are read whose platform is wanted, or not told; want may be nil. Errors: ErrInput, also where a file or folder holds no such image; a registry's.
func (p *Places) Open(ctx context.Context, ref string, want func(*v1.Platform) bool) ([]*Set, error) {
	at, selected, isPath, err := splitPath(ref)
	if err != nil {
		return nil, err
	}
	if isPath {
		sets, err := p.openPath(ctx, ref, at, selected, want)
		return sets, inPlace(ctx, err)
	}
	named, err := ParseName(ref)
	if err != nil {
		return nil, err
	}
	keys, err := p.keys(ctx, named.Context())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	s, err := p.remote(ctx, ref, named, keys, want)
	if err != nil {
		return nil, err
	}
	return []*Set{s}, nil
}

// remote reads what a name in a registry leads to.
func (p *Places) remote(ctx context.Context, ref string, named name.Reference, keys []registry.Credential, want func(*v1.Platform) bool) (*Set, error) {
	repo := p.Registry.Repo(named.Context(), keys)
	d, err := repo.Manifest(ctx, named.Identifier())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	doc, err := parseDocument(d.Raw, types.MediaType(d.Media))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	s := &Set{Ref: ref, Digest: d.Digest, Media: string(doc.media), origin: remote{repo}, remote: true}
	if err := s.collect(ctx, doc, want); err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return s, nil
}

func (p *Places) openPath(ctx context.Context, ref, path, selected string, want func(*v1.Platform) bool) ([]*Set, error) {
	source, err := Open(path)
	if err != nil {
		return nil, err
	}
	p.open = append(p.open, source.Close)
	var sets []*Set
	var besides error // why what is there is no image
	names := map[string]bool{}
	for _, e := range source.entries {
		names[e.best()] = true
		if digest, ok := strings.CutPrefix(selected, "@"); selected != "" && !ok && !e.isNamed(selected) {
			continue
		} else if ok && e.hash != "" && e.hash != digest {
			continue
		}
		d, from, err := e.set(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if selected != "" && selected[0] == '@' && d.hash.String() != selected[1:] {
			continue
		}
		s := &Set{Ref: ref, Name: e.best(), Digest: d.hash.String(), Media: string(d.media), origin: from}
		err = s.collect(ctx, d, want)
		if errors.Is(err, errNoImage) && selected == "" {
			besides = fmt.Errorf("%s: %w", path, err)
			continue // signatures and charts may lie beside images
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		sets = append(sets, s)
	}
	if len(sets) == 0 && besides != nil {
		return nil, besides
	}
	if len(sets) == 0 {
		return nil, fmt.Errorf("%s holds no image %s%s", path, selected, listed(names))
	}
	return sets, nil
}

func (e entry) isNamed(name string) bool {
	for _, n := range e.names {
		if sameName(n, name) || strings.HasSuffix(n, ":"+name) {
			return true
		}
	}
	return false
}

// splitPath tells paths from names of images: what begins like a path is one, and so is what is a layout or an archive. An image in it may
// be named behind it.
func splitPath(ref string) (path, selected string, isPath bool, err error) {
	if ref == "" {
		return "", "", false, inputf("a reference is empty")
	}
	explicit := strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../") || ref == "." || ref == ".."
	if looksLikeImages(ref, explicit) {
		return ref, "", true, nil
	}
	for i := len(ref) - 1; i > 0; i-- {
		if ref[i] != ':' && ref[i] != '@' || !looksLikeImages(ref[:i], explicit) {
			continue
		}
		if ref[i] == '@' {
			return ref[:i], ref[i:], true, nil
		}
		return ref[:i], ref[i+1:], true, nil
	}
	archive := strings.HasSuffix(ref, ".tar") || strings.HasSuffix(ref, ".tgz") || strings.HasSuffix(ref, ".tar.gz") // no registry is asked for a file
	if explicit || archive {
		return "", "", true, inputf("%s: no such file or folder", ref)
	}
	return "", "", false, nil
}

func looksLikeImages(path string, explicit bool) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	if explicit || info.Mode().IsRegular() {
		return true
	}
	_, err = os.Stat(filepath.Join(path, "oci-layout"))
	return err == nil
}

// ParseName reads the name of an image in a registry, with a tag, a digest or both: registry:5000/app:v1@sha256:….
// One that holds a login is refused, and the login is not repeated. Errors: ErrInput.
func ParseName(ref string) (name.Reference, error) {
	if at := strings.LastIndex(ref, "@"); at >= 0 && strings.Contains(ref[at:], "/") {
		return nil, inputf("…%s holds a name or a password, and no name of an image does: docker login, or podman login, is the way to give them", ref[at:])
	}
	for _, scheme := range []string{"http://", "https://", "docker://", "oci:", "oci-archive:", "docker-archive:"} {
		if rest, ok := strings.CutPrefix(ref, scheme); ok {
			return nil, inputf("%q begins with %s: write %s alone", ref, scheme, rest)
		}
	}
	named, err := name.ParseReference(ref)
	if err != nil {
		return nil, inputf("%q is no name of an image, such as registry.example:5000/team/app:1.5, and no file or folder", ref)
	}
	if d, ok := named.(name.Digest); ok && !strings.HasPrefix(d.DigestStr(), "sha256:") {
		return nil, inputf("%q: only digests of sha256 are known", ref)
	}
	return named, nil
}
