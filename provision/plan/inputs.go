package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/render"
)

// FilesInputs are those of the steps os, runtime, registries, kubernetes and files.
type FilesInputs struct {
	Version  string   `json:"version,omitempty"`
	Binaries []Binary `json:"binaries,omitempty"`
	Texts    []Text   `json:"texts,omitempty"`
	Modules  []string `json:"modules,omitempty"`
	Sysctls  []Sysctl `json:"sysctls,omitempty"`
	Units    []string `json:"units,omitempty"`  // enabled and running
	Enable   []string `json:"enable,omitempty"` // enabled

	Processes []Process `json:"processes,omitempty"`
	Restart   []Restart `json:"restart,omitempty"`
	Prune     bool      `json:"prune,omitempty"` // what the step put there earlier, and is not among the texts, is deleted
}

// Restart is a unit that is restarted, where it runs, when one file was changed or deleted.
type Restart struct {
	Unit string `json:"unit"`
	Path string `json:"path"`
}

// Binary is a file from the bundle.
type Binary struct {
	Path   string        `json:"path"` // on the host
	SHA256 string        `json:"sha256"`
	Source bundle.Binary `json:"-"`
}

// Text is a rendered file.
type Text struct {
	Path   string `json:"path"`
	Mode   string `json:"mode"`
	SHA256 string `json:"sha256"` // of a file with secrets, another hash
	Body   []byte `json:"-"`

	// Lands is the mode with which it lands where that is another: a step of a host that was made before is not done again for it alone.
	Lands string `json:"-"`
}

// Landed is the mode of the file on the host.
func (t Text) Landed() string { return cmp.Or(t.Lands, t.Mode) }

// private makes it a file that root alone reads.
func private(t Text) Text {
	t.Lands = "0600"
	return t
}

// Sysctl is a kernel setting.
type Sysctl struct {
	Name     string `json:"name"`
	Value    string `json:"value"`
	Optional bool   `json:"optional,omitempty"` // some kernels lack it
}

func text(path string, body []byte) Text {
	sum := sha256.Sum256(body)
	return Text{Path: path, Mode: "0644", SHA256: hex.EncodeToString(sum[:]), Body: body}
}

// ImagesInputs are the images of the host's architecture that its containerd is to have.
type ImagesInputs struct {
	Images []Image `json:"images"`

	Hosts []Text `json:"-"` // how registries that want a login are reached, by the registry's directory in containerd's certs.d; a secret
}

// Image is one image.
type Image struct {
	Ref      string `json:"ref"`
	Manifest string `json:"manifest"` // digest of the architecture's manifest
	Pull     bool   `json:"-"`        // the host pulls it; else it is sent
}

// InitInputs are kubeadm init's: the configuration without its token.
type InitInputs struct {
	ConfigDigest string             `json:"configDigest"`
	Config       render.KubeadmInit `json:"-"`

	Files FilesInputs `json:"-"` // of the step files
}

// JoinInputs are kubeadm join's: the configuration without token and CA hashes.
type JoinInputs struct {
	ConfigDigest string             `json:"configDigest"`
	Config       render.KubeadmJoin `json:"-"`

	Files FilesInputs `json:"-"` // of the step files, on a control plane

	Registers bool `json:"-"` // the host has joined as it is to, and only its kubelet has not registered the node yet
	Forced    bool `json:"-"` // the host may be of another cluster, and is reset first: the user named it
}

// NodeInputs are the labels and taints that the inventory gives a node.
type NodeInputs struct {
	Labels map[string]string `json:"labels,omitempty"`
	Taints []string          `json:"taints,omitempty"`
}

// CNIInputs is the pod network.
type CNIInputs struct {
	Provider       string `json:"provider"`
	ManifestDigest string `json:"manifestDigest"`
	Manifest       []byte `json:"-"`
}
