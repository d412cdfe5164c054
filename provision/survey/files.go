package survey

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// Files are the files that the inventory names.
type Files struct {
	CNIManifest []byte            // with the CNI provider "manifest"
	Patches     map[string][]byte // kubeadm's, by file name
}

// ReadFiles reads them.
func ReadFiles(c *inventory.Cluster) (f Files, err error) {
	if c.Spec.CNI.Provider == inventory.CNIManifest {
		if f.CNIManifest, err = os.ReadFile(c.Spec.CNI.Path); err != nil {
			return f, fmt.Errorf("spec.cni.path: %w", err)
		}
	}
	dir := c.Spec.Kubernetes.Patches
	if dir == "" {
		return f, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return f, fmt.Errorf("spec.kubernetes.patches: %w", err)
	}
	f.Patches = map[string][]byte{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if f.Patches[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return f, fmt.Errorf("spec.kubernetes.patches: %w", err)
		}
	}
	return f, nil
}
