package catalogue

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/strict"
)

// APIVersion and Kind identify a catalogue.
const (
	APIVersion = bundle.APIVersion
	Kind       = "Catalogue"
)

// document is a catalogue as it is written.
type document struct {
	APIVersion string     `yaml:"apiVersion"`
	Kind       string     `yaml:"kind"`
	Downloads  []download `yaml:"downloads"`
	Images     []ref      `yaml:"images"`   // of every set that has none of that component
	Programs   []made     `yaml:"programs"` // of every set
	Sets       []set      `yaml:"sets"`
}

// download is a file of which there is one for each version and architecture.
type download struct {
	Name        string    `yaml:"name"`
	Component   string    `yaml:"component"`
	URL         string    `yaml:"url"`       // a pattern, see expand
	Checksums   string    `yaml:"checksums"` // a pattern
	Programs    []Program `yaml:"programs"`
	AllPrograms *bool     `yaml:"allPrograms"`
	Versions    []release `yaml:"versions"`
}

type release struct {
	Version string            `yaml:"version"`
	SHA256  map[string]string `yaml:"sha256"` // by architecture
	Source  string            `yaml:"source"`
	Note    string            `yaml:"note"`
	Default *bool             `yaml:"default"` // false: no set may use it
}

type ref struct {
	Component string `yaml:"component"`
	Ref       string `yaml:"ref"`
	Digest    string `yaml:"digest"`
	With      string `yaml:"with"` // only when that component is asked for
}

type made struct {
	Component string `yaml:"component"`
	Ref       string `yaml:"ref"`
	File      string `yaml:"file"` // a pattern
}

type set struct {
	Kubernetes string            `yaml:"kubernetes"`
	Downloads  map[string]string `yaml:"downloads"` // name → version
	Images     []ref             `yaml:"images"`
	Source     string            `yaml:"source"`
	Note       string            `yaml:"note"`
	Default    *bool             `yaml:"default"` // false: it is not proposed
}

func is(b *bool, otherwise bool) bool {
	if b == nil {
		return otherwise
	}
	return *b
}

var (
	kubernetesVersion = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
	hexDigest         = regexp.MustCompile(`^[0-9a-f]{64}$`)
	ociDigest         = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	fileName          = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
	placeholder       = regexp.MustCompile(`\{[^}]*\}?`)
)

// check adds what is wrong with the document to p.
func (d *document) check(p *strict.Problems) {
	if d.APIVersion != APIVersion {
		p.Add("apiVersion", "must be %s", APIVersion)
	}
	if d.Kind != Kind {
		p.Add("kind", "must be %s", Kind)
	}
	names := map[string]bool{}
	for i, one := range d.Downloads {
		field := fmt.Sprintf("downloads[%d]", i)
		one.check(p, field)
		if names[one.Name] {
			p.Add(field+".name", "%s stands twice", one.Name)
		}
		names[one.Name] = true
	}
	checkRefs(p, "images", d.Images)
	for i, m := range d.Programs {
		m.check(p, fmt.Sprintf("programs[%d]", i))
	}
	versions := map[string]bool{}
	for i, s := range d.Sets {
		field := fmt.Sprintf("sets[%d]", i)
		d.checkSet(p, field, s)
		if versions[s.Kubernetes] {
			p.Add(field+".kubernetes", "%s stands twice", s.Kubernetes)
		}
		versions[s.Kubernetes] = true
	}
	if len(d.Sets) == 0 {
		p.Add("sets", "is empty: a catalogue has a set for one Kubernetes version at least")
	}
}

func (d download) check(p *strict.Problems, field string) {
	if !fileName.MatchString(d.Name) {
		p.Add(field+".name", "must be a name of letters, digits and . _ + -, not %q", d.Name)
	}
	if !slices.Contains(bundle.BinaryComponents(), d.Component) {
		p.Add(field+".component", "unknown component %q (known: %s)", d.Component, strings.Join(bundle.BinaryComponents(), ", "))
	}
	checkAddress(p, field+".url", d.URL)
	if d.Checksums != "" {
		checkAddress(p, field+".checksums", d.Checksums)
	}
	if is(d.AllPrograms, false) == (len(d.Programs) > 0) {
		p.Add(field, "needs either programs or allPrograms: true")
	}
	for i, one := range d.Programs {
		at := fmt.Sprintf("%s.programs[%d]", field, i)
		switch {
		case !fileName.MatchString(one.Name):
			p.Add(at+".name", "must be a file name of letters, digits and . _ + -, not %q", one.Name)
		case one.Path == "" && len(d.Programs) > 1:
			p.Add(at+".path", "is missing: several programs lie in an archive")
		}
	}
	d.checkReleases(p, field)
}

func (d download) checkReleases(p *strict.Problems, field string) {
	seen := map[string]bool{}
	for i, r := range d.Versions {
		at := fmt.Sprintf("%s.versions[%d]", field, i)
		switch {
		case !fileName.MatchString(r.Version):
			p.Add(at+".version", "must be a version such as v1.2.3, not %q", r.Version)
		case seen[r.Version]:
			p.Add(at+".version", "%s stands twice", r.Version)
		}
		seen[r.Version] = true
		archs := map[platform.Arch]bool{}
		for _, key := range slices.Sorted(maps.Keys(r.SHA256)) {
			a, err := platform.Parse(key)
			switch {
			case err != nil:
				p.Add(at+".sha256."+key, "%v", err)
			case archs[a]:
				p.Add(at+".sha256."+key, "%s stands twice", a)
			case !hexDigest.MatchString(r.SHA256[key]):
				p.Add(at+".sha256."+key, "must be 64 hexadecimal digits in small letters")
			}
			archs[a] = true
		}
	}
	if len(d.Versions) == 0 {
		p.Add(field+".versions", "is empty")
	}
}

