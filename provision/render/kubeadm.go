package render

// NameValue is an argument or an environment variable.
type NameValue struct{ Name, Value string }

// Component is a control plane component's additional settings.
type Component struct {
	ExtraArgs []NameValue
	ExtraEnvs []NameValue

	ExtraVolumes []Volume `json:",omitempty"` // what a cluster was made with has a digest, which does not change without any
}

// Volume is a path of the host that a component has mounted.
type Volume struct {
	Name, HostPath, MountPath string
	ReadOnly                  bool
	PathType                  string
}

// Taint is a taint a node registers with.
type Taint struct{ Key, Value, Effect string }

// Registration is kubeadm's nodeRegistration.
type Registration struct {
	Name                  string
	CRISocket             string
	Taints                []Taint
	KubeletExtraArgs      []NameValue
	IgnorePreflightErrors []string
}

// KubeadmInit is what kubeadm init is told. Token is a secret, set at execution.
type KubeadmInit struct {
	Token, TokenTTL, TokenDescription string

	NodeIP       string
	BindPort     int
	Registration Registration
	Timeouts     []NameValue
	Patches      string // directory on the host; "" = none

	Version             string
	ClusterName         string
	Endpoint            string // host:port
	ImageRepository     string
	EncryptionAlgorithm string
	PodCIDR             string
	ServiceCIDR         string
	DNSDomain           string
	DNSRepository       string
	DNSTag              string
	EtcdRepository      string
	EtcdTag             string
	CertSANs            []string

	Etcd, APIServer, ControllerManager, Scheduler Component
	Kubelet, KubeProxy                            map[string]any

	ServerTLSBootstrap bool `json:",omitempty"` // the kubelets' serving certificates are the cluster's
}

// KubeletConfiguration is the kubelet's document; the inventory's fragment goes over our own settings.
func (k KubeadmInit) KubeletConfiguration() string {
	own := map[string]any{"cgroupDriver": "systemd"}
	if k.ServerTLSBootstrap {
		own["serverTLSBootstrap"] = true
	}
	return document("kubelet.config.k8s.io/v1beta1", "KubeletConfiguration", own, k.Kubelet)
}

// KubeProxyConfiguration is kube-proxy's document.
func (k KubeadmInit) KubeProxyConfiguration() string {
	return document("kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration", nil, k.KubeProxy)
}

// KubeadmInitConfig is the configuration file of kubeadm init.
func KubeadmInitConfig(k KubeadmInit) []byte {
	return file("kubeadm/init.yaml.tmpl", k, "kubeadm/parts.tmpl")
}

// KubeadmJoin is what kubeadm join is told. Token is a secret, set at execution.
type KubeadmJoin struct {
	Token        string
	CACertHashes []string // sha256:<hex>

	Endpoint     string
	ControlPlane bool
	NodeIP       string
	BindPort     int
	Registration Registration
	Timeouts     []NameValue
	Patches      string
}

// KubeadmJoinConfig is the configuration file of kubeadm join.
func KubeadmJoinConfig(k KubeadmJoin) []byte {
	return file("kubeadm/join.yaml.tmpl", k, "kubeadm/parts.tmpl")
}
