package platform

import "debug/elf"

var profileAMD64 = Profile{
	Arch:        AMD64,
	Spellings:   []string{"amd64", "x86_64", "x86-64", "x64"},
	ELFMachine:  uint16(elf.EM_X86_64),
	UserlandBit: 64,

	ImageSpellings: []string{"amd64", "x86_64", "x86-64"},
	Baseline:       []string{"v1"},
	Narrow:         "386",
	NarrowMachine:  uint16(elf.EM_386),
	Pages:          []int64{4 << 10},
}
