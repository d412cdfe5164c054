package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/hybridctl/hybridctl/provision/image"
	"github.com/hybridctl/hybridctl/provision/registry"
)

// askable are the registries that a verb asks. Those of images that the user names, or has manifests of, are; the images of a running cluster are
// named by whoever may make pods in it, and would have this machine ask any host. For those, the well-known registries are asked, the
// inventory's, and the ones that --registry names.
type askable struct {
	only      []string // of --registry: no others but the well-known ones and the inventory's
	inventory []string // those that it names
	images    []string // those of images that the user names
	cluster   bool     // images of a running cluster are asked about

	mu      sync.Mutex
	refused []string
}

func (k *askable) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&k.only, "registry", nil, "ask no registries but these, the well-known ones and the inventory's: `HOST[:PORT],...`; images of others stay unknown. "+
		"Without the flag, all are asked about images that you name or have manifests of; about a running cluster's, the well-known ones and the inventory's")
}

// named adds the registry of an image.
func (k *askable) named(name string) { k.images = append(k.images, image.RegistryOf(name)) }

// may reports whether a registry may be asked.
func (k *askable) may(host string) bool {
	others := k.images
	switch {
	case len(k.only) > 0:
		others = k.only
	case !k.cluster:
		return true
	}
	if registry.WellKnown(host) || containsFold(k.inventory, host) || containsFold(others, host) {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.refused, host) {
		k.refused = append(k.refused, host)
	}
	return false
}

// hint says how the others are asked.
func (k *askable) hint(w io.Writer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.refused) > 0 {
		slices.Sort(k.refused)
		fmt.Fprintf(w, "hint: registries that are neither well known nor the inventory's were not asked; --registry %s asks them\n", shellWord(strings.Join(slices.Concat(k.only, k.refused), ",")))
	}
}
