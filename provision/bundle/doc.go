// Package bundle owns the artefacts of every architecture: a directory with bundle.json, the binaries per architecture and one
// OCI layout whose image indexes hold every architecture. It makes bundles from local files, verifies them down to the ELF
// header, selects what one architecture needs and streams it. Export makes one file of a bundle, a tar of the same files, which serves in
// the directory's place. The package never talks to a host.
//
//	bundle.json                          what there is, with sha256 and size (Manifest)
//	bin/<arch>/<component>/<name>        the binaries
//	oci/                                 an OCI image layout; index.json names one image index per reference
//
// # The source
//
// Create makes a bundle from bundle.yaml, for instance:
//
//	apiVersion: hybridctl.dev/v1alpha1
//	kind: BundleSource
//	kubernetesVersion: v1.36.3
//	architectures: [amd64, arm64]       # default: all that are supported
//	binaries:
//	  - {component: kubernetes, name: kubelet, version: v1.36.3, files: {amd64: amd64/kubelet, arm64: arm64/kubelet}}
//	  - {component: cni-plugins, version: v1.9.1, directories: {amd64: amd64/cni, arm64: arm64/cni}}
//	  - {component: runc, name: runc, version: v1.4.3, files: {amd64: "https://files.example/runc.amd64", arm64: runc.arm64}, sha256: {amd64: a8b6d8e7d0b7b4c1a8b6d8e7d0b7b4c1a8b6d8e7d0b7b4c1a8b6d8e7d0b7b4c1}}
//	images:
//	  - {component: etcd, ref: registry.k8s.io/etcd:3.6.8-0, path: images/oci}
//	  - {component: coredns, ref: registry.k8s.io/coredns/coredns:v1.14.2, paths: {amd64: coredns-amd64.tar, arm64: coredns-arm64.tar}}
//	  - {ref: registry.example/tools:1, name: localhost/tools:latest, path: tools.tar}
//	  - {component: pause, ref: registry.k8s.io/pause:3.10.2, path: "registry://registry.k8s.io/pause:3.10.2"}
//
// Paths start at the folder of bundle.yaml. A binary is one ELF executable per architecture (files) or every executable of a
// directory per architecture (directories). An image lies in one OCI layout or OCI archive with all architectures (path), or in one
// layout, OCI archive or docker archive per architecture (paths); where several images lie together it is the one called name, or
// else ref.
//
// What is not here may be named by its address: https://… with the sha256 of what is there, behind # the program of an archive; a directory
// may be an archive, whose executables are all taken. An image may be registry://HOST/NAME:TAG, with or without @sha256:…. Create asks
// CreateOptions.Remote for them.
//
// What an image is for is read from its config. Image manifests are kept byte for byte, so their digests stay.
//
// Everything that is wrong is reported at once, with line and column. The components and what every bundle needs of them stand in
// components.go; an image without a component is any further image.
//
// # What is checked when
//
// Open looks whether every file is there with its size, in milliseconds. Verify reads everything. Create ends with Verify before
// the new bundle takes its place. WriteImages verifies each blob as it is sent; a binary is verified at the far end.
package bundle
