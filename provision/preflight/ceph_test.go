package preflight

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hybridctl/hybridctl/provision/bundle"
	"github.com/hybridctl/hybridctl/provision/facts"
	"github.com/hybridctl/hybridctl/provision/inventory"
	"github.com/hybridctl/hybridctl/provision/platform"
	"github.com/hybridctl/hybridctl/provision/report"
)

const (
	fsid    = "4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b"
	monitor = "10.99.0.5:6789"
	met     = "libceph: client4123 fsid " + fsid
	denied  = "libceph: auth protocol 'cephx' mauth authentication failed: -13"
)

// withCeph gives the fixture a Ceph cluster with both kinds of volumes, to which every host has found its way.
func (f *fixture) withCeph() *fixture {
	s := &f.cluster.Spec.Storage
	s.Ceph = inventory.CephClusters{{FSID: fsid, Monitors: []string{monitor},
		RBD:    inventory.CephRBD{Pool: "kube", User: "csi-rbd", KeyFile: "k", StorageClass: "ceph-rbd"},
		CephFS: inventory.CephFS{FSName: "kubefs", User: "csi-fs", KeyFile: "k", StorageClass: "ceph-fs"}}}
	inventory.Default(f.cluster)
	f.cluster.Spec.Kubernetes.ServiceCIDR = "172.30.0.0/16"
	for _, w := range s.WantedImages() {
		f.bundle.Images = append(f.bundle.Images, bundle.Image{Component: w.Component, Ref: "registry.example/" + w.Component + ":v3.15.0", Archs: platform.All()})
	}
	f.ceph = CephSeen{Keys: map[string]CephKey{"0.rbd": {}, "0.cephfs": {}}, Hosts: map[string]CephHost{}}
	for i := range f.hosts {
		h := &f.hosts[i]
		h.Modules["rbd"], h.Modules["ceph"], h.Modules["nbd"] = facts.ModuleAvailable, facts.ModuleAvailable, facts.ModuleAvailable
		f.ceph.Hosts[h.Name] = CephHost{Features: 0x1bf, Banners: map[string]string{monitor: "ceph v027"}, Answers: map[string]CephAnswer{
			"0.rbd":    {Errno: "ENOENT", Log: []string{met, "rbd: image kube/probe-1b2c does not exist"}},
			"0.cephfs": {Log: []string{met}}}}
	}
	return f
}

// onArm changes what the Arm host has seen.
func onArm(change func(*CephHost)) func(*fixture) {
	return func(f *fixture) {
		h := f.ceph.Hosts["arm-1"]
		change(&h)
		f.ceph.Hosts["arm-1"] = h
	}
}

func answers(id, errno string, log ...string) func(*fixture) {
	return onArm(func(h *CephHost) { h.Answers[id] = CephAnswer{Errno: errno, Text: "dd: it went wrong", Log: log} })
}

// and makes several changes.
func and(changes ...func(*fixture)) func(*fixture) {
	return func(f *fixture) {
		for _, c := range changes {
			c(f)
		}
	}
}

func banner(text string) func(*fixture) {
	return onArm(func(h *CephHost) { h.Banners[monitor] = text })
}

func mode(mode string) func(*fixture) {
	return func(f *fixture) { f.cluster.Spec.Storage.Ceph[0].MSMode = mode }
}

func key(k CephKey) func(*fixture) { return func(f *fixture) { f.ceph.Keys["0.rbd"] = k } }

// pulls has nodes pull the driver from a registry that tells for which architectures it is made.
func pulls(ref string, archs ...platform.Arch) func(*fixture) {
	return func(f *fixture) {
		f.cluster.Spec.Storage.CSI.Images.Driver = ref
		f.ceph.Pulled = map[string][]platform.Arch{ref: archs}
	}
}

