package plan

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/render"
	"github.com/hybridctl/hybridctl/provision/report"
)

// CSIInputs is ceph-csi: its objects, and what is asked about once they are there.
type CSIInputs struct {
	Namespace     string   `json:"namespace"`
	Drivers       []string `json:"drivers"`       // as nodes list them
	Provisioners  []string `json:"provisioners"`  // Deployments in the namespace
	ClusterIDs    []string `json:"clusterIDs"`    // that volumes may be of
	ObjectsDigest string   `json:"objectsDigest"` // of the objects, with a keyed hash in each key's place
	Manifest      []byte   `json:"-"`             // holds the keys

	Clusters []render.CephCluster `json:"-"` // what the driver is told of them; the digest of the objects has it
}

// csiStep plans ceph-csi; false when the inventory has no storage, or the bundle no images for it. Where the cluster has some still that the
// inventory has no more, nothing is done, and the step keeps the state from forgetting it: there may be volumes.
func (b *builder) csiStep(others []Step) (Step, bool) {
	data, ok := b.ceph(func(u inventory.CephUser) string { return string(b.in.CephKeys[u.ID]) })
	if !ok {
		return Step{ID: ClusterID(CSI), Kind: CSI, Action: Unchanged, Reason: "is in the inventory no more, and stays in the cluster", Inputs: CSIInputs{}, Digest: Digest(CSIInputs{})},
			len(b.in.Cluster.Spec.Storage.Ceph) == 0 && len(b.in.API.CSIKept) > 0
	}
	hashed, _ := b.ceph(func(u inventory.CephUser) string { return keyedHash(u, b.in.CephKeys[u.ID]) })
	in := CSIInputs{Namespace: data.Namespace, Manifest: render.CephManifest(data), ObjectsDigest: Digest(render.CephManifest(hashed))}
	in.Clusters = data.Clusters
	for _, c := range data.Clusters {
		in.ClusterIDs = append(in.ClusterIDs, c.ClusterID)
	}
	for _, c := range data.Classes {
		if !slices.Contains(in.Drivers, c.Type.DriverName()) {
			in.Drivers = append(in.Drivers, c.Type.DriverName())
			in.Provisioners = append(in.Provisioners, c.Type.Provisioner())
		}
	}
	s := Step{ID: ClusterID(CSI), Kind: CSI, Inputs: in, Digest: Digest(in)}
	for _, id := range []ID{ClusterID(CNI), HostID(b.in.Cluster.Bootstrap().Name, Node)} {
		if slices.ContainsFunc(others, func(o Step) bool { return o.ID == id }) {
			s.DependsOn = append(s.DependsOn, id)
		}
	}
	for _, o := range others {
		// A node that is there would ask a registry for what is still on its way; one that joins has its images before.
		if _, isNode := b.nodes[o.Host]; isNode && o.Kind == Images && o.pending() {
			s.DependsOn = append(s.DependsOn, o.ID)
		}
	}
	b.judgeObjects(&s, b.in.API.CSI)
	for _, u := range b.in.Cluster.CephUsers() {
		if _, read := b.in.CephKeys[u.ID]; !read && len(u.Key.Command) > 0 {
			s.Action, s.Details = Unknown, nil
			s.Reason = fmt.Sprintf("the key of client.%s comes from a program (keyCommand), which is run by up and not by plan", u.Name)
		}
	}
	return s, true
}

// keyedHash stands for a key where a change of it has to be seen. Without the fsid it says nothing, and with it no more than that two
// keys are the same.
func keyedHash(u inventory.CephUser, key inventory.Secret) string {
	h := hmac.New(sha256.New, []byte(u.Ceph.FSID))
	h.Write([]byte(key))
	return hex.EncodeToString(h.Sum(nil))
}

// InstallsCSI reports whether ceph-csi belongs to the cluster: the inventory has storage, and the bundle the images.
func InstallsCSI(c *inventory.Cluster, m *bundle.Manifest) bool {
	b := &builder{in: Input{Cluster: c, Bundle: m}}
	return len(c.Spec.Storage.Ceph) > 0 && len(b.missingCephImages()) == 0
}

