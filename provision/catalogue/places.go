package catalogue

import (
	"maps"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// Places are the addresses of all files that the catalogue knows, and the names of all its images, without tags: what there may be another
// source for.
func (c *Catalogue) Places() []string {
	places := map[string]bool{}
	for _, d := range c.doc.Downloads {
		for _, r := range d.Versions {
			for _, a := range platform.All() {
				f := d.file(r.Version, a, "")
				places[f.URL], places[f.Checksums] = true, true
			}
		}
	}
	for _, s := range c.doc.Sets {
		for _, r := range c.doc.refs(s) {
			places[untagged(r.Ref)] = true
		}
	}
	delete(places, "")
	return slices.Sorted(maps.Keys(places))
}

// Places are those of the set alone: of a version that the catalogue lacks they are others than the catalogue's.
func (s Set) Places() []string {
	var places []string
	for _, f := range s.Files {
		places = append(places, f.URL)
	}
	for _, i := range s.Images {
		places = append(places, untagged(i.Ref))
	}
	return places
}

func untagged(ref string) string { return ref[:strings.LastIndex(ref, ":")] }
