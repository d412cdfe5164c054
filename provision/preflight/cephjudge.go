package preflight

import (
	"fmt"
	"strings"

	"github.com/hybridctl/hybridctl/provision/inventory"
)

// cephCase is what was asked, and how the kernel ended it.
type cephCase struct {
	user    inventory.CephUser
	answer  CephAnswer
	kernel  string // uname -r
	banners map[string]string
}

// judgeRBD turns the kernel's answer to "find an image that does not exist" into a verdict. That there is no such image is the answer
// of a client that got through: module, way, protocol, user, key and pool are right.
func judgeRBD(c cephCase) verdict {
	pool, a := c.user.Ceph.RBD.Pool, c.answer
	switch {
	case a.Errno == "ENOENT" && a.has("pool "+pool+" does not exist"):
		return fail("the pool %s does not exist in the Ceph cluster", pool).
			hinted("ceph osd pool ls prints those that do; or make it: ceph osd pool create %s; rbd pool init %s", pool, pool)
	case a.Errno == "ENOENT" && a.has("/probe-"):
		return c.sameCluster("client.%s finds the pool %s", c.user.Name, pool)
	case a.Errno == "ENOENT":
		return warn("the Ceph cluster answers client.%s, and whether the pool %s exists is in the kernel's log, which could not be read", c.user.Name, pool).
			hinted("dmesg on the host has to work; ceph osd pool ls prints the pools")
	case a.Errno == "EPERM", a.has("bad authorize reply"): // the OSDs' answer to a user who has no capabilities there at all
		return fail("client.%s may not use the pool %s: it lacks capabilities", c.user.Name, pool).
			hinted("ceph auth caps client.%s mon 'profile rbd' mgr 'profile rbd pool=%s' osd 'profile rbd pool=%s'", c.user.Name, pool, pool)
	}
	return c.common("the pool " + pool)
}

// judgeCephFS turns the kernel's answer to a mount into a verdict.
func judgeCephFS(c cephCase) verdict {
	fs, a := c.user.Ceph.CephFS, c.answer
	switch {
	case a.Errno == "":
		return c.sameCluster("client.%s mounts %s of %s", c.user.Name, fs.Directory(), fs.FSName)
	case c.refused():
	case a.Errno == "ENOENT":
		return fail("the file system %s has no subvolume group %s", fs.FSName, fs.SubvolumeGroup).
			hinted("the driver does not make it: ceph fs subvolumegroup create %s %s", fs.FSName, fs.SubvolumeGroup)
	case a.Errno == "EACCES" || a.Errno == "EPERM":
		return fail("client.%s may not mount %s of %s", c.user.Name, fs.Directory(), fs.FSName).hinted("%s", capsFS(c.user))
	case a.has("No mds server is up"):
		return fail("no metadata server answers for the file system %s", fs.FSName).
			hinted("ceph fs ls prints the file systems, and ceph mds stat whether one is up:active; correct fsName, or start a metadata server")
	}
	return c.common("the file system " + fs.FSName)
}

func capsFS(u inventory.CephUser) string {
	fs := u.Ceph.CephFS
	return fmt.Sprintf("ceph auth caps client.%s mon 'allow r fsname=%s' mgr 'allow rw' osd 'allow rw tag cephfs metadata=%[2]s, allow rw tag cephfs data=%[2]s' "+
		"mds 'allow r fsname=%[2]s path=/volumes, allow rws fsname=%[2]s path=%[3]s'", u.Name, fs.FSName, fs.Directory())
}

// refused reports whether the monitors did not believe the user.
func (c cephCase) refused() bool {
	return c.answer.has("authentication failed: -13")
}

// common is the verdict on what goes wrong before pools and file systems matter.
func (c cephCase) common(wanted string) verdict {
	a, name := c.answer, c.user.Name
	switch {
	case c.refused(), a.Errno == "EACCES":
		return fail("the monitors refuse client.%s: its key is another one, or there is no such user", name).
			hinted("compare the key in %s with: ceph auth get client.%s", c.user.Path, name)
	case a.has("secret too big"):
		return fail("the key of client.%s is of the type aes256k, which the kernel %s cannot use", name, c.kernel).
			hinted("boot a kernel 7.0 or newer on every host, or give the user a key of the type aes")
	case a.has("Failed to parse secret"):
		return fail("the kernel cannot read the key of client.%s", name).hinted("it is damaged: ceph auth get-key client.%s prints it whole", name)
	case a.has("Failed to parse monitor IPs"):
		return fail("the kernel cannot read the monitors %s", strings.Join(c.user.Ceph.Monitors, ", ")).hinted("write each as IPv4 address and port: kernels resolve no names")
	case a.has("ms_mode"):
		return fail("the kernel %s does not know msMode %s", c.kernel, c.user.Ceph.MSMode).hinted("write the monitors with port 6789 and msMode: legacy, or boot a newer kernel")
	case a.has("server is speaking msgr1 protocol"):
		return fail("the monitors speak the first protocol (msgr1), and msMode is %s", c.user.Ceph.MSMode).hinted("write the monitors with port 3300, or msMode: legacy")
	case c.silent():
		return c.unreachable(wanted)
	}
	return fail("the kernel could not ask for %s: %s", wanted, strings.Join(append([]string{a.Errno, a.Text}, a.Log...), "; ")).
		hinted("the kernel's lines tell more: dmesg on the host; ceph -s shows whether the Ceph cluster is well")
}

// silent reports whether the kernel waited in vain.
func (c cephCase) silent() bool {
	switch c.answer.Errno {
	case "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ECONNREFUSED", "EIO":
		return true
	}
	return false
}

// unreachable says why no monitor answered: the wrong protocol, no monitor there, or a cluster behind its monitors that does not work.
func (c cephCase) unreachable(wanted string) verdict {
	ceph := c.user.Ceph
	if wrong := wrongProtocol(ceph, c.banners); wrong != nil {
		return *wrong
	}
	if c.answer.has("V1_BANNER") {
		return fail("the monitors do not speak the first protocol (msgr1), and msMode is legacy").hinted("write the monitors with port 6789, or msMode: prefer-crc")
	}
	if quiet := quietMonitors(ceph, c.banners); len(quiet) == len(ceph.Monitors) {
		return fail("no monitor answers: %s", list(quiet)).hinted("%s", routeHint)
	}
	hint := "ceph -s shows whether its monitors have a quorum and its placement groups are active"
	if c.user.Type == inventory.CephTypeFS {
		hint = "a user without rights at the metadata servers waits like this: " + capsFS(c.user) + "; else " + hint
	}
	return fail("the monitors answer, but %s did not in time (%s)", wanted, c.answer.Errno).hinted("%s", hint)
}

// sameCluster is the verdict on a client that got through: it may have met another cluster. The kernel does not compare.
func (c cephCase) sameCluster(format string, args ...any) verdict {
	for _, line := range c.answer.Log {
		_, fsid, ok := strings.Cut(line, " fsid ")
		if fsid = strings.TrimSpace(fsid); ok && strings.HasPrefix(line, "libceph: client") && fsid != c.user.Ceph.FSID {
			return fail("the monitors belong to the Ceph cluster %s, the inventory says %s", fsid, c.user.Ceph.FSID).
				hinted("correct fsid or monitors at %s in the inventory", strings.TrimSuffix(c.user.Path, "."+c.user.Type))
		}
	}
	return pass(format, args...)
}
