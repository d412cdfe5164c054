package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
)

// Verdict reports whether a node of an architecture gets an image.
type Verdict string

const (
	VerdictYes     Verdict = "yes"
	VerdictListed  Verdict = "listed" // the index names an image for it, and that is not there, or no one looked
	VerdictNo      Verdict = "no"
	VerdictUnknown Verdict = "unknown"
	VerdictWrong   Verdict = "wrong"   // there is one, and what a pod starts in it does not start there
	VerdictMissing Verdict = "missing" // there is one, without the program that a pod starts
)

// Asker asks registries for which platforms images are made. It reads manifests and configs alone, unless it has a Starter.
type Asker struct {
	Registry *registry.Client
	Cache    *Cache // nil = none
	// IndexOnly does not ask whether the images that an index names are there.
	IndexOnly bool
	// Starter looks into the images of an audit for what pods start in them; nil = no one does.
	Starter *Starter
}

// Listed is one image that a reference leads to.
type Listed struct {
	OS, Arch, Variant string
	Digest            string
	There, Asked      bool

	unread error // why nothing is known of this one alone
}

func (l Listed) String() string {
	return PlatformString(v1.Platform{OS: l.OS, Architecture: l.Arch, Variant: l.Variant})
}

// Answer is what a registry tells of a reference.
type Answer struct {
	Ref    string
	Digest string
	Index  bool
	Listed []Listed
	Err    error // why nothing is known; errors.Is with registry.ErrLogin tells that it wants a login
}

// Login reports whether the registry wants another login than it was shown.
func (a Answer) Login() bool { return errors.Is(a.Err, registry.ErrLogin) }

// For is the verdict for an architecture, with a reason where it is not yes.
func (a Answer) For(arch platform.Arch) (Verdict, string) {
	if a.Err != nil {
		return VerdictUnknown, a.Err.Error()
	}
	i := slices.IndexFunc(a.Listed, func(l Listed) bool { return l.is(arch) })
	switch {
	case i < 0:
		return VerdictNo, a.instead(arch)
	case a.Listed[i].unread != nil:
		return VerdictUnknown, a.Listed[i].unread.Error()
	case !a.Index || a.Listed[i].There:
		return VerdictYes, ""
	case a.Listed[i].Asked:
		return VerdictListed, fmt.Sprintf("the index names %s for it, and the registry does not have that: pulling it answers 404", a.Listed[i].Digest)
	}
	return VerdictListed, "the index names it; whether it is there was not asked"
}

// Archs are the architectures for which the verdict is yes.
func (a Answer) Archs() []platform.Arch {
	var out []platform.Arch
	for _, arch := range platform.All() {
		if v, _ := a.For(arch); v == VerdictYes {
			out = append(out, arch)
		}
	}
	return out
}

func (l Listed) is(arch platform.Arch) bool {
	of, ok := platform.OfImage(l.Arch, l.Variant)
	return ok && of == arch && l.OS == "linux"
}

// instead says what there is, and why that is not the same.
func (a Answer) instead(arch platform.Arch) string {
	if len(a.Listed) == 0 {
		return "it holds no image at all"
	}
	var names []string
	why := ""
	for _, l := range a.Listed {
		if s := l.String(); !slices.Contains(names, s) {
			names = append(names, s)
		}
		of, known := platform.AnyVariant(l.Arch)
		switch {
		case l.OS != "linux":
		case strings.EqualFold(l.Arch, platform.ProfileFor(arch).Narrow):
			why = fmt.Sprintf("; a node takes %s where there is nothing else, but many a processor does not run it", l)
		case known && of == arch && why == "":
			why = fmt.Sprintf("; %s is not for every processor of that architecture, and nodes do not take it", l)
		}
	}
	return "it is for " + strings.Join(names, ", ") + why
}

// Ask asks for one reference, with these credentials. wanted are the architectures whose images have to be there.
func (a *Asker) Ask(ctx context.Context, ref string, keys []registry.Credential, wanted []platform.Arch) Answer {
	out := Answer{Ref: ref}
	named, err := ParseName(ref)
	if err != nil {
		out.Err = err
		return out
	}
	q := &inquiry{Asker: a, repo: a.Registry.Repo(named.Context(), keys)}
	if out.Digest, out.Index, out.Listed, err = q.look(ctx, named.Identifier()); err == nil && out.Index && !a.IndexOnly {
		err = q.children(ctx, out.Listed, wanted)
	}
	if err != nil {
		out.Err = fmt.Errorf("%w", err)
		out.Listed = nil
	}
	return out
}

