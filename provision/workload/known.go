package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// ImageFacts is what is known of an image's reference.
type ImageFacts struct {
	Archs  []platform.Arch // it is made for these; nil with Err
	Single bool            // it resolves to the manifest of one platform, not to an index
	Login  bool            // its registry wanted credentials
	Err    error           // why nothing is known; Archs is nil then, which is not "for none"
}

// Made is what the facts say of an architecture.
func (f ImageFacts) Made(arch platform.Arch) Made {
	switch {
	case f.Err != nil:
		return Unknown
	case slices.Contains(f.Archs, arch):
		return Yes
	}
	return No
}

// Known tells what is known of an image.
type Known func(image string) ImageFacts

// NothingKnown is Known where no one was asked.
func NothingKnown(string) ImageFacts {
	return ImageFacts{Err: errors.New("its registry was not asked")}
}

// ReadKnown reads facts about images from JSON: {"registry.example/app:1": ["amd64", "arm64"]}, in any spelling of the architectures. Those
// that hybridctl does not support are left out: an image that is made for nothing else is made for none of ours.
func ReadKnown(text []byte) (Known, error) {
	var listed map[string][]string
	if err := json.Unmarshal(text, &listed); err != nil {
		return nil, fmt.Errorf("is not JSON of images and their architectures, such as {\"registry.example/app:1\": [\"%s\"]}: %w", platform.All()[0], err)
	}
	facts := map[string]ImageFacts{}
	for image, words := range listed {
		f := ImageFacts{Archs: []platform.Arch{}}
		for _, word := range words {
			if arch, err := platform.Parse(strings.TrimPrefix(word, "linux/")); err == nil && !slices.Contains(f.Archs, arch) {
				f.Archs = append(f.Archs, arch)
			}
		}
		facts[image] = f
	}
	return func(image string) ImageFacts {
		if f, ok := facts[image]; ok {
			return f
		}
		return ImageFacts{Err: errors.New("it is not in the list of images")}
	}, nil
}

// supported tells which architectures all of the images with known facts are made for, and which images are not known.
func (t *Template) supported(known Known, of []platform.Arch) (archs []platform.Arch, unknown []string) {
	archs = slices.Clone(of)
	for _, u := range t.uses() {
		if u.role == roleVolume {
			continue
		}
		f := known(u.image)
		if f.Err != nil {
			unknown = append(unknown, u.image)
			continue
		}
		archs = slices.DeleteFunc(archs, func(a platform.Arch) bool { return f.Made(a) == No })
	}
	return archs, unknown
}

// word finds an architecture in an image's name: "app-amd64:1", "app:1-arm64", "arm64v8/app". Words of several architectures tell nothing.
var word = regexp.MustCompile(`[a-z0-9_]+`)

func archInName(image string) (platform.Arch, bool) {
	name, _, _ := strings.Cut(image, "@")
	if i := strings.Index(name, "/"); i > 0 && strings.ContainsAny(name[:i], ".:") {
		name = name[i+1:] // the registry's host tells nothing
	}
	var found platform.Arch
	for _, w := range word.FindAllString(strings.ToLower(name), -1) {
		arch, err := platform.Parse(w)
		if err != nil {
			continue
		}
		if found != "" && found != arch {
			return "", false
		}
		found = arch
	}
	return found, found != ""
}

// archKeys are the node labels that hold an architecture: the key and the one that it had before Kubernetes 1.14.
var archKeys = []string{archLabel, "beta.kubernetes.io/arch"}

// osKeys are those that hold the operating system.
var osKeys = []string{osLabel, "beta.kubernetes.io/os"}

const linux = "linux" // what images are judged for

// Allowed are those of the architectures to which the template's own constraints let a pod come. Constraints on other labels count as met.
func (t *Template) Allowed(of []platform.Arch) []platform.Arch {
	return slices.DeleteFunc(slices.Clone(of), func(a platform.Arch) bool { return !t.allows(a.String()) })
}

// allows reports whether the template lets a pod onto nodes of Linux of an architecture. What is for Windows comes to none of them.
func (t *Template) allows(arch string) bool {
	if os := text(value(t.spec, "os"), "name"); os != "" && os != linux {
		return false
	}
	return t.allowsOn(arch, linux)
}

func (t *Template) allowsOn(arch, os string) bool {
	for _, p := range t.selector() {
		if slices.Contains(archKeys, p.key) && p.value != arch || slices.Contains(osKeys, p.key) && p.value != os {
			return false
		}
	}
	terms, has := t.required()
	return !has || slices.ContainsFunc(terms, func(m term) bool { return !m.empty && m.allows(arch, os) })
}

func (m term) allows(arch, os string) bool {
	for _, e := range m.exprs {
		if slices.Contains(archKeys, e.key.Value) && !e.allows(archLabel, arch) || slices.Contains(osKeys, e.key.Value) && !e.allows(osLabel, os) {
			return false
		}
	}
	return true
}

func (e expr) allows(label, value string) bool {
	r := Requirement{Key: label, Operator: e.op, Values: e.values}
	return r.matches(Node{Labels: map[string]string{label: value}})
}

// aboutArch reports whether a term says anything of the architecture.
func (m term) aboutArch() bool {
	return slices.ContainsFunc(m.exprs, func(e expr) bool { return slices.Contains(archKeys, e.key.Value) })
}

// constrained reports whether the template says anything of the architecture: in its selector or in a required term.
func (t *Template) constrained() bool {
	if slices.ContainsFunc(t.selector(), func(p pair) bool { return slices.Contains(archKeys, p.key) }) {
		return true
	}
	terms, _ := t.required()
	return slices.ContainsFunc(terms, term.aboutArch)
}

func listArchs(archs []platform.Arch) string {
	words := make([]string, len(archs))
	for i, a := range archs {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}
