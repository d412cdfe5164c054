package bundle

import (
	"cmp"
	"maps"
	"slices"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Difference is one thing that two bundles do not have in common: a binary or an image of one architecture.
type Difference struct {
	What      string        `json:"what"` // added, removed or changed
	Kind      string        `json:"kind"` // binary or image
	Component string        `json:"component,omitempty"`
	Name      string        `json:"name"` // file name, or repository with registry
	Arch      platform.Arch `json:"arch,omitempty"`
	Before    *Content      `json:"before,omitempty"`
	After     *Content      `json:"after,omitempty"`
}

// Content is what a bundle has under a name.
type Content struct {
	Version string `json:"version"` // of a binary; the tag of an image
	Digest  string `json:"digest"`  // of the file; of the image manifest
}

// subject is what two bundles are compared by.
type subject struct {
	kind, component, name string
	arch                  platform.Arch // "" = the index of an image
}

// Diff tells what changes from before to after: binaries and then images, by component, name and architecture. An index whose images are the
// same in both stands without an architecture when it differs itself. None means that both hold the same.
func Diff(before, after *Bundle) []Difference {
	old, now := before.Manifest.contents(), after.Manifest.contents()
	all := maps.Clone(old)
	maps.Copy(all, now)
	var found []Difference
	for s := range all {
		d := Difference{What: "changed", Kind: s.kind, Component: s.component, Name: s.name, Arch: s.arch}
		was, had := old[s]
		is, has := now[s]
		switch {
		case !had:
			d.What, d.After = "added", &is
		case !has:
			d.What, d.Before = "removed", &was
		case was == is:
			continue
		default:
			d.Before, d.After = &was, &is
		}
		found = append(found, d)
	}
	var out []Difference
	for _, d := range found {
		if d.Kind == "binary" || d.Arch != "" || !told(found, d) {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Component, b.Component), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch))
	})
	return out
}

// told reports whether an image for some architecture tells already what changed with its index.
func told(all []Difference, index Difference) bool {
	return slices.ContainsFunc(all, func(d Difference) bool {
		return d.Kind == index.Kind && d.Component == index.Component && d.Name == index.Name && d.Arch != ""
	})
}

// contents is all that the manifest lists.
func (m Manifest) contents() map[subject]Content {
	all := map[subject]Content{}
	for _, b := range m.Binaries {
		all[subject{"binary", b.Component, b.Name, b.Arch}] = Content{b.Version, "sha256:" + b.SHA256}
	}
	for _, i := range m.Images {
		name, tag := i.Ref, ""
		if ref, err := image.ParseRef(i.Ref); err == nil {
			name, tag = ref.Repository, ref.Tag
		}
		all[subject{"image", i.Component, name, ""}] = Content{tag, i.Digest}
		for _, a := range i.Archs {
			all[subject{"image", i.Component, name, a}] = Content{tag, i.Manifests[a]}
		}
	}
	return all
}
