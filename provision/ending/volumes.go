package ending

import (
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/hint"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/report"
)

// Volumes refuses to leave volumes in Ceph that no cluster knows of any more; happens is what becomes of their cluster
// with --force. No volumes are no error, else it is ErrVolumes.
func Volumes(s inventory.Storage, volumes []string, happens string) error {
	if len(volumes) == 0 {
		return nil
	}
	return hint.With(fmt.Errorf("%w: %s", ErrVolumes, report.Some(volumes, 10)),
		"delete the claims and snapshots first (those of a class with reclaimPolicy Retain leave their images behind even so); "+
			"with --force %s, and an image or subvolume of each volume stays in %s", happens, whereIn(s))
}

// PerhapsVolumes is the same when the API server does not tell whether there are any: ErrVolumes.
func PerhapsVolumes(err error, happens string) error {
	return hint.With(fmt.Errorf("%w, perhaps: the API server could not be asked (%v)", ErrVolumes, err),
		"with --force %s anyway, and what it has in Ceph stays there", happens)
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
