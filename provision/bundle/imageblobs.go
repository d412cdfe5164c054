package bundle

import (
	"fmt"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// ImageBlobs lists the digests of all blobs of one architecture's image: what a host that has the image need not be sent again.
func (b *Bundle) ImageBlobs(arch platform.Arch, ref string) ([]string, error) {
	i, ok := b.ImageByRef(ref)
	if !ok || i.Manifests[arch] == "" {
		return nil, fmt.Errorf("the bundle has no image %s for %s", ref, arch)
	}
	blobs, err := b.blobs(i, arch)
	if err != nil {
		return nil, sentencef(ErrDamaged, "bundle %s is damaged: image %s: %v", b.Dir, ref, err)
	}
	digests := make([]string, len(blobs))
	for n, blob := range blobs {
		digests[n] = blob.Digest
	}
	return digests, nil
}
