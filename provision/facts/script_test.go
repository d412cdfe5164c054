package facts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hybridctl/hybridctl/provision/host"
	"github.com/hybridctl/hybridctl/provision/platform"
)

// shells are what /bin/sh may be on a host; awks what awk may be. Those that are not on this machine are passed over.
var (
	shells = [][]string{{"sh"}, {"dash"}, {"busybox", "sh"}, {"bash"}, {"ksh"}}
	awks   = [][]string{{"awk"}, {"mawk"}, {"gawk"}, {"original-awk"}, {"busybox", "awk"}}
)

// run runs the script below root ("" = this machine) in the shell.
func run(t testing.TB, shell []string, root string, ask Ask) []byte {
	t.Helper()
	c := ask.command(true)
	args := append(append(shell[1:len(shell):len(shell)], "-c", c.Script, "sh"), c.Args...)
	cmd := exec.Command(shell[0], append(args, root)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SUDO_USER=operator", "USER=root"}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", shell, err, stderr.String())
	}
	if stderr.String() != "" {
		t.Errorf("%v: the script complained: %s", shell, stderr.String())
	}
	var whole document
	if err := json.Unmarshal(out, &whole); err != nil {
		t.Errorf("%v: not JSON: %v: %s", shell, err, out)
	}
	if d, err := decode(out); err != nil || !reflect.DeepEqual(d, whole) {
		t.Errorf("%v: read as %q, %v; it is %q", shell, d, err, whole)
	}
	return out
}

func available(t testing.TB, commands [][]string) [][]string {
	t.Helper()
	var out [][]string
	for _, c := range commands {
		if _, err := exec.LookPath(c[0]); err == nil {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		t.Skipf("none of %v is on this machine", commands)
	}
	return out
}

// takesTools skips a test whose shell takes no notice of the programs that the test puts on the PATH: busybox can be built to run its
// own applets whatever there is beside it (FEATURE_SH_STANDALONE), as Debian's busybox-static is.
func takesTools(t testing.TB, shell []string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "uname"), shellScript("echo of the test"), 0o755)
	cmd := exec.Command(shell[0], append(shell[1:len(shell):len(shell)], "-c", "uname")...)
	cmd.Env = []string{"PATH=" + dir}
	if out, err := cmd.Output(); err != nil || string(out) != "of the test\n" {
		t.Skipf("%s prefers its own applets to the programs on the PATH: %q, %v", strings.Join(shell, " "), out, err)
	}
}

// tree is a root file system for the script: paths without the leading slash, and their texts. A text starting with "#!" becomes
// executable.
type tree map[string]string

func (tr tree) write(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range tr {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		write(t, path, text, mode)
	}
	return root
}

func shellScript(body string) string { return "#!/bin/sh\n" + body + "\n" }

