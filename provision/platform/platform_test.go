package platform

import (
	"debug/elf"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		spelling string
		want     Arch
	}{
		{"amd64", AMD64}, {"x86_64", AMD64}, {"x86-64", AMD64}, {"X64", AMD64},
		{"arm64", ARM64}, {"aarch64", ARM64}, {"AArch64", ARM64}, {"arm64v8", ARM64}, {"armv8", ARM64},
	} {
		if got, err := Parse(test.spelling); got != test.want || err != nil {
			t.Errorf("%s: %q, %v", test.spelling, got, err)
		}
	}
}

func TestParse_WhatIsNotSupported(t *testing.T) {
	for _, spelling := range []string{"", "armv7l", "i686", "aarch64_be", "riscv64", " amd64", "linux/amd64", "unknown"} {
		got, err := Parse(spelling)
		if got != "" || err == nil || !strings.HasSuffix(err.Error(), "(supported: amd64, arm64)") {
			t.Errorf("%q: %q, %v", spelling, got, err)
		}
	}
}

func TestArch_Words(t *testing.T) {
	if got := Arch("").String(); got != "unknown" {
		t.Errorf("the zero value is %q", got)
	}
	if got := ARM64.String(); got != "arm64" {
		t.Errorf("got %s", got)
	}
}

// Every architecture has a profile that agrees with itself and with nothing of another's.
func TestProfileFor(t *testing.T) {
	if !slices.Equal(All(), []Arch{AMD64, ARM64}) {
		t.Fatalf("the architectures are %v", All())
	}
	spellings, machines := map[string]Arch{}, map[uint16]Arch{}
	for _, arch := range All() {
		p := ProfileFor(arch)
		if p.Arch != arch || len(p.Spellings) < 2 || p.Spellings[0] != string(arch) {
			t.Errorf("%s: %+v", arch, p)
		}
		for _, s := range p.Spellings {
			if other, taken := spellings[s]; taken && other != arch || s != strings.ToLower(s) {
				t.Errorf("%s: spelling %s is in capitals or that of %s", arch, s, other)
			}
			spellings[s] = arch
		}
		if other, taken := machines[p.ELFMachine]; taken || elf.Machine(p.ELFMachine) == elf.EM_NONE {
			t.Errorf("%s: ELF machine %d is none or that of %s", arch, p.ELFMachine, other)
		}
		machines[p.ELFMachine] = arch
		if p.UserlandBit != 64 {
			t.Errorf("%s: a userland of %d bits", arch, p.UserlandBit)
		}
	}
	// What the kernel calls itself (uname -m) and what the ELF specification numbers.
	if x86, arm := ProfileFor(AMD64), ProfileFor(ARM64); x86.Spellings[1] != "x86_64" || arm.Spellings[1] != "aarch64" ||
		x86.ELFMachine != 62 || arm.ELFMachine != 183 {
		t.Errorf("%+v, %+v", x86, arm)
	}
}

func TestProfileFor_UnknownPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	ProfileFor("mips")
}
