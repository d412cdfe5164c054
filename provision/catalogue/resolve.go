package catalogue

import (
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// resolve makes the set for a version, which is that of s or, with upstream, another patch release of it.
func (c *Catalogue) resolve(s set, version string, archs []platform.Arch, components []string, upstream bool) (Set, error) {
	if len(archs) == 0 {
		archs = platform.All()
	}
	archs = slices.Compact(slices.Sorted(slices.Values(archs)))
	out := Set{Kubernetes: version, Archs: archs}
	if s.Note != "" {
		out.Notes = []string{s.Note}
	}
	var lacks []string
	for _, d := range c.doc.Downloads {
		wanted := s.Downloads[d.Name]
		if wanted == "" {
			continue
		}
		if d.Component == bundle.Kubernetes {
			wanted = version
		}
		_, r, _ := c.doc.find(d.Name, wanted)
		for _, a := range archs {
			f := d.file(wanted, a, byArch(r.SHA256)[a])
			if f.SHA256 == "" && (!upstream || f.Checksums == "") {
				lacks = append(lacks, f.String())
			}
			out.Files = append(out.Files, f)
		}
	}
	if len(lacks) > 0 {
		return Set{}, sentencef(ErrIncomplete, "%s has no sum of %s", c.name(), strings.Join(lacks, ", "))
	}
	images, err := c.images(s, version, components)
	out.Images, out.Programs = images, c.programs(archs)
	return out, err
}

// file is the download for one architecture.
func (d download) file(version string, a platform.Arch, sum string) File {
	f := File{Component: d.Component, Name: d.Name, Version: version, Arch: a, SHA256: sum, AllPrograms: is(d.AllPrograms, false)}
	f.URL, f.Checksums = expand(d.URL, version, a), expand(d.Checksums, version, a)
	for _, p := range d.Programs {
		f.Programs = append(f.Programs, Program{Name: p.Name, Path: expand(p.Path, version, a)})
	}
	return f
}

// images are those of every cluster, and those of the components that are asked for.
func (c *Catalogue) images(s set, version string, components []string) ([]Image, error) {
	refs := c.doc.refs(s)
	for _, name := range components {
		if !slices.ContainsFunc(refs, func(r ref) bool { return r.Component == name || r.With == name }) {
			return nil, sentencef(ErrIncomplete, "%s has no component %q (beside what every cluster needs it has %s)", c.name(), name,
				strings.Join(c.Optional(), ", "))
		}
	}
	var images []Image
	for _, r := range refs {
		if r.With == "" || slices.Contains(components, r.With) || slices.Contains(components, r.Component) {
			images = append(images, r.tagged(s.Kubernetes, version))
		}
	}
	return images, nil
}

// tagged is the image; one that is released with Kubernetes gets the tag of the version that is wanted, and its digest is not known then.
func (r ref) tagged(from, to string) Image {
	out := Image{Component: r.Component, Ref: r.Ref, Digest: r.Digest}
	if parsed, err := image.ParseRef(r.Ref); err == nil && from != to && parsed.Tag == from {
		out.Ref, out.Digest = parsed.Repository+":"+to, ""
	}
	return out
}

func (c *Catalogue) programs(archs []platform.Arch) []ProgramImage {
	var out []ProgramImage
	for _, m := range c.doc.Programs {
		files := map[platform.Arch]string{}
		for _, a := range archs {
			files[a] = expand(m.File, "", a)
		}
		out = append(out, ProgramImage{Component: m.Component, Ref: m.Ref, Files: files})
	}
	return out
}
