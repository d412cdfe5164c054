// Package fleettest has the fleet that tests of other packages begin with.
package fleettest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hybridctl/hybridctl/provision/fleet"
	"github.com/hybridctl/hybridctl/provision/inventory"
)

// Three is a cluster, "sim", of the control planes host-1 and host-2 and the worker host-3, with a state directory of its own. None of its
// hosts is connected, or is there.
func Three(t testing.TB) (c *inventory.Cluster, f *fleet.Fleet, stateDir string) {
	t.Helper()
	c = &inventory.Cluster{Path: "inventory.yaml"}
	c.Metadata.Name = "sim"
	for i, role := range []inventory.Role{inventory.ControlPlane, inventory.ControlPlane, inventory.Worker} {
		c.Spec.Hosts = append(c.Spec.Hosts, inventory.Host{Name: fmt.Sprintf("host-%d", i+1), Address: fmt.Sprintf("192.0.2.%d", i+1), Role: role})
	}
	inventory.Default(c)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Spec.SSH.IdentityFiles = []string{key}
	stateDir = t.TempDir()
	f, err := fleet.New(fleet.Options{Cluster: c, StateDir: stateDir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return c, f, stateDir
}
