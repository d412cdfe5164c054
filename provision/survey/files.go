package survey

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/secret"
)

// Files are the files that the inventory names.
type Files struct {
	CNIManifest []byte                      // with the CNI provider "manifest"
	Patches     map[string][]byte           // kubeadm's, by file name
	Planes      map[string]inventory.Secret // of control planes, by name
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

// maxPlaneFile bounds a file of control planes, which travels as a whole.
const maxPlaneFile = 1 << 20

// PlaneFiles reads the files that the inventory gives control planes. One that a program prints is left alone where no programs are run. The
// error names the field and never the content.
func (r Reader) PlaneFiles(ctx context.Context, s *Seen) error {
	s.Files.Planes = map[string]inventory.Secret{}
	for i, f := range r.Cluster.Spec.Kubernetes.Files {
		if r.NoPrograms && len(f.SecretCommand) > 0 {
			continue
		}
		text, err := r.planeFile(ctx, f)
		switch {
		case err == nil && len(text) == 0:
			err = errors.New("it is empty")
		case err == nil && len(text) > maxPlaneFile:
			err = fmt.Errorf("it has %d bytes, and %d are the most", len(text), maxPlaneFile)
		}
		if err != nil {
			return hint.With(fmt.Errorf("spec.kubernetes.files[%d], %s: %w", i, f.Name, err), "nothing was changed on any host")
		}
		s.Files.Planes[f.Name] = inventory.Secret(text)
	}
	return nil
}

func (r Reader) planeFile(ctx context.Context, f inventory.ControlPlaneFile) (string, error) {
	switch {
	case len(f.SecretCommand) > 0:
		text, err := r.printed(ctx, f.SecretCommand)
		if err != nil {
			return "", fmt.Errorf("secretCommand %w", err)
		}
		return text, nil
	case f.SecretEnv != "":
		return secret.From("content", "", f.SecretEnv)()
	}
	b, err := secret.File(f.Source + f.SecretFile) // one of them
	var p *fs.PathError
	if errors.As(err, &p) {
		err = fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return string(b), err
}
