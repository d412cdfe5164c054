package bundle

import (
	"fmt"
	"slices"

	"github.com/hybridctl/hybridctl/provision/platform"
)

// The components an image can belong to; "" is any other image.
const (
	KubeAPIServer         = "kube-apiserver"
	KubeControllerManager = "kube-controller-manager"
	KubeScheduler         = "kube-scheduler"
	KubeProxy             = "kube-proxy"
	Etcd                  = "etcd"
	CoreDNS               = "coredns"
	Pause                 = "pause"
	Flannel               = "flannel"
	FlannelCNIPlugin      = "flannel-cni-plugin"
	Probe                 = "probe" // of hybridctl's own conformance checks

	// Ceph's driver and the programs beside it.
	CephCSI                = "ceph-csi"
	CSIProvisioner         = "csi-provisioner"
	CSIAttacher            = "csi-attacher"
	CSIResizer             = "csi-resizer"
	CSINodeDriverRegistrar = "csi-node-driver-registrar"
	CSISnapshotter         = "csi-snapshotter"
)

// StorageComponents are those that only clusters with storage need.
var StorageComponents = []string{CephCSI, CSIProvisioner, CSIAttacher, CSIResizer, CSINodeDriverRegistrar, CSISnapshotter}

// Need is a binary that every bundle must hold for each of its architectures.
type Need struct{ Component, Name string }

// neededBinaries is what a node cannot do without. The CNI plugins are those that the usual pod networks call.
var neededBinaries = []Need{
	{Containerd, "containerd"}, {Containerd, "containerd-shim-runc-v2"}, {Containerd, "ctr"},
	{Runc, "runc"},
	{CNIPlugins, "bridge"}, {CNIPlugins, "host-local"}, {CNIPlugins, "loopback"}, {CNIPlugins, "portmap"},
	{Kubernetes, "kubeadm"}, {Kubernetes, "kubectl"}, {Kubernetes, "kubelet"},
}

// kubeImages are released with Kubernetes. kubeadm composes their names itself: <repository>/<component>:<version>.
var kubeImages = []string{KubeAPIServer, KubeControllerManager, KubeScheduler, KubeProxy}

// neededImages are the images of every cluster; those of a pod network depend on the inventory.
var neededImages = append(slices.Clone(kubeImages), Etcd, CoreDNS, Pause)

var (
	binaryComponents = []string{Containerd, Runc, CNIPlugins, Crictl, Kubernetes}
	imageComponents  = slices.Concat(neededImages, []string{Flannel, FlannelCNIPlugin, Probe}, StorageComponents)
)

// NeededBinaries lists what every bundle must hold.
func NeededBinaries() []Need { return slices.Clone(neededBinaries) }

// NeededImages lists the components whose images every bundle must hold.
func NeededImages() []string { return slices.Clone(neededImages) }

// BinaryComponents lists the components that a binary can belong to.
func BinaryComponents() []string { return slices.Clone(binaryComponents) }

// ImageComponents lists the components that an image can belong to.
func ImageComponents() []string { return slices.Clone(imageComponents) }

// Missing tells, a line each, what the bundle lacks for a cluster of that Kubernetes version with hosts of those architectures:
// the binaries and images that every cluster needs, and the images of the further components. Nil means that it has everything.
func (b *Bundle) Missing(version string, archs []platform.Arch, components ...string) []string {
	var lacks []string
	if version != b.Manifest.KubernetesVersion {
		lacks = append(lacks, fmt.Sprintf("Kubernetes %s (it has %s)", version, b.Manifest.KubernetesVersion))
	}
	for _, n := range neededBinaries {
		for _, a := range archs {
			if !b.Manifest.hasBinary(n, a) {
				lacks = append(lacks, fmt.Sprintf("the binary %s (%s) for %s", n.Name, n.Component, a))
			}
		}
	}
	for _, c := range append(slices.Clone(neededImages), components...) {
		i, ok := b.Image(c)
		for _, a := range archs {
			if !ok || !slices.Contains(i.Archs, a) {
				lacks = append(lacks, fmt.Sprintf("the image %s for %s", c, a))
			}
		}
	}
	return lacks
}

// Find returns the image of that full name, or, without a name, that of the component.
func (m Manifest) Find(component, ref string) (Image, bool) {
	for _, i := range m.Images {
		if ref != "" && i.Ref == ref || ref == "" && i.Component == component {
			return i, true
		}
	}
	return Image{}, false
}

func (m Manifest) hasBinary(n Need, a platform.Arch) bool {
	return slices.ContainsFunc(m.Binaries, func(b Binary) bool {
		return b.Component == n.Component && b.Name == n.Name && b.Arch == a
	})
}
