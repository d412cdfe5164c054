package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hybridctl/hybridctl/provision/adopt"
	"github.com/hybridctl/hybridctl/provision/catalogue"
	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/stack"
)

// AdoptOptions are Adopt's own. Options.Cluster names how SSH is spoken, and holds the control plane to connect to as its only host; without
// a host, Kubeconfig has to be given.
type AdoptOptions struct {
	Options
	Kubeconfig []byte // an administrator's; nil = the control plane's own is read over SSH
	Bundle     string // the bundle that is to be used, which need not be there; as the inventory names it; "" = none
	BundleDir  string // the same, as this process finds it
}

// Adoption is a running cluster as an inventory.
type Adoption = adopt.Adoption

// Adopt looks at a running cluster that kubeadm made and writes nothing anywhere.
// Errors: kube.ErrNotKubeadm and ErrRefused when hybridctl cannot work with the cluster; others for the user.
func Adopt(ctx context.Context, o AdoptOptions) (Adoption, error) {
	scratch, err := os.MkdirTemp("", "hybridctl-adopt-")
	if err != nil {
		return Adoption{}, err
	}
	defer os.RemoveAll(scratch)
	o.StateDir = scratch // the cluster's own is known when its name is
	r, err := look(ctx, o.withDefaults())
	if err != nil {
		return Adoption{}, err
	}
	defer r.end()
	a := Adoption{Kubeconfig: o.Kubeconfig}
	if a.Kubeconfig == nil {
		if err := a.AdminConf(r.reading, r.fleet); err != nil {
			return a, err
		}
	}
	c, err := r.Client(a.Kubeconfig)
	if err != nil {
		return a, refuseUnfit(adopt.Flatten(err), o.Kubeconfig != nil)
	}
	as := adopt.Wanted{Name: o.Cluster.Metadata.Name, SSH: o.Cluster.Spec.SSH, Bundle: o.Bundle, BundleDir: o.BundleDir, Versions: catalogue.Embedded().Versions()}
	if err := a.Read(r.reading, c, as); err != nil {
		return a, refuseUnfit(err, false)
	}
	if a.KnownHosts, err = os.ReadFile(filepath.Join(scratch, fleet.KnownHostsFile)); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return a, err
}

// KeepAdopted puts an adopted cluster's kubeconfig, and the key of the host that was asked, into its state directory.
// Errors: ErrRefused: that is another cluster's. ErrLocked.
func KeepAdopted(a Adoption, dir string) error {
	store, err := stack.OpenStore(dir)
	if err != nil {
		return err
	}
	defer store.Close()
	return refuseUnfit(a.Keep(dir), false)
}

// refuseUnfit makes ErrRefused of what does not fit; unfit: whatever it is, it is the user's own.
func refuseUnfit(err error, unfit bool) error {
	if unfit || errors.Is(err, adopt.ErrUnfit) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// ControlPlaneAt is the cluster of which nothing is known but how one of its control planes is reached: [user@]address[:port].
func ControlPlaneAt(where string, ssh inventory.SSH) (*inventory.Cluster, error) {
	return adopt.ControlPlaneAt(where, ssh)
}
