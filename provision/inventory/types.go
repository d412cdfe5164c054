// Package inventory owns the user's YAML document: its versioned types, strict decoding, defaults and validation.
// Load gives one immutable Cluster; every problem is reported at once with file, line, column and field path.
// It opens no connection and looks at nothing but the document and the files it names.
package inventory

import "github.com/hybridctl/hybridctl/provision/platform"

// APIVersion and Kind identify the document.
const (
	APIVersion = "hybridctl.dev/v1alpha1"
	Kind       = "Cluster"
)

// Role is what a host is for.
type Role string

// The roles, in Kubernetes' own words.
const (
	ControlPlane Role = "control-plane"
	Worker       Role = "worker"
)

// Cluster is the whole document.
type Cluster struct {
	APIVersion string   `yaml:"apiVersion" json:"apiVersion"` // version of the document's format
	Kind       string   `yaml:"kind" json:"kind"`             // what the document describes
	Metadata   Metadata `yaml:"metadata" json:"metadata"`     // the cluster's name
	Spec       Spec     `yaml:"spec" json:"spec"`             // what the cluster is to be

	// Path is the absolute path of the file the document was read from; relative paths in it start at its folder.
	Path string `yaml:"-" json:"-"`

	doc *document
}

// Metadata names the cluster; the name is also the name of its state directory.
type Metadata struct {
	Name string `yaml:"name" json:"name"` // small letters, digits, - and .
}

// Spec is what the user wants.
type Spec struct {
	Kubernetes Kubernetes `yaml:"kubernetes" json:"kubernetes"`             // what kubeadm is told
	Bundle     string     `yaml:"bundle,omitempty" json:"bundle,omitempty"` // directory or file with the binaries and images of every architecture; relative to this document's folder; default: what the catalogue has for the version is fetched

	// Sources say from where is fetched what no bundle brings: a prefix of an address (https://dl.k8s.io) or of an image's name (registry.k8s.io),
	// and what takes its place. caFile names certificates (PEM) of the sources' authorities.
	Sources map[string]string `yaml:"sources,omitempty" json:"sources,omitempty"`

	Images      string      `yaml:"images,omitempty" json:"images,omitempty"`           // how images come to the hosts: sent by hybridctl (sent, the default), or pulled by them (registry)
	Registries  []Registry  `yaml:"registries,omitempty" json:"registries,omitempty"`   // how the hosts reach container registries: mirrors, certificates, credentials
	CNI         CNI         `yaml:"cni,omitempty" json:"cni,omitempty"`                 // the pod network
	Storage     Storage     `yaml:"storage,omitempty" json:"storage,omitempty"`         // where persistent volumes come from
	SSH         SSH         `yaml:"ssh,omitempty" json:"ssh,omitempty"`                 // how hosts are reached
	Preflight   Preflight   `yaml:"preflight,omitempty" json:"preflight,omitempty"`     // checks before anything is written, for all hosts
	Timeouts    Timeouts    `yaml:"timeouts,omitempty" json:"timeouts,omitempty"`       // how long hybridctl waits
	Conformance Conformance `yaml:"conformance,omitempty" json:"conformance,omitempty"` // what conformance runs use besides the cluster
	Hosts       []Host      `yaml:"hosts" json:"hosts"`                                 // all hosts; the first control-plane host is the bootstrap host
}

