package inventory

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const storage = `bundle: b
  storage:
    ceph:
      fsid: 4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b
      monitors: ["10.0.0.5:6789"]
      rbd: {pool: kube, user: csi-rbd, keyFile: rbd.key, storageClass: ceph-rbd, default: true}
      cephfs: {fsName: kubefs, user: csi-cephfs, keyEnv: KEY, storageClass: ceph-cephfs}`

// withStorage is the smallest inventory with storage; replacements are made in it.
func withStorage(t *testing.T, replacements ...[2]string) string {
	return edit(t, append([][2]string{{"bundle: b", storage}}, replacements...)...)
}

func TestDefault_Storage(t *testing.T) {
	c := mustParse(t, withStorage(t)).Spec.Storage
	ceph := c.Ceph[0]
	if ceph.ClusterID != ceph.FSID || ceph.MSMode != MSLegacy || ceph.RBD.FSType != "ext4" || ceph.RBD.Mounter != MounterKernel ||
		ceph.RBD.ReclaimPolicy != ReclaimDelete || ceph.CephFS.SubvolumeGroup != "csi" || c.CSI.Namespace != "ceph-csi" || c.CSI.KubeletDir != "/var/lib/kubelet" {
		t.Errorf("got %+v", c)
	}
	if !slices.Equal(ceph.RBD.ImageFeatures, defaultImageFeatures) || !slices.Equal(ceph.RBD.MountOptions, []string{"discard"}) {
		t.Errorf("got %v, %v", ceph.RBD.ImageFeatures, ceph.RBD.MountOptions)
	}
	if ceph.RBD.KeyFile != "/etc/lab/rbd.key" {
		t.Errorf("key file %q", ceph.RBD.KeyFile)
	}
	if c := mustParse(t, withStorage(t, [2]string{":6789", ":3300"})); c.Spec.Storage.Ceph[0].MSMode != "prefer-crc" {
		t.Errorf("with port 3300: %q", c.Spec.Storage.Ceph[0].MSMode)
	}
	if c := mustParse(t, valid); c.Spec.Storage.CSI.Namespace != "" || c.Spec.Storage.Mounts(c.Spec.Hosts[0]) {
		t.Errorf("without Ceph: %+v", c.Spec.Storage)
	}
}

