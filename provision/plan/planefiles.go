package plan

import (
	"fmt"

	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/render"
)

// Process is one that reads files of a step when it starts. When one of them changed it is ended, for what keeps it running to start it again.
type Process struct {
	Name string `json:"name"`
	Port int    `json:"port"` // that it listens on when it is there again
}

// apiServer reads the files of control planes.
var apiServer = Process{Name: "kube-apiserver", Port: apiPort}

// planeFiles are the files that the inventory gives control planes. unread is one whose content this run does not know; "" = none.
func (b *builder) planeFiles() (in FilesInputs, unread string) {
	files := b.in.Cluster.Spec.Kubernetes.Files
	if len(files) == 0 {
		return FilesInputs{}, ""
	}
	in.Processes = []Process{apiServer}
	for _, f := range files {
		body, read := b.in.Files[f.Name]
		if !read && unread == "" {
			unread = f.Name
		}
		in.Texts = append(in.Texts, b.secretText(f.Path, []byte(body)))
	}
	return in, unread
}

// filesStepOf plans the files of a control plane; false: the host gets none.
func (b *builder) filesStepOf(h inventory.Host) (Step, bool) {
	in, unread := b.planeFiles()
	if h.Role != inventory.ControlPlane || len(in.Texts) == 0 {
		return Step{}, false
	}
	f := b.facts[h.Name]
	s := Step{ID: HostID(h.Name, Files), Kind: Files, Host: h.Name, Inputs: in, Digest: Digest(in), DependsOn: []ID{HostID(h.Name, Kubernetes)}}
	if b.judge(&s, f); f.Err == nil && unread != "" {
		s.Action = Unknown
		s.Reason = fmt.Sprintf("the file %s comes from a program (secretCommand), which is run by up and not by plan", unread)
		return s, true
	}
	if !s.pending() {
		return s, true
	}
	s.Details = fileDetails(in)
	if b.works(h.Name) {
		s.Details = append(s.Details, "kube-apiserver is started again, on one control plane after another")
		if !f.Marked(string(Files)) {
			s.Details = append(s.Details, "the cluster was made without these files: a kube-apiserver that is there mounts none of them")
		}
	}
	return s, true
}

// before are the steps that a host has to have behind it before kubeadm runs there.
func (b *builder) before(h inventory.Host) []ID {
	ids := []ID{HostID(h.Name, Kubernetes), HostID(h.Name, Images)}
	if h.Role == inventory.ControlPlane && len(b.in.Cluster.Spec.Kubernetes.Files) > 0 {
		ids = append(ids, HostID(h.Name, Files))
	}
	return ids
}

// filesOf are those of a host, for a step that resets it: what a reset deletes is needed again before kubeadm runs.
func (b *builder) filesOf(h inventory.Host) FilesInputs {
	if h.Role != inventory.ControlPlane {
		return FilesInputs{}
	}
	in, _ := b.planeFiles()
	return in
}

// apiServerComponent is what kubeadm is told of kube-apiserver: the inventory's settings, and the files mounted where they are.
func apiServerComponent(k inventory.Kubernetes) render.Component {
	c := component(k.APIServer)
	for _, f := range k.Files {
		c.ExtraVolumes = append(c.ExtraVolumes, render.Volume{Name: inventory.FileVolume(f.Name), HostPath: f.Path, MountPath: f.Path, ReadOnly: true, PathType: "File"})
	}
	return c
}
