package inventory

import (
	"fmt"
	"slices"
	"strings"
)

// Storage is where persistent volumes come from.
type Storage struct {
	Ceph CephClusters `yaml:"ceph,omitempty" json:"ceph,omitempty"` // Ceph clusters that exist already: one mapping, or a list of several
	CSI  CephCSI      `yaml:"csi,omitempty" json:"csi,omitempty"`   // how ceph-csi is installed; used with ceph only
}

// CephClusters are Ceph clusters. A single one may stand in the file without the list around it.
type CephClusters []Ceph

// Ceph is one Ceph cluster, which hybridctl uses and does not change.
type Ceph struct {
	FSID      string   `yaml:"fsid" json:"fsid"`                               // as "ceph fsid" prints it; compared with what the monitors say
	ClusterID string   `yaml:"clusterID,omitempty" json:"clusterID,omitempty"` // default: the fsid; at most 36 bytes. It is inside the name of every volume, so it stays as it is for as long as there is one
	Monitors  []string `yaml:"monitors" json:"monitors"`                       // IPv4 address and port, all of one port: 6789 (msMode legacy) or 3300 (every other msMode)
	MSMode    string   `yaml:"msMode,omitempty" json:"msMode,omitempty"`       // legacy, crc, secure, prefer-crc, prefer-secure; default: legacy with port 6789, prefer-crc with 3300
	RBD       CephRBD  `yaml:"rbd,omitempty" json:"rbd,omitempty"`             // block devices
	CephFS    CephFS   `yaml:"cephfs,omitempty" json:"cephfs,omitempty"`       // shared file systems
}

// CephRBD is a class of volumes that are block devices.
type CephRBD struct {
	Pool       string   `yaml:"pool" json:"pool"`                                 // where the images are
	User       string   `yaml:"user" json:"user"`                                 // without "client."
	KeyFile    string   `yaml:"keyFile,omitempty" json:"keyFile,omitempty"`       // the key alone, or a keyring; relative to this document's folder
	KeyEnv     string   `yaml:"keyEnv,omitempty" json:"keyEnv,omitempty"`         // name of an environment variable that holds the key
	KeyCommand []string `yaml:"keyCommand,omitempty" json:"keyCommand,omitempty"` // program and arguments, run here without a shell, that print the key
	Key        Secret   `yaml:"key,omitempty" json:"key,omitempty"`               // the key itself, which preflight warns of

	StorageClass   string   `yaml:"storageClass" json:"storageClass"`                         // name of the StorageClass
	Default        bool     `yaml:"default,omitempty" json:"default,omitempty"`               // makes it the cluster's default class
	ImageFeatures  []string `yaml:"imageFeatures,omitempty" json:"imageFeatures,omitempty"`   // default layering, exclusive-lock, object-map, fast-diff, deep-flatten
	FSType         string   `yaml:"fstype,omitempty" json:"fstype,omitempty"`                 // ext4 (default) or xfs, whose volumes need 300 MiB at least
	Mounter        string   `yaml:"mounter,omitempty" json:"mounter,omitempty"`               // kernel (default) or rbd-nbd, for kernels without the module rbd and for journaling
	MapOptions     []string `yaml:"mapOptions,omitempty" json:"mapOptions,omitempty"`         // of the mounter, beside ms_mode
	MountOptions   []string `yaml:"mountOptions,omitempty" json:"mountOptions,omitempty"`     // default discard
	ReclaimPolicy  string   `yaml:"reclaimPolicy,omitempty" json:"reclaimPolicy,omitempty"`   // Delete (default) or Retain
	AllowExpansion bool     `yaml:"allowExpansion,omitempty" json:"allowExpansion,omitempty"` // lets claims grow; needs the image csi-resizer
}

// CephFS is a class of volumes that are directories of a shared file system.
type CephFS struct {
	FSName         string   `yaml:"fsName" json:"fsName"`                                     // as "ceph fs ls" prints it
	SubvolumeGroup string   `yaml:"subvolumeGroup,omitempty" json:"subvolumeGroup,omitempty"` // default csi; it has to exist
	User           string   `yaml:"user" json:"user"`                                         // without "client."
	KeyFile        string   `yaml:"keyFile,omitempty" json:"keyFile,omitempty"`               // the key alone, or a keyring; relative to this document's folder
	KeyEnv         string   `yaml:"keyEnv,omitempty" json:"keyEnv,omitempty"`                 // name of an environment variable that holds the key
	KeyCommand     []string `yaml:"keyCommand,omitempty" json:"keyCommand,omitempty"`         // program and arguments, run here without a shell, that print the key
	Key            Secret   `yaml:"key,omitempty" json:"key,omitempty"`                       // the key itself, which preflight warns of

	StorageClass       string   `yaml:"storageClass" json:"storageClass"`                                 // name of the StorageClass
	Default            bool     `yaml:"default,omitempty" json:"default,omitempty"`                       // makes it the cluster's default class
	Pool               string   `yaml:"pool,omitempty" json:"pool,omitempty"`                             // data pool; default: the file system's own
	KernelMountOptions []string `yaml:"kernelMountOptions,omitempty" json:"kernelMountOptions,omitempty"` // of the kernel's client, beside ms_mode
	MountOptions       []string `yaml:"mountOptions,omitempty" json:"mountOptions,omitempty"`             // of the pod's mount
	ReclaimPolicy      string   `yaml:"reclaimPolicy,omitempty" json:"reclaimPolicy,omitempty"`           // Delete (default) or Retain
	AllowExpansion     bool     `yaml:"allowExpansion,omitempty" json:"allowExpansion,omitempty"`         // lets claims grow; needs the image csi-resizer
}

