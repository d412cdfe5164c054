package image

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// ErrRefused marks images that are not put together, as what came of it would not run, or not be what it says. Nothing was sent.
var ErrRefused = errors.New("refused")

// Format is in which of the two families of types an image is written.
type Format string

// The formats. Auto is Docker's where all images are, else OCI's, and keeps every image as it is.
const (
	FormatAuto   Format = "auto"
	FormatOCI    Format = "oci"
	FormatDocker Format = "docker"
)

// Part is one image to take, and the platform that it is for.
type Part struct {
	Platform v1.Platform
	Ref      string
}

// PartFor is an image of Linux on an architecture.
func PartFor(arch platform.Arch, ref string) Part {
	return Part{Platform: v1.Platform{OS: "linux", Architecture: arch.String()}, Ref: ref}
}

// AssembleOptions are what is put together, and how.
type AssembleOptions struct {
	Target           string // the new image's name, with its tag
	Parts            []Part
	Format           Format // "" = auto
	KeepAttestations bool
	RewriteConfig    bool // a config that says another architecture is written again
	TagChildren      bool // each image has a tag of its own, TAG-ARCH, so that no clean-up takes it for waste
}

// Assembly is an index of images that is ready to be pushed.
type Assembly struct {
	Target    string          `json:"target"`
	Digest    string          `json:"digest"`
	MediaType string          `json:"mediaType"`
	Children  []Child         `json:"children"`
	Kept      []OtherReport   `json:"attestations,omitempty"`
	Notes     []string        `json:"notes,omitempty"`
	Warnings  []string        `json:"warnings,omitempty"`
	Index     json.RawMessage `json:"index"`

	options AssembleOptions
	tag     name.Tag
	raw     []byte
	extra   []extra
}

// Child is one image of an assembly.
type Child struct {
	Platform  string `json:"platform"`
	Digest    string `json:"digest"`
	From      string `json:"from"`                // as it was asked for
	Was       string `json:"was,omitempty"`       // its digest there, when it has another one now
	Converted bool   `json:"converted,omitempty"` // to other types
	Rewritten bool   `json:"rewritten,omitempty"` // its config
	Tag       string `json:"tag,omitempty"`
	Bytes     int64  `json:"bytes"`

	entry    Entry
	set      *Set
	platform v1.Platform
	media    types.MediaType
	raw      []byte // of the manifest as it will be
	manifest *v1.Manifest
	config   []byte // nil = the source's own
}

// extra is an entry of the index besides the images: an attestation.
type extra struct {
	other Other
	doc   document
}

// ParsePlatform reads OS/ARCH[/VARIANT][:OS.VERSION].
func ParsePlatform(s string) (v1.Platform, error) {
	if !platformForm.MatchString(s) {
		return v1.Platform{}, fmt.Errorf("%q is no platform: OS/ARCH[/VARIANT][:OS.VERSION], as windows/%s:10.0.17763.1", s, platform.All()[0])
	}
	p := v1.Platform{}
	s, p.OSVersion, _ = strings.Cut(s, ":")
	parts := append(strings.Split(s, "/"), "")
	p.OS, p.Architecture, p.Variant = parts[0], parts[1], parts[2]
	if arch, ok := platform.AnyVariant(p.Architecture); ok {
		p.Architecture = string(arch)
	}
	return p, nil
}

