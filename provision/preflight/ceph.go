package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// CephSeen is what was found out about the inventory's Ceph clusters beside facts. What was not looked at is not judged.
type CephSeen struct {
	Keys  map[string]CephKey  // by ID of the user
	Hosts map[string]CephHost // by name
	// Pulled are the architectures of images that the bundle lacks, as their registries told; an image of which none told is not there.
	Pulled map[string][]platform.Arch
}

// CephKey is what a user's key looked like, without the key.
type CephKey struct {
	Problem error // why it cannot be read, or is none
	AES256  bool
}

// CephHost is what one host's kernel and the monitors told it.
type CephHost struct {
	Err      error             // why it could not be asked
	Features uint64            // of images that the kernel can map; 0 = it has no rbd
	Absent   map[string]string // modules that cannot be loaded, with modprobe's words
	Banners  map[string]string // what each monitor sent first, or why it did not
	Answers  map[string]CephAnswer
}

// CephAnswer is how the kernel ended what it was asked for a user: to find an image that does not exist, or to mount.
type CephAnswer struct {
	Errno string   // ENOENT, ETIMEDOUT, …; "" = done
	Text  string   // the whole of what was said
	Log   []string // the kernel's lines meanwhile
}

// has reports whether the kernel wrote a line with these words.
func (a CephAnswer) has(words string) bool {
	return slices.ContainsFunc(a.Log, func(line string) bool { return strings.Contains(line, words) })
}

var cephChecks = []check{
	{"ceph-keys", "the keys of Ceph's users can be read and are well-formed", checkCephKeys, onCephCluster},
	{"ceph-images", "the bundle holds every image of ceph-csi for every architecture of the cluster", checkCephImages, onCephCluster},
	{"ceph-modules", "the kernel has the modules that mount Ceph's volumes", checkCephModules, onCeph},
	{"ceph-monitors", "Ceph's monitors answer this host, in the protocol that msMode says", checkCephMonitors, onCeph},
	{"ceph-features", "the kernel can map images with the features that the inventory wants", checkCephFeatures, onCeph},
	{"ceph-rbd", "the host's kernel finds the pool with the user and key of the inventory", checkCephRBD, onCeph},
	{"ceph-cephfs", "the host's kernel mounts the file system with the user and key of the inventory", checkCephFS, onCeph},
}

func checkCephKeys(v view) verdict {
	var inline []string
	unread := false
	for _, u := range v.cluster.CephUsers() {
		key, read := v.ceph.Keys[u.ID]
		switch {
		case !read:
			unread = true
		case key.Problem != nil:
			return fail("the key of client.%s (%s): %v", u.Name, u.Path, key.Problem).
				hinted("a Ceph administrator prints it with: ceph auth get-key client.%s", u.Name)
		case key.AES256 && tooOldForAES256(v):
			return warn("the key of client.%s is of the type aes256k, and ceph-csi %s is older than that", u.Name, v.driverVersion()).
				hinted("take ceph-csi 3.16.3, 3.17.1 or newer, or give the user a key of the type aes")
		case u.Key.Inline != "":
			inline = append(inline, u.Path+".key")
		}
	}
	if len(inline) > 0 {
		return warn("the inventory holds keys in plain text: %s", list(inline)).hinted("write keyFile, keyEnv or keyCommand instead, and give the user a new key")
	}
	if unread {
		return unknown("not looked at")
	}
	return pass("all well-formed")
}

// driverVersion is the driver's version as the inventory says or its image's tag; "" when neither tells.
func (v view) driverVersion() string {
	driver, _ := v.bundle.Manifest.Find("ceph-csi", v.cluster.Spec.Storage.CSI.Images.Driver)
	return v.cluster.Spec.Storage.CSI.Version(driver.Ref)
}

func tooOldForAES256(v view) bool {
	version := v.driverVersion()
	return version != "" && (inventory.OlderThan(version, 3, 16, 3) || !inventory.OlderThan(version, 3, 17, 0) && inventory.OlderThan(version, 3, 17, 1))
}