func TestParse_OneMistakeInStorage(t *testing.T) {
	in := func(old, replacement string) [2]string { return [2]string{old, replacement} }
	const keys = "needs exactly one of keyFile, keyEnv, keyCommand and key (the key in a file is the usual way: keyFile: secrets/csi.key)"
	key := base64.StdEncoding.EncodeToString(append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0}, make([]byte, 16)...))
	for _, test := range []struct {
		replace [2]string
		want    string // without spec.storage.ceph. before it
	}{
		{in("4f2e0b1c-", "4F2E0B1C-"), `fsid: "4F2E0B1C-8d3a-4e6f-9a7b-5c1d2e3f4a5b" is not a UUID (as "ceph fsid" prints it, in small letters)`},
		{in("fsid: 4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b", "clusterID: x"), "fsid: is missing"},
		{in("monitors", "clusterID: "+strings.Repeat("x", 37)+"\n      monitors"), `clusterID: "` + strings.Repeat("x", 37) + `" is longer than 36 bytes (it becomes part of every volume's name)`},
		{in("monitors", "clusterID: 'a b'\n      monitors"), `clusterID: "a b" is not a cluster ID (letters, digits, -, _ and .)`},
		{in(`["10.0.0.5:6789"]`, "[]"), "monitors: holds no monitor (for instance 10.0.0.5:6789)"},
		{in("10.0.0.5:6789", "10.0.0.5"), `monitors[0]: "10.0.0.5" is not the address and port of a monitor (write 10.0.0.5:6789, or 10.0.0.5:3300 for msMode crc or secure)`},
		{in("10.0.0.5:6789", "mon.example:6789"), `monitors[0]: "mon.example:6789" is not the address and port of a monitor (an IPv4 address and a port, for instance 10.0.0.5:6789; kernels resolve no names)`},
		{in("10.0.0.5:6789", "[v2:10.0.0.5:3300,v1:10.0.0.5:6789]"), `monitors[0]: "[v2:10.0.0.5:3300,v1:10.0.0.5:6789]" is not the address and port of a monitor (write one IPv4 address and port, without v1: or v2:)`},
		{in("10.0.0.5:6789", "[fd00::5]:6789"), `monitors[0]: "[fd00::5]:6789" is not the address and port of a monitor (give an IPv4 address: clusters of IPv6 or of both families are not supported yet)`},
		{in(`["10.0.0.5:6789"]`, `["10.0.0.5:6789", "10.0.0.6:3300"]`), "monitors[1]: has port 3300, and spec.storage.ceph.monitors[0] has 6789 (a client speaks one protocol to all monitors: write the same port at each)"},
		{in("10.0.0.5:6789", "10.0.0.5:7000"), "msMode: is missing: port 7000 does not say which protocol the monitors speak (legacy, or one of crc, secure, prefer-crc, prefer-secure)"},
		{in(`["10.0.0.5:6789"]`, `["10.0.0.5:7000"]`+"\n      msMode: crc"), ""},
		{in(`["10.0.0.5:6789"]`, `["10.0.0.5:6789"]`+"\n      msMode: crc"), "msMode: crc is not spoken on port 6789 (take msMode away, or write the monitors with port 3300)"},
		{in(`["10.0.0.5:6789"]`, `["10.0.0.5:3300"]`+"\n      msMode: legacy"), "msMode: legacy is not spoken on port 3300 (take msMode away, or write the monitors with port 6789)"},
		{in(`["10.0.0.5:6789"]`, `["10.0.0.5:3300"]`+"\n      msMode: secure"), ""},
		{in(`["10.0.0.5:6789"]`, `["10.0.0.5:3300"]`+"\n      msMode: v2"), `msMode: "v2" is not one of legacy, crc, secure, prefer-crc, prefer-secure`},

		{in("user: csi-rbd", "user: client.csi-rbd"), "rbd.user: begins with client., which Ceph's clients put before it themselves (write csi-rbd)"},
		{in("pool: kube", "pool: a/b"), `rbd.pool: "a/b" is not a name in Ceph (letters, digits, -, _ and .)`},
		{in("keyFile: rbd.key, ", ""), "rbd: " + keys},
		{in("keyFile: rbd.key", "keyFile: rbd.key, keyEnv: KEY"), "rbd: " + keys},
		{in("keyEnv: KEY", "keyEnv: $KEY"), "cephfs.keyEnv: is not the name of an environment variable (its name without the $)"},
		{in("keyFile: rbd.key", "keyCommand: [pass, show, ceph]"), ""},
		{in("keyFile: rbd.key", "keyCommand: []"), "rbd.keyCommand: is not a program with its arguments (for instance [pass, show, ceph/csi])"},
		{in("keyFile: rbd.key", "key: "+key), ""},
		{in("keyFile: rbd.key", "key: "+key[:30]), "rbd.key: is not a Ceph key: it is not base64; it has to stand there as \"ceph auth get-key client.NAME\" prints it"},
		{in("storageClass: ceph-cephfs", "storageClass: ceph-rbd"), "cephfs.storageClass: ceph-rbd is taken by spec.storage.ceph.rbd (line 12)"},
		{in("storageClass: ceph-cephfs", "storageClass: ceph-cephfs, default: true"), "cephfs.default: a cluster has one default class, and there is one already (keep it at one of the classes)"},
		{in("default: true", "reclaimPolicy: Recycle"), `rbd.reclaimPolicy: "Recycle" is not one of Delete, Retain`},
		{in("default: true", "fstype: ext2"), `rbd.fstype: "ext2" is not one of ext4, xfs (did you mean ext4?)`},
		{in("default: true", "mounter: fuse"), `rbd.mounter: "fuse" is not one of kernel, rbd-nbd`},
		{in("default: true", "imageFeatures: [layering]"), ""},
		{in("default: true", "imageFeatures: []"), ""},
		{in("default: true", "imageFeatures: [layring]"), `rbd.imageFeatures[0]: "layring" is not one of layering, exclusive-lock, object-map, fast-diff, deep-flatten, journaling (did you mean layering?)`},
		{in("default: true", "imageFeatures: [layering, object-map]"), "rbd.imageFeatures[1]: object-map needs exclusive-lock (add exclusive-lock, or take object-map away)"},
		{in("default: true", "imageFeatures: [exclusive-lock, journaling]"), "rbd.imageFeatures[1]: the kernel cannot map images with journaling (write mounter: rbd-nbd, or take journaling away)"},
		{in("default: true", "imageFeatures: [exclusive-lock, journaling], mounter: rbd-nbd"), ""},
		{in("default: true", "mapOptions: [queue_depth=1024, ms_mode=crc]"), "rbd.mapOptions[1]: ms_mode cannot be set here: msMode decides it"},
		{in("keyEnv: KEY", "keyEnv: KEY, kernelMountOptions: ['secret=abc']"), "cephfs.kernelMountOptions[0]: secret cannot be set here: keyFile decides it"},
		{in("keyEnv: KEY", "keyEnv: KEY, mountOptions: ['noatime,secret=AQBx==']"), "cephfs.mountOptions[0]: secret cannot be set here: keyFile decides it"},
		{in("keyEnv: KEY", "keyEnv: KEY, mountOptions: ['noatime, secret AQBx==']"), "cephfs.mountOptions[0]: secret cannot be set here: keyFile decides it"},
		{in("keyEnv: KEY", "keyEnv: KEY, mountOptions: ['noatime;secret=AQBx==']"), `cephfs.mountOptions[0]: "noatime;secret=…" is not one option (write each option as an item of the list: name or name=value)`},
		{in("keyEnv: KEY", "keyEnv: KEY, mountOptions: [nodev, passwd=AQBx, passwd=AQBx]"), `cephfs.mountOptions[2]: "passwd=…" is in the list twice`},
		{in("keyEnv: KEY", "keyEnv: KEY, mountOptions: [nodev, nodev]"), `cephfs.mountOptions[1]: "nodev" is in the list twice`},
		{in("keyEnv: KEY", "keyEnv: KEY, mountOptions: ['']"), "cephfs.mountOptions[0]: is empty"},
		{in("keyEnv: KEY", "keyEnv: 123456"), "cephfs.keyEnv: is a number, not text (the name of an environment variable, not what it holds)"},
		{in("keyFile: rbd.key", "key: 123456"), "rbd.key: is a number, not text (put it in quotes)"},
		{in("keyEnv: KEY", "keyEnv: KEY, mountOptions: ['noatime,nodev']"), `cephfs.mountOptions[0]: "noatime,nodev" is not one option (write each option as an item of the list: name or name=value)`},
	} {
		_, err := Parse("F", []byte(withStorage(t, test.replace)))
		got := ""
		if err != nil {
			_, got, _ = strings.Cut(err.Error(), ": spec.storage.ceph.")
			if got == "" {
				got = err.Error()
			}
		}
		if got != test.want {
			t.Errorf("%q:\n got %s\nwant %s", test.replace[1], got, test.want)
		}
	}
}

