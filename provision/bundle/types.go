package bundle

import "github.com/hybridctl/hybridctl/provision/platform"

// ManifestFile is the bundle's table of contents, at its top.
const ManifestFile = "bundle.json"

// LayoutDir is the OCI image layout inside the bundle.
const LayoutDir = "oci"

// The components a binary can belong to.
const (
	Containerd = "containerd"  // containerd, containerd-shim-runc-v2, ctr
	Runc       = "runc"        // runc
	CNIPlugins = "cni-plugins" // bridge, host-local, loopback, portmap, …
	Crictl     = "crictl"      // crictl, for people who look into a node; no bundle needs it
	Kubernetes = "kubernetes"  // kubelet, kubeadm, kubectl
)

// Manifest is bundle.json.
type Manifest struct {
	APIVersion        string   `json:"apiVersion"`
	Kind              string   `json:"kind"`
	KubernetesVersion string   `json:"kubernetesVersion"` // v1.36.3
	Binaries          []Binary `json:"binaries"`
	Images            []Image  `json:"images"`
}

// Binary is one executable of one architecture.
type Binary struct {
	Component string        `json:"component"`
	Name      string        `json:"name"` // file name on the host
	Version   string        `json:"version"`
	Arch      platform.Arch `json:"arch"`
	Path      string        `json:"path"` // relative to the bundle, slash-separated
	SHA256    string        `json:"sha256"`
	Size      int64         `json:"size"`
}

// Image is one image index with a manifest for each architecture.
type Image struct {
	// Component is what the image is for: kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, etcd, coredns,
	// pause, flannel, flannel-cni-plugin, or "" for any other image.
	Component string          `json:"component,omitempty"`
	Ref       string          `json:"ref"`    // full name with tag, as the container runtime is to know it
	Digest    string          `json:"digest"` // of the index
	Archs     []platform.Arch `json:"archs"`
	// Manifests is the digest of the image manifest of each architecture.
	Manifests map[platform.Arch]string `json:"manifests"`
}
