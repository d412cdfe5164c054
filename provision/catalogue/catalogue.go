// Package catalogue owns the knowledge which artefacts go together: for each Kubernetes version a set of files with their addresses and
// sha256 for every architecture, and of images with their tags. It is data, catalogue.yaml beside this file, made from upstream's own
// releases and held against a table of sums from second sources; a site may have a catalogue of its own, of the same form. The package
// fetches nothing, and believes no sum that is not written down.
package catalogue

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/strict"
)

// The sentinels of this package. Each error that wraps one is a sentence for the user.
var (
	// ErrBad: the file is no catalogue; the error lists everything that is wrong with it. The user mends it.
	ErrBad = errors.New("bad catalogue")
	// ErrUnknownVersion: no set is for that Kubernetes version. The user takes another one, or gives a catalogue that has it.
	ErrUnknownVersion = errors.New("no such Kubernetes version in the catalogue")
	// ErrIncomplete: an entry that is needed lacks a sum or an architecture, or no set has the component. The user completes the catalogue.
	ErrIncomplete = errors.New("incomplete catalogue")
)

// sentence is an error for the user that is also one of the sentinels.
type sentence struct {
	text string
	kind error
}

func (s sentence) Error() string { return s.text }
func (s sentence) Unwrap() error { return s.kind }

func sentencef(kind error, format string, args ...any) error {
	return sentence{fmt.Sprintf(format, args...), kind}
}

// Catalogue is a catalogue that was checked. It is safe for concurrent use.
type Catalogue struct {
	File string // where it was read; "" = hybridctl's own

	doc document
}

//go:embed catalogue.yaml
var embedded []byte

// Embedded is hybridctl's own catalogue.
func Embedded() *Catalogue {
	c, err := parse("catalogue.yaml", embedded)
	if err != nil {
		panic(err) // a test reads it
	}
	c.File = ""
	return c
}

// Read reads a catalogue of the user's. Errors: ErrBad, with line and column of everything that is wrong.
func Read(file string) (*Catalogue, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, sentencef(ErrBad, "catalogue %v", strings.TrimPrefix(strings.TrimPrefix(err.Error(), "open "), "read "))
	}
	return parse(file, raw)
}

func parse(file string, raw []byte) (*Catalogue, error) {
	c := &Catalogue{File: file}
	p := &strict.Problems{File: file}
	p.Decode(raw, "catalogue", &c.doc)
	if p.Text() == "" { // else the rest would say the same in other words
		c.doc.check(p)
	}
	if text := p.Text(); text != "" {
		return nil, sentence{text, ErrBad}
	}
	return c, nil
}

// Versions are the Kubernetes versions that have a default set, the newest first.
func (c *Catalogue) Versions() []string {
	var versions []string
	for _, s := range c.doc.Sets {
		if is(s.Default, true) {
			versions = append(versions, s.Kubernetes)
		}
	}
	slices.SortFunc(versions, func(a, b string) int { return compare(b, a) })
	return versions
}

// Entries are all versions of all files that the catalogue knows, in its order.
func (c *Catalogue) Entries() []Entry {
	var entries []Entry
	for _, d := range c.doc.Downloads {
		for _, r := range d.Versions {
			entries = append(entries, Entry{Component: d.Component, Name: d.Name, Version: r.Version, SHA256: byArch(r.SHA256),
				Source: r.Source, Note: r.Note, Default: is(r.Default, true)})
		}
	}
	return entries
}

// Set resolves a Kubernetes version for some architectures (all that are supported when none is named), and for further components, such as
// ceph-csi, which brings the programs beside it along. A set that is not proposed is given to who names its version.
// Errors: ErrUnknownVersion, ErrIncomplete.
func (c *Catalogue) Set(version string, archs []platform.Arch, components ...string) (Set, error) {
	for _, s := range c.doc.Sets {
		if s.Kubernetes == version {
			return c.resolve(s, version, archs, components, false)
		}
	}
	return Set{}, c.unknown(version)
}

// Upstream is Set for who trusts the sums that upstream publishes: what the catalogue has no sum for is left without one where Checksums says
// where it is published. A version that the catalogue lacks is made of the newest set of its minor version; Notes say so.
// Errors: ErrUnknownVersion (no set is of that minor version), ErrIncomplete (a file without a sum and without Checksums).
func (c *Catalogue) Upstream(version string, archs []platform.Arch, components ...string) (Set, error) {
	var like *set
	for i := range c.doc.Sets {
		s := &c.doc.Sets[i]
		if s.Kubernetes == version {
			return c.resolve(*s, version, archs, components, true)
		}
		if kubernetesVersion.MatchString(version) && minor(s.Kubernetes) == minor(version) && (like == nil || compare(s.Kubernetes, like.Kubernetes) > 0) {
			like = s
		}
	}
	if like == nil {
		return Set{}, c.unknown(version)
	}
	out, err := c.resolve(*like, version, archs, components, true)
	out.Notes = append(out.Notes, fmt.Sprintf("Kubernetes %s is not in the catalogue: the rest is that of %s, whose etcd, coredns and pause its kubeadm may not want",
		version, like.Kubernetes))
	return out, err
}

func (c *Catalogue) unknown(version string) error {
	has := strings.Join(c.Versions(), ", ")
	err := sentencef(ErrUnknownVersion, "%s has no Kubernetes %q (it has %s)", c.name(), version, has)
	if slices.Contains(c.Versions(), "v"+version) {
		return hint.With(err, "write v%s", version)
	}
	return hint.With(err, `name one that it has, or give a catalogue of your own with --catalogue FILE; for another patch release of those, `+
		`"hybridctl bundle fetch --allow-upstream-checksums" makes a bundle by the sums that upstream publishes`)
}

// name is what the catalogue is called in a sentence.
func (c *Catalogue) name() string {
	if c.File == "" {
		return "the catalogue"
	}
	return "the catalogue " + c.File
}

// byArch turns checked keys into architectures.
func byArch(sums map[string]string) map[platform.Arch]string {
	out := map[platform.Arch]string{}
	for key, sum := range sums {
		if a, err := platform.Parse(key); err == nil {
			out[a] = sum
		}
	}
	return out
}

// minor is "v1.36" of v1.36.4.
func minor(version string) string { return version[:max(0, strings.LastIndex(version, "."))] }

// compare orders versions: by their numbers; one with a suffix comes before the one without.
func compare(a, b string) int {
	baseA, preA, _ := strings.Cut(strings.TrimPrefix(a, "v"), "-")
	baseB, preB, _ := strings.Cut(strings.TrimPrefix(b, "v"), "-")
	number := func(s string) []int {
		var out []int
		for part := range strings.SplitSeq(s, ".") {
			n, _ := strconv.Atoi(part)
			out = append(out, n)
		}
		return out
	}
	if order := slices.Compare(number(baseA), number(baseB)); order != 0 {
		return order
	}
	if (preA == "") != (preB == "") {
		return cmp.Compare(len(preB), len(preA)) // "" is the release itself
	}
	return cmp.Compare(preA, preB)
}

// Archs are the architectures for which a set has everything; none when no set is for that version.
func (c *Catalogue) Archs(version string) []platform.Arch {
	var archs []platform.Arch
	for _, a := range platform.All() {
		if _, err := c.Set(version, []platform.Arch{a}); err == nil {
			archs = append(archs, a)
		}
	}
	return archs
}

// Optional are the components that only come when they are asked for, such as ceph-csi.
func (c *Catalogue) Optional() []string {
	names := map[string]bool{}
	for _, s := range c.doc.Sets {
		for _, r := range c.doc.refs(s) {
			if r.With != "" {
				names[r.With] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