func TestParse_StorageMistakesOfTheWhole(t *testing.T) {
	const neither = "spec.storage.ceph: has neither rbd nor cephfs"
	for name, test := range map[string]struct {
		text, want string
	}{
		"csi alone":         {edit(t, [2]string{"bundle: b", "bundle: b\n  storage: {csi: {namespace: x}}"}), "F:8:13: spec.storage.csi: installs nothing without spec.storage.ceph (name the Ceph cluster in spec.storage.ceph)"},
		"nothing wanted":    {edit(t, [2]string{"bundle: b", "bundle: b\n  storage: {ceph: {fsid: 4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b, monitors: ['10.0.0.5:6789']}}"}), neither},
		"kubelet directory": {withStorage(t, [2]string{"storage:\n", "storage:\n    csi: {kubeletDir: var/lib/kubelet/}\n"}), `spec.storage.csi.kubeletDir: "var/lib/kubelet/" is not an absolute path`},
		"selects nothing":   {withStorage(t, [2]string{"storage:\n", "storage:\n    csi: {nodeSelector: {storage: 'yes'}}\n"}), "spec.storage.csi.nodeSelector: selects no host"},
		"no image":          {withStorage(t, [2]string{"storage:\n", "storage:\n    csi: {images: {driver: cephcsi}}\n"}), `spec.storage.csi.images.driver: "cephcsi" is not the full name of an image`},
		"not its own":       {withStorage(t, [2]string{"storage:\n", "storage:\n    csi: {namespace: kube-system}\n"}), `spec.storage.csi.namespace: kube-system is Kubernetes' own`},
		"no version":        {withStorage(t, [2]string{"storage:\n", "storage:\n    csi: {driverVersion: canary}\n"}), `spec.storage.csi.driverVersion: "canary" is not a version`},
		"no registry":       {withStorage(t, [2]string{"storage:\n", "storage:\n    csi: {imageMirror: 'https://m.example/', images: {driver: q.example/cephcsi:v3.15.0}}\n"}), `spec.storage.csi.imageMirror: "https://m.example/" is not a registry (registry.example`},
		"nothing mirrored":  {withStorage(t, [2]string{"storage:\n", "storage:\n    csi: {imageMirror: m.example}\n"}), "spec.storage.csi.imageMirror: there is no image to take from m.example (name the images in spec.storage.csi.images"},
		"two of one cluster": {withStorage(t, [2]string{"      fsid", "    - fsid"}, [2]string{"\n  hosts:",
			"\n    - {fsid: 4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b, monitors: ['10.1.0.5:3300'], rbd: {pool: p, user: u, keyEnv: K, storageClass: far}}\n  hosts:"}),
			"spec.storage.ceph[1].fsid: 4f2e0b1c-8d3a-4e6f-9a7b-5c1d2e3f4a5b is taken by spec.storage.ceph[0] (line 10)"},
	} {
		if _, err := Parse("F", []byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
}

func TestDefault_ImagesComeFromTheMirror(t *testing.T) {
	for ref, want := range map[string]string{
		"quay.example/cephcsi/cephcsi:v3.15.0": "m.example:5000/ceph/cephcsi/cephcsi:v3.15.0",
		"localhost/cephcsi:v3":                 "m.example:5000/ceph/cephcsi:v3",
		"cephcsi/cephcsi:v3":                   "m.example:5000/ceph/cephcsi/cephcsi:v3",
		"m.example:5000/ceph/cephcsi:v3":       "m.example:5000/ceph/cephcsi:v3",
		"m.example:5000/cephcsi:v3":            "m.example:5000/ceph/cephcsi:v3",
	} {
		c := mustParse(t, withStorage(t, [2]string{"storage:\n", "storage:\n    csi: {imageMirror: 'm.example:5000/ceph', images: {driver: '" + ref + "'}}\n"}))
		if i := c.Spec.Storage.CSI.Images; i.Driver != want || i.Attacher != "" {
			t.Errorf("%s: %+v, want %s", ref, i, want)
		}
		Default(c)
		if i := c.Spec.Storage.CSI.Images; i.Driver != want {
			t.Errorf("once more: %s, want %s", i.Driver, want)
		}
	}
}

// A key that stands in the file must not come out again.
func TestShow_HidesKeys(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0}, []byte("sixteen bytes...")...))
	c := mustParse(t, withStorage(t, [2]string{"keyFile: rbd.key", "key: " + key}))
	for _, defaults := range []bool{false, true} {
		shown, err := Show(c, defaults)
		if err != nil || strings.Contains(string(shown), key) || !strings.Contains(string(shown), "key: (hidden)") {
			t.Errorf("defaults %v: error %v\n%s", defaults, err, shown)
		}
	}
	asJSON, err := json.Marshal(c)
	if err != nil || strings.Contains(string(asJSON), key) || strings.Contains(fmt.Sprintf("%v %+v %#v", c.Spec, c.Spec, c.Spec), key) {
		t.Errorf("JSON or a format shows the key, or error %v", err)
	}
	if string(c.Spec.Storage.Ceph[0].RBD.Key) != key {
		t.Error("the key is not what the file says")
	}
}

