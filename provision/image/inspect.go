package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Level says how grave a finding is.
type Level string

// The levels. An error keeps an image from running somewhere that it says it is for.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
	LevelNote    Level = "note"
)

// Finding is something about an image.
type Finding struct {
	Level   Level  `json:"level"`
	Rule    string `json:"rule"`
	Path    string `json:"path,omitempty"` // in the image
	Message string `json:"message"`
}

const (
	RuleAbsent   = "absent"   // the index names an image that is not there
	RuleUnread   = "unread"   // content that is damaged, or that could not be read
	RuleClaim    = "claim"    // index and config say different things
	RuleTwice    = "twice"    // two images of an index are for one platform
	RuleProgram  = "program"  // what it starts does not start
	RuleForeign  = "foreign"  // files for another machine
	RuleTorn     = "torn"     // the headers of what it starts point to where the file does not reach
	RulePages    = "pages"    // it does not start where memory pages are larger
	RuleUnlooked = "unlooked" // no one looked: another platform than those that are supported
	RuleEmpty    = "empty"    // there is no image at all
)

// Report is what an inspection found of one reference.
type Report struct {
	Ref       string           `json:"ref"`
	Name      string           `json:"name,omitempty"`
	Digest    string           `json:"digest"`
	MediaType string           `json:"mediaType"`
	Platforms []PlatformReport `json:"platforms"`
	Others    []OtherReport    `json:"others,omitempty"`
	Findings  []Finding        `json:"findings,omitempty"` // of none of the platforms
}

// OtherReport is an entry of an index that is no image.
type OtherReport struct {
	What   string `json:"what"`
	Digest string `json:"digest"`
}

// PlatformReport is what was found of one image.
type PlatformReport struct {
	Platform string    `json:"platform"`
	Digest   string    `json:"digest"`
	Bytes    int64     `json:"bytes"` // as stored and sent
	Layers   int       `json:"layers"`
	Program  *Program  `json:"program,omitempty"`
	Findings []Finding `json:"findings"`
}

// Program is what an image starts.
type Program struct {
	Name    string   `json:"name"` // as the config has it
	Path    string   `json:"path"` // of the ELF file that runs in the end, without links
	Through []string `json:"through,omitempty"`
	Machine string   `json:"machine"`
	Loader  string   `json:"loader,omitempty"`
	Linked  string   `json:"linked"`              // "static", "dynamic" or "unknown"
	Align   int64    `json:"alignment,omitempty"` // the smallest of its PT_LOADs, and of its loader's
	Pages   []int64  `json:"pages,omitempty"`     // on which it starts; none = not known
}

// Worst is the gravest level found; "" = nothing.
func (r Report) Worst() Level {
	worst := Level("")
	for _, f := range r.all() {
		if f.Level.rank() > worst.rank() {
			worst = f.Level
		}
	}
	return worst
}

// all are the findings of the reference and of its platforms.
func (r Report) all() []Finding {
	all := slices.Clone(r.Findings)
	for _, p := range r.Platforms {
		all = append(all, p.Findings...)
	}
	return all
}

// Count counts the errors and the warnings.
func (r Report) Count() (errs, warnings int) {
	for _, f := range r.all() {
		switch f.Level {
		case LevelError:
			errs++
		case LevelWarning:
			warnings++
		}
	}
	return errs, warnings
}

func (l Level) rank() int { return slices.Index([]Level{"", LevelNote, LevelWarning, LevelError}, l) }

// AtLeast reports whether a level is as grave as another.
func (l Level) AtLeast(other Level) bool { return l.rank() >= other.rank() && l != "" }

// Inspect looks into every image of a set. The error is the context's end.
func (in *Inspector) Inspect(ctx context.Context, s *Set) (Report, error) {
	r := Report{Ref: s.Ref, Name: s.Name, Digest: s.Digest, MediaType: s.Media, Platforms: []PlatformReport{}}
	for _, o := range s.Others {
		r.Others = append(r.Others, OtherReport{o.What, o.Digest})
	}
	if len(s.Images) == 0 {
		r.Findings = append(r.Findings, Finding{LevelError, RuleEmpty, "", "it names no image: there is nothing that a node could run"})
	}
	first := map[string]string{}
	for _, e := range s.Images {
		p, err := in.entry(ctx, s, e)
		if err != nil {
			return r, err
		}
		if e.Err == nil {
			if other, twice := first[p.Platform]; twice && other != e.Digest {
				p.add(LevelError, RuleTwice, "", fmt.Sprintf("it is for %s, and so is %s: which of them a node takes is not defined", p.Platform, other))
			}
			first[p.Platform] = e.Digest
		}
		r.Platforms = append(r.Platforms, p)
	}
	return r, nil
}

func (p *PlatformReport) add(level Level, rule, at, message string) {
	p.Findings = append(p.Findings, Finding{level, rule, at, message})
}

// PlatformString writes a platform as the flags take it: linux/arm64, windows/amd64:10.0.17763.1.
func PlatformString(p v1.Platform) string {
	p.Architecture, p.Variant = platform.Normal(p.Architecture, p.Variant)
	s := strings.Join(slices.DeleteFunc([]string{p.OS, p.Architecture, p.Variant}, func(part string) bool { return part == "" }), "/")
	if p.OSVersion != "" {
		s += ":" + p.OSVersion
	}
	return s
}

