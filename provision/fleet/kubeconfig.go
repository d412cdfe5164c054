package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/kube"
	"github.com/hybridctl/hybridctl/provision/report"
)

// KubeconfigFile is the admin kubeconfig's name in the state directory.
const KubeconfigFile = "kubeconfig"

// ErrNoKubeconfig: no kubeconfig is kept, or no control plane gives one.
var ErrNoKubeconfig = errors.New("no control-plane host that answers has an admin kubeconfig")

// Kept returns the kubeconfig that the state directory holds; ErrNoKubeconfig when there is none. It is a secret.
func (f *Fleet) Kept() ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(f.StateDir, KubeconfigFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNoKubeconfig
	}
	return b, err
}

// Keep puts a kubeconfig into the state directory and returns its path.
func (f *Fleet) Keep(kubeconfig []byte) (string, error) {
	path := filepath.Join(f.StateDir, KubeconfigFile)
	return path, kube.WriteKubeconfig(path, kubeconfig)
}

// Given returns the admin kubeconfig of the first control plane that gives one, over the connections that Dial would use. worth says
// which are worth asking; nil = all. by is who gave it. ErrNoKubeconfig says why there is none. It is a secret.
func (f *Fleet) Given(ctx context.Context, worth func(inventory.Host) bool) (kubeconfig []byte, by inventory.Host, err error) {
	none := noKubeconfig{ErrNoKubeconfig}
	for _, h := range f.gateways() {
		if worth != nil && !worth(h) {
			continue
		}
		b, err := f.readAdminConf(ctx, h)
		if err == nil {
			return b, h, nil
		}
		none = append(none, fmt.Errorf("%s: %w", h.Name, err))
	}
	return nil, inventory.Host{}, none
}

// noKubeconfig is an ErrNoKubeconfig with the reason of each control plane that was asked, in one line.
type noKubeconfig []error

func (e noKubeconfig) Unwrap() []error { return e }

func (e noKubeconfig) Error() string {
	var why []string
	for _, err := range e[1:] {
		why = append(why, report.OneLine(err.Error()))
	}
	if len(why) == 0 {
		return e[0].Error()
	}
	return e[0].Error() + ": " + strings.Join(why, "; ")
}

// ClusterMark returns the text of a control plane's mark, over the connection that Dial would use; nothing when it has none, and of a host
// that hybridctl did not set up. The error is why it is not known.
func (f *Fleet) ClusterMark(ctx context.Context, h inventory.Host) ([]byte, error) {
	if !h.IsManaged() {
		return nil, nil
	}
	r, _, err := f.way(ctx, h)
	if err != nil {
		return nil, err
	}
	return host.New(r).ReadClusterMark(ctx)
}

func (f *Fleet) readAdminConf(ctx context.Context, h inventory.Host) ([]byte, error) {
	r, isNew, err := f.way(ctx, h)
	if err != nil {
		return nil, err
	}
	b, err := host.New(r).ReadFile(ctx, host.AdminConf)
	if err != nil && isNew && f.limited() {
		f.lose(h.Name, r) // it is no way to the cluster
	}
	return b, err
}

// Forget deletes what the state directory knows of a cluster that is gone: the worth of its credentials, and the keys that its hosts had.
func Forget(stateDir string) error {
	var errs []error
	for _, name := range []string{KubeconfigFile, KnownHostsFile} {
		if err := os.Remove(filepath.Join(stateDir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
