// Package facts finds out what hosts are: one read-only script per host, over one exec, answered by one JSON document, parsed
// into an immutable Host. It changes nothing anywhere and decides nothing: whether a fact is good is preflight's business,
// what follows from it is plan's.
package facts

import (
	"slices"
	"strings"
	"time"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// Host is what one host is, as observed once at the start of a run. Err tells why it could not be observed; then every other
// field but Name is zero.
type Host struct {
	Name string // the inventory's
	Err  error  // connection or script failure, for the user

	Hostname  string
	MachineID string // /etc/machine-id
	BootID    string // /proc/sys/kernel/random/boot_id
	OS        OS

	Arch         platform.Arch // from UnameMachine; zero when that is no supported architecture
	UnameMachine string        // `uname -m`
	UserlandBits int           // `getconf LONG_BIT`, or the ELF class of /bin/sh
	Kernel       string        // `uname -r`
	PageSize     int           // bytes; 0 = not known
	CPUs         int
	CPUModel     string
	CPUFeatures  []string // /proc/cpuinfo flags or Features

	MemoryBytes int64            // MemTotal of /proc/meminfo
	SwapBytes   int64            // active swap
	DiskFree    map[string]int64 // bytes that may still be written, as the kubelet counts; by directory asked about (the nearest existing parent is measured)

	Speed Speed // how quick the host is, where that was asked

	CgroupVersion     int      // 1 or 2
	CgroupControllers []string // those the root of v2 offers

	Modules  map[string]Module // by name asked about; names with underscores
	Sysctls  map[string]string // those that hybridctl sets; absent = the key does not exist
	Tools    map[string]string // tool → path, for those asked about; "" = missing
	IPTables string            // nft, legacy or none: the back end that can add a chain, or as `iptables --version` says
	Binfmt   []Binfmt          // registered handlers

	Time        time.Time     `json:",omitzero"` // when the script began, by the host's clock; zero when that could not be read
	ClockOffset time.Duration // host minus here, corrected for half the round trip
	RoundTrip   time.Duration // of the script: an upper bound of the offset's error is half of it

	Ports     []int    // TCP ports that something listens on
	UDPPorts  []int    `json:",omitempty"` // UDP ports that something has, for itself or for the kernel
	Addresses []string // IP addresses of the host, without prefix length
	LoginUser string   // who the script ran for
	Root      bool     // whether the script ran as root
	Systemd   bool     // whether systemd runs the host

	LoginPrints string `json:",omitempty"` // the beginning of what the login printed before the answer, on one line

	Surroundings Surroundings `json:",omitzero"`

	Belongs Belonging `json:",omitzero"`

	Kubelet    Installed
	Containerd Installed
	Units      map[string]string // systemd's ActiveState by unit, for those asked about and those in markers

	Images  []string // names in containerd's k8s.io namespace; nil when containerd does not answer
	Kubeadm Kubeadm

	Markers    map[string]Marker // by the step's short name
	BadMarkers []string          `json:",omitempty"` // the steps whose marker is there and cannot be read, by name: they were begun, and more is not known
}

// Marked reports whether the step has a marker, be it one that cannot be read.
func (h Host) Marked(step string) bool {
	_, readable := h.Markers[step]
	return readable || h.BadMarker(step)
}

// BadMarker reports whether the step has a marker that cannot be read.
func (h Host) BadMarker(step string) bool { return slices.Contains(h.BadMarkers, step) }

// AnyMarker reports whether any step has a marker, be it one that cannot be read.
func (h Host) AnyMarker() bool { return len(h.Markers)+len(h.BadMarkers) > 0 }

// Surroundings are what others set up on the host, and what the host is built on.
type Surroundings struct {
	Model     string   // of the board, from the device tree
	BootFiles []string // files that the kernel's command line is made of, those there are
	Cmdline   []string // words of the kernel's command line that are about control groups

	PackageTool string   // that installs packages here: apt-get, dnf, yum, zypper or apk; "" = none of these
	Installed   []string // units of those asked about that have a file, whether they run or not, and /var/lib/minikube where it is there

	Mounts         []string // at which of the directories that hybridctl writes to, or above, something is mounted
	Links          []string // of the same directories, those that are links: they may lead to another file system
	ReadOnly       []string // those of Mounts that cannot be written to
	SELinux        bool     // it is enforcing
	Nameservers    []string // of /etc/resolv.conf
	Upstreams      []string // of /run/systemd/resolve/resolv.conf
	UFW            bool     // /etc/ufw/ufw.conf has it on
	Drops          []string // chains of the packet filter that drop what they do not name: "inet filter input", "iptables FORWARD"; asked before the host is a node
	RulesRead      bool     // Drops is all there is: every rule was read, or it is known that there is none
	RulesUnread    []string // else what was not read, and why; nil = it was not asked
	CNIConfigs     []string // names of the files of /etc/cni/net.d that a runtime would read
	UnmanagedLinks string   // NetworkManager's unmanaged-devices, all of its files together
}

// OS is from /etc/os-release.
type OS struct {
	ID, VersionID, PrettyName string
	IDLike                    []string
}

// Module says how the kernel has a module.
type Module string

const (
	ModuleLoaded    Module = "loaded"
	ModuleBuiltin   Module = "builtin"
	ModuleAvailable Module = "available" // modprobe would find it
	ModuleMissing   Module = "missing"
)

// Binfmt is a handler of /proc/sys/fs/binfmt_misc.
type Binfmt struct {
	Name        string
	Enabled     bool
	Interpreter string
	ELFMachine  uint16 // from the magic when it is an ELF header, else 0
}

// Installed tells of a program that may be there.
type Installed struct {
	Path    string // "" = not there
	Running bool
	Ours    bool // one of the files of a marker of ours
}

// Kubeadm tells what kubeadm left on the host.
type Kubeadm struct {
	KubeletConf bool   // /etc/kubernetes/kubelet.conf exists: the host is a node of some cluster
	AdminConf   bool   // /etc/kubernetes/admin.conf exists: it is a control plane
	CACertHash  string // "sha256:<hex>" of /etc/kubernetes/pki/ca.crt's public key, kubeadm's discovery form; "" = none
	Server      string // the API server in kubelet.conf, https://host:port
	Etcd        bool   // /var/lib/etcd is not empty, but for what a new disk has
	Pods        bool   // the kubelet has pods, or pods have left a network (/etc/cni/net.d): its node was registered
	Version     string // Kubernetes' version of the API server that runs here, v1.36.3; "" on workers

	Certificates []Certificate `json:",omitempty"` // those that kubeadm and the kubelet keep, by name
}

// Certificate tells from when to when a certificate is good. One that cannot be read has no times.
type Certificate struct {
	Name                string // as kubeadm calls it: apiserver, etcd/server, admin.conf; that of the kubelet is "kubelet"
	Authority           bool   // it signs others, and kubeadm does not renew it
	NotBefore, NotAfter time.Time
}

// Belonging is the mark that hybridctl left when it made the host a part of a cluster. One that cannot be read names nothing.
type Belonging struct {
	Marked bool
	host.ClusterMark
}

// Marker is a step's marker with what its files, units, modules and sysctls look like now.
type Marker struct {
	host.Marker
	Drift []string // one sentence for each thing that is no longer as the step left it; empty = in place
}

// Cluster is what the API server told of the cluster; package survey makes it, as facts know no API. Observed is false when there is none yet or it could not be asked.
type Cluster struct {
	Observed bool
	Err      error // why it could not be asked, although there is or may be one
	Nodes    []Node
	CNI      CNIState
	CSI      CNIState // of ceph-csi's objects
	CSIKept  []string // kind/namespace/name of those that the inventory has no more and that stay: volumes need them, or it has no storage at all
	CSIOf    []string // these volumes

	// What matters to a further control plane. It is asked only where one of the inventory's is no node yet.
	Endpoint       string // host:port at which members find the API server, by kubeadm's own notes; "" = not known
	SharedEndpoint bool   // it was chosen for the cluster, and is not merely the first API server's
	ExternalEtcd   bool   // etcd runs outside the cluster
	ResolvConf     string // that every joining node's kubelet is given; "" = none, or not asked
	Etcd           []EtcdMember
	EtcdErr        error // why it could not be asked

	// Snapshots reports whether the API server has the kinds of volume snapshots.
	Snapshots bool

	// NodeInPlace tells of each of the inventory's hosts whether its node has the labels and taints the inventory gives it.
	NodeInPlace map[string]bool
}

// EtcdMember is a member of the cluster's etcd that is of no host that is to join.
type EtcdMember struct {
	Name string // and where it is
	Well bool   // it answers, and votes
}

// What ends a line of CNIState.Differs about an object that is not there, and about one that is and should not be.
const (
	Missing = ": missing"
	Left    = ": is in the inventory no more"
)

// CNIState reports whether the pod network's objects are as wanted, or those of storage.
type CNIState struct {
	InPlace bool
	Differs []string // "kind/namespace/name: missing", "…: differs" or Left
}

// OnlyKind reports whether there are objects that differ, each of them there, and all of one kind.
func (s CNIState) OnlyKind(kind string) bool {
	for _, line := range s.Differs {
		if !strings.HasPrefix(line, kind+"/") || strings.HasSuffix(line, Missing) {
			return false
		}
	}
	return len(s.Differs) > 0
}

// Node is a Kubernetes Node.
type Node struct {
	Name           string
	Ready          bool
	Unschedulable  bool
	Arch           string // status.nodeInfo.architecture
	KubeletVersion string
	MachineID      string
	InternalIPs    []string
	PodCIDR        string
	Labels         map[string]string
	Taints         []string // key[=value]:Effect
	ControlPlane   bool
}
