package bundle

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// source is bundle.yaml. Every path in it starts at the file's folder.
type source struct {
	APIVersion        string         `yaml:"apiVersion"`
	Kind              string         `yaml:"kind"`
	KubernetesVersion string         `yaml:"kubernetesVersion"`
	Architectures     []string       `yaml:"architectures"` // default: all that are supported
	Binaries          []sourceBinary `yaml:"binaries"`
	Images            []sourceImage  `yaml:"images"`
}

// sourceBinary is one executable with a file per architecture, or every executable of a directory per architecture.
type sourceBinary struct {
	Component   string            `yaml:"component"`
	Name        string            `yaml:"name"`
	Version     string            `yaml:"version"`
	Files       map[string]string `yaml:"files"`
	Directories map[string]string `yaml:"directories"`
	SHA256      map[string]string `yaml:"sha256"` // of what comes from an address, by architecture
}

// sourceImage is an image in one layout or archive of all architectures, in one per architecture, or made of one static executable
// per architecture.
type sourceImage struct {
	Component string            `yaml:"component"`
	Ref       string            `yaml:"ref"`
	Name      string            `yaml:"name"` // in the layout or archive; default: ref
	Path      string            `yaml:"path"`
	Paths     map[string]string `yaml:"paths"`
	Programs  map[string]string `yaml:"programs"`
}

// loadSource reads bundle.yaml and checks all that can be checked without the files it names.
func loadSource(file string) (source, *problems, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return source{}, nil, sentencef(ErrSource, "bundle source %v", strings.TrimPrefix(strings.TrimPrefix(err.Error(), "open "), "read "))
	}
	var s source
	p := newProblems(file)
	decode(raw, &s, p)
	s.check(p)
	return s, p, nil
}

var kubernetesVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func (s source) check(p *problems) {
	if s.APIVersion != APIVersion {
		p.add("apiVersion", "must be %s", APIVersion)
	}
	if s.Kind != SourceKind {
		p.add("kind", "must be %s", SourceKind)
	}
	if !kubernetesVersion.MatchString(s.KubernetesVersion) {
		p.add("kubernetesVersion", "must be a version with the v and three numbers, such as v1.36.3")
	}
	archs := s.archs(p)
	for i, b := range s.Binaries {
		b.check(p, fmt.Sprintf("binaries[%d]", i), s.KubernetesVersion, archs)
	}
	refs, components := map[string]int{}, map[string]int{}
	for i, img := range s.Images {
		field := fmt.Sprintf("images[%d]", i)
		img.check(p, field, archs)
		unique(p, refs, img.Ref, i, field+".ref")
		unique(p, components, img.Component, i, field+".component")
	}
	s.checkKubeImages(p)
	var lacks []string
	for _, c := range neededImages {
		if _, ok := components[c]; !ok {
			lacks = append(lacks, c)
		}
	}
	p.lackImages(lacks)
}

func unique(p *problems, seen map[string]int, value string, i int, field string) {
	if first, twice := seen[value]; twice && value != "" {
		p.add(field, "%s stands twice (first in images[%d])", value, first)
		return
	}
	seen[value] = i
}

// archs are the architectures that everything must be there for.
func (s source) archs(p *problems) []platform.Arch {
	if s.Architectures == nil {
		return platform.All()
	}
	var archs []platform.Arch
	for i, name := range s.Architectures {
		field := fmt.Sprintf("architectures[%d]", i)
		a, err := platform.Parse(name)
		switch {
		case err != nil:
			p.add(field, "%v", err)
		case slices.Contains(archs, a):
			p.add(field, "%s stands twice", a)
		default:
			archs = append(archs, a)
		}
	}
	if len(s.Architectures) == 0 {
		p.add("architectures", "name at least one, or leave it out for all")
	}
	return archs
}

