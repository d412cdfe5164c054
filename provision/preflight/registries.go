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
	Asked  bool             // registries were asked for all images that hosts are to pull, and do not have
	Pulls  []Pull           // these images
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
	read, unread := 0, ""
	for _, r := range v.cluster.Spec.Registries {
		if err := v.registries.Files[r.Host]; err != nil {
			return fail("the caFile for %s: %v", r.Host, err).hinted("spec.registries says where it lies")
		}
		if err := v.registries.Logins[r.Host]; err != nil {
			return fail("the password for %s: %v", r.Host, err).hinted("spec.registries says where it comes from")
		}
		_, looked := v.registries.Logins[r.Host]
		_, opened := v.registries.Files[r.Host]
		switch {
		case r.CAFile != "" && !opened:
			unread = fmt.Sprintf("the caFile for %s was not read", r.Host)
		case looked:
			read++
		case r.Private():
			unread = fmt.Sprintf("the password for %s comes from a program, which was not run", r.Host)
		}
	}
	if unread != "" {
		return unknown("not judged: %s", unread)
	}
	return pass("%d registries with a login", read)
}

func checkRegistryImages(v view) verdict {
	if v.cluster.Spec.Images != inventory.ImagesRegistry {
		return pass("hybridctl sends the images")
	}
	switch {
	case v.registries.Asked:
	case v.fetch.Missing != "":
		return unknown("not asked: which manifests hosts pull is known when the bundle is fetched")
	default:
		return unknown("not asked: the run ended before the registries were asked")
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
	if len(v.registries.Pulls) == 0 {
		return pass("the hosts that answer have every image")
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