// second adds a Ceph cluster whose user was not looked at.
func second(f *fixture) {
	f.cluster.Spec.Storage.Ceph = append(f.cluster.Spec.Storage.Ceph, inventory.Ceph{FSID: fsid, Monitors: []string{monitor},
		RBD: inventory.CephRBD{Pool: "other", User: "csi-other", KeyFile: "k", StorageClass: "other"}})
	inventory.Default(f.cluster)
}

// cephCases have a row for each answer of a real kernel to a real mistake.
var cephCases = []one{
	{name: "file gone", change: key(CephKey{Problem: errors.New("open k: no such file")}), check: "ceph-keys", status: report.Fail,
		message: "the key of client.csi-rbd (spec.storage.ceph.rbd): open k: no such file", hint: "ceph auth get-key client.csi-rbd"},
	{name: "aes256k with an old driver", change: key(CephKey{AES256: true}), check: "ceph-keys", status: report.Warn, message: "type aes256k, and ceph-csi 3.15.0 is older", hint: "3.16.3"},
	{name: "aes256k with a new driver", change: and(key(CephKey{AES256: true}), func(f *fixture) { f.cluster.Spec.Storage.CSI.DriverVersion = "3.17.1" }),
		check: "ceph-keys", status: report.Pass, message: "well-formed"},
	{name: "in plain text", change: func(f *fixture) { f.cluster.Spec.Storage.Ceph[0].RBD.Key = "x" }, check: "ceph-keys", status: report.Warn,
		message: "keys in plain text: spec.storage.ceph.rbd.key", hint: "keyFile"},

	{name: "one that was not read", change: second, check: "ceph-keys", status: report.Unknown, message: "not looked at"},
	{name: "one that was not read, and another is wrong", change: and(second, func(f *fixture) {
		delete(f.ceph.Keys, "0.rbd")
		f.ceph.Keys["0.cephfs"] = CephKey{Problem: errors.New("empty")}
	}),
		check: "ceph-keys", status: report.Fail, message: "the key of client.csi-fs"},
	{name: "one user was not asked for", change: second, host: "arm-1", check: "ceph-rbd", status: report.Unknown, message: "not looked at for client.csi-other; client.csi-rbd finds the pool kube"},
	{name: "no host is known", change: func(f *fixture) {
		for i := range f.hosts {
			f.hosts[i] = facts.Host{Name: f.hosts[i].Name, Err: errDown}
		}
	}, check: "ceph-images", status: report.Unknown, message: "not judged: no host's architecture is known", also: []string{"reachable"}},
	{name: "none", change: func(f *fixture) { f.bundle.Images = fitBundle(platform.All()...).Images }, check: "ceph-images", status: report.Fail,
		message: "lacks the images ceph-csi, csi-provisioner, csi-node-driver-registrar, csi-attacher", hint: "preflight.ignore"},
	{name: "one architecture", change: func(f *fixture) {
		f.bundle.Images[len(f.bundle.Images)-1].Archs = []platform.Arch{platform.AMD64}
	}, check: "ceph-images", status: report.Fail, message: "lacks the images csi-attacher for arm64"},
	{name: "resizer", change: func(f *fixture) { f.cluster.Spec.Storage.Ceph[0].CephFS.AllowExpansion = true }, check: "ceph-images", status: report.Fail, message: "csi-resizer"},
	{name: "pulled", change: func(f *fixture) { f.cluster.Spec.Storage.CSI.Images.Driver = "quay.example/cephcsi:v3.15.0" }, check: "ceph-images", status: report.Warn,
		message: "not in the bundle: quay.example/cephcsi:v3.15.0", hint: "architecture"},
	{name: "pulled, and of one architecture", change: pulls("quay.example/cephcsi:v3.15.0", platform.AMD64), check: "ceph-images", status: report.Fail,
		message: "the registry has no quay.example/cephcsi:v3.15.0 for arm64", hint: "spec.storage.csi.images"},
	{name: "pulled, and of all", change: pulls("quay.example/cephcsi:v3.15.0", platform.All()...), check: "ceph-images", status: report.Pass, message: "or the registry"},

	{name: "no rbd on Arm", change: func(f *fixture) { f.host("arm-1").Modules["rbd"] = facts.ModuleMissing }, host: "arm-1", check: "ceph-modules", status: report.Fail,
		message: "the kernel 6.12.0 (arm64) has no module rbd", hint: "mounter: rbd-nbd"},
	{name: "no nbd", change: func(f *fixture) {
		f.cluster.Spec.Storage.Ceph[0].RBD.Mounter = inventory.MounterNBD
		delete(f.host("arm-1").Modules, "nbd")
	}, host: "arm-1", check: "ceph-modules", status: report.Fail, message: "has no module nbd", hint: "mounter: kernel"},
	{name: "does not load", change: onArm(func(h *CephHost) { h.Absent = map[string]string{"ceph": "modprobe: Key was rejected"} }), host: "arm-1", check: "ceph-modules",
		status: report.Fail, message: "does not load ceph: modprobe: Key was rejected", hint: "nodeSelector"},

	{name: "script failed", change: onArm(func(h *CephHost) { *h = CephHost{Err: errors.New("ask the kernel about Ceph: no space left")} }), host: "arm-1",
		check: "ceph-monitors", status: report.Fail, message: "no space left"},
	{name: "refused", change: banner("bash: connect: Connection refused"), host: "arm-1", check: "ceph-monitors", status: report.Fail,
		message: "no monitor answers: 10.99.0.5:6789 (connection refused)", hint: "firewall"},
	{name: "silent", change: banner(""), host: "arm-1", check: "ceph-monitors", status: report.Fail, message: "10.99.0.5:6789 (no answer)"},
	{name: "one of two is down", change: func(f *fixture) {
		c := &f.cluster.Spec.Storage.Ceph[0]
		c.Monitors = append(c.Monitors, "10.99.0.6:6789")
		f.ceph.Hosts["x86-1"].Banners["10.99.0.6:6789"] = "ceph v027"
	}, host: "arm-1", check: "ceph-monitors", status: report.Warn, message: "do not answer: 10.99.0.6:6789", hint: "through the others"},
	{name: "second protocol", change: banner("ceph v2\n\x10"), host: "arm-1", check: "ceph-monitors", status: report.Fail,
		message: "speaks the second protocol (msgr2), and msMode is legacy", hint: "port 6789"},
	{name: "something else", change: banner("SSH-2.0-O"), host: "arm-1", check: "ceph-monitors", status: report.Fail, message: `is no monitor of Ceph: it begins with "SSH-2.0-O"`},
	{name: "a host without bash", change: banner("timeout: failed to run command 'bash'"), host: "arm-1", check: "ceph-monitors", status: report.Pass, message: "all answer"},

	{name: "an old kernel", change: onArm(func(h *CephHost) { h.Features = 5 }), host: "arm-1", check: "ceph-features", status: report.Fail,
		message: "cannot map images with object-map, fast-diff, deep-flatten (it has 0x5)", hint: "layering"},
	{name: "rbd-nbd maps by itself", change: and(onArm(func(h *CephHost) { h.Features = 5 }), func(f *fixture) {
		f.cluster.Spec.Storage.Ceph[0].RBD.Mounter = inventory.MounterNBD
	}), host: "arm-1", check: "ceph-features", status: report.Pass, message: "every feature"},

	{name: "pool", change: answers("0.rbd", "ENOENT", met, "rbd: pool kube does not exist"), host: "arm-1", check: "ceph-rbd", status: report.Fail,
		message: "the pool kube does not exist", hint: "ceph osd pool create kube"},
	{name: "kernel log unreadable", change: answers("0.rbd", "ENOENT"), host: "arm-1", check: "ceph-rbd", status: report.Warn, message: "could not be read", hint: "dmesg"},
	{name: "caps", change: answers("0.rbd", "EPERM", met), host: "arm-1", check: "ceph-rbd", status: report.Fail,
		message: "client.csi-rbd may not use the pool kube", hint: "ceph auth caps client.csi-rbd mon 'profile rbd' mgr 'profile rbd pool=kube' osd 'profile rbd pool=kube'"},
	{name: "no capabilities at all", change: answers("0.rbd", "ETIMEDOUT", met, "libceph: osd0 (1)10.99.0.5:6803 bad authorize reply"), host: "arm-1", check: "ceph-rbd",
		status: report.Fail, message: "client.csi-rbd may not use the pool kube: it lacks capabilities", hint: "ceph auth caps client.csi-rbd"},
	{name: "key or user", change: answers("0.rbd", "EACCES", denied), host: "arm-1", check: "ceph-rbd", status: report.Fail,
		message: "the monitors refuse client.csi-rbd", hint: "ceph auth get client.csi-rbd"},
	{name: "damaged key", change: answers("0.rbd", "EINVAL", "libceph: Failed to parse secret: -22"), host: "arm-1", check: "ceph-rbd", status: report.Fail,
		message: "cannot read the key of client.csi-rbd", hint: "get-key"},
	{name: "aes256k", change: answers("0.rbd", "EINVAL", "libceph: secret too big 32", "libceph: Failed to parse secret: -22"), host: "arm-1", check: "ceph-rbd",
		status: report.Fail, message: "type aes256k, which the kernel 6.12.0 cannot use", hint: "7.0"},
	{name: "monitor by name", change: answers("0.rbd", "EINVAL", "libceph: Failed to parse monitor IPs: -22"), host: "arm-1", check: "ceph-rbd", status: report.Fail,
		message: "cannot read the monitors " + monitor, hint: "IPv4"},
	{name: "kernel without ms_mode", change: answers("0.rbd", "EINVAL", "libceph: Unknown parameter 'ms_mode'"), host: "arm-1", check: "ceph-rbd", status: report.Fail,
		message: "does not know msMode", hint: "legacy"},
	{name: "dead monitor", change: and(answers("0.rbd", "ETIMEDOUT", "libceph: mon0 (1)10.99.0.5:6789 socket closed (con state OPEN)"), banner("")), host: "arm-1",
		check: "ceph-rbd", status: report.Fail, message: "no monitor answers: 10.99.0.5:6789 (no answer)", hint: "ceph mon dump", also: []string{"ceph-monitors"}},
	{name: "first protocol on the second's port", change: answers("0.rbd", "ETIMEDOUT", "libceph: mon0 (1)10.99.0.5:3300 socket closed (con state V1_BANNER)"), host: "arm-1",
		check: "ceph-rbd", status: report.Fail, message: "do not speak the first protocol", hint: "6789"},
	{name: "second protocol on the first's port", change: and(mode("secure"), answers("0.rbd", "ETIMEDOUT", "libceph: mon0 (2)10.99.0.5:6789 server is speaking msgr1 protocol")),
		host: "arm-1", check: "ceph-rbd", status: report.Fail, message: "speak the first protocol (msgr1), and msMode is secure", hint: "3300", also: []string{"ceph-monitors"}},
	{name: "cluster not well", change: answers("0.rbd", "ETIMEDOUT"), host: "arm-1", check: "ceph-rbd", status: report.Fail,
		message: "the monitors answer, but the pool kube did not in time (ETIMEDOUT)", hint: "placement groups"},
	{name: "another cluster", change: answers("0.rbd", "ENOENT", "libceph: client1 fsid 00000000-8d3a-4e6f-9a7b-5c1d2e3f4a5b", "rbd: image kube/probe-1 does not exist"), host: "arm-1",
		check: "ceph-rbd", status: report.Fail, message: "belong to the Ceph cluster 00000000-8d3a-4e6f-9a7b-5c1d2e3f4a5b, the inventory says " + fsid, hint: "spec.storage.ceph in"},
	{name: "never seen", change: answers("0.rbd", "UNKNOWN", "libceph: odd"), host: "arm-1", check: "ceph-rbd", status: report.Fail, message: "UNKNOWN; dd: it went wrong; libceph: odd", hint: "dmesg"},

	{name: "group", change: answers("0.cephfs", "ENOENT", met), host: "arm-1", check: "ceph-cephfs", status: report.Fail,
		message: "kubefs has no subvolume group csi", hint: "ceph fs subvolumegroup create kubefs csi"},
	{name: "caps", change: answers("0.cephfs", "EACCES", met, "ceph: mds0 rejected session"), host: "arm-1", check: "ceph-cephfs", status: report.Fail,
		message: "client.csi-fs may not mount /volumes/csi of kubefs", hint: "path=/volumes, allow rws fsname=kubefs path=/volumes/csi'"},
	{name: "key or user", change: answers("0.cephfs", "EHOSTUNREACH", denied, "ceph: No mds server is up or the cluster is laggy"), host: "arm-1", check: "ceph-cephfs",
		status: report.Fail, message: "the monitors refuse client.csi-fs"},
	{name: "file system, or none up", change: answers("0.cephfs", "EHOSTUNREACH", met, "ceph: No mds server is up or the cluster is laggy"), host: "arm-1",
		check: "ceph-cephfs", status: report.Fail, message: "no metadata server answers for the file system kubefs", hint: "ceph fs ls"},
	{name: "dead monitor", change: and(answers("0.cephfs", "EHOSTUNREACH"), banner("bash: connect: No route to host")), host: "arm-1", check: "ceph-cephfs",
		status: report.Fail, message: "no monitor answers: 10.99.0.5:6789 (no route to host)", also: []string{"ceph-monitors"}},
	{name: "no rights at the metadata server", change: answers("0.cephfs", "ETIMEDOUT", met), host: "arm-1", check: "ceph-cephfs", status: report.Fail,
		message: "the file system kubefs did not in time", hint: "mds 'allow r fsname=kubefs"},
	{name: "another cluster", change: answers("0.cephfs", "", "libceph: client1 fsid 1"), host: "arm-1", check: "ceph-cephfs", status: report.Fail, message: "belong to the Ceph cluster 1"},
}