// checkAddress refuses what must not be fetched: the value of what may be a secret is not said.
func checkAddress(p *strict.Problems, field, pattern string) {
	for _, hole := range placeholder.FindAllString(pattern, -1) {
		if !slices.Contains([]string{"{version}", "{number}", "{arch}"}, hole) {
			p.Add(field, "unknown placeholder %s (known: {version}, {number}, {arch})", hole)
		}
	}
	u, err := url.Parse(expand(pattern, "v1", "a"))
	switch {
	case err != nil || u.Host == "":
		p.Add(field, "must be an address such as https://host/path")
	case u.User != nil:
		p.Add(field, "must not hold credentials")
	case u.Scheme != "https":
		p.Add(field, "must begin with https://")
	case u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(u.Path, "/") || u.Path == "":
		p.Add(field, "must end in a file's name")
	}
}

func checkRefs(p *strict.Problems, field string, refs []ref) {
	components := map[string]bool{}
	for i, r := range refs {
		at := fmt.Sprintf("%s[%d]", field, i)
		known := bundle.ImageComponents()
		if r.Component != "" && !slices.Contains(known, r.Component) {
			p.Add(at+".component", "unknown component %q (known: %s; leave it out for any other image)", r.Component, strings.Join(known, ", "))
		}
		if r.Component != "" && components[r.Component] {
			p.Add(at+".component", "%s stands twice", r.Component)
		}
		components[r.Component] = true
		if _, err := image.ParseRef(r.Ref); err != nil {
			p.Add(at+".ref", "%q is %v", r.Ref, err)
		}
		if r.Digest != "" && !ociDigest.MatchString(r.Digest) {
			p.Add(at+".digest", "must be sha256: and 64 hexadecimal digits")
		}
	}
}

func (m made) check(p *strict.Problems, field string) {
	if !slices.Contains(bundle.ImageComponents(), m.Component) {
		p.Add(field+".component", "unknown component %q", m.Component)
	}
	if _, err := image.ParseRef(m.Ref); err != nil {
		p.Add(field+".ref", "%q is %v", m.Ref, err)
	}
	if !fileName.MatchString(expand(m.File, "", "a")) || !strings.Contains(m.File, "{arch}") {
		p.Add(field+".file", "must be a file's name with {arch} in it; the file lies beside hybridctl")
	}
}

// checkSet holds a set against the downloads it names, and against what every bundle needs.
func (d *document) checkSet(p *strict.Problems, field string, s set) {
	if !kubernetesVersion.MatchString(s.Kubernetes) {
		p.Add(field+".kubernetes", "must be a version with the v and three numbers, such as v1.36.3")
	}
	gives := map[bundle.Need]bool{}
	every := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(s.Downloads)) {
		at, version := field+".downloads."+name, s.Downloads[name]
		one, r, ok := d.find(name, version)
		switch {
		case one == nil:
			p.Add(at, "no download is called %s", name)
			continue
		case !ok:
			p.Add(at, "%s has no version %s", name, version)
		case !is(r.Default, true):
			p.Add(at, "%s %s has default: false, so that no set may use it", name, version)
		case one.Component == bundle.Kubernetes && version != s.Kubernetes:
			p.Add(at, "is %s, but kubernetes is %s", version, s.Kubernetes)
		}
		every[one.Component] = every[one.Component] || is(one.AllPrograms, false)
		for _, program := range one.Programs {
			gives[bundle.Need{Component: one.Component, Name: program.Name}] = true
		}
	}
	for _, n := range bundle.NeededBinaries() {
		if !gives[n] && !every[n.Component] {
			p.Add(field+".downloads", "nothing gives the binary %s of the component %s", n.Name, n.Component)
		}
	}
	checkRefs(p, field+".images", s.Images)
	for _, c := range bundle.NeededImages() {
		if !slices.ContainsFunc(d.refs(s), func(r ref) bool { return r.Component == c && r.With == "" }) {
			p.Add(field+".images", "the image of the component %s is missing", c)
		}
	}
}

// find returns a download, and its release of that version.
func (d *document) find(name, version string) (*download, release, bool) {
	for i := range d.Downloads {
		if one := &d.Downloads[i]; one.Name == name {
			for _, r := range one.Versions {
				if r.Version == version {
					return one, r, true
				}
			}
			return one, release{}, false
		}
	}
	return nil, release{}, false
}

// refs are the images of a set: its own, and those of every set of which it has none.
func (d *document) refs(s set) []ref {
	all := slices.Clone(s.Images)
	for _, common := range d.Images {
		if !slices.ContainsFunc(s.Images, func(own ref) bool { return own.Component == common.Component && common.Component != "" }) {
			all = append(all, common)
		}
	}
	return all
}
