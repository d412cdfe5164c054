// Package bundletest makes a complete bundle that is a few kilobytes in size, for tests: every binary is an ELF header, every image
// runs one, and the images of Kubernetes share a layer as the real ones do.
package bundletest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/image/imagetest"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Version is the Kubernetes version of the bundle, Registry the registry of its images, Probe an image without a component.
const (
	Version  = "v1.36.3"
	Registry = "registry.test"
	Probe    = Registry + "/probe:1"
)

// binaries are those that are named one by one; the CNI plugins come from a directory.
var binaries = []struct{ component, name, version string }{
	{bundle.Kubernetes, "kubelet", Version}, {bundle.Kubernetes, "kubeadm", Version}, {bundle.Kubernetes, "kubectl", Version},
	{bundle.Containerd, "containerd", "v2.4.2"}, {bundle.Containerd, "containerd-shim-runc-v2", "v2.4.2"}, {bundle.Containerd, "ctr", "v2.4.2"},
	{bundle.Runc, "runc", "v1.5.2"},
}

var plugins = []string{"bridge", "host-local", "loopback", "portmap"}

// images are the tags by component.
var images = map[string]string{
	bundle.KubeAPIServer: Version, bundle.KubeControllerManager: Version, bundle.KubeScheduler: Version, bundle.KubeProxy: Version,
	bundle.Etcd: "3.6.8-0", bundle.CoreDNS: "v1.14.2", bundle.Pause: "3.10.2",
	bundle.Flannel: "v0.28.4", bundle.FlannelCNIPlugin: "v1.9.1-flannel1",
}

// Ref is the name of a component's image.
func Ref(component string) string { return Registry + "/" + component + ":" + images[component] }

// Write puts bundle.yaml and everything it names into dir, for those architectures (all when none is named), and returns the path
// of bundle.yaml. In it each binary and image stands in one line.
func Write(t testing.TB, dir string, archs ...platform.Arch) string {
	t.Helper()
	if len(archs) == 0 {
		archs = platform.All()
	}
	var y strings.Builder
	fmt.Fprintf(&y, "apiVersion: %s\nkind: %s\nkubernetesVersion: %s\narchitectures: [%s]\nbinaries:\n",
		bundle.APIVersion, bundle.SourceKind, Version, each(archs, "%[1]s"))
	for _, b := range binaries {
		fmt.Fprintf(&y, "  - {component: %s, name: %s, version: %s, files: {%s}}\n", b.component, b.name, b.version, each(archs, "%[1]s: bin/%[1]s/"+b.name))
	}
	fmt.Fprintf(&y, "  - {component: %s, version: v1.9.1, directories: {%s}}\nimages:\n", bundle.CNIPlugins, each(archs, "%[1]s: cni/%[1]s"))
	for _, a := range archs {
		for _, b := range binaries {
			imagetest.WriteFile(t, filepath.Join(dir, "bin", string(a), b.name), append(imagetest.ELF(a), b.name...), 0o755)
		}
		for _, name := range plugins {
			imagetest.WriteFile(t, filepath.Join(dir, "cni", string(a), name), append(imagetest.ELF(a), name...), 0o755)
		}
		imagetest.WriteFile(t, filepath.Join(dir, "cni", string(a), "README.md"), []byte("not a plugin"), 0o644)
	}
	indexes := map[string]v1.ImageIndex{Probe: index("probe", archs)}
	for _, component := range []string{bundle.KubeAPIServer, bundle.KubeControllerManager, bundle.KubeScheduler, bundle.KubeProxy, bundle.Etcd,
		bundle.CoreDNS, bundle.Pause, bundle.Flannel, bundle.FlannelCNIPlugin} {
		indexes[Ref(component)] = index(component, archs)
		fmt.Fprintf(&y, "  - {component: %s, ref: %s, path: oci}\n", component, Ref(component))
	}
	fmt.Fprintf(&y, "  - {ref: %s, path: oci}\n", Probe)
	imagetest.Layout(t, filepath.Join(dir, "oci"), indexes)
	file := filepath.Join(dir, "bundle.yaml")
	imagetest.WriteFile(t, file, []byte(y.String()), 0o644)
	return file
}

// Make writes the sources and makes the bundle from them, in a directory of the test's own.
func Make(t testing.TB, archs ...platform.Arch) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Create(t.Context(), Write(t, t.TempDir(), archs...), filepath.Join(t.TempDir(), "bundle"), bundle.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func index(name string, archs []platform.Arch) v1.ImageIndex {
	byArch := map[platform.Arch]v1.Image{}
	for _, a := range archs {
		var shared []v1.Layer
		if strings.HasPrefix(name, "kube-") {
			shared = append(shared, imagetest.Layer(imagetest.File{Name: "usr/local/bin/kube", Body: append(imagetest.ELF(a), "kube"...)}))
		}
		byArch[a] = imagetest.Program(a, name, shared...)
	}
	return imagetest.Index(byArch)
}

func each(archs []platform.Arch, format string) string {
	var parts []string
	for _, a := range archs {
		parts = append(parts, fmt.Sprintf(format, a))
	}
	return strings.Join(parts, ", ")
}