func TestRunCeph(t *testing.T) {
	for _, c := range cephCases {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			f := fit().withCeph()
			c.change(f)
			c.wantIn(t, f)
		})
	}
}

// Without Ceph in the inventory nothing about it is checked, and hosts that are not to mount volumes are left alone.
func TestRunCeph_WhereItIsNotWanted(t *testing.T) {
	for _, r := range fit().run() {
		if strings.HasPrefix(r.Name, "ceph-") {
			t.Errorf("without Ceph: %+v", r)
		}
	}
	f := fit().withCeph()
	f.cluster.Spec.Storage.CSI.NodeSelector = map[string]string{"storage": "yes"}
	f.declared("arm-1").Labels = map[string]string{"storage": "yes"}
	f.host("x86-1").Modules["rbd"] = facts.ModuleMissing
	for _, r := range f.run() {
		if strings.HasPrefix(r.Name, "ceph-") && r.Host == "x86-1" {
			t.Errorf("not selected: %+v", r)
		}
	}
}

// Before the hosts were asked, what only they can tell is not judged.
func TestRunCeph_NotAsked(t *testing.T) {
	f := fit().withCeph()
	f.ceph = CephSeen{}
	for _, r := range f.run() {
		asks := strings.HasPrefix(r.Name, "ceph-") && !slices.Contains([]string{"ceph-images", "ceph-modules", "ceph-kernel"}, r.Name)
		if r.Status == report.Unknown != (r.Message == "not looked at") || r.Status != report.Pass && !(asks && r.Status == report.Unknown) {
			t.Errorf("got %+v", r)
		}
	}
}

func TestWantedImages_AreKnownToBundles(t *testing.T) {
	s := fit().withCeph().cluster.Spec.Storage
	s.Ceph[0].RBD.AllowExpansion = true
	for _, w := range s.WantedImages() {
		if !slices.Contains(bundle.StorageComponents, w.Component) {
			t.Errorf("bundles do not know %q", w.Component)
		}
	}
}
