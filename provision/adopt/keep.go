package adopt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/kube"
)

// Keep puts the cluster's kubeconfig, and the key of the host that was asked, into its state directory, which the caller has locked.
// ErrUnfit: that is another cluster's.
func (a Adoption) Keep(dir string) error {
	named, err := kube.RenameContext(a.Kubeconfig, a.Cluster.Metadata.Name)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, fleet.KubeconfigFile)
	if old, err := os.ReadFile(path); err == nil && !sameCluster(old, named) {
		return hint.With(fmt.Errorf("%w: %s is of another cluster of the same name", ErrUnfit, path), "choose a name, or another state directory")
	}
	if err := kube.WriteKubeconfig(path, named); err != nil {
		return err
	}
	return addLines(filepath.Join(dir, fleet.KnownHostsFile), a.KnownHosts)
}

func sameCluster(a, b []byte) bool {
	x, errX := kube.CAHashes(a)
	y, errY := kube.CAHashes(b)
	return errX == nil && errY == nil && slices.Equal(x, y)
}

// addLines adds the lines that a file does not have yet.
func addLines(path string, lines []byte) error {
	there, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var missing []byte
	for line := range bytes.Lines(lines) {
		if !bytes.Contains(there, line) {
			missing = append(missing, line...)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(missing)
	return errors.Join(err, f.Close())
}
