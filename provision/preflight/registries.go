package preflight

import (
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// RegistriesSeen is what was found out about the inventory's registries. What no one looked at is not judged.
type RegistriesSeen struct {
	Files  map[string]error // by host of the entry: why its caFile cannot be read, nil = it can
	Logins map[string]error // the same of passwords
	Pulls  []Pull           // of images that hosts are to pull, and do not have
}

// Pull is an image that hosts of an architecture are to pull.
type Pull struct {
	Image, Component string
	Arch             platform.Arch
	Lacks            []string // what each place answered where a host looks for it; empty = one has it
}

var registryChecks = []check{
	{"registry-logins", "the certificates and passwords of spec.registries can be read", checkRegistryLogins, onRegistries},
	{"registry-images", "the registries that hosts pull from have every image, for the hosts' architectures", checkRegistryImages, onRegistries},
}

// usesRegistries reports whether the checks of registries have anything to say.
func usesRegistries(c *inventory.Cluster) bool {
	return len(c.Spec.Registries) > 0 || c.Spec.Images == inventory.ImagesRegistry
}

func checkRegistryLogins(v view) verdict {
	read := 0
	for _, r := range v.cluster.Spec.Registries {
		if err := v.registries.Files[r.Host]; err != nil {
			return fail("the caFile for %s: %v", r.Host, err).hinted("spec.registries says where it lies")
		}
		if err := v.registries.Logins[r.Host]; err != nil {
			return fail("the password for %s: %v", r.Host, err).hinted("spec.registries says where it comes from")
		}
		if _, looked := v.registries.Logins[r.Host]; looked {
			read++
		} else if r.Private() {
			return unknown("not judged: the password for %s comes from a program, which was not run", r.Host)
		}
	}
	return pass("%d registries with a login", read)
}

func checkRegistryImages(v view) verdict {
	if v.cluster.Spec.Images != inventory.ImagesRegistry {
		return pass("hybridctl sends the images")
	}
	var lacks []string
	for _, p := range v.registries.Pulls {
		if len(p.Lacks) > 0 {
			lacks = append(lacks, p.words())
		}
	}
	if len(lacks) > 0 {
		return fail("hosts would not get %s", strings.Join(lacks[:min(len(lacks), 3)], "; and not ")+more(len(lacks)-3)).
			hinted(`"hybridctl bundle push" gives a registry the bundle's images; where the hosts alone reach it, put registry-images into spec.preflight.ignore`)
	}
	return pass("%d images are there", len(v.registries.Pulls))
}

func (p Pull) words() string {
	name := p.Image
	if p.Component != "" {
		name = p.Component + " (" + p.Image + ")"
	}
	return name + " for " + p.Arch.String() + ": " + strings.Join(p.Lacks, "; ")
}

// more counts what a list cut short leaves out.
func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("; and %d more", n)
}