// board is an Arm control plane that hybridctl set up.
func board(t testing.TB) (tree, string) {
	cert, hash := certificate(t)
	return tree{
		"bin/uname":                                      shellScript("echo aarch64"),
		"bin/getconf":                                    shellScript("case $1 in LONG_BIT) echo 64;; PAGESIZE) echo 16384;; esac"),
		"bin/systemctl":                                  shellScript("shift; for u; do case $u in ssh*) echo inactive;; *) echo active;; esac; done; exit 3"),
		"bin/iptables":                                   shellScript("echo 'iptables v1.8.11 (nf_tables)'"),
		"bin/ctr":                                        shellScript(`echo "registry.example/pause:3.10"; echo "registry.example/pause@sha256:12"; echo "sha256:34"; echo "a\"quote\\.example/x:1"`),
		"usr/sbin/iptables":                              shellScript(""),
		"usr/bin/dnf":                                    shellScript(""),
		"usr/bin/yum":                                    shellScript(""),
		"usr/bin/mount":                                  shellScript(""),
		"usr/bin/not-executable":                         "",
		"usr/local/bin/containerd":                       shellScript(""),
		"usr/local/bin/kubelet":                          shellScript(""),
		"etc/machine-id":                                 "0123456789abcdef0123456789abcdef\n",
		"etc/os-release":                                 "PRETTY_NAME=\"A \\\"quoted\\\" OS\"\nID=ubuntu\nID_LIKE='debian other'\nVERSION_ID=\"24.04\"\nNAME=without end of line",
		"etc/kubernetes/kubelet.conf":                    "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: QUJD\n    server: https://10.99.0.21:6443\nusers:\n- user: {client-key-data: SECRETSECRET}\n",
		"etc/kubernetes/admin.conf":                      "users:\n- name: x\n  user:\n    client-certificate-data: " + base64.StdEncoding.EncodeToString([]byte(cert)) + "\n    client-key-data: SECRETSECRET\n",
		"etc/kubernetes/scheduler.conf":                  "SECRETSECRET\n",
		"etc/kubernetes/pki/etcd/server.crt":             cert + "SECRETSECRET\n" + cert,
		"etc/kubernetes/pki/apiserver.crt":               "",
		"etc/kubernetes/pki/cut-off.crt":                 cert[:len(cert)/2] + "\n-----BEGIN EC PRIVATE KEY-----\nSECRETSECRET\n-----END EC PRIVATE KEY-----\n",
		"etc/kubernetes/pki/apiserver.key":               "SECRETSECRET\n",
		"var/lib/kubelet/pki/kubelet-client-current.pem": "-----BEGIN EC PRIVATE KEY-----\nSECRETSECRET\n-----END EC PRIVATE KEY-----\n" + cert + "-----BEGIN EC PRIVATE KEY-----\nSECRETSECRET\n-----END EC PRIVATE KEY-----\n",
		"etc/kubernetes/pki/ca.crt":                      "SECRETSECRET\n" + cert + "SECRETSECRET\n",
		"etc/kubernetes/pki/ca.key":                      "SECRETSECRET\n",
		"etc/kubernetes/manifests/x":                     "",
		"var/lib/etcd/member/":                           "",
		"etc/cni/net.d/10-flannel.conflist":              "",
		"run/systemd/system/":                            "",
		"proc/sys/kernel/hostname":                       "arm-1\n",
		"proc/sys/kernel/osrelease":                      "6.12.0-rpi-v8\n",
		"proc/sys/kernel/random/boot_id":                 "11111111-2222-3333-4444-555555555555\n",
		"proc/sys/net/ipv4/ip_forward":                   "1\n",
		"proc/sys/net/ipv4/tcp_rmem":                     "4096\t131072\t6291456\n",
		"proc/self/status":                               "Name:\tsh\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n",
		"proc/cpuinfo":                                   "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\nprocessor\t: 1\nFeatures\t: fp asimd\n\nModel : Some Board\n",
		"proc/meminfo":                                   "MemTotal:        3900000 kB\nMemFree:          100000 kB\nSwapTotal:        204800 kB\nSwapFree:         204800 kB\n",
		"proc/net/tcp":                                   "  sl  local_address rem_address   st tx_queue\n   0: 0100007F:0277 00000000:0000 0A 0\n  10: 00000000:0016 00000000:0000 0A 0\n   2: 0115630A:1F90 0101630A:D431 01 0\n   3: 00000000:FFFF 00000000:0000 0A 0\n",
		"proc/net/tcp6":                                  "  sl  local_address\n   0: 00000000000000000000000000000000:192B 00000000000000000000000000000000:0000 0A 0\n   1: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0\n",
		"proc/net/udp":                                   "   sl  local_address rem_address   st tx_queue\n  338: 00000000:0044 00000000:0000 07 0\n 3390: 00000000:CA6C 00000000:0000 07 0\n",
		"proc/net/udp6":                                  "  sl  local_address\n  338: 00000000000000000000000000000000:CA6C 00000000000000000000000000000000:0000 07 0\n",
		"proc/net/fib_trie":                              "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 10.99.0.0/24 2 0 2\n        |-- 10.99.0.0\n           /24 link UNICAST\n        |-- 10.99.0.21\n           /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     |-- 10.99.0.21\n        /32 host LOCAL\n",
		"proc/net/if_inet6":                              "00000000000000000000000000000001 01 80 10 80       lo\nfe800000000000000000000000000001 02 40 20 80     eth0\n20010db8000000000000000000000021 02 40 00 80     eth0\n",
		"proc/sys/fs/binfmt_misc/status":                 "enabled\n",
		"proc/sys/fs/binfmt_misc/register":               "",
		"proc/sys/fs/binfmt_misc/qemu-x86_64":            "enabled\ninterpreter /usr/bin/qemu-x86_64\nflags: OCF\noffset 0\nmagic 7f454c4602010100000000000000000002003e00\nmask ffffffffffffff00fffffffffffffffffeffffff\n",
		"proc/sys/fs/binfmt_misc/python":                 "disabled\ninterpreter /usr/bin/python3\nflags: \noffset 0\nmagic 6f0d0d0a\n",
		"sys/fs/cgroup/cgroup.controllers":               "cpuset cpu io memory pids\n",
		"sys/module/overlay/initstate":                   "live\n",
		"sys/module/nf_tables/":                          "",
		"lib/modules/6.12.0-rpi-v8/modules.builtin":      "kernel/lib/dm-mod.ko\nkernel/net/vxlan.ko\n",
		"lib/modules/6.12.0-rpi-v8/modules.dep":          "kernel/net/bridge/br_netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz\nkernel/net/vxlan.ko: a.ko\n",
		"proc/device-tree/model":                         "Raspberry Pi 5 Model B Rev 1.0\x00",
		"proc/cmdline":                                   "console=tty1 cgroup_disable=memory cgroup_enable=memory password=SECRET systemd.unified_cgroup_hierarchy=1\n",
		"boot/firmware/cmdline.txt":                      "SECRET",
		"proc/self/mountinfo":                            "25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n26 25 8:2 / /usr rw - ext4 /dev/sda2 ro\n27 25 8:3 / /var/lib/kubelet rw - ext4 /dev/sda3 rw\n28 25 8:4 / /opt ro - ext4 /dev/sda4 rw\n29 25 8:4 / /opt rw - ext4 /dev/sda4 rw\n",
		"sys/fs/selinux/enforce":                         "1",
		"usr/lib/systemd/system/ssh.service":             "",
		"lib/systemd/system/ssh.service":                 "",
		"var/lib/minikube/":                              "",
		"etc/resolv.conf":                                "# SECRET\nsearch example\nnameserver 127.0.0.53\noptions edns0\n",
		"run/systemd/resolve/resolv.conf":                "nameserver 192.0.2.53\nnameserver fe80::1%eth0\n",
		"etc/ufw/ufw.conf":                               "# SECRET\nENABLED=yes\nLOGLEVEL=low\n",
		"etc/NetworkManager/conf.d/calico.conf":          "[keyfile]\nunmanaged-devices=interface-name:cali*;interface-name:cni*\n",
		"usr/lib/NetworkManager/conf.d/x.conf":           "[main]\nplugins=SECRET\n",
		"etc/cni/net.d/87-podman-bridge.conflist":        "SECRET",
		"etc/cni/net.d/x.kubeconfig":                     "SECRET",
		"var/lib/hybridctl/cluster":                      "SECRET\nca sha256:" + strings.Repeat("ab", 32) + "\nname lab\n",
		"var/lib/hybridctl/steps/os":                     "state done\ndigest sha256:aa\nmodule nf_tables\nsysctl net.ipv4.ip_forward 1\nsysctl net.ipv4.tcp_rmem 4096 131072 6291456\n",
		"var/lib/hybridctl/steps/runtime":                "state done\ndigest sha256:bb\nunit containerd.service\n",
		"var/lib/hybridctl/steps/kubernetes":             "state started\n",
		"var/lib/hybridctl/steps/images.new":             "state done\n",
		"var/lib/hybridctl/steps/damaged":                "state done\nsurprise\n",
	}, hash
}

