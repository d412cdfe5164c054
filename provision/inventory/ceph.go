package inventory

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The defaults of storage.
const (
	DefaultCSINamespace   = "ceph-csi"
	DefaultKubeletDir     = "/var/lib/kubelet"
	DefaultSubvolumeGroup = "csi"
)

const (
	cephPath = "spec.storage.ceph"
	csiPath  = "spec.storage.csi"

	portLegacy, portSecond = 6789, 3300
	maxClusterID           = 36 // the driver's: it stands inside the name of a volume
)

var msModes = []string{MSLegacy, "crc", "secure", "prefer-crc", "prefer-secure"}

// The rules of storage.
var (
	fsidRule     = newRule(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`, 36)
	monitorRule  = newRule(`^[0-9]+(\.[0-9]+){3}:[0-9]{1,5}$`, 0)
	cephNameRule = newRule(`^[A-Za-z0-9_][-A-Za-z0-9_.]*$`, 128)
	optionRule   = newRule(`^[A-Za-z0-9_.-]+(=[A-Za-z0-9_./:-]+)?$`, 0)
	driverRule   = newRule(`^v?[0-9]+\.[0-9]+(\.[0-9]+)?([-+].*)?$`, 0)
	imageRule    = newRule(`^[a-z0-9][-a-z0-9._:/]*[:@][A-Za-z0-9_][-A-Za-z0-9._:]*$`, 0)
	mirrorRule   = newRule(`^[a-z0-9][-a-z0-9.]*(:[0-9]{1,5})?(/[a-z0-9][-a-z0-9._]*)*$`, 0)
	dirRule      = newRule(`^(/[-A-Za-z0-9_.]+)+$`, 0)
)

// defaultImageFeatures are Ceph's own; kernels from 5.3 on map them.
var defaultImageFeatures = []string{"layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"}

// imageFeatures are those that the driver takes, with the one each needs.
var imageFeatures = map[string]string{
	"layering": "", "exclusive-lock": "", "object-map": "exclusive-lock", "fast-diff": "object-map", "deep-flatten": "", "journaling": "exclusive-lock",
}

// ownedOptions are decided by other fields.
var ownedOptions = map[string]string{
	"ms_mode": "msMode", "name": "user", "secret": "keyFile", "secretfile": "keyFile", "key": "keyFile", "mds_namespace": "fsName", "fs": "fsName",
}

func defaultStorage(s *Storage) {
	if len(s.Ceph) == 0 {
		return
	}
	setDefault(&s.CSI.Namespace, DefaultCSINamespace)
	setDefault(&s.CSI.KubeletDir, DefaultKubeletDir)
	if mirrorRule.ok(s.CSI.ImageMirror) {
		s.CSI.Images.mirrored(s.CSI.ImageMirror)
	}
	for i := range s.Ceph {
		c := &s.Ceph[i]
		setDefault(&c.ClusterID, c.FSID)
		setDefault(&c.MSMode, modeOf(c.Monitors))
		if r := &c.RBD; r.Wanted() {
			setDefault(&r.FSType, "ext4")
			setDefault(&r.Mounter, MounterKernel)
			setDefault(&r.ReclaimPolicy, ReclaimDelete)
			if r.ImageFeatures == nil {
				r.ImageFeatures = slices.Clone(defaultImageFeatures)
			}
			if r.MountOptions == nil {
				r.MountOptions = []string{"discard"}
			}
		}
		if f := &c.CephFS; f.Wanted() {
			setDefault(&f.SubvolumeGroup, DefaultSubvolumeGroup)
			setDefault(&f.ReclaimPolicy, ReclaimDelete)
		}
	}
}

// modeOf is the mode that the monitors' port stands for; "" when it stands for none.
func modeOf(monitors []string) string {
	if len(monitors) == 0 {
		return ""
	}
	switch _, port, _ := strings.Cut(monitors[0], ":"); port {
	case fmt.Sprint(portLegacy):
		return MSLegacy
	case fmt.Sprint(portSecond):
		return "prefer-crc"
	}
	return ""
}

// CephPath returns where the i-th Ceph cluster stands in the document, which may have one without a list.
func (c *Cluster) CephPath(i int) string {
	if len(c.Spec.Storage.Ceph) == 1 && !c.given(item(cephPath, 0)) {
		return cephPath
	}
	return item(cephPath, i)
}

// storageNames are what may stand only once in all Ceph clusters.
type storageNames struct{ fsids, clusterIDs, classes, defaults seen }

func (v *validator) storage() {
	s := v.c.Spec.Storage
	if len(s.Ceph) == 0 {
		if v.c.given(csiPath) && !v.c.given(cephPath) {
			v.fail(csiPath, "name the Ceph cluster in "+cephPath, "installs nothing without %s", cephPath)
		}
		return
	}
	names := storageNames{seen{}, seen{}, seen{}, seen{}}
	for i, c := range s.Ceph {
		v.ceph(v.c.CephPath(i), c, names)
	}
	v.csi(s.CSI)
}

func (v *validator) ceph(path string, c Ceph, names storageNames) {
	if c.FSID != "" && !fsidRule.ok(c.FSID) {
		v.fail(field(path, "fsid"), `as "ceph fsid" prints it, in small letters`, "%q is not a UUID", c.FSID)
	} else {
		v.once(names.fsids, field(path, "fsid"), c.FSID, c.FSID)
	}
	p := field(path, "clusterID")
	switch {
	case len(c.ClusterID) > maxClusterID:
		v.fail(p, "it becomes part of every volume's name", "%q is longer than %d bytes", c.ClusterID, maxClusterID)
	case c.ClusterID != "" && v.c.given(p) && !cephNameRule.ok(c.ClusterID):
		v.fail(p, "letters, digits, -, _ and .", "%q is not a cluster ID", c.ClusterID)
	case !v.failed(field(path, "fsid")): // the default, which would be told twice
		v.once(names.clusterIDs, p, c.ClusterID, c.ClusterID)
	}
	v.monitors(path, c)
	if !c.RBD.Wanted() && !c.CephFS.Wanted() && !v.c.given(field(path, "rbd")) && !v.c.given(field(path, "cephfs")) {
		v.fail(path, "rbd: {pool: …} for block devices, cephfs: {fsName: …} for shared file systems", "has neither rbd nor cephfs")
	}
	if c.RBD.Wanted() {
		v.rbd(field(path, "rbd"), c.RBD, names)
	}
	if c.CephFS.Wanted() {
		v.cephfs(field(path, "cephfs"), c.CephFS, names)
	}
}

// monitors checks addresses, port and mode together: a client that speaks the wrong protocol to a port gets no answer at all.
func (v *validator) monitors(path string, c Ceph) {
	list, mode := field(path, "monitors"), field(path, "msMode")
	v.oneOf(mode, c.MSMode, "", msModes...)
	if len(c.Monitors) == 0 {
		if v.c.given(list) {
			v.fail(list, "for instance 10.0.0.5:6789", "holds no monitor")
		}
		return
	}
	v.distinct(list, c.Monitors)
	ports := []uint16{}
	for i, m := range c.Monitors {
		if m == "" {
			continue
		}
		if hint := monitorHint(m); hint != "" {
			v.fail(item(list, i), hint, "%q is not the address and port of a monitor", m)
			return
		}
		a, _ := netip.ParseAddrPort(m)
		ports = append(ports, a.Port())
		if ports[0] != a.Port() {
			v.fail(item(list, i), "a client speaks one protocol to all monitors: write the same port at each", "has port %d, and %s has %d", a.Port(), item(list, 0), ports[0])
			return
		}
	}
	switch legacy := c.MSMode == MSLegacy; {
	case len(ports) == 0:
	case c.MSMode == "":
		v.fail(mode, "legacy, or one of "+strings.Join(msModes[1:], ", "), "is missing: port %d does not say which protocol the monitors speak", ports[0])
	case ports[0] == portSecond && legacy:
		v.fail(mode, "take msMode away, or write the monitors with port 6789", "legacy is not spoken on port %d", portSecond)
	case ports[0] == portLegacy && !legacy:
		v.fail(mode, "take msMode away, or write the monitors with port 3300", "%s is not spoken on port %d", c.MSMode, portLegacy)
	}
}

// monitorHint says how to write a monitor that is not well written; "" when it is.
func monitorHint(m string) string {
	a, err := netip.ParseAddrPort(m)
	if err == nil {
		switch {
		case !a.Addr().Is4():
			return "give an IPv4 address: " + ipv4Only
		case a.Addr().IsUnspecified() || a.Port() == 0:
			return "for instance 10.0.0.5:6789"
		}
		return ""
	}
	if ip, err := netip.ParseAddr(m); err == nil && ip.Is4() {
		return fmt.Sprintf("write %s:%d, or %s:%d for msMode crc or secure", m, portLegacy, m, portSecond)
	}
	if strings.Contains(m, "v1:") || strings.Contains(m, "v2:") || strings.HasPrefix(m, "[") {
		return "write one IPv4 address and port, without v1: or v2:"
	}
	return "an IPv4 address and a port, for instance 10.0.0.5:6789; kernels resolve no names"
}

func (v *validator) rbd(path string, r CephRBD, names storageNames) {
	v.cephName(field(path, "pool"), r.Pool)
	v.cephUser(path, r.User, r.KeySource())
	v.class(path, r.StorageClass, r.Default, r.ReclaimPolicy, names)
	v.oneOf(field(path, "fstype"), r.FSType, "", "ext4", "xfs")
	v.oneOf(field(path, "mounter"), r.Mounter, "", MounterKernel, MounterNBD)
	v.options(field(path, "mapOptions"), r.MapOptions)
	v.options(field(path, "mountOptions"), r.MountOptions)
	list := field(path, "imageFeatures")
	v.distinct(list, r.ImageFeatures)
	for i, f := range r.ImageFeatures {
		needs, known := imageFeatures[f]
		switch p := item(list, i); {
		case f == "":
		case !known:
			v.oneOf(p, f, "", "layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten", "journaling")
		case needs != "" && !slices.Contains(r.ImageFeatures, needs):
			v.fail(p, "add "+needs+", or take "+f+" away", "%s needs %s", f, needs)
		case f == "journaling" && r.Mounter != MounterNBD:
			v.fail(p, "write mounter: "+MounterNBD+", or take journaling away", "the kernel cannot map images with journaling")
		}
	}
}

func (v *validator) cephfs(path string, f CephFS, names storageNames) {
	v.cephName(field(path, "fsName"), f.FSName)
	v.cephName(field(path, "subvolumeGroup"), f.SubvolumeGroup)
	v.cephName(field(path, "pool"), f.Pool)
	v.cephUser(path, f.User, f.KeySource())
	v.class(path, f.StorageClass, f.Default, f.ReclaimPolicy, names)
	v.options(field(path, "kernelMountOptions"), f.KernelMountOptions)
	v.options(field(path, "mountOptions"), f.MountOptions)
}

func (v *validator) cephName(path, name string) {
	if name != "" && !cephNameRule.ok(name) {
		v.fail(path, "letters, digits, -, _ and .", "%q is not a name in Ceph", name)
	}
}

// cephUser checks a user and that there is one way to its key.
func (v *validator) cephUser(path, user string, key KeySource) {
	if bare, found := strings.CutPrefix(user, "client."); found {
		v.fail(field(path, "user"), "write "+bare, "begins with client., which Ceph's clients put before it themselves")
	} else {
		v.cephName(field(path, "user"), user)
	}
	if p := field(path, "keyEnv"); key.Env != "" && !envRule.ok(key.Env) {
		// What stands here may be the key itself, so it is not repeated.
		v.fail(p, "its name without the $", "is not the name of an environment variable")
	}
	if p := field(path, "keyCommand"); v.c.given(p) && (len(key.Command) == 0 || slices.Contains(key.Command, "")) {
		v.fail(p, "for instance [pass, show, ceph/csi]", "is not a program with its arguments")
	}
	given := 0
	for _, name := range []string{"keyFile", "keyEnv", "keyCommand", "key"} {
		if v.c.given(field(path, name)) {
			given++
		}
	}
	if given != 1 && v.c.doc != nil {
		v.fail(path, "the key in a file is the usual way: keyFile: secrets/csi.key", "needs exactly one of keyFile, keyEnv, keyCommand and key")
	}
	if key.Inline != "" {
		if _, err := ParseCephKey(string(key.Inline)); err != nil {
			v.fail(field(path, "key"), "", "is not a Ceph key: %v", err)
		}
	}
}

func (v *validator) class(path, name string, isDefault bool, reclaim string, names storageNames) {
	if p := field(path, "storageClass"); name != "" && !domainRule.ok(name) {
		v.fail(p, "small letters, digits, - and .", "%q is not the name of a StorageClass", name)
	} else {
		v.once(names.classes, p, name, name)
	}
	if isDefault {
		if len(names.defaults) > 0 {
			v.fail(field(path, "default"), "keep it at one of the classes", "a cluster has one default class, and there is one already")
		}
		names.defaults[path] = path
	}
	v.oneOf(field(path, "reclaimPolicy"), reclaim, "", ReclaimDelete, ReclaimRetain)
}

// options checks mount options: each one word, none of those that other fields decide, none twice. A value may be a key, so none is repeated.
func (v *validator) options(path string, options []string) {
	for i, o := range options {
		p := item(path, i)
		name, _, hasValue := strings.Cut(o, "=")
		if hasValue {
			name += "=…"
		}
		switch owned := ownedOption(o); {
		case o == "":
			v.fail(p, "", "is empty")
		case owned != "":
			v.fail(p, "", "%s cannot be set here: %s decides it", owned, ownedOptions[owned])
		case !optionRule.ok(o):
			v.fail(p, "write each option as an item of the list: name or name=value", "%q is not one option", name)
		case slices.Contains(options[:i], o):
			v.fail(p, "", "%q is in the list twice", name)
		}
	}
}

// ownedOption returns the option in a text that another field decides, or "". The text may hold several, as mount takes them.
func ownedOption(text string) string {
	for _, o := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' }) {
		if name, _, _ := strings.Cut(o, "="); ownedOptions[name] != "" {
			return name
		}
	}
	return ""
}

func (v *validator) csi(s CephCSI) {
	if !nameRule.ok(s.Namespace) || strings.Contains(s.Namespace, ".") {
		v.fail(field(csiPath, "namespace"), "small letters, digits and -", "%q is not the name of a namespace", s.Namespace)
	}
	if s.Namespace == "default" || strings.HasPrefix(s.Namespace, "kube-") {
		v.fail(field(csiPath, "namespace"), "for instance "+DefaultCSINamespace, "%s is Kubernetes' own: ceph-csi needs a namespace for itself", s.Namespace)
	}
	if !dirRule.ok(s.KubeletDir) {
		v.fail(field(csiPath, "kubeletDir"), "for instance "+DefaultKubeletDir, "%q is not an absolute path without a slash at its end", s.KubeletDir)
	}
	if s.DriverVersion != "" && !driverRule.ok(s.DriverVersion) {
		v.fail(field(csiPath, "driverVersion"), "for instance 3.15.0", "%q is not a version", s.DriverVersion)
	}
	images := field(csiPath, "images")
	for _, image := range s.Images.fields() {
		if *image.ref != "" && !imageRule.ok(*image.ref) {
			v.fail(field(images, image.name), "registry/repository:tag", "%q is not the full name of an image", *image.ref)
		}
	}
	switch mirror := field(csiPath, "imageMirror"); {
	case s.ImageMirror == "":
	case !mirrorRule.ok(s.ImageMirror):
		v.fail(mirror, "registry.example or registry.example:5000/path, without https:// and without a slash at its end", "%q is not a registry", s.ImageMirror)
	case s.Images == CephImages{}:
		v.fail(mirror, "name the images in "+images+"; those of the bundle keep their names", "there is no image to take from %s", s.ImageMirror)
	}
	selector := field(csiPath, "nodeSelector")
	for key, value := range s.NodeSelector {
		if !qualifiedName(key) || !labelRule.ok(value) {
			v.fail(field(selector, key), "a label and its value", "%q: %q is not a label", key, value)
		}
	}
	if len(s.NodeSelector) > 0 && !slices.ContainsFunc(v.c.Spec.Hosts, v.c.Spec.Storage.Mounts) {
		v.fail(selector, "give hosts these labels in spec.hosts", "selects no host")
	}
	v.taints(field(csiPath, "tolerations"), s.Tolerations)
}