// Kubernetes is what kubeadm is told.
type Kubernetes struct {
	Version     string `yaml:"version" json:"version"`                             // with the v: v1.36.3
	Endpoint    string `yaml:"endpoint,omitempty" json:"endpoint,omitempty"`       // host:port of the API; default: the bootstrap host's address and 6443
	PodCIDR     string `yaml:"podCIDR,omitempty" json:"podCIDR,omitempty"`         // IPv4; default 10.244.0.0/16; each node takes a /24 of it
	ServiceCIDR string `yaml:"serviceCIDR,omitempty" json:"serviceCIDR,omitempty"` // IPv4; default 10.96.0.0/12
	DNSDomain   string `yaml:"dnsDomain,omitempty" json:"dnsDomain,omitempty"`     // default cluster.local

	// EncryptionAlgorithm is kubeadm's: RSA-2048, RSA-3072, RSA-4096, ECDSA-P256, ECDSA-P384.
	EncryptionAlgorithm string `yaml:"encryptionAlgorithm,omitempty" json:"encryptionAlgorithm,omitempty"`

	APIServer         Component `yaml:"apiServer,omitempty" json:"apiServer,omitempty"`                 // settings of kube-apiserver
	ControllerManager Component `yaml:"controllerManager,omitempty" json:"controllerManager,omitempty"` // settings of kube-controller-manager
	Scheduler         Component `yaml:"scheduler,omitempty" json:"scheduler,omitempty"`                 // settings of kube-scheduler
	Etcd              Component `yaml:"etcd,omitempty" json:"etcd,omitempty"`                           // settings of etcd

	// Kubelet is a fragment of KubeletConfiguration, without apiVersion and kind.
	Kubelet map[string]any `yaml:"kubelet,omitempty" json:"kubelet,omitempty"`
	// KubeProxy is a fragment of KubeProxyConfiguration, without apiVersion and kind.
	KubeProxy map[string]any `yaml:"kubeProxy,omitempty" json:"kubeProxy,omitempty"`

	// Files are files that kube-apiserver reads: a policy of auditing, a configuration of encryption or of admission. Every control plane gets
	// them, for root alone, and kube-apiserver has them mounted where they are.
	Files []ControlPlaneFile `yaml:"files,omitempty" json:"files,omitempty"`

	// ServerTLSBootstrap has kubelets ask the cluster for their serving certificates. hybridctl approves what new nodes ask for; when such a
	// certificate is renewed, someone has to approve again: the next up, or an approver in the cluster.
	ServerTLSBootstrap bool `yaml:"serverTLSBootstrap,omitempty" json:"serverTLSBootstrap,omitempty"`

	// Patches is a directory of kubeadm patches (target[suffix][+patchtype].extension), used on every host.
	Patches string `yaml:"patches,omitempty" json:"patches,omitempty"`

	// Timeouts are kubeadm's own (ClusterConfiguration v1beta4 `timeouts`), as Go durations.
	Timeouts KubeadmTimeouts `yaml:"timeouts,omitempty" json:"timeouts,omitempty"`

	// IgnorePreflightErrors are names of kubeadm's own checks, for instance NumCPU; a host may add to them.
	IgnorePreflightErrors []string `yaml:"ignorePreflightErrors,omitempty" json:"ignorePreflightErrors,omitempty"`
}

// Component holds the settings of one control plane component.
type Component struct {
	ExtraArgs []NameValue `yaml:"extraArgs,omitempty" json:"extraArgs,omitempty"` // command line arguments; they override kubeadm's
	ExtraEnvs []NameValue `yaml:"extraEnvs,omitempty" json:"extraEnvs,omitempty"` // environment variables

	ExtraVolumes []Volume `yaml:"extraVolumes,omitempty" json:"extraVolumes,omitempty"` // of the host, mounted; etcd takes none
}

// Volume is a path of the host that a component has mounted, as kubeadm's extraVolumes.
type Volume struct {
	Name      string `yaml:"name" json:"name"`                             // small letters, digits and -
	HostPath  string `yaml:"hostPath" json:"hostPath"`                     // on the host
	MountPath string `yaml:"mountPath" json:"mountPath"`                   // in the container
	ReadOnly  bool   `yaml:"readOnly,omitempty" json:"readOnly,omitempty"` // the component only reads there
	PathType  string `yaml:"pathType,omitempty" json:"pathType,omitempty"` // as Kubernetes' hostPath has it: Directory, DirectoryOrCreate, File, FileOrCreate
}