func (in *Inspector) entry(ctx context.Context, s *Set, e Entry) (PlatformReport, error) {
	p := PlatformReport{Digest: e.Digest, Findings: []Finding{}}
	if e.Err != nil {
		p.Platform = "unknown"
		if e.Claimed != nil {
			p.Platform = PlatformString(*e.Claimed)
		}
		switch missing := errors.Is(e.Err, fs.ErrNotExist); {
		case missing && s.remote:
			p.add(LevelError, RuleAbsent, "", fmt.Sprintf("the index names it, and the registry does not have it: %v", e.Err))
		case errors.Is(e.Err, errUnfindable):
			p.add(LevelError, RuleClaim, "", e.Err.Error())
		case missing:
			p.add(LevelNote, RuleAbsent, "", "the index names it, and it is not in here: "+e.Err.Error())
		default:
			p.add(LevelError, RuleUnread, "", e.Err.Error())
		}
		return p, nil
	}
	is := e.exactly()
	p.Platform, p.Bytes, p.Layers = PlatformString(is), e.Size(), len(e.doc.image.Layers)
	if e.Claimed != nil && !samePlatform(*e.Claimed, is) {
		p.add(LevelError, RuleClaim, "", fmt.Sprintf("the index says %s, its config says %s: containerd goes by the config since 2.2, and does not unpack it",
			PlatformString(*e.Claimed), PlatformString(is)))
	}
	arch, known := platform.AnyVariant(is.Architecture)
	if is.OS != "linux" || !known {
		p.add(LevelNote, RuleUnlooked, "", "its programs were not looked into: only those for Linux on "+archNames()+" are")
		return p, nil
	}
	t, err := in.files(ctx, e.config.RootFS.DiffIDs, e.packed(ctx))
	if ctx.Err() != nil {
		return p, ctx.Err()
	}
	if err != nil {
		p.add(LevelError, RuleUnread, "", err.Error())
		return p, nil
	}
	chain := p.program(t, e.config, arch)
	p.foreign(t, arch, chain)
	return p, nil
}

func archNames() string {
	var names []string
	for _, a := range platform.All() {
		names = append(names, a.String())
	}
	return strings.Join(names, " and ")
}

// samePlatform compares what an index and a config say. What one of them leaves out is no contradiction.
func samePlatform(a, b v1.Platform) bool {
	aArch, aVariant := platform.Normal(a.Architecture, a.Variant)
	bArch, bVariant := platform.Normal(b.Architecture, b.Variant)
	return a.OS == b.OS && aArch == bArch && (aVariant == bVariant || aVariant == "" || bVariant == "")
}

// program looks at what the image starts. It returns the files on the way, by their names without links.
func (p *PlatformReport) program(t *tree, config *v1.ConfigFile, arch platform.Arch) map[string]bool {
	argv := argvOf(config)
	if len(argv) == 0 {
		return nil
	}
	r := t.start(environmentOf(config), argv[0])
	chain := map[string]bool{}
	for _, f := range r.files {
		chain[f.at] = true
	}
	p.Program = r.program(platform.ProfileFor(arch).Pages)
	if at, fault := r.fault(arch); fault != "" {
		p.add(LevelError, RuleProgram, at, fault)
		return chain
	}
	if missing := lacking(p.Program, arch); missing != "" {
		p.add(LevelWarning, RulePages, p.Program.Path, fmt.Sprintf("its program is linked for memory pages of %s: it does not start on kernels with pages of %s", size(p.Program.Align), missing))
	}
	for _, f := range r.files {
		if f.node.kind == isELF && f.node.binary.Torn {
			p.add(LevelWarning, RuleTorn, f.at, "its program headers point to where it does not reach: whether it starts is not known")
		}
	}
	return chain
}

func (r run) program(pages []int64) *Program {
	out := &Program{Name: r.name, Linked: "unknown"}
	last := r.last()
	if last == nil {
		return out
	}
	b := last.node.binary
	out.Path, out.Machine, out.Loader, out.Align = last.at, b.Name(), b.Loader, b.Align
	switch {
	case b.Torn:
	case b.Loader != "" || b.Dynamic:
		out.Linked = "dynamic"
	default:
		out.Linked = "static"
	}
	if b.Loader == "" && b.Dynamic && !b.Torn {
		out.Linked = "static" // position independent: it links itself
	}
	runs := b.runsOn(pages)
	for _, f := range r.files {
		if f.at != last.at && f.node.kind != isELF {
			out.Through = append(out.Through, f.at)
		}
		if f.node.kind == isELF && f.node.binary.Align > 0 {
			runs = f.node.binary.runsOn(runs)
			if out.Align == 0 || f.node.binary.Align < out.Align {
				out.Align = f.node.binary.Align
			}
		}
	}
	if out.Align > 0 {
		out.Pages = runs
	}
	return out
}

