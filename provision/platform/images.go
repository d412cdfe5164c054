package platform

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"
)

// OfImage is the supported architecture that an image's platform stands for, as a node's containerd takes it: arm64/v8 is arm64, and
// amd64/v3 is not amd64, as not every such processor runs it.
func OfImage(arch, variant string) (Arch, bool) {
	arch, variant = strings.ToLower(arch), strings.ToLower(variant)
	for _, p := range profiles {
		if slices.Contains(p.ImageSpellings, arch) && (variant == "" || slices.Contains(p.Baseline, variant)) {
			return p.Arch, true
		}
	}
	return "", false
}

// AnyVariant is OfImage whatever the variant: amd64/v3 holds programs of that architecture, too.
func AnyVariant(arch string) (Arch, bool) {
	for _, p := range profiles {
		if slices.Contains(p.ImageSpellings, strings.ToLower(arch)) {
			return p.Arch, true
		}
	}
	return "", false
}

// Normal spells an image's architecture and variant as containerd compares them.
func Normal(arch, variant string) (string, string) {
	arch, variant = strings.ToLower(arch), strings.ToLower(variant)
	for _, p := range profiles {
		if slices.Contains(p.ImageSpellings, arch) {
			arch = string(p.Arch)
			if slices.Contains(p.Baseline, variant) {
				variant = ""
			}
		}
	}
	return arch, variant
}

// others are machines of Linux that are not supported, as images call them.
var others = map[elf.Machine]string{
	elf.EM_RISCV: "riscv64", elf.EM_S390: "s390x", elf.EM_PPC64: "ppc64", elf.EM_LOONGARCH: "loong64", elf.EM_MIPS: "mips",
}

// MachineName says for people what an ELF machine is: the architecture, else the ELF specification's own name.
func MachineName(machine uint16, bits int) string {
	for _, p := range profiles {
		switch {
		case p.ELFMachine == machine && bits == p.UserlandBit:
			return string(p.Arch)
		case p.ELFMachine == machine:
			return fmt.Sprintf("%s with %d-bit pointers", p.Arch, bits)
		case p.NarrowMachine == machine:
			return "32-bit " + p.Narrow
		}
	}
	if name, ok := others[elf.Machine(machine)]; ok {
		return name
	}
	return elf.Machine(machine).String()
}

// notForCPU are machines of ELF files that no processor of a host runs: programs for the kernel's BPF and for graphics processors.
var notForCPU = []elf.Machine{elf.EM_BPF, elf.EM_CUDA, elf.EM_AMDGPU, elf.EM_NONE}

// ForCPU reports whether ELF files of that machine are for a processor that starts programs.
func ForCPU(machine uint16) bool { return !slices.Contains(notForCPU, elf.Machine(machine)) }

// Directories are the names by which folders keep files of that architecture apart from those of others, as prebuilt modules do
// ("linux-x64", "aarch64-linux-gnu").
func (p Profile) Directories() []string {
	return append(slices.Clone(p.Spellings), p.ImageSpellings...)
}
