package render

// Setting is a kernel setting.
type Setting struct{ Name, Value string }

// ModulesConf is /etc/modules-load.d's file: the kernel modules to load at boot.
func ModulesConf(modules []string) []byte {
	return file("os/modules.conf.tmpl", struct{ Modules []string }{modules})
}

// SysctlConf is /etc/sysctl.d's file: the kernel settings to make at boot.
func SysctlConf(settings []Setting) []byte {
	return file("os/sysctl.conf.tmpl", struct{ Sysctls []Setting }{settings})
}

// ContainerdConfig is /etc/containerd/config.toml; sandboxImage is the pause image's full name, and imports a pattern of further files, "" = none.
func ContainerdConfig(sandboxImage, imports string) []byte {
	return file("containerd/config.toml.tmpl", struct{ SandboxImage, Imports string }{sandboxImage, imports}, "containerd/parts.tmpl")
}

// ContainerdUnit is containerd's systemd unit.
func ContainerdUnit() []byte { return static("systemd/containerd.service") }

// KubeletUnit is the kubelet's systemd unit.
func KubeletUnit() []byte { return static("systemd/kubelet.service") }

// KubeletDropIn is kubeadm's drop-in for the kubelet's unit.
func KubeletDropIn() []byte { return static("systemd/10-kubeadm.conf") }

// Flannel is what the flannel manifest varies by.
type Flannel struct {
	PodCIDR      string
	Image        string // flannel
	PluginImage  string // flannel-cni-plugin
	APIHost      string // of the API's endpoint
	APIPort      string
	Backend      string // vxlan or wireguard
	ConfigDigest string // a changed network configuration rolls the pods
}

// FlannelManifest is the pod network's objects.
func FlannelManifest(f Flannel) []byte { return file("cni/flannel.yaml.tmpl", f) }
