// Package probe is what runs inside test pods, and the other side of it: a small protocol in which every answer says who answered.
// A server tells its pod, node, container, the machine of its own executable and kernel, the nonce and the bytes it was sent and the
// address it saw; a client checks all of it. It uses nothing but the standard library, so that the program stays small, and it runs
// no commands for anybody. It knows nothing of Kubernetes and judges nothing: package conformance does.
package probe

import (
	"debug/elf"
	"os"
	"syscall"
)

// Version is that of the protocol and the orders. A probe of another version is refused: it came from an older bundle.
const Version = 3

// Port is where a probe serves TCP and UDP.
const Port = 8470

// MaxSize is the largest payload in bytes over TCP.
const MaxSize = 4 << 20

// MaxDatagram is the largest payload in bytes over UDP: with the line before it, it stays below what one IPv4 datagram holds.
const MaxDatagram = 60000

// Who says which process of which pod this is.
type Who struct {
	Version   int    `json:"version"`
	UID       string `json:"uid"` // of the pod, from the downward API
	Pod       string `json:"pod"`
	Node      string `json:"node"`
	Container string `json:"container"`
	UnameM    string `json:"unameM"`   // uname(2), machine
	ELF       int    `json:"elf"`      // e_machine of /proc/self/exe: 62 is x86-64, 183 is AArch64
	PageSize  int    `json:"pageSize"` // bytes
	Kernel    string `json:"kernel"`   // uname(2), release
}

// The environment a pod's template sets for Self.
const (
	EnvUID       = "PROBE_POD_UID"
	EnvPod       = "PROBE_POD"
	EnvNode      = "PROBE_NODE"
	EnvContainer = "PROBE_CONTAINER"
	EnvSecret    = "PROBE_SECRET" // from a Secret of the run; not Self's, which is told
)

// SecretOfRun is the secret that the pod was given.
func SecretOfRun() Secret { return Secret(os.Getenv(EnvSecret)) }

// Self is this process. What it says of its machine is read from its own executable's header and from the kernel, not from how it was
// built: under emulation the two differ.
func Self() Who {
	w := Who{
		Version: Version, UID: os.Getenv(EnvUID), Pod: os.Getenv(EnvPod), Node: os.Getenv(EnvNode), Container: os.Getenv(EnvContainer),
		PageSize: os.Getpagesize(),
	}
	if f, err := elf.Open("/proc/self/exe"); err == nil {
		w.ELF = int(f.Machine)
		_ = f.Close() // only read
	}
	var u syscall.Utsname
	if syscall.Uname(&u) == nil {
		w.UnameM, w.Kernel = text(u.Machine[:]), text(u.Release[:])
	}
	return w
}

// text is a C string; the kernel's char is signed on one architecture and unsigned on another.
func text[T int8 | uint8](c []T) string {
	var b []byte
	for _, x := range c {
		if x == 0 {
			break
		}
		b = append(b, byte(x))
	}
	return string(b)
}