// CSIManifest returns the objects of ceph-csi, which hold keys; nil when there are none to install.
func CSIManifest(in Input) []byte {
	b := &builder{in: in}
	data, ok := b.ceph(func(u inventory.CephUser) string { return string(in.CephKeys[u.ID]) })
	if !ok {
		return nil
	}
	return render.CephManifest(data)
}

// ceph is what the objects vary by. False: there is no storage in the inventory, or the bundle lacks an image.
func (b *builder) ceph(key func(inventory.CephUser) string) (render.CephCSI, bool) {
	s := b.in.Cluster.Spec.Storage
	if len(s.Ceph) == 0 || len(b.missingCephImages()) > 0 {
		return render.CephCSI{}, false
	}
	c := render.CephCSI{Namespace: s.CSI.Namespace, KubeletDir: s.CSI.KubeletDir, NodeSelector: s.CSI.NodeSelector, Snapshots: b.in.API.Snapshots}
	c.Images = b.cephImages()
	version := s.CSI.Version(c.Images.Driver)
	c.AdminFields = version == "" || inventory.OlderThan(version, 3, 14, 0) // newer drivers pass them over
	c.Replicas, c.Tolerations = b.provisionersOf()
	for _, cluster := range s.Ceph {
		one := render.CephCluster{ClusterID: cluster.ClusterID, Monitors: cluster.Monitors}
		if cluster.CephFS.Wanted() {
			one.SubvolumeGroup, one.KernelMountOptions = cluster.CephFS.SubvolumeGroup, strings.Join(modeOptions(cluster), ",")
		}
		c.Clusters = append(c.Clusters, one)
		c.HoldsMounts = c.HoldsMounts || cluster.RBD.Mounter == inventory.MounterNBD
	}
	for _, u := range b.in.Cluster.CephUsers() {
		class := rbdClass
		if u.Type == inventory.CephTypeFS {
			class = cephfsClass
		}
		one := class(u.Ceph)
		one.ClusterID, one.User, one.Key = u.Ceph.ClusterID, u.Name, key(u)
		c.Classes = append(c.Classes, one)
	}
	return c, true
}

func rbdClass(c inventory.Ceph) render.CephClass {
	r := c.RBD
	p := []render.NameValue{{Name: "pool", Value: r.Pool}}
	if len(r.ImageFeatures) > 0 {
		p = append(p, render.NameValue{Name: "imageFeatures", Value: strings.Join(r.ImageFeatures, ",")})
	}
	p = append(p, render.NameValue{Name: "csi.storage.k8s.io/fstype", Value: r.FSType})
	mounter, options := "krbd", append(modeOptions(c), r.MapOptions...)
	if r.Mounter == inventory.MounterNBD {
		p = append(p, render.NameValue{Name: "mounter", Value: r.Mounter})
		mounter, options = "nbd", r.MapOptions // librbd finds out itself which protocol a monitor speaks
	}
	if len(options) > 0 {
		p = append(p, render.NameValue{Name: "mapOptions", Value: mounter + ":" + strings.Join(options, ",")})
	}
	return render.CephClass{Type: render.RBD, Class: r.StorageClass, Default: r.Default, Parameters: p, MountOptions: r.MountOptions,
		ReclaimPolicy: r.ReclaimPolicy, AllowExpansion: r.AllowExpansion}
}

func cephfsClass(c inventory.Ceph) render.CephClass {
	f := c.CephFS
	p := []render.NameValue{{Name: "fsName", Value: f.FSName}}
	if f.Pool != "" {
		p = append(p, render.NameValue{Name: "pool", Value: f.Pool})
	}
	if options := append(modeOptions(c), f.KernelMountOptions...); len(options) > 0 {
		p = append(p, render.NameValue{Name: "kernelMountOptions", Value: strings.Join(options, ",")})
	}
	return render.CephClass{Type: render.CephFS, Class: f.StorageClass, Default: f.Default, Parameters: p, MountOptions: f.MountOptions,
		ReclaimPolicy: f.ReclaimPolicy, AllowExpansion: f.AllowExpansion}
}

// modeOptions tell the kernel's client to speak the second protocol; the first is what it speaks by itself.
func modeOptions(c inventory.Ceph) []string {
	if c.MSMode == inventory.MSLegacy {
		return nil
	}
	return []string{"ms_mode=" + c.MSMode}
}