func checkCephImages(v view) verdict {
	if why := v.noBundle(); why != "" {
		return unknown("%s", why)
	}
	var archs []platform.Arch
	for _, h := range v.fleet.facts {
		if h.Arch != "" && !slices.Contains(archs, h.Arch) {
			archs = append(archs, h.Arch)
		}
	}
	if len(archs) == 0 {
		return unknown("not judged: no host's architecture is known")
	}
	slices.Sort(archs)
	var lacks, elsewhere, pulled []string
	for _, want := range v.cluster.Spec.Storage.WantedImages() {
		i, ok := v.bundle.Manifest.Find(want.Component, want.Ref)
		switch {
		case !ok && want.Ref != "":
			made, told := v.ceph.Pulled[want.Ref]
			if !told {
				elsewhere = append(elsewhere, want.Ref)
			}
			for _, a := range archs {
				if told && !slices.Contains(made, a) {
					pulled = append(pulled, fmt.Sprintf("%s for %s", want.Ref, a))
				}
			}
		case !ok:
			lacks = append(lacks, want.Component)
		default:
			for _, a := range archs {
				if !slices.Contains(i.Archs, a) {
					lacks = append(lacks, fmt.Sprintf("%s for %s", want.Component, a))
				}
			}
		}
	}
	switch {
	case len(lacks) > 0:
		return fail("the bundle lacks the images %s", strings.Join(lacks, ", ")).
			hinted("add them to the bundle's source with these components, one index for all architectures each; with ceph-images in preflight.ignore the cluster is made without ceph-csi")
	case len(pulled) > 0:
		return fail("the registry has no %s", strings.Join(pulled, ", ")).
			hinted("name images in spec.storage.csi.images that are made for every architecture of the cluster, as one index each")
	case len(elsewhere) > 0:
		return warn("not in the bundle: %s", strings.Join(elsewhere, ", ")).
			hinted("nodes pull them; their registry did not tell from here whether they are made for every architecture of the cluster: put them into the bundle to be sure")
	}
	return pass("the bundle, or the registry, has every image of ceph-csi")
}

// cephModules are the modules that the inventory's classes need, in the order to say them.
func cephModules(s inventory.Storage) []string {
	var out []string
	for _, c := range s.Ceph {
		switch {
		case c.RBD.Mounter == inventory.MounterNBD:
			out = append(out, "nbd")
		case c.RBD.Wanted():
			out = append(out, "rbd")
		}
		if c.CephFS.Wanted() {
			out = append(out, "ceph")
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func checkCephModules(v view) verdict {
	wanted := cephModules(v.cluster.Spec.Storage)
	for _, m := range wanted {
		if words, absent := v.cephHost().Absent[m]; absent {
			return fail("the kernel %s (%s) does not load %s: %s", v.facts.Kernel, v.facts.Arch, m, words).hinted("%s", cephModuleHint(v, m))
		}
		if !hasModule(v.facts, m) {
			return fail("the kernel %s (%s) has no module %s", v.facts.Kernel, v.facts.Arch, m).hinted("%s", cephModuleHint(v, m))
		}
	}
	return pass("the kernel has %s", strings.Join(wanted, ", "))
}

func hasModule(f facts.Host, name string) bool {
	switch f.Modules[name] {
	case facts.ModuleLoaded, facts.ModuleBuiltin, facts.ModuleAvailable:
		return true
	}
	return false
}

// cephModuleHint says how a kernel comes to the module, or how to do without it.
func cephModuleHint(v view, module string) string {
	hint := modulesHint(v.facts, false)
	switch {
	case module == "rbd" && hasModule(v.facts, "nbd"):
		hint += "; or write rbd: {mounter: rbd-nbd}, which this kernel has the module for"
	case module == "nbd" && hasModule(v.facts, "rbd"):
		hint += "; or write rbd: {mounter: kernel}, which this kernel has the module for"
	}
	return hint + "; or keep volumes off the host with spec.storage.csi.nodeSelector"
}

// imageFeatureBits are librbd's.
var imageFeatureBits = map[string]uint64{
	"layering": 1, "exclusive-lock": 4, "object-map": 8, "fast-diff": 16, "deep-flatten": 32, "journaling": 64,
}

func checkCephFeatures(v view) verdict {
	can := v.cephHost().Features
	if can == 0 {
		return unknown("not looked at")
	}
	for _, c := range v.cluster.Spec.Storage.Ceph {
		if !c.RBD.Wanted() || c.RBD.Mounter != inventory.MounterKernel {
			continue
		}
		var lacks []string
		for _, f := range c.RBD.ImageFeatures {
			if can&imageFeatureBits[f] == 0 {
				lacks = append(lacks, f)
			}
		}
		if len(lacks) > 0 {
			return fail("the kernel %s cannot map images with %s (it has %#x)", v.facts.Kernel, strings.Join(lacks, ", "), can).
				hinted("take them out of imageFeatures (layering alone works everywhere), or write mounter: rbd-nbd, or boot a newer kernel")
		}
	}
	return pass("the kernel maps every feature that is wanted")
}

func (v view) cephHost() CephHost { return v.ceph.Hosts[v.host.Name] }