// CephCSI says how ceph-csi is installed. One installation serves all Ceph clusters.
type CephCSI struct {
	Namespace     string            `yaml:"namespace,omitempty" json:"namespace,omitempty"`         // default ceph-csi
	KubeletDir    string            `yaml:"kubeletDir,omitempty" json:"kubeletDir,omitempty"`       // the kubelet's directory on the hosts; default /var/lib/kubelet
	DriverVersion string            `yaml:"driverVersion,omitempty" json:"driverVersion,omitempty"` // for instance 3.15.0; default: the tag of the driver's image, when it is a version
	Images        CephImages        `yaml:"images,omitempty" json:"images,omitempty"`               // instead of those of the bundle
	ImageMirror   string            `yaml:"imageMirror,omitempty" json:"imageMirror,omitempty"`     // host[:port][/path] that takes the place of the registry in the names under images
	NodeSelector  map[string]string `yaml:"nodeSelector,omitempty" json:"nodeSelector,omitempty"`   // labels in spec.hosts of the hosts that can mount volumes; default: all
	Tolerations   []string          `yaml:"tolerations,omitempty" json:"tolerations,omitempty"`     // of the provisioners, written like taints; what mounts runs on tainted nodes anyway
}

// CephImages are full image names. One that is not in the bundle is pulled by the nodes.
type CephImages struct {
	Driver      string `yaml:"driver,omitempty" json:"driver,omitempty"`           // ceph-csi itself
	Provisioner string `yaml:"provisioner,omitempty" json:"provisioner,omitempty"` // external-provisioner
	Attacher    string `yaml:"attacher,omitempty" json:"attacher,omitempty"`       // external-attacher
	Resizer     string `yaml:"resizer,omitempty" json:"resizer,omitempty"`         // external-resizer
	Registrar   string `yaml:"registrar,omitempty" json:"registrar,omitempty"`     // node-driver-registrar
	Snapshotter string `yaml:"snapshotter,omitempty" json:"snapshotter,omitempty"` // csi-snapshotter, of external-snapshotter
}

// The mounters of block devices, and where volumes go that are released.
const (
	MounterKernel = "kernel"
	MounterNBD    = "rbd-nbd"

	ReclaimDelete = "Delete"
	ReclaimRetain = "Retain"
)

// MSLegacy is the messenger's first protocol, which monitors speak on port 6789; every other mode is of the second, on port 3300.
const MSLegacy = "legacy"

// Secret is text that is never shown: whatever writes it, writes that it is there.
type Secret string

// String implements fmt.Stringer, without the secret.
func (Secret) String() string { return hidden }

// GoString implements fmt.GoStringer, without the secret.
func (Secret) GoString() string { return hidden }

// MarshalText implements encoding.TextMarshaler, without the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

const hidden = "(hidden)"

// MarshalYAML writes a single cluster as it is usually written, without the list.
func (c CephClusters) MarshalYAML() (any, error) {
	if len(c) == 1 {
		return c[0], nil
	}
	return []Ceph(c), nil
}

// Wanted reports whether there is such a class.
func (r CephRBD) Wanted() bool { return r.Pool != "" }

// Wanted reports whether there is such a class.
func (f CephFS) Wanted() bool { return f.FSName != "" }

// KeySource says where a key comes from: exactly one of the fields is set.
type KeySource struct {
	File    string
	Env     string
	Command []string
	Inline  Secret
}

// KeySource returns where the user's key comes from.
func (r CephRBD) KeySource() KeySource { return KeySource{r.KeyFile, r.KeyEnv, r.KeyCommand, r.Key} }

// KeySource returns where the user's key comes from.
func (f CephFS) KeySource() KeySource { return KeySource{f.KeyFile, f.KeyEnv, f.KeyCommand, f.Key} }

// The kinds of volumes of a Ceph cluster.
const (
	CephTypeRBD = "rbd"
	CephTypeFS  = "cephfs"
)