// ControlPlaneFile is a file of the control planes. Its content comes from one of Source, SecretFile, SecretEnv and SecretCommand.
type ControlPlaneFile struct {
	Name   string `yaml:"name" json:"name"`                         // of its volume: small letters, digits and -
	Path   string `yaml:"path" json:"path"`                         // on the control planes, below /etc/kubernetes
	Source string `yaml:"source,omitempty" json:"source,omitempty"` // the file here, relative to this document's folder

	SecretFile    string   `yaml:"secretFile,omitempty" json:"secretFile,omitempty"`       // the same for a secret: read when it is used
	SecretEnv     string   `yaml:"secretEnv,omitempty" json:"secretEnv,omitempty"`         // name of an environment variable that holds it
	SecretCommand []string `yaml:"secretCommand,omitempty" json:"secretCommand,omitempty"` // a program that prints it, with its arguments; run in this document's folder
}

// NameValue is a name with a value; for an argument the name has no leading dashes. A name may stand more than once.
type NameValue struct {
	Name  string `yaml:"name" json:"name"`   // without leading dashes
	Value string `yaml:"value" json:"value"` // text: numbers and truth values in quotes
}

// KubeadmTimeouts mirror kubeadm v1beta4's Timeouts; the zero value leaves kubeadm's default.
type KubeadmTimeouts struct {
	ControlPlaneComponentHealthCheck Duration `yaml:"controlPlaneComponentHealthCheck,omitempty" json:"controlPlaneComponentHealthCheck,omitempty"` // until a control plane component is healthy; kubeadm's default 4m
	KubeletHealthCheck               Duration `yaml:"kubeletHealthCheck,omitempty" json:"kubeletHealthCheck,omitempty"`                             // until the kubelet is healthy; kubeadm's default 4m
	KubernetesAPICall                Duration `yaml:"kubernetesAPICall,omitempty" json:"kubernetesAPICall,omitempty"`                               // for a call of the API server, with what hybridctl asks again after an error that passes (30s by default); kubeadm's default 1m
	EtcdAPICall                      Duration `yaml:"etcdAPICall,omitempty" json:"etcdAPICall,omitempty"`                                           // for a call of etcd; kubeadm's default 2m
	TLSBootstrap                     Duration `yaml:"tlsBootstrap,omitempty" json:"tlsBootstrap,omitempty"`                                         // until the kubelet has its certificate; kubeadm's default 5m
	Discovery                        Duration `yaml:"discovery,omitempty" json:"discovery,omitempty"`                                               // until a joining host knows the cluster; kubeadm's default 5m
}

// The CNI providers.
const (
	CNIFlannel  = "flannel"
	CNIManifest = "manifest"
	CNINone     = "none" // the cluster has one that hybridctl leaves alone
)

// CNI says which pod network is installed.
type CNI struct {
	Provider string `yaml:"provider,omitempty" json:"provider,omitempty"` // flannel (default), manifest, or none for a cluster that was adopted
	Backend  string `yaml:"backend,omitempty" json:"backend,omitempty"`   // with flannel: vxlan (default), or wireguard, which encrypts what goes from node to node
	Path     string `yaml:"path,omitempty" json:"path,omitempty"`         // with manifest: the file; relative to this document's folder
}

// The ways in which flannel takes packets from node to node.
const (
	BackendVXLAN     = "vxlan"
	BackendWireGuard = "wireguard"
)

// Overlay is what flannel's back end needs of hosts.
type Overlay struct {
	Backend string
	Module  string // of the kernel
	Port    int    // UDP, between all nodes
}

// Overlay returns the one that the inventory asks for.
func (c CNI) Overlay() Overlay {
	if c.Backend == BackendWireGuard {
		return Overlay{BackendWireGuard, "wireguard", 51820}
	}
	return Overlay{BackendVXLAN, "vxlan", 8472}
}

