package catalogue

import (
	"fmt"
	"path"
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Set is all that a bundle for one Kubernetes version and some architectures is made of.
type Set struct {
	Kubernetes string          `json:"kubernetes"` // v1.36.4
	Archs      []platform.Arch `json:"archs"`
	Files      []File          `json:"files"`
	Images     []Image         `json:"images"`
	Programs   []ProgramImage  `json:"programs"`
	Notes      []string        `json:"notes,omitempty"` // what a user should know of it, a sentence's end each
}

// File is one file of one architecture: a program, or an archive with some.
type File struct {
	Component   string        `json:"component"` // as in a bundle: kubernetes
	Name        string        `json:"name"`      // as the catalogue calls it: kubelet
	Version     string        `json:"version"`   // with the v
	Arch        platform.Arch `json:"arch"`
	URL         string        `json:"url"`                   // upstream's own, https
	SHA256      string        `json:"sha256,omitempty"`      // hex; "" only in a Set that Upstream gave
	Checksums   string        `json:"checksums,omitempty"`   // where upstream publishes the sum, for who trusts that address; Checksum reads it
	Programs    []Program     `json:"programs,omitempty"`    // what is taken out
	AllPrograms bool          `json:"allPrograms,omitempty"` // every executable of the archive is taken out
}

// Base is the file's own name, the last part of its address.
func (f File) Base() string { return path.Base(f.URL) }

// String names the file in a sentence: "kubelet v1.36.4 for arm64".
func (f File) String() string { return fmt.Sprintf("%s %s for %s", f.Name, f.Version, f.Arch) }

// Program is one executable.
type Program struct {
	Name string `json:"name" yaml:"name"`           // on the host
	Path string `json:"path,omitempty" yaml:"path"` // in the archive; "" = the file itself is the program
}

// Image is one image with all the architectures of a set.
type Image struct {
	Component string `json:"component,omitempty"`
	Ref       string `json:"ref"`              // full name with tag
	Digest    string `json:"digest,omitempty"` // of the index; "" = the lock file decides at the first fetch
}

// ProgramImage is an image that is made here, of programs that come with hybridctl: they lie beside its executable.
type ProgramImage struct {
	Component string                   `json:"component,omitempty"`
	Ref       string                   `json:"ref"`
	Files     map[platform.Arch]string `json:"files"` // file names
}

// Entry is one version of one file that the catalogue knows, whether a set uses it or not.
type Entry struct {
	Component string                   `json:"component"`
	Name      string                   `json:"name"`
	Version   string                   `json:"version"`
	SHA256    map[platform.Arch]string `json:"sha256"`
	Source    string                   `json:"source,omitempty"` // where the sums are from
	Note      string                   `json:"note,omitempty"`
	Default   bool                     `json:"default"` // sets may use it
}

// expand fills a pattern in: {version} is v2.3.4, {number} is 2.3.4, {arch} is the architecture as Go spells it.
func expand(pattern, version string, arch platform.Arch) string {
	return strings.NewReplacer("{version}", version, "{number}", strings.TrimPrefix(version, "v"), "{arch}", string(arch)).Replace(pattern)
}
