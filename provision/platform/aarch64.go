package platform

import "debug/elf"

var profileARM64 = Profile{
	Arch:        ARM64,
	Spellings:   []string{"arm64", "aarch64", "arm64v8", "armv8"},
	ELFMachine:  uint16(elf.EM_AARCH64),
	UserlandBit: 64,

	ImageSpellings: []string{"arm64", "aarch64"},
	Baseline:       []string{"v8", "8"},
	Narrow:         "arm",
	NarrowMachine:  uint16(elf.EM_ARM),
	Pages:          []int64{4 << 10, 16 << 10, 64 << 10},
}
