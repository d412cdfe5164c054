package render

import (
	"bytes"
	"encoding/json"
	"strings"
)

// The types of ceph-csi driver.
const (
	RBD    CephType = "rbd"
	CephFS CephType = "cephfs"
)

// CephKinds are the kinds that ceph-csi's objects are of, in the order in which they are made.
var CephKinds = []struct{ APIVersion, Kind string }{
	{"v1", "Namespace"}, {"v1", "ConfigMap"}, {"v1", "Secret"}, {"v1", "ServiceAccount"},
	{"rbac.authorization.k8s.io/v1", "ClusterRole"}, {"rbac.authorization.k8s.io/v1", "ClusterRoleBinding"},
	{"rbac.authorization.k8s.io/v1", "Role"}, {"rbac.authorization.k8s.io/v1", "RoleBinding"},
	{"storage.k8s.io/v1", "CSIDriver"}, {"apps/v1", "Deployment"}, {"apps/v1", "DaemonSet"},
	{"storage.k8s.io/v1", "StorageClass"}, {"snapshot.storage.k8s.io/v1", "VolumeSnapshotClass"},
}

// CephSelector selects ceph-csi's objects, of whatever inventory they were rendered from.
const CephSelector = "app.kubernetes.io/name=ceph-csi"

// CephType is what volumes are: block devices or directories of a shared file system.
type CephType string

// DriverName is the name under which nodes and volumes know the driver.
func (t CephType) DriverName() string { return string(t) + ".csi.ceph.com" }

// Name begins the names of the driver's own objects.
func (t CephType) Name() string { return "ceph-csi-" + string(t) }

// Provisioner is the name of the Deployment that makes volumes.
func (t CephType) Provisioner() string { return t.Name() + "-provisioner" }

// Block reports whether volumes are block devices.
func (t CephType) Block() bool { return t == RBD }

// Attach reports whether Kubernetes keeps volumes of one writer off a second node; for a shared file system there is nothing to keep.
func (t CephType) Attach() bool { return t == RBD }

// CephCSI is everything the objects of ceph-csi vary by.
type CephCSI struct {
	Namespace    string
	KubeletDir   string
	Images       CephImages
	Replicas     int // of each provisioner
	NodeSelector map[string]string
	Tolerations  []Taint // of the provisioners
	HoldsMounts  bool    // the RBD node plugin's pod holds processes that mounted volumes need
	AdminFields  bool    // secrets for drivers before 3.14, which want adminID and adminKey for CephFS
	Snapshots    bool    // the API server has the kinds of snapshots
	Clusters     []CephCluster
	Classes      []CephClass
}

// CephImages are full names; an empty one leaves its container out.
type CephImages struct {
	Driver, Provisioner, Attacher, Resizer, Registrar, Snapshotter string
}

// CephCluster is a Ceph cluster as the driver's configuration has it.
type CephCluster struct {
	ClusterID          string   `json:"clusterID"`
	Monitors           []string `json:"monitors"`
	SubvolumeGroup     string   `json:"-"`
	KernelMountOptions string   `json:"-"` // of volumes that were made with other ones, too
}

// CephClass is a StorageClass with its user.
type CephClass struct {
	Type           CephType
	Class          string // name of the StorageClass
	Default        bool
	ClusterID      string
	User           string
	Key            string      // a secret
	Parameters     []NameValue // beside the cluster and the secrets
	MountOptions   []string
	ReclaimPolicy  string
	AllowExpansion bool
}

// CephManifest is all objects of ceph-csi: what the drivers share, each driver that a class uses, and the classes with their secrets.
// It holds the users' keys.
func CephManifest(c CephCSI) []byte {
	parts := [][]byte{file("csi/common.yaml.tmpl", c)}
	for _, t := range []CephType{RBD, CephFS} {
		if !c.uses(t) {
			continue
		}
		d := c
		d.HoldsMounts = c.HoldsMounts && t.Block()
		if !d.Snapshots {
			d.Images.Snapshotter = ""
		}
		parts = append(parts, file("csi/driver.yaml.tmpl", cephDriver{d, t, t}))
	}
	for _, class := range c.Classes {
		admin := c.AdminFields && class.Type == CephFS
		parts = append(parts, file("csi/class.yaml.tmpl", cephClass{class, class.Type, c.Namespace, admin, c.Snapshots && c.Images.Snapshotter != ""}))
	}
	return bytes.Join(parts, []byte("---\n"))
}

type cephDriver struct {
	CephCSI
	CephType
	Type CephType
}

type cephClass struct {
	CephClass
	CephType
	Namespace   string
	AdminFields bool
	Snapshots   bool
}

// SecretName is the name of the Secret with the class's user.
func (c CephClass) SecretName() string { return "ceph-csi-" + c.Class }

func (c CephCSI) uses(t CephType) bool {
	for _, class := range c.Classes {
		if class.Type == t {
			return true
		}
	}
	return false
}

// ConfigJSON is the driver's list of Ceph clusters, indented for its place.
func (c CephCSI) ConfigJSON() (string, error) {
	type cephFS struct {
		SubvolumeGroup     string `json:"subvolumeGroup,omitempty"`
		KernelMountOptions string `json:"kernelMountOptions,omitempty"`
	}
	type entry struct {
		CephCluster
		CephFS *cephFS `json:"cephFS,omitempty"`
	}
	var list []entry
	for _, cluster := range c.Clusters {
		e := entry{CephCluster: cluster}
		if cluster.SubvolumeGroup != "" {
			e.CephFS = &cephFS{cluster.SubvolumeGroup, cluster.KernelMountOptions}
		}
		list = append(list, e)
	}
	b, err := json.MarshalIndent(list, strings.Repeat(" ", 4), "  ")
	return string(b), err
}
