package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// controlPlaneOnly are the components whose images a worker never runs.
var controlPlaneOnly = map[string]bool{
	"kube-apiserver": true, "kube-controller-manager": true, "kube-scheduler": true, "etcd": true,
}

// components lists the image components the cluster needs.
func (b *builder) components() []string {
	c := []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "coredns", "pause"}
	if b.in.Cluster.Spec.CNI.Provider == inventory.CNIFlannel {
		c = append(c, "flannel", "flannel-cni-plugin")
	}
	return c
}

// ImagesFor are the images that a host of this architecture has before it joins, as the bundle names them.
func ImagesFor(c *inventory.Cluster, m *bundle.Manifest, h inventory.Host, arch platform.Arch) []Image {
	var out []Image
	for _, i := range m.Images {
		if h.Role != inventory.ControlPlane && controlPlaneOnly[i.Component] {
			continue
		}
		if len(c.Spec.Storage.Ceph) == 0 && slices.Contains(bundle.StorageComponents, i.Component) {
			continue
		}
		if digest, ok := i.Manifests[arch]; ok {
			pulled := c.Spec.Images == inventory.ImagesRegistry && i.Component != bundle.Probe // which is ours, and in no registry
			out = append(out, Image{Ref: i.Ref, Manifest: digest, Pull: pulled})
		}
	}
	return out
}

func (b *builder) imagesStep(h inventory.Host, runtime Action) Step {
	f := b.facts[h.Name]
	in := ImagesInputs{Images: ImagesFor(b.in.Cluster, b.in.Bundle, h, f.Arch)}
	if slices.ContainsFunc(in.Images, func(i Image) bool { return i.Pull }) {
		in.Hosts = b.pullHosts()
	}
	s := Step{ID: HostID(h.Name, Images), Kind: Images, Host: h.Name, DependsOn: []ID{HostID(h.Name, Runtime)}, Inputs: in, Digest: Digest(in)}
	if _, told := b.registriesStep(h); told {
		s.DependsOn = append(s.DependsOn, HostID(h.Name, Registries))
	}
	b.judge(&s, f)
	missing := missingImages(in.Images, f.Images)
	switch {
	case s.Action != Unchanged:
	case f.Images != nil && len(missing) > 0:
		s.Action, s.Reason = Update, fmt.Sprintf("%d of %d images are gone from containerd", len(missing), len(in.Images))
	case runtime == Create || f.Images == nil && runtime == Update:
		s.Action, s.Reason = Update, "containerd does not answer yet; then its images are looked at"
	}
	if s.pending() {
		s.Details = []string{fmt.Sprintf("%d images, %d of them there already", len(in.Images), len(in.Images)-len(missing))}
		if pulled := slices.DeleteFunc(missing, func(i Image) bool { return !i.Pull }); len(pulled) > 0 {
			s.Details = append(s.Details, fmt.Sprintf("%d of them are pulled from the registry", len(pulled)))
		}
	}
	return s
}

func missingImages(want []Image, have []string) []Image {
	there := map[string]bool{}
	for _, ref := range have {
		there[ref] = true
	}
	var out []Image
	for _, i := range want {
		if !there[i.Ref] {
			out = append(out, i)
		}
	}
	return out
}

func imageOf(m *bundle.Manifest, component string) (bundle.Image, bool) {
	for _, i := range m.Images {
		if i.Component == component {
			return i, true
		}
	}
	return bundle.Image{}, false
}

// split parts "repository/name:tag" as kubeadm wants it: where the image is, and its tag.
func split(ref string) (repository, tag string) {
	slash, colon := strings.LastIndex(ref, "/"), strings.LastIndex(ref, ":")
	if colon < slash {
		colon = len(ref)
	}
	if colon < len(ref) {
		tag = ref[colon+1:]
	}
	if slash < 0 {
		return "", tag
	}
	return ref[:slash], tag
}