// The life of the board's certificates.
var begins, ends = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

func certificate(t testing.TB) (text, hash string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, NotBefore: begins, NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "sha256:" + hex.EncodeToString(sum[:])
}

var boardAsk = Ask{
	Modules:     []string{"overlay", "br_netfilter", "vxlan", "dm_mod", "nope"},
	Tools:       []string{"mount", "not-executable", "nope"},
	Directories: []string{"/etc", "/usr/local/nothing/here", "/"},
	Sysctls:     []string{"net.ipv4.ip_forward", "net.ipv4.nope"},
	Units:       []string{"ssh.service"},
}

// TestScript runs the script over a whole made-up host, in every shell with every awk there is, and expects the same facts.
func TestScript(t *testing.T) {
	files, caHash := board(t)
	root := files.write(t)
	socket, err := net.Listen("unix", filepath.Join(mkdir(t, root, "run/containerd"), "containerd.sock"))
	if err != nil {
		t.Skipf("the temporary directory's path is too long for a socket; this runs where TMPDIR is shorter: %v", err)
	}
	defer socket.Close()
	want := Host{
		Hostname: "arm-1", MachineID: "0123456789abcdef0123456789abcdef", BootID: "11111111-2222-3333-4444-555555555555",
		OS:   OS{ID: "ubuntu", VersionID: "24.04", PrettyName: `A "quoted" OS`, IDLike: []string{"debian", "other"}},
		Arch: platform.ARM64, UnameMachine: "aarch64", UserlandBits: 64, Kernel: "6.12.0-rpi-v8", PageSize: 16384,
		CPUs: 2, CPUModel: "implementer 0x41 part 0xd0c", CPUFeatures: []string{"fp", "asimd"},
		MemoryBytes: 3900000 << 10, SwapBytes: 204800 << 10,
		CgroupVersion: 2, CgroupControllers: []string{"cpuset", "cpu", "io", "memory", "pids"},
		Modules: map[string]Module{"overlay": ModuleLoaded, "br_netfilter": ModuleAvailable, "vxlan": ModuleBuiltin,
			"dm_mod": ModuleBuiltin, "nf_tables": ModuleBuiltin, "nope": ModuleMissing},
		Sysctls:  map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.tcp_rmem": "4096 131072 6291456"},
		Tools:    map[string]string{"mount": "/usr/bin/mount", "kubelet": "/usr/local/bin/kubelet", "containerd": "/usr/local/bin/containerd"},
		IPTables: "nft",
		Binfmt: []Binfmt{
			{Name: "python", Interpreter: "/usr/bin/python3"},
			{Name: "qemu-x86_64", Enabled: true, Interpreter: "/usr/bin/qemu-x86_64", ELFMachine: 62},
		},
		Ports: []int{22, 631, 6443}, UDPPorts: []int{68, 51820}, Addresses: []string{"10.99.0.21", "2001:db8::21"},
		LoginUser: "operator", Root: true, Systemd: true,
		Surroundings: Surroundings{Model: "Raspberry Pi 5 Model B Rev 1.0", BootFiles: []string{"/boot/firmware/cmdline.txt"},
			Cmdline: []string{"cgroup_disable=memory", "cgroup_enable=memory", "systemd.unified_cgroup_hierarchy=1"}, PackageTool: "dnf", Installed: []string{"ssh.service", "/var/lib/minikube"},
			Mounts: []string{"/", "/opt", "/usr", "/var/lib/kubelet"}, ReadOnly: []string{"/usr"}, SELinux: true,
			Nameservers: []string{"127.0.0.53"}, Upstreams: []string{"192.0.2.53", "fe80::1%eth0"}, UFW: true, CNIConfigs: []string{"10-flannel.conflist", "87-podman-bridge.conflist"},
			UnmanagedLinks: "interface-name:cali*;interface-name:cni*"},
		Kubelet:    Installed{Path: "/usr/local/bin/kubelet", Running: true, Ours: true},
		Containerd: Installed{Path: "/usr/local/bin/containerd", Running: true},
		Units:      map[string]string{"containerd.service": "active", "kubelet.service": "active", "ssh.service": "inactive"},
		Images:     []string{`a"quote\.example/x:1`, "registry.example/pause:3.10"},
		Kubeadm: Kubeadm{KubeletConf: true, AdminConf: true, CACertHash: caHash, Server: "https://10.99.0.21:6443", Etcd: true, Pods: true, Certificates: []Certificate{
			{Name: "admin.conf", NotBefore: begins, NotAfter: ends}, {Name: "apiserver"}, {Name: "ca", NotBefore: begins, NotAfter: ends}, {Name: "cut-off"},
			{Name: "etcd/server", NotBefore: begins, NotAfter: ends}, {Name: "kubelet", NotBefore: begins, NotAfter: ends}}},
		Belongs:    Belonging{true, host.ClusterMark{CA: "sha256:" + strings.Repeat("ab", 32), Name: "lab"}},
		BadMarkers: []string{"damaged"},
		Markers: map[string]Marker{
			"os": {Marker: host.Marker{Step: "os", State: "done", Digest: "sha256:aa", Modules: []string{"nf_tables"},
				Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.tcp_rmem": "4096 131072 6291456"}}},
			"runtime":    {Marker: host.Marker{Step: "runtime", State: "done", Digest: "sha256:bb", Units: []string{"containerd.service"}}},
			"kubernetes": {Marker: host.Marker{Step: "kubernetes", State: "started"}},
		},
	}
	for _, shell := range available(t, shells) {
		for _, awk := range available(t, awks) {
			t.Run(strings.Join(append(append(shell[:len(shell):len(shell)], "with"), awk...), " "), func(t *testing.T) {
				takesTools(t, shell)
				write(t, filepath.Join(root, "bin/awk"), shellScript("exec "+realPath(t, awk)+` "$@"`), 0o755)
				out := run(t, shell, root, boardAsk)
				if strings.Contains(string(out), "SECRET") {
					t.Errorf("a secret of the host is in the answer: %s", out)
				}
				if strings.Contains(string(out), "Some Board") || strings.Contains(string(out), "MemFree") {
					t.Errorf("more of /proc is in the answer than is read: %s", out)
				}
				if strings.Contains(string(out), "binfmt/register") {
					t.Error("a file was read that may be written only: there, mawk ends")
				}
				got, at, err := parse(out)
				if err != nil {
					t.Fatal(err)
				}
				if d := time.Since(at.time); d < 0 || d > time.Minute {
					t.Errorf("the clock says %v", at.time)
				}
				// The same disk, which others write to meanwhile.
				free, same := got.DiskFree["/"], got.DiskFree["/usr/local/nothing/here"]
				if len(got.DiskFree) != 3 || free <= 0 || max(free-same, same-free) > free/10 {
					t.Errorf("free space: %v", got.DiskFree)
				}
				got.DiskFree = nil
				if !reflect.DeepEqual(got, want) {
					t.Errorf("got  %s\nwant %s", asJSON(t, got), asJSON(t, want))
				}
			})
		}
	}
}

// TestScript_Bare asks a host that has next to nothing: no awk could be done without, everything else is merely unknown.
func TestScript_Bare(t *testing.T) {
	root := tree{"bin/uname": shellScript("echo armv7l"), "bin/getconf": shellScript("exit 1"), "bin/systemctl": shellScript("exit 1"),
		"bin/sh": "\x7fELF\x01", "bin/date": shellScript("echo 1700000000."), "bin/iptables": shellScript("exit 1"), "proc/cgroups": ""}.write(t)
	for _, shell := range available(t, shells) {
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			takesTools(t, shell)
			got, at, err := parse(run(t, shell, root, boardAsk))
			if err != nil {
				t.Fatal(err)
			}
			got.DiskFree = nil
			missing := map[string]Module{}
			for _, m := range boardAsk.Modules {
				missing[m] = ModuleMissing
			}
			want := Host{UnameMachine: "armv7l", UserlandBits: 32, LoginUser: "operator", CgroupVersion: 1, Modules: missing, IPTables: "none",
				Sysctls: map[string]string{}, Tools: map[string]string{}, Units: map[string]string{}, Markers: map[string]Marker{},
				Surroundings: Surroundings{RulesUnread: []string{"/sys/module is not there"}}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %s\nwant %s", asJSON(t, got), asJSON(t, want))
			}
			if want := (clock{time.Unix(1700000000, 0), time.Second}); at != want {
				t.Errorf("clock %v, want %v", at, want)
			}
		})
	}
}