// lacking are the sizes of pages on which a program does not start.
func lacking(p *Program, arch platform.Arch) string {
	var out []string
	for _, page := range platform.ProfileFor(arch).Pages {
		if p.Align > 0 && !slices.Contains(p.Pages, page) {
			out = append(out, size(page))
		}
	}
	return strings.Join(out, " and ")
}

func size(bytes int64) string {
	if bytes >= 1<<10 && bytes%(1<<10) == 0 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// maxForeign bounds how many files for another machine are named one by one.
const maxForeign = 100

// foreign names the files for another machine, wherever they lie.
func (p *PlatformReport) foreign(t *tree, arch platform.Arch, chain map[string]bool) {
	var found []Finding
	count, own := map[string]int{}, 0
	t.each(func(name string, n *node) {
		if n.kind != isELF || !platform.ForCPU(n.binary.Machine) || chain[name] {
			return
		}
		if n.binary.check(arch) == nil {
			own++
			return
		}
		level, why := strangerAt(t, name, n.binary, arch)
		count[n.binary.Name()]++
		if len(found) < maxForeign || level != LevelNote {
			found = append(found, Finding{level, RuleForeign, name, strings.TrimSpace("it is for " + n.binary.Name() + ", not " + arch.String() + why)})
		}
	})
	if own == 0 && len(found) > 3 && len(count) == 1 { // the whole of it is another architecture's
		machine := slices.Collect(maps.Keys(count))[0]
		p.add(LevelError, RuleForeign, "", fmt.Sprintf("listed as %s, holds %s: all of its other %d programs and libraries", arch, machine, count[machine]))
		return
	}
	if more := len(found) - maxForeign; more > 0 {
		slices.SortStableFunc(found, func(a, b Finding) int { return b.Level.rank() - a.Level.rank() })
		level := found[maxForeign].Level
		found = append(found[:maxForeign], Finding{level, RuleForeign, "", fmt.Sprintf("%d more files for another machine", more)})
	}
	p.Findings = append(p.Findings, found...)
}

// strangerAt judges a file for another machine by where it lies. Some are there on purpose: emulators' leftovers, files that are kept for
// several architectures beside each other, what a cross compiler links against.
func strangerAt(t *tree, name string, b *Binary, arch platform.Arch) (Level, string) {
	profile, base := platform.ProfileFor(arch), path.Base(name)
	switch {
	case strings.HasPrefix(base, "qemu-") && strings.HasSuffix(base, "-static"):
		return LevelNote, ": an emulator that a build left behind"
	case hasPart(name, "testdata"), hasPart(name, "test"), hasPart(name, "tests"):
		return LevelNote, ": it is data of tests"
	case hasPart(name, "efi"), hasPart(name, "grub"), hasPart(name, "syslinux"), hasPart(name, "firmware"), strings.HasPrefix(name, "/boot/"):
		return LevelNote, ": it is for machines to boot from, or for their parts"
	case counterpart(t, name, b, arch):
		return LevelNote, ": it lies beside the one for " + arch.String()
	case sysroot(name):
		return LevelNote, ": a compiler's, for another architecture"
	case b.Machine == profile.NarrowMachine && b.Bits == 32:
		return LevelWarning, ": it runs only where kernel and processor take 32-bit programs"
	}
	return LevelError, ""
}

func hasPart(name, part string) bool {
	return strings.Contains(strings.ToLower(path.Dir(name))+"/", "/"+part+"/")
}

// counterpart reports whether a folder on the way is named after the file's own architecture, and one beside it after the image's: programs
// that are made for several bring along the files of all. A system's own folders of libraries are no such place.
func counterpart(t *tree, name string, b *Binary, arch platform.Arch) bool {
	var other []string
	for _, a := range platform.All() {
		if platform.ProfileFor(a).ELFMachine == b.Machine {
			other = platform.ProfileFor(a).Directories()
		}
		if platform.ProfileFor(a).NarrowMachine == b.Machine && b.Bits == 32 {
			other = []string{platform.ProfileFor(a).Narrow, "i386", "i686", "x86", "ia32", "armv7", "armhf", "armv6", "armv7l"}
		}
	}
	if other == nil {
		other = []string{b.Name()}
	}
	parts := strings.Split(strings.TrimPrefix(name, "/"), "/")
	for i, part := range parts[:len(parts)-1] {
		above := "/" + strings.Join(parts[:i], "/")
		if above == "/lib" || above == "/usr/lib" || above == "/usr/local/lib" {
			continue
		}
		for _, theirs := range other {
			if !strings.Contains(strings.ToLower(part), theirs) {
				continue
			}
			_, n, err := t.lookup(above)
			if err != nil || n == nil {
				continue
			}
			for beside := range n.children {
				if beside != part && namesAny(beside, platform.ProfileFor(arch).Directories()) {
					return true
				}
			}
		}
	}
	return false
}

func namesAny(folder string, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.Contains(strings.ToLower(folder), n) })
}

// sysroot reports whether a file is one of those that a cross compiler links against: /usr/TRIPLET/lib.
func sysroot(name string) bool {
	parts := strings.Split(name, "/")
	return len(parts) > 3 && parts[1] == "usr" && strings.Contains(parts[2], "-linux-")
}
