package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/registry"
)

// ErrAbsent: a repository does not have a manifest. The error says what it has instead.
var ErrAbsent = errors.New("is not there")

// Holds reads whether a repository has the manifest of each architecture, as whoever pulls by digest will. ref is the image's name there, with its
// tag, which explains what is absent. The answer for an architecture is nil, ErrAbsent, or why nothing is known.
func (a *Asker) Holds(ctx context.Context, ref string, keys []registry.Credential, manifests map[platform.Arch]string) map[platform.Arch]error {
	out := map[platform.Arch]error{}
	named, err := ParseName(ref)
	if err != nil {
		for arch := range manifests {
			out[arch] = err
		}
		return out
	}
	repo := a.Registry.Repo(named.Context(), keys)
	var tag *Answer // asked once, and only where something is absent
	for _, arch := range slices.Sorted(maps.Keys(manifests)) {
		_, err := repo.Manifest(ctx, manifests[arch])
		if err != nil && registry.IsNotFound(err) {
			if tag == nil {
				one := a.Ask(ctx, ref, keys, platform.All())
				tag = &one
			}
			err = notThere(*tag, arch)
		}
		out[arch] = err
	}
	return out
}

// notThere says what a repository has under the name of an image whose manifest for an architecture it lacks.
func notThere(tag Answer, arch platform.Arch) error {
	if tag.Err != nil {
		if registry.IsNotFound(tag.Err) {
			return fmt.Errorf("%s %w", tag.Ref, ErrAbsent)
		}
		return fmt.Errorf("%s: %w", tag.Ref, tag.Err)
	}
	switch verdict, reason := tag.For(arch); verdict {
	case VerdictYes:
		var others []string
		for _, l := range tag.Listed {
			if l.is(arch) {
				others = append(others, l.Digest)
			}
		}
		return fmt.Errorf("%s %w: under that name the registry has another image (%s)", tag.Ref, ErrAbsent, strings.Join(others, ", "))
	default:
		return fmt.Errorf("%s %w: %s", tag.Ref, ErrAbsent, reason)
	}
}