// SSH says how hosts are reached; a host may override.
type SSH struct {
	User          string   `yaml:"user,omitempty" json:"user,omitempty"`                   // default: ~/.ssh/config, then root
	Port          int      `yaml:"port,omitempty" json:"port,omitempty"`                   // default: ~/.ssh/config, then 22
	IdentityFiles []string `yaml:"identityFiles,omitempty" json:"identityFiles,omitempty"` // ~ is the user's home; relative to this document's folder
	HostKeys      string   `yaml:"hostKeys,omitempty" json:"hostKeys,omitempty"`           // accept-new or strict; default: what ~/.ssh/config says, or accept-new
	Jump          string   `yaml:"jump,omitempty" json:"jump,omitempty"`                   // like Host.Jump, for every host

	ConnectTimeout   Duration `yaml:"connectTimeout,omitempty" json:"connectTimeout,omitempty"`     // dial and handshake, default 15s
	CommandTimeout   Duration `yaml:"commandTimeout,omitempty" json:"commandTimeout,omitempty"`     // an ordinary remote command, default 2m; kubeadm has Timeouts.Step
	KeepAlive        Duration `yaml:"keepAlive,omitempty" json:"keepAlive,omitempty"`               // interval, default 15s
	SudoPasswordFile string   `yaml:"sudoPasswordFile,omitempty" json:"sudoPasswordFile,omitempty"` // first line is the password
	SudoPasswordEnv  string   `yaml:"sudoPasswordEnv,omitempty" json:"sudoPasswordEnv,omitempty"`   // name of an environment variable
}

const (
	HostKeysAcceptNew = "accept-new"
	HostKeysStrict    = "strict"
)

// Preflight names the checks whose failure does not stop a run.
type Preflight struct {
	Ignore []string `yaml:"ignore,omitempty" json:"ignore,omitempty"` // names of checks, as "hybridctl preflight" prints them
}

// Timeouts bound what hybridctl waits for.
type Timeouts struct {
	Step  Duration `yaml:"step,omitempty" json:"step,omitempty"`   // one step on one host (kubeadm init, join, image import), default 15m
	Ready Duration `yaml:"ready,omitempty" json:"ready,omitempty"` // all nodes Ready and stable after the last join, default 10m
}

// Conformance names what conformance runs use besides the cluster.
type Conformance struct {
	Outside  []OutsideHost   `yaml:"outside,omitempty" json:"outside,omitempty"`   // hosts that are no nodes, from which node ports are dialled (check S7)
	Registry PrivateRegistry `yaml:"registry,omitempty" json:"registry,omitempty"` // where check R pulls from
}

// OutsideHost is a host outside the cluster, reached as spec.ssh says.
type OutsideHost struct {
	Name    string `yaml:"name" json:"name"`                     // for the report
	Address string `yaml:"address" json:"address"`               // IPv4 address or name, where SSH goes
	Port    int    `yaml:"port,omitempty" json:"port,omitempty"` // instead of spec.ssh.port
	User    string `yaml:"user,omitempty" json:"user,omitempty"` // instead of spec.ssh.user
}

// PrivateRegistry is an image that cannot be pulled without credentials.
type PrivateRegistry struct {
	Image        string `yaml:"image,omitempty" json:"image,omitempty"`               // with its registry: registry.example:5000/team/app:1, of every architecture of the cluster
	Username     string `yaml:"username,omitempty" json:"username,omitempty"`         // of the registry
	PasswordFile string `yaml:"passwordFile,omitempty" json:"passwordFile,omitempty"` // first line is the password
	PasswordEnv  string `yaml:"passwordEnv,omitempty" json:"passwordEnv,omitempty"`   // name of an environment variable
}

