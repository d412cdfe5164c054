package ending

import (
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Volumes refuses to leave volumes in Ceph that no cluster knows of any more; goes is what happens to their cluster with --force. No volumes
// are no error, else it is ErrVolumes.
func Volumes(s inventory.Storage, volumes []string, goes string) error {
	if len(volumes) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s; delete the claims and snapshots first (those of a class with reclaimPolicy Retain leave their images behind even so); with --force %s, and of each volume an image or subvolume stays in %s",
		ErrVolumes, report.Some(volumes, 10), goes, whereIn(s))
}

// PerhapsVolumes is the same when the API server does not tell whether there are any: ErrVolumes.
func PerhapsVolumes(err error, goes string) error {
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