// inquiry asks one repository.
type inquiry struct {
	*Asker
	repo *registry.Repo
}

// look reads what a tag or digest leads to; with a cache, the digest alone when what it stands for is known.
func (q *inquiry) look(ctx context.Context, identifier string) (digest string, index bool, listed []Listed, err error) {
	name := q.repo.Name().Name() + ":" + identifier
	if q.Cache != nil && q.Cache.knows(name) {
		digest, err = q.repo.Digest(ctx, identifier)
		if err != nil {
			return "", false, nil, err
		}
		if known, ok := q.Cache.get(digest); ok {
			return digest, known.Index, slices.Clone(known.Listed), nil
		}
	}
	d, err := q.repo.Manifest(ctx, identifier)
	if err != nil {
		return "", false, nil, err
	}
	doc, err := parseDocument(d.Raw, types.MediaType(d.Media))
	if err != nil {
		return "", false, nil, err
	}
	listed, err = q.listed(ctx, doc, v1.Descriptor{Digest: doc.hash}, 0)
	if err != nil {
		return "", false, nil, err
	}
	if q.Cache != nil {
		q.Cache.put(name, d.Digest, cached{Index: doc.index != nil, Listed: listed})
	}
	return d.Digest, doc.index != nil, slices.Clone(listed), nil
}

// listed are the platforms of a document. Entries of an index that do not say theirs are asked themselves.
func (q *inquiry) listed(ctx context.Context, d document, desc v1.Descriptor, depth int) ([]Listed, error) {
	if d.index == nil {
		return q.ofConfig(ctx, d, depth > 0)
	}
	if depth == maxDepth {
		return nil, errors.New("too many indexes within one another")
	}
	var out []Listed
	for _, m := range d.index.Manifests {
		switch {
		case isAttestation(m):
		case len(out) >= maxEntries:
			return nil, fmt.Errorf("an index of more than %d images is not read", maxEntries)
		case m.Platform != nil && m.Platform.Architecture != "" && !m.MediaType.IsIndex():
			out = append(out, Listed{OS: m.Platform.OS, Arch: m.Platform.Architecture, Variant: m.Platform.Variant, Digest: m.Digest.String()})
		default:
			child, err := remote{q.repo}.manifest(ctx, m.Digest, m.MediaType)
			if errors.Is(err, fs.ErrNotExist) {
				continue // what it would have been for, no one can tell
			}
			if err != nil {
				return nil, err
			}
			some, err := q.listed(ctx, child, m, depth+1)
			if err != nil {
				return nil, err
			}
			if m.Platform != nil && m.Platform.Architecture != "" { // an index within: nodes of another platform do not look into it
				some = slices.DeleteFunc(some, func(l Listed) bool {
					return !samePlatform(*m.Platform, v1.Platform{OS: l.OS, Architecture: l.Arch, Variant: l.Variant})
				})
			}
			out = append(out, some...)
		}
	}
	return out, nil
}

// ofConfig asks an image itself. Among an index's entries are some that are no images, as signatures.
func (q *inquiry) ofConfig(ctx context.Context, d document, entry bool) ([]Listed, error) {
	if isArtifact(d.image) {
		if entry {
			return nil, nil
		}
		return nil, fmt.Errorf("it is no image but an artifact (%s)", d.image.Config.MediaType)
	}
	raw, err := remote{q.repo}.small(ctx, d.image.Config)
	if err != nil {
		return nil, err
	}
	var config v1.ConfigFile
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&config); err != nil {
		return nil, fmt.Errorf("its config %s cannot be read: %w", d.image.Config.Digest, err)
	}
	if config.Architecture == "" {
		if entry {
			return nil, nil
		}
		return nil, errors.New("its config names no architecture")
	}
	return []Listed{{OS: config.OS, Arch: config.Architecture, Variant: config.Variant, Digest: d.hash.String(), There: true, Asked: true}}, nil
}

// children reads the wanted images: clean-up jobs delete what has no tag, and leave the index; and what a registry says of a manifest that it
// is not to give is not always true.
func (q *inquiry) children(ctx context.Context, listed []Listed, wanted []platform.Arch) error {
	for _, arch := range wanted {
		i := slices.IndexFunc(listed, func(l Listed) bool { return l.is(arch) })
		if i < 0 || listed[i].There {
			continue
		}
		_, err := q.repo.Manifest(ctx, listed[i].Digest)
		switch {
		case errors.Is(err, registry.ErrOther):
			listed[i].unread = err
			continue
		case err != nil && !registry.IsNotFound(err):
			return err
		}
		listed[i].Asked, listed[i].There = true, err == nil
	}
	return nil
}