func TestParseCephKey(t *testing.T) {
	raw := func(kind byte, length byte, secret int) []byte {
		return append([]byte{kind, 0, 1, 2, 3, 4, 5, 6, 7, 8, length, 0}, make([]byte, secret)...)
	}
	text := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	aes, aes256 := text(raw(1, 16, 16)), text(raw(2, 32, 32))
	for _, test := range []struct {
		in, problem string
		aes256      bool
	}{
		{in: aes},
		{in: "\n " + aes + "\r\n"},
		{in: aes256, aes256: true},
		{in: "[client.csi]\n\tkey = " + aes + "\n\tcaps mon = \"profile rbd\"\n"},
		{in: "", problem: "it is empty"},
		{in: " \n", problem: "it is empty"},
		{in: "[client.a]\nkey = " + aes + "\n[client.b]\nkey=" + aes, problem: "a keyring with 2 keys"},
		{in: aes + "\n" + aes, problem: "several lines"},
		{in: aes[1:], problem: "not base64"},
		{in: text(raw(1, 16, 0)[:8]), problem: "cut off: 8 bytes"},
		{in: text(raw(1, 16, 12)), problem: "announces 16 bytes of secret and holds 12"},
		{in: text(raw(1, 20, 20)), problem: "secret of 20 bytes"},
		{in: text(raw(0, 16, 16)), problem: `of the type "none"`},
	} {
		key, err := ParseCephKey(test.in)
		switch {
		case test.problem == "":
			if err != nil || key.AES256 != test.aes256 || !strings.Contains(test.in, string(key.Secret)) || key.Secret == "" {
				t.Errorf("%q: AES256 %v, error %v", test.in, key.AES256, err)
			}
		case err == nil || !strings.Contains(err.Error(), test.problem):
			t.Errorf("%q: error %v, want %q", test.in, err, test.problem)
		case len(test.in) > 20 && strings.Contains(err.Error(), strings.TrimSpace(test.in)):
			t.Errorf("%q: the error repeats it: %v", test.in, err)
		}
	}
}