func (b sourceBinary) check(p *problems, field, kubernetes string, archs []platform.Arch) {
	b.checkSums(p, field)
	if !slices.Contains(binaryComponents, b.Component) {
		p.add(field+".component", "unknown component %q (known: %s)", b.Component, strings.Join(binaryComponents, ", "))
	}
	switch {
	case b.Version == "":
		p.add(field+".version", "is missing")
	case b.Component == Kubernetes && b.Version != kubernetes:
		p.add(field+".version", "is %s, but kubernetesVersion is %s", b.Version, kubernetes)
	}
	switch {
	case (b.Files == nil) == (b.Directories == nil):
		p.add(field, "needs either files (with name) or directories")
	case b.Files != nil:
		if !fileName.MatchString(b.Name) {
			p.add(field+".name", "must be a file name of letters, digits and . _ + -, not %q", b.Name)
		}
		byArch(p, field+".files", b.Files, archs)
	default:
		if b.Name != "" {
			p.add(field+".name", "goes with files; directories give the names themselves")
		}
		byArch(p, field+".directories", b.Directories, archs)
	}
}

func (i sourceImage) check(p *problems, field string, archs []platform.Arch) {
	i.checkRemote(p, field)
	if i.Component != "" && !slices.Contains(imageComponents, i.Component) {
		p.add(field+".component", "unknown component %q (known: %s; leave it out for any other image)", i.Component,
			strings.Join(imageComponents, ", "))
	}
	if _, err := image.ParseRef(i.Ref); err != nil {
		p.add(field+".ref", "%q is %v", i.Ref, err)
	}
	given := 0
	for _, is := range []bool{i.Path != "", i.Paths != nil, i.Programs != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		p.add(field, "needs one of path (all architectures in one), paths (one per architecture) and programs (an executable per architecture)")
	case i.Paths != nil:
		byArch(p, field+".paths", i.Paths, archs)
	case i.Programs != nil:
		if i.Name != "" {
			p.add(field+".name", "goes with path and paths; an image made of a program has no other name")
		}
		byArch(p, field+".programs", i.Programs, archs)
	}
}

// checkKubeImages holds the names against the ones that kubeadm composes.
func (s source) checkKubeImages(p *problems) {
	repository := ""
	for i, img := range s.Images {
		ref, err := image.ParseRef(img.Ref)
		if err != nil || !slices.Contains(kubeImages, img.Component) {
			continue
		}
		field := fmt.Sprintf("images[%d].ref", i)
		base, ok := strings.CutSuffix(ref.Repository, "/"+img.Component)
		if !ok || ref.Tag != s.KubernetesVersion {
			p.add(field, "must end in /%s:%s, as kubeadm composes the name", img.Component, s.KubernetesVersion)
			continue
		}
		if repository == "" {
			repository = base
		}
		if base != repository {
			p.add(field, "must be in %s like the other images of Kubernetes, as kubeadm knows one repository", repository)
		}
	}
}

// byArch checks that there is a path for each architecture and for no other.
func byArch(p *problems, field string, paths map[string]string, archs []platform.Arch) {
	given := map[platform.Arch]bool{}
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		a, err := platform.Parse(key)
		switch {
		case err != nil:
			p.add(field+"."+key, "%v", err)
		case given[a]:
			p.add(field+"."+key, "%s stands twice", a)
		case !slices.Contains(archs, a):
			p.add(field+"."+key, "%s is not among architectures", a)
		case paths[key] == "":
			p.add(field+"."+key, "is empty")
		}
		given[a] = true
	}
	for _, a := range archs {
		if !given[a] {
			p.add(field, "%s is missing", a)
		}
	}
}

// pathsByArch turns checked paths into absolute ones; keys that were refused are left out.
func pathsByArch(dir string, paths map[string]string) map[platform.Arch]located {
	out := map[platform.Arch]located{}
	for key, path := range paths {
		if a, err := platform.Parse(key); err == nil && path != "" {
			out[a] = located{key, join(dir, path)}
		}
	}
	return out
}

// located is a path with the key it stands under.
type located struct{ key, path string }

func join(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
