package conformance

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/kube"
)

// fakeClaim is a claim with its volume, a directory here.
type fakeClaim struct {
	class, mode string
	block       bool
	size        int64
	dir         string
	retained    bool
	attached    int // how often it was given to a pod
}

// fakeDisks are what can be wrong with volumes.
type fakeDisks struct {
	claims map[string]*fakeClaim

	elsewhere bool // pods write to their node's own disk: nothing is mounted on the host
	other     bool // what is mounted is not of Ceph
	shared    bool // a block device is given to every node
	stale     bool // a pod sees an earlier state of a byte
	apart     bool // pods that share a volume do not see what the others write
	small     bool // volumes do not grow
	stays     bool // the driver does not delete what it made
	keeps     bool // the class retains volumes
	refuses   string
	says      string // of a device that another node has; empty = that it has it
}

var sizes = map[string]int64{claimSize: 512 << 20, grownSize: 1 << 30}

func (c *fake) applyClaim(m manifest) {
	claim := c.disks.claims[m.Metadata.Name]
	if claim == nil {
		claim = &fakeClaim{class: m.Spec.StorageClassName, mode: m.Spec.AccessModes[0], block: m.Spec.VolumeMode == "Block", retained: c.disks.keeps,
			dir: filepath.Join(c.dir, "volumes", m.Metadata.Name)}
		if err := os.MkdirAll(claim.dir, 0o755); err != nil {
			c.t.Error(err)
		}
		c.disks.claims[m.Metadata.Name] = claim
	}
	if size := sizes[m.Spec.Resources.Requests.Storage]; size > claim.size && (claim.size == 0 || !c.disks.small) {
		claim.size = size
	}
}

// attach gives a pod its volume; false when it cannot have it yet.
func (c *fake) attach(p *fakePod, m manifest) bool {
	for _, v := range m.Spec.Volumes {
		if v.Claim == nil {
			continue
		}
		claim := c.disks.claims[v.Claim.ClaimName]
		if c.disks.refuses != "" || claim == nil {
			c.events = append(c.events, kube.Event{Object: "PersistentVolumeClaim/" + v.Claim.ClaimName, Type: "Warning", Reason: "ProvisioningFailed", Message: c.disks.refuses})
			return false
		}
		for _, o := range c.pods {
			if o != p && o.claim == v.Claim.ClaimName && o.node != p.node && claim.mode == "ReadWriteOnce" && !c.disks.shared {
				c.event(p, "Warning", "FailedAttachVolume", cmp.Or(c.disks.says, "Multi-Attach error for volume \"pvc-1\": Volume is already used by pod(s) "+o.Name))
				p.waits = true
				return false
			}
		}
		p.claim = v.Claim.ClaimName
		c.give(p, claim)
	}
	return true
}

// give links the volume into the pod's files.
func (c *fake) give(p *fakePod, claim *fakeClaim) {
	if claim.attached++; c.disks.stale && claim.attached == 2 {
		flipFirst(filepath.Join(claim.dir, "data"))
	}
	from, to := claim.dir, filepath.Join(p.root, volumeDir)
	if c.disks.apart || c.disks.elsewhere {
		from = filepath.Join(p.root, "own-disk")
	}
	if claim.block {
		to = filepath.Join(p.root, volumeDevice)
		from = filepath.Join(from, "data")
	}
	for _, dir := range []string{filepath.Dir(from), filepath.Dir(to)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			c.t.Error(err)
		}
	}
	if !claim.block {
		_ = os.MkdirAll(from, 0o755)
	}
	if err := os.Symlink(from, to); err != nil {
		c.t.Error(err)
	}
}

func flipFirst(path string) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return
	}
	b[0] ^= 1
	_ = os.WriteFile(path, b, 0o644)
}

// space is what a pod sees of its volume.
func (c *fake) space(p *fakePod) (int64, int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	claim := c.disks.claims[p.claim]
	if claim == nil {
		return 0, 0, fmt.Errorf("%s has no volume", p.Name)
	}
	if claim.block {
		return claim.size, map[bool]int{false: 251, true: 8}[c.disks.other], nil
	}
	return claim.size - 16<<20, 0, nil // less what a file system keeps
}

// mounts is a node's /proc/self/mounts.
func (n *fakeNode) mounts() string {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	text := "/dev/vda1 / ext4 rw 0 0\n"
	for _, p := range n.c.pods {
		claim := n.c.disks.claims[p.claim]
		if claim == nil || claim.block || p.node != n || n.c.disks.elsewhere {
			continue
		}
		device, fstype := "/dev/rbd0", "ext4"
		switch {
		case n.c.disks.other:
			device, fstype = "tmpfs", "tmpfs"
		case claim.mode == "ReadWriteMany":
			device, fstype = "192.0.2.9:6789:/volumes/csi/x", "ceph"
		}
		text += fmt.Sprintf("%s /var/lib/kubelet/pods/%s/volumes/kubernetes.io~csi/pvc-1/mount %s rw 0 0\n", device, p.UID, fstype)
	}
	return text
}

const fakeDevices = "Character devices:\n  1 mem\n251 not-this\n\nBlock devices:\n  8 sd\n251 rbd\n"

func (c *fake) Volumes(_ context.Context, drivers []string) ([]kube.Volume, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []kube.Volume
	for name, claim := range c.disks.claims {
		driver := RBD
		if claim.mode == "ReadWriteMany" {
			driver = CephFS
		}
		if slices.Contains(drivers, driver.csiName()) {
			for space := range c.spaces {
				out = append(out, kube.Volume{Name: "pv-" + name, Claim: space + "/" + name, Retained: claim.retained})
			}
		}
	}
	return out, nil
}

// letGo is an applied PersistentVolume.
func (c *fake) letGo(m manifest) {
	if m.Spec.ReclaimPolicy == "Delete" {
		c.disks.claims[strings.TrimPrefix(m.Metadata.Name, "pv-")].retained = false
	}
}

// deleteClaim forgets a claim; what it stood for goes, or stays.
func (c *fake) deleteClaim(name string) {
	if claim := c.disks.claims[name]; claim != nil && !claim.retained && !c.disks.stays {
		delete(c.disks.claims, name)
	}
}

func (c *fake) WaitNoVolumes(_ context.Context, namespace, claim string, _ kube.WaitOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if claim == "" && !c.spaces[namespace] {
		for name := range c.disks.claims { // their namespace is gone
			c.deleteClaim(name)
		}
	}
	for name := range c.disks.claims {
		if claim == "" || claim == name {
			return fmt.Errorf("volumes not ready: persistentvolume pv-%s of %s/%s: is still there", name, namespace, name)
		}
	}
	return nil
}