// cephImages are the images' names: the inventory's own, else those of the bundle. A snapshotter is there only with its kinds.
func (b *builder) cephImages() render.CephImages {
	refs := map[string]string{}
	for _, w := range b.in.Cluster.Spec.Storage.WantedImages() {
		i, _ := b.in.Bundle.Find(w.Component, w.Ref)
		refs[w.Component] = cmp.Or(w.Ref, i.Ref)
	}
	images := render.CephImages{Driver: refs["ceph-csi"], Provisioner: refs["csi-provisioner"], Attacher: refs["csi-attacher"],
		Resizer: refs["csi-resizer"], Registrar: refs["csi-node-driver-registrar"]}
	if b.in.API.Snapshots {
		i, _ := b.in.Bundle.Find("csi-snapshotter", "")
		images.Snapshotter = cmp.Or(b.in.Cluster.Spec.Storage.CSI.Images.Snapshotter, i.Ref)
	}
	return images
}

func (b *builder) missingCephImages() []string {
	var out []string
	for _, w := range b.in.Cluster.Spec.Storage.WantedImages() {
		if _, ok := b.in.Bundle.Find(w.Component, w.Ref); !ok && w.Ref == "" {
			out = append(out, w.Component)
		}
	}
	return out
}

// provisioners are objects of this kind. They alone vary with the workers that there are.
const provisioners = "Deployment"

// maxProvisioners is one that works and one that waits to take over.
const maxProvisioners = 2

// provisionersOf tells how many of each there are, and what they tolerate: two where two workers can take them, and on the control plane
// where no worker can.
func (b *builder) provisionersOf() (replicas int, tolerations []render.Taint) {
	s := b.in.Cluster.Spec.Storage
	for _, t := range s.CSI.Tolerations {
		tolerations = append(tolerations, taint(t))
	}
	for _, h := range b.in.Cluster.Spec.Hosts {
		if h.Role == inventory.Worker && s.Mounts(h) && tolerated(h.Taints, s.CSI.Tolerations) {
			replicas++
		}
	}
	if replicas == 0 {
		return 1, append(tolerations, controlPlaneTaint)
	}
	return min(replicas, maxProvisioners), tolerations
}

func tolerated(taints, tolerations []string) bool {
	return !slices.ContainsFunc(taints, func(t string) bool {
		return !strings.HasSuffix(t, ":PreferNoSchedule") && !slices.Contains(tolerations, t)
	})
}

// cephNotes tells what the user should know of storage.
func (b *builder) cephNotes() []string {
	s := b.in.Cluster.Spec.Storage
	if len(s.Ceph) == 0 {
		if kept := b.in.API.CSIKept; len(kept) > 0 {
			return []string{fmt.Sprintf("the cluster has ceph-csi (%s), and the inventory no spec.storage: \"hybridctl storage remove\" takes it out of the cluster", report.Some(kept, 5))}
		}
		return nil
	}
	var out []string
	if api := b.in.API; len(api.CSIKept) > 0 {
		out = append(out, fmt.Sprintf("in the inventory no more, and stays while volumes need it: %s; they are %s", report.Some(api.CSIKept, 5), report.Some(api.CSIOf, 5)))
	}
	if missing := b.missingCephImages(); len(missing) > 0 {
		out = append(out, "ceph-csi is not installed: the bundle has no image for "+strings.Join(missing, ", "))
	} else if b.in.API.Snapshots && b.cephImages().Snapshotter == "" {
		out = append(out, "the cluster knows snapshots, but the bundle has no image for csi-snapshotter: Ceph's volumes get no VolumeSnapshotClass")
	}
	switch state := b.in.API.CSI; {
	case b.in.Only == nil || len(state.Differs) == 0 || state.OnlyKind(provisioners):
	case allMissing(state.Differs):
		out = append(out, "ceph-csi is not in the cluster yet: \"hybridctl up\" installs it")
	default:
		out = append(out, "the inventory asks for another ceph-csi than the cluster has: \"hybridctl up\" rolls it out")
	}
	for _, c := range s.Ceph {
		if c.RBD.FSType == "xfs" {
			out = append(out, fmt.Sprintf("the class %s makes xfs: a claim for less than 300 MiB is bound and never mounted", c.RBD.StorageClass))
		}
	}
	return out
}
