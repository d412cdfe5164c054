package preflight

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
)

var archChecks = []check{
	{"arch-supported", "the host's architecture is one that hybridctl knows", checkArchSupported, onFacts},
	{"arch-declared", "the architecture in the inventory is the host's", checkArchDeclared, onFacts},
	{"userland", "the host's programs have the word size of its kernel", checkUserland, onFacts},
	{"page-size", "memory pages are small enough for the usual images", checkPageSize, onFacts},
	{"foreign-binfmt", "no emulator hides images of the wrong architecture", checkBinfmt, onFacts},
}

func checkArchSupported(v view) verdict {
	if v.facts.Arch == "" {
		return fail("the machine is %s, wanted one of %v", v.facts.UnameMachine, platform.All()).
			hinted("take the host out of the inventory, or boot a kernel of a supported architecture")
	}
	return pass("the machine is %s", v.facts.UnameMachine)
}

func checkArchDeclared(v view) verdict {
	switch declared := v.host.Arch; {
	case declared == "":
		return pass("not declared; the host is %s", v.facts.Arch)
	case declared != v.facts.Arch:
		return fail("the inventory says %s, the host is %s (%s)", declared, v.facts.Arch, v.facts.UnameMachine).
			hinted("correct arch or address of %s in the inventory, or leave arch out", v.host.Name)
	}
	return pass("%s, as declared", v.facts.Arch)
}

func checkUserland(v view) verdict {
	is := v.facts.UserlandBits
	switch {
	case v.facts.Arch == "":
		return unknown("not judged: the architecture is not supported")
	case is == 0:
		return warn("the word size of the host's programs could not be read, wanted %d bits", platform.ProfileFor(v.facts.Arch).UserlandBit)
	case is != platform.ProfileFor(v.facts.Arch).UserlandBit:
		return fail("the kernel is %s, but the system's programs have %d bits, wanted %d", v.facts.UnameMachine, is, platform.ProfileFor(v.facts.Arch).UserlandBit).
			hinted("install the %d-bit edition of the operating system", platform.ProfileFor(v.facts.Arch).UserlandBit)
	}
	return pass("%d bits", is)
}

// largePage is the page size from which common images stop working, those built with jemalloc for smaller pages first of all.
const largePage = 64 << 10

// smallPage is what every image bears.
const smallPage = 4 << 10

func checkPageSize(v view) verdict {
	if v.facts.PageSize >= largePage {
		return warn("pages have %d KiB, wanted less than %d", v.facts.PageSize>>10, largePage>>10).
			hinted("some images do not start with pages this large (allocators built for smaller ones): take images built for them, or a kernel with pages of 4 KiB if %s has one", cmp.Or(v.facts.OS.PrettyName, "the distribution"))
	}
	switch {
	case v.facts.PageSize == 0:
		return unknown("the page size could not be read").hinted("getconf PAGESIZE on the host says it")
	case v.facts.PageSize > smallPage && isPi(v.facts):
		return warn("pages have %d KiB, and images built for 4 (with jemalloc, for instance) do not start", v.facts.PageSize>>10).
			hinted("if the cluster's images include such: kernel=kernel8.img in %s, and reboot", strings.ReplaceAll(bootFile(v.facts), "cmdline.txt", "config.txt"))
	}
	return pass("pages have %d KiB", v.facts.PageSize>>10)
}

func checkBinfmt(v view) verdict {
	var foreign []string
	for _, b := range v.facts.Binfmt {
		for _, a := range platform.All() {
			if b.Enabled && a != v.facts.Arch && b.ELFMachine == platform.ProfileFor(a).ELFMachine {
				foreign = append(foreign, fmt.Sprintf("%s (%s)", b.Name, a))
			}
		}
	}
	if len(foreign) > 0 {
		return warn("programs of other architectures are emulated: %s", list(foreign)).
			hinted("an image of the wrong architecture runs here, slowly, instead of failing; echo -1 > /proc/sys/fs/binfmt_misc/<name>, or remove the qemu-user package")
	}
	return pass("no handler for another architecture is enabled")
}