// Host is one machine reached over SSH.
type Host struct {
	Name    string        `yaml:"name" json:"name"`                     // also the node's name
	Address string        `yaml:"address" json:"address"`               // IPv4 address or name, where SSH goes
	Port    int           `yaml:"port,omitempty" json:"port,omitempty"` // instead of spec.ssh.port
	Role    Role          `yaml:"role,omitempty" json:"role,omitempty"` // default worker
	Arch    platform.Arch `yaml:"arch,omitempty" json:"arch,omitempty"` // optional; checked against the host

	// Managed false marks a node that hybridctl did not make: its host is never written to, and not connected to unless there is no other
	// way to the cluster. Default true.
	Managed *bool `yaml:"managed,omitempty" json:"managed,omitempty"`

	User             string   `yaml:"user,omitempty" json:"user,omitempty"`                         // instead of spec.ssh.user
	IdentityFiles    []string `yaml:"identityFiles,omitempty" json:"identityFiles,omitempty"`       // instead of spec.ssh.identityFiles
	HostKey          string   `yaml:"hostKey,omitempty" json:"hostKey,omitempty"`                   // pins the key: "ssh-ed25519 AAAA…" or "SHA256:…"
	Jump             string   `yaml:"jump,omitempty" json:"jump,omitempty"`                         // another host's name, or [user@]address[:port]; a comma separates hops; none = directly
	SudoPasswordFile string   `yaml:"sudoPasswordFile,omitempty" json:"sudoPasswordFile,omitempty"` // first line is the password
	SudoPasswordEnv  string   `yaml:"sudoPasswordEnv,omitempty" json:"sudoPasswordEnv,omitempty"`   // name of an environment variable

	NodeIP                string            `yaml:"nodeIP,omitempty" json:"nodeIP,omitempty"`                               // default: address, when it is an IP and no other host's
	Labels                map[string]string `yaml:"labels,omitempty" json:"labels,omitempty"`                               // of the node
	Taints                []string          `yaml:"taints,omitempty" json:"taints,omitempty"`                               // key[=value]:Effect
	KubeletExtraArgs      []NameValue       `yaml:"kubeletExtraArgs,omitempty" json:"kubeletExtraArgs,omitempty"`           // of this host's kubelet
	IgnorePreflightErrors []string          `yaml:"ignorePreflightErrors,omitempty" json:"ignorePreflightErrors,omitempty"` // kubeadm's own checks
	Preflight             Preflight         `yaml:"preflight,omitempty" json:"preflight,omitempty"`                         // for this host
}

// IsManaged reports whether hybridctl makes a node of the host; see Managed.
func (h Host) IsManaged() bool { return h.Managed == nil || *h.Managed }

// Bootstrap returns the bootstrap host: the first control-plane host, where kubeadm init runs. In a cluster that hybridctl did not make
// it is the first control-plane host that is not managed. Validation guarantees that there is one.
func (c *Cluster) Bootstrap() Host {
	first := Host{}
	for _, h := range c.Spec.Hosts {
		switch {
		case h.Role != ControlPlane:
		case !h.IsManaged():
			return h
		case first.Name == "":
			first = h
		}
	}
	return first
}

// Adopted reports whether hybridctl found the cluster and did not make it.
func (c *Cluster) Adopted() bool { return !c.Bootstrap().IsManaged() }

// Managed returns the hosts that hybridctl makes nodes of.
func (c *Cluster) Managed() []Host {
	var out []Host
	for _, h := range c.Spec.Hosts {
		if h.IsManaged() {
			out = append(out, h)
		}
	}
	return out
}

// ControlPlanes returns the control-plane hosts, managed or not.
func (c *Cluster) ControlPlanes() []Host {
	var out []Host
	for _, h := range c.Spec.Hosts {
		if h.Role == ControlPlane {
			out = append(out, h)
		}
	}
	return out
}

// Host returns the host of that name.
func (c *Cluster) Host(name string) (Host, bool) {
	for i := range c.Spec.Hosts {
		if c.Spec.Hosts[i].Name == name {
			return c.Spec.Hosts[i], true
		}
	}
	return Host{}, false
}
