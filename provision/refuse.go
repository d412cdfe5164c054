package provision

import (
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/render"
)

// refuseUnknown refuses names that are not in the inventory.
func (r *run) refuseUnknown(hosts []string) error {
	for _, name := range hosts {
		if _, ok := r.Cluster.Host(name); !ok {
			return fmt.Errorf("%w: %s has no host %q; it has %s", ErrRefused, r.Cluster.Path, name, some(names(r.Cluster.Spec.Hosts)))
		}
	}
	return nil
}

// forced are the words that force again what was forced: --force of the verb's own, and of hosts that were named.
func forced(all bool, hosts []string) (words []string) {
	if all {
		words = append(words, "--force")
	}
	if len(hosts) > 0 {
		words = append(words, "--force="+strings.Join(hosts, ","))
	}
	return words
}

// refuseOrphans refuses when there are volumes in Ceph; goes is what happens to their cluster with --force.
func (r *run) refuseOrphans(goes string) error {
	volumes, err := r.api.StoredBy(r.reading, []string{render.RBD.DriverName(), render.CephFS.DriverName()})
	if err != nil {
		return perhapsVolumes(err, goes)
	}
	if len(volumes) == 0 {
		return nil
	}
	var named []string
	for _, v := range volumes {
		named = append(named, v.String())
	}
	return fmt.Errorf("%w: %s; delete the claims and snapshots first (those of a class with reclaimPolicy Retain leave their images behind even so); with --force %s, and of each volume an image or subvolume stays in %s",
		ErrVolumes, some(named), goes, whereIn(r.Cluster.Spec.Storage))
}

func perhapsVolumes(err error, goes string) error {
	return fmt.Errorf("%w, perhaps: the API server could not be asked (%v); with --force %s all the same, and what it has in Ceph stays there", ErrVolumes, err, goes)
}

// whereIn names the pools and file systems of the inventory.
func whereIn(s inventory.Storage) string {
	var out []string
	for _, c := range s.Ceph {
		if c.RBD.Wanted() {
			out = append(out, "the pool "+c.RBD.Pool)
		}
		if c.CephFS.Wanted() {
			out = append(out, "the file system "+c.CephFS.FSName)
		}
	}
	if len(out) == 0 {
		return "Ceph"
	}
	return strings.Join(out, " or ")
}