// TestScript_EndedInItsMiddle: what the kernel ends for a lack of memory, or what gets no more processes, knows nothing of what it has not come to.
// A host of which half was asked must not look like one that has no markers and no cluster.
func TestScript_EndedInItsMiddle(t *testing.T) {
	for _, tool := range []string{"bin/getconf", "bin/iptables", "bin/stat"} {
		files, _ := board(t)
		files[tool] = shellScript("kill -9 $PPID")
		root := files.write(t)
		for _, shell := range available(t, shells) {
			t.Run(tool+" "+strings.Join(shell, " "), func(t *testing.T) {
				takesTools(t, shell)
				c := boardAsk.command(true)
				cmd := exec.Command(shell[0], append(append(append(shell[1:len(shell):len(shell)], "-c", c.Script, "sh"), c.Args...), root)...)
				cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
				out, err := cmd.Output()
				if h, _, perr := parse(out); err == nil && !errors.Is(perr, errNoDocument) {
					t.Errorf("it is taken for a host: %v, markers %v, %+v", perr, h.Markers, h.Kubeadm)
				}
			})
		}
	}
}

// TestScript_WithoutAwk: a host whose awk is not there, or does not work, says who it is and what it lacks.
func TestScript_WithoutAwk(t *testing.T) {
	for name, files := range map[string]tree{
		"one that does not work": {"bin/awk": shellScript("exit 127")},
		"none":                   {},
	} {
		files["bin/uname"], files["usr/bin/mount"] = shellScript("echo x86_64"), shellScript("")
		files["proc/sys/kernel/hostname"], files["etc/os-release"] = "a\"b\\c\td\n", "PRETTY_NAME=\"Some \\\"OS\\\"\"\nID=ubuntu\nHOME_URL=x\nVERSION_ID='24.04'\n"
		files["proc/self/status"] = "Name:\tsh\nUid:\t0\t0\t0\t0\n"
		root := files.write(t)
		for _, shell := range available(t, shells) {
			if shell[0] == "busybox" { // it may have one of its own
				continue
			}
			t.Run(name+", "+strings.Join(shell, " "), func(t *testing.T) {
				c := boardAsk.command(true)
				script := c.Script
				if name == "none" { // this machine has one, and the script looks for it there as well
					script = strings.ReplaceAll(script, "command -v awk", "command -v no-awk-at-all")
				}
				args := append(append(shell[1:len(shell):len(shell)], "-c", script, "sh"), c.Args...)
				cmd := exec.Command(shell[0], append(args, root)...)
				cmd.Env = []string{"SUDO_USER=operator"}
				out, err := cmd.Output()
				if err != nil {
					t.Fatal(err)
				}
				_, err = parsed(out)
				var lacking *Lacking
				if !errors.As(err, &lacking) {
					t.Fatalf("%v: %s", err, out)
				}
				h := lacking.Host
				if lacking.Tool != "awk" || h.Hostname != "abcd" || h.UnameMachine != "x86_64" || h.OS.ID != "ubuntu" || h.OS.PrettyName != "Some OS" || !h.Root || h.LoginUser != "operator" ||
					h.Tools["mount"] != "/usr/bin/mount" || len(h.Tools) != 1 {
					t.Errorf("%s", asJSON(t, h))
				}
			})
		}
	}
}

// TestScript_Here asks this machine what Go knows as well.
func TestScript_Here(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("not a Linux machine")
	}
	for _, shell := range available(t, shells) {
		h, err := parsed(run(t, shell, "", Ask{Tools: []string{"cat"}, Directories: []string{"/tmp"}}))
		if err != nil {
			t.Fatal(err)
		}
		name, _ := os.Hostname()
		if h.Hostname != name || h.PageSize != os.Getpagesize() || h.Root != (os.Getuid() == 0) || h.CPUs == 0 || h.MemoryBytes == 0 {
			t.Errorf("%v: got %s", shell, asJSON(t, h))
		}
		if h.Tools["cat"] == "" || h.DiskFree["/tmp"] == 0 || h.UserlandBits != 32<<(^uint(0)>>63) {
			t.Errorf("%v: got %s", shell, asJSON(t, h))
		}
	}
}

func mkdir(t testing.TB, root, name string) string {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func realPath(t testing.TB, command []string) string {
	t.Helper()
	path, err := exec.LookPath(command[0])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(append([]string{path}, command[1:]...), " ")
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