// CephUser is a class of volumes with the user in Ceph that makes and mounts them.
type CephUser struct {
	ID   string // of the class among all: "0.rbd" is that of the first Ceph cluster
	Type string // CephTypeRBD or CephTypeFS
	Ceph Ceph
	Name string // of the user, without client.
	Key  KeySource
	Path string // where the class stands in the document
}

// CephUsers lists the classes of all Ceph clusters, in the document's order, block devices first.
func (c *Cluster) CephUsers() []CephUser {
	var out []CephUser
	for i, ceph := range c.Spec.Storage.Ceph {
		path := c.CephPath(i)
		if r := ceph.RBD; r.Wanted() {
			out = append(out, CephUser{fmt.Sprintf("%d.%s", i, CephTypeRBD), CephTypeRBD, ceph, r.User, r.KeySource(), field(path, "rbd")})
		}
		if f := ceph.CephFS; f.Wanted() {
			out = append(out, CephUser{fmt.Sprintf("%d.%s", i, CephTypeFS), CephTypeFS, ceph, f.User, f.KeySource(), field(path, "cephfs")})
		}
	}
	return out
}

// Directory is what a user of a shared file system mounts: the subvolume group, in which its volumes are.
func (f CephFS) Directory() string { return "/volumes/" + f.SubvolumeGroup }

// WantedImage is an image that ceph-csi is made of.
type WantedImage struct {
	Component string // its name in bundles
	Ref       string // the inventory's own; empty = the bundle's
}

// WantedImages lists the images that the classes cannot do without. Snapshots are not among them: they depend on the API server.
func (s Storage) WantedImages() []WantedImage {
	if len(s.Ceph) == 0 {
		return nil
	}
	i := s.CSI.Images
	out := []WantedImage{{"ceph-csi", i.Driver}, {"csi-provisioner", i.Provisioner}, {"csi-node-driver-registrar", i.Registrar}}
	if s.HasRBD() {
		out = append(out, WantedImage{"csi-attacher", i.Attacher})
	}
	if slices.ContainsFunc(s.Ceph, func(c Ceph) bool { return c.RBD.AllowExpansion || c.CephFS.AllowExpansion }) {
		out = append(out, WantedImage{"csi-resizer", i.Resizer})
	}
	return out
}

// imageField is one of the images: its name in the document, and where its own name is.
type imageField struct {
	name string
	ref  *string
}

func (i *CephImages) fields() []imageField {
	return []imageField{{"driver", &i.Driver}, {"provisioner", &i.Provisioner}, {"attacher", &i.Attacher}, {"resizer", &i.Resizer},
		{"registrar", &i.Registrar}, {"snapshotter", &i.Snapshotter}}
}

// mirrored puts the mirror in the place of the registries. A name that has it already stays.
func (i *CephImages) mirrored(mirror string) {
	for _, f := range i.fields() {
		if *f.ref != "" && !strings.HasPrefix(*f.ref, mirror+"/") {
			*f.ref = mirror + "/" + withoutRegistry(*f.ref)
		}
	}
}

// withoutRegistry cuts off what container runtimes take for a registry: a first part with a dot or a port, or localhost.
func withoutRegistry(ref string) string {
	first, rest, found := strings.Cut(ref, "/")
	if found && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return rest
	}
	return ref
}

// Version returns the driver's version: what the inventory says, else the tag of its image; "" when neither is a version.
func (s CephCSI) Version(driverImage string) string {
	version := s.DriverVersion
	if version == "" {
		version = driverImage[strings.LastIndexByte(driverImage, ':')+1:]
	}
	if !driverRule.ok(version) {
		return ""
	}
	return strings.TrimPrefix(version, "v")
}

// OlderThan compares a version of the driver, which may have a suffix.
func OlderThan(version string, major, minor, patch int) bool {
	var v [3]int
	fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2]) // a part that is missing is zero
	return slices.Compare(v[:], []int{major, minor, patch}) < 0
}

// HasRBD reports whether any Ceph cluster has a class of block devices.
func (s Storage) HasRBD() bool {
	return slices.ContainsFunc(s.Ceph, func(c Ceph) bool { return c.RBD.Wanted() })
}

// HasCephFS reports whether any Ceph cluster has a class of shared file systems.
func (s Storage) HasCephFS() bool {
	return slices.ContainsFunc(s.Ceph, func(c Ceph) bool { return c.CephFS.Wanted() })
}

// Mounts reports whether the host is to mount volumes: those that nodeSelector selects, all without one.
func (s Storage) Mounts(h Host) bool {
	if len(s.Ceph) == 0 {
		return false
	}
	for key, value := range s.CSI.NodeSelector {
		if is, ok := h.Labels[key]; !ok || is != value {
			return false
		}
	}
	return true
}