var platformForm = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_-]+(/[a-z0-9.]+)?(:[A-Za-z0-9._-]+)?$`)

// Assemble brings each part to one image, checks it, and makes the index. It sends nothing.
func Assemble(ctx context.Context, p *Places, in *Inspector, o AssembleOptions) (*Assembly, error) {
	o.Format = cmp.Or(o.Format, FormatAuto)
	a := &Assembly{Target: o.Target, options: o}
	var err error
	if a.tag, err = targetTag(o.Target); err != nil {
		return nil, err
	}
	p.Registry.Share(a.tag.Context(), repositories(o.Parts))
	for _, part := range o.Parts {
		c, err := choose(ctx, p, part, o)
		if err != nil {
			return nil, err
		}
		if err := c.check(ctx, in, a); err != nil {
			return nil, err
		}
		a.Children = append(a.Children, c)
	}
	slices.SortStableFunc(a.Children, func(x, y Child) int { return cmp.Compare(x.Platform, y.Platform) })
	for i := 1; i < len(a.Children); i++ {
		if x, y := a.Children[i-1], a.Children[i]; x.Platform == y.Platform {
			return nil, fmt.Errorf("%w: two images for %s, which nodes could not tell apart: %s and %s", ErrRefused, x.Platform, x.From, y.From)
		}
	}
	if err := a.write(ctx); err != nil {
		return nil, err
	}
	a.notes()
	return a, nil
}

// repositories are those that the parts are read from.
func repositories(parts []Part) []name.Repository {
	var out []name.Repository
	for _, part := range parts {
		if _, _, isPath, err := splitPath(part.Ref); err != nil || isPath {
			continue
		}
		if named, err := ParseName(part.Ref); err == nil {
			out = append(out, named.Context())
		}
	}
	return out
}

// targetTag is the name to push to; the tag has to be spelled out.
func targetTag(target string) (name.Tag, error) {
	if _, err := ParseName(target); err != nil {
		return name.Tag{}, err
	}
	if strings.Contains(target, "@") {
		return name.Tag{}, inputf("the target %q has a digest: what is assembled gets its own, so name a tag alone", target)
	}
	if last := target[strings.LastIndex(target, "/")+1:]; !strings.Contains(last, ":") {
		return name.Tag{}, inputf("the target %q has no tag: write %s:TAG", target, target)
	}
	tag, err := name.NewTag(target)
	if err != nil {
		return name.Tag{}, inputf("the target %q is no name of an image", target)
	}
	return tag, nil
}

// choose finds the one image of a part.
func choose(ctx context.Context, p *Places, part Part, o AssembleOptions) (Child, error) {
	passed := map[string]bool{}
	sets, err := p.Open(ctx, part.Ref, func(claimed *v1.Platform) bool {
		ok := sameArch(*claimed, part.Platform)
		passed[PlatformString(*claimed)] = true
		return ok
	})
	if err != nil {
		return Child{}, err
	}
	var all, right, silent []Child
	for _, s := range sets {
		for _, e := range s.Images {
			c := Child{From: part.Ref, entry: e, set: s, platform: part.Platform}
			if e.Err != nil {
				if e.Claimed != nil && !sameArch(*e.Claimed, part.Platform) {
					continue
				}
				if !s.remote && errors.Is(e.Err, fs.ErrNotExist) {
					continue // an archive of one platform often has the index of all
				}
				return Child{}, fmt.Errorf("%s: %s: %w", part.Ref, e.Digest, e.Err)
			}
			passed[PlatformString(e.Platform())] = true
			if slices.ContainsFunc(all, func(other Child) bool { return other.entry.Digest == e.Digest }) {
				continue
			}
			all = append(all, c)
			switch is := e.exactly(); {
			case fits(is, part.Platform):
				right = append(right, c)
			case is.Variant == "" && fits(is, v1.Platform{OS: part.Platform.OS, Architecture: part.Platform.Architecture, OSVersion: part.Platform.OSVersion}):
				silent = append(silent, c) // its variant no one tells: what the user says of it is no contradiction
			}
		}
	}
	if len(right) == 0 {
		right = silent
	}
	wanted := PlatformString(part.Platform)
	switch {
	case len(right) > 1:
		return Child{}, inputf("%s holds more than one image for %s: name one by its digest, %s@%s or @%s", part.Ref, wanted, pathOf(part.Ref), right[0].entry.Digest, right[1].entry.Digest)
	case len(right) == 1:
		return right[0].named(), nil
	case len(all) == 1:
		is := PlatformString(all[0].entry.Platform())
		if !o.RewriteConfig {
			err := fmt.Errorf("%w: %s is to be for %s, and its config says %s: containerd goes by the config since 2.2, and would not unpack it",
				ErrRefused, part.Ref, wanted, is)
			return Child{}, hint.With(err, "when the programs in it are for %s, --rewrite-config makes its config say so", wanted)
		}
		return all[0].named(), all[0].wouldRewrite()
	}
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range passed {
			if !yield(n) {
				return
			}
		}
	})
	return Child{}, inputf("%s holds no image for %s (it holds: %s)", part.Ref, wanted, strings.Join(names, ", "))
}

func pathOf(ref string) string { s, _, _ := strings.Cut(ref, "@"); return s }

// wouldRewrite refuses what a written config could not make right.
func (c Child) wouldRewrite() error {
	if is := c.entry.Platform(); is.OS != "" && is.OS != c.platform.OS {
		return fmt.Errorf("%w: %s is for the operating system %s: no config makes it one for %s", ErrRefused, c.From, is.OS, c.platform.OS)
	}
	return nil
}

// named gives a child the platform that its config has, more exactly than the one it was asked for by.
func (c Child) named() Child {
	is := c.entry.Platform()
	if c.platform.Variant == "" && sameArch(is, c.platform) {
		c.platform.Variant = is.Variant
	}
	if c.platform.OSVersion == "" {
		c.platform.OSVersion = is.OSVersion
	}
	c.platform.OSFeatures = is.OSFeatures
	c.Platform = PlatformString(c.platform)
	return c
}

func sameArch(a, b v1.Platform) bool {
	x, _ := platform.Normal(a.Architecture, "")
	y, _ := platform.Normal(b.Architecture, "")
	return a.OS == b.OS && x == y
}

// fits reports whether a config's platform is the wanted one. A variant and a version count when they were asked for.
func fits(is, want v1.Platform) bool {
	_, isVariant := platform.Normal(is.Architecture, is.Variant)
	_, wantVariant := platform.Normal(want.Architecture, want.Variant)
	return sameArch(is, want) && (want.Variant == "" || isVariant == wantVariant) && (want.OSVersion == "" || is.OSVersion == want.OSVersion)
}

// check looks into the image before anything is sent: what it starts, and every blob of it.
func (c *Child) check(ctx context.Context, in *Inspector, a *Assembly) error {
	arch, known := platform.AnyVariant(c.platform.Architecture)
	if c.platform.OS != "linux" || !known {
		a.Notes = append(a.Notes, fmt.Sprintf("%s: its programs were not looked into", c.Platform))
		return nil
	}
	t, err := in.files(ctx, c.entry.config.RootFS.DiffIDs, c.entry.packed(ctx))
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s: %w", ErrRefused, c.From, err)
	}
	p := &PlatformReport{}
	chain := p.program(t, c.entry.config, arch)
	for _, f := range p.Findings {
		if f.Level == LevelError {
			return fmt.Errorf("%w: %s is to be for %s: %s", ErrRefused, c.From, c.Platform, f.Message)
		}
	}
	p.foreign(t, arch, chain)
	for _, f := range p.Findings {
		if f.Level != LevelNote {
			a.Warnings = append(a.Warnings, strings.TrimPrefix(fmt.Sprintf("%s: %s: %s", c.Platform, f.Path, f.Message), ": "))
		}
	}
	return nil
}

// write makes the manifests as they will be, and the index.
func (a *Assembly) write(ctx context.Context) error {
	format := a.options.Format
	if format == FormatAuto {
		docker := !slices.ContainsFunc(a.Children, func(c Child) bool { return c.entry.doc.media != types.DockerManifestSchema2 })
		if docker && !a.options.KeepAttestations {
			a.MediaType = string(types.DockerManifestList)
		} else {
			a.MediaType = string(types.OCIImageIndex)
		}
	} else {
		a.MediaType = string(map[Format]types.MediaType{FormatDocker: types.DockerManifestList, FormatOCI: types.OCIImageIndex}[format])
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.MediaType(a.MediaType), Manifests: []v1.Descriptor{}}
	for i := range a.Children {
		c := &a.Children[i]
		if err := c.build(format, a); err != nil {
			return err
		}
		hash, size, err := v1.SHA256(bytes.NewReader(c.raw))
		if err != nil {
			return err
		}
		p := c.platform
		index.Manifests = append(index.Manifests, v1.Descriptor{MediaType: c.media, Size: size, Digest: hash, Platform: &p})
		if a.options.TagChildren {
			c.Tag = a.tag.TagStr() + "-" + strings.NewReplacer("linux/", "", "/", "-", ":", "-").Replace(c.Platform)
			if _, err := name.NewTag(a.tag.Context().Name() + ":" + c.Tag); err != nil {
				return fmt.Errorf("%w: %q, which --tag-children would write, is no tag", ErrRefused, c.Tag)
			}
		}
	}
	if err := a.attestations(ctx, &index); err != nil {
		return err
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return err
	}
	hash, _, err := v1.SHA256(bytes.NewReader(raw))
	a.raw, a.Index, a.Digest = raw, raw, hash.String()
	return err
}

// attestations takes those along whose image stayed what it was.
func (a *Assembly) attestations(ctx context.Context, index *v1.IndexManifest) error {
	for i := range a.Children {
		c := &a.Children[i]
		for _, o := range c.set.Others {
			if o.What != "attestation" || o.Subject != c.entry.Digest {
				continue
			}
			switch {
			case !a.options.KeepAttestations:
				a.Notes = append(a.Notes, fmt.Sprintf("%s: its attestation is left behind (--keep-attestations takes it along)", c.Platform))
				continue
			case a.options.Format == FormatDocker:
				return fmt.Errorf("%w: Docker's format has no attestations: leave --keep-attestations or --format docker away", ErrRefused)
			case c.Digest != c.entry.Digest:
				a.Notes = append(a.Notes, fmt.Sprintf("%s: its attestation is left behind: it is about %s, which became another image", c.Platform, c.entry.Digest))
				continue
			}
			doc, err := o.from.manifest(ctx, o.desc.Digest, o.desc.MediaType)
			if err != nil {
				return fmt.Errorf("%s: attestation %s: %w", c.From, o.Digest, err)
			}
			if doc.image == nil {
				return fmt.Errorf("%s: attestation %s is an index", c.From, o.Digest)
			}
			desc := o.desc
			desc.MediaType, desc.Size = doc.media, int64(len(doc.raw))
			index.Manifests = append(index.Manifests, desc)
			a.extra = append(a.extra, extra{o, doc})
			a.Kept = append(a.Kept, OtherReport{o.What, o.Digest})
		}
	}
	return nil
}

// notes says what becomes of signatures.
func (a *Assembly) notes() {
	var changed []string
	for _, c := range a.Children {
		if c.Was != "" {
			changed = append(changed, c.Platform)
		}
	}
	switch {
	case len(changed) == 0:
		a.Notes = append(a.Notes, "signatures: the images keep their digests, so signatures of them stay right, in the repositories where they are; the index is new and has none")
	default:
		a.Notes = append(a.Notes, fmt.Sprintf("signatures: %s got a new digest, so no signature of before is one of it; the index is new and has none", strings.Join(changed, ", ")))
	}
}
