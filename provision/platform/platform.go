// Package platform owns what differs between architectures and operating systems: the type Arch, its
// spellings, and the Profile that tells other packages, as data, how hosts of that architecture differ.
// It refuses to know anything else: no I/O, no imports from this module.
package platform

import (
	"fmt"
	"strings"
)

// Arch is a CPU architecture in the spelling of GOARCH and of the node label kubernetes.io/arch.
// The zero value means "not known".
type Arch string

// The architectures hybridctl supports.
const (
	AMD64 Arch = "amd64"
	ARM64 Arch = "arm64"
)

// All lists the supported architectures in a stable order.
func All() []Arch {
	var all []Arch
	for _, p := range profiles {
		all = append(all, p.Arch)
	}
	return all
}

// Parse turns any usual spelling ("aarch64", "x86_64", "arm64", …) into an Arch.
// The error is for the user: it names the spelling and what is supported.
func Parse(s string) (Arch, error) {
	for _, p := range profiles {
		for _, spelling := range p.Spellings {
			if strings.EqualFold(s, spelling) {
				return p.Arch, nil
			}
		}
	}
	return "", fmt.Errorf("unknown architecture %q (supported: %s)", s, supported())
}

func supported() string {
	var names []string
	for _, a := range All() {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}

// String returns the GOARCH spelling, or "unknown".
func (a Arch) String() string {
	if a == "" {
		return "unknown"
	}
	return string(a)
}

// Profile is what differs between architectures, as data.
type Profile struct {
	Arch        Arch
	Spellings   []string // every accepted spelling; the first is GOARCH, the second what `uname -m` prints, also where that is the same
	ELFMachine  uint16   // e_machine of the architecture's executables (ELF specification)
	UserlandBit int      // word size a userland must have, `getconf LONG_BIT`

	// ImageSpellings and Baseline are how images spell the architecture, and the variants that are the same as none: containerd goes by these
	// two (github.com/containerd/platforms, normalizeArch). Another variant wants more of a processor than every host of the architecture has.
	ImageSpellings, Baseline []string
	// Narrow is the 32-bit architecture before it, which containerd falls back to (platformVector): in images and as an ELF machine.
	Narrow        string
	NarrowMachine uint16
	// Pages are the sizes of memory pages that its kernels are built with (arch/*/Kconfig, PAGE_SIZE_*), the smallest first.
	Pages []int64
}

// ProfileFor returns the profile of a known architecture; it panics on an unknown one, which Parse never returns.
func ProfileFor(a Arch) Profile {
	for _, p := range profiles {
		if p.Arch == a {
			return p
		}
	}
	panic("platform: no profile for " + string(a))
}

// profiles is the list to extend for a new architecture.
var profiles = []Profile{profileAMD64, profileARM64}
